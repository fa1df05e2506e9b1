//! Which backend a client's flows went to last (`sessionAffinity: ClientIP`), shared by all workers.
//!
//! Lines of atomics under a sequence number each, as in [`crate::returns`], but nobody owns one: a client is
//! forgotten when it has been away for its service's timeout. New flows read and write here, packets of known
//! flows never do. Two workers that meet a client's first flows at once must agree, so who notes a
//! client holds the latch of its home; one who finds it held tries a few times and then goes without.
//!
//! When all places of a client are taken, one gives way that never came again; a flood of new addresses so
//! replaces itself, not the clients that return. When there is none, Maglev alone decides.

mod slot;

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::flow::{FlowHash, FlowKey, HashKey};
use maglane_shared::policy::AffinityTimeout;
use maglane_shared::service::{BackendId, ServiceId};
use maglane_shared::sync::{AtomicU32, Ordering};
use maglane_shared::tick::Tick;

use slot::{Latch, Slot, Tenant};

/// Consecutive places where a client may lie; two under loom, which tries every interleaving of their reads.
const PROBES: usize = if cfg!(loom) { 2 } else { 8 };

/// Tries for a latch, which is held for about 50 ns.
const TRIES: usize = if cfg!(loom) { 2 } else { 32 };

/// Clients that [`Affinities::default`] has room for: 8 MiB.
pub const DEFAULT_CLIENTS: usize = 1 << 16;

/// A client of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey {
    pub client: Addr,
    pub service: ServiceId,
}

impl ClientKey {
    /// The hash that places it; `vip` is the service's.
    pub fn hash(&self, vip: VipKey, key: &HashKey) -> FlowHash {
        FlowKey {
            client: self.client,
            vip: vip.addr,
            client_port: 0,
            vip_port: vip.port,
            protocol: vip.protocol,
        }
        .hash(key)
    }
}

/// A client's backend, and where that is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    pub backend: BackendId,
    slot: u32,
}

/// Why a client's backend is not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// All places hold clients that came again.
    Full,
    /// Another worker is noting a client of the same home.
    Busy,
}

/// See the module's head.
#[derive(Debug)]
pub struct Affinities {
    slots: Box<[Slot]>,
    mask: u32,
    /// Next place to sweep.
    cursor: AtomicU32,
}

impl Default for Affinities {
    fn default() -> Self {
        Affinities::new(DEFAULT_CLIENTS)
    }
}

impl Affinities {
    /// Room for `clients` at half load.
    pub fn new(clients: usize) -> Self {
        let len = (clients * 2).next_power_of_two().max(PROBES);
        Affinities {
            slots: std::iter::repeat_with(Slot::default).take(len).collect(),
            mask: (len - 1) as u32,
            cursor: AtomicU32::new(0),
        }
    }

    /// Places in all.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// The client's backend, unless its last flow began longer ago than `timeout`.
    pub fn find(&self, hash: FlowHash, key: &ClientKey, timeout: AffinityTimeout, now: Tick) -> Option<Pin> {
        let (slot, tenant) = self.tenant(hash, key)?;
        let backend = tenant.backend;
        (now.since(tenant.last_seen) < timeout.millis()).then_some(Pin { backend, slot })
    }

    /// The client began another flow.
    pub fn refresh(&self, pin: &Pin, timeout: AffinityTimeout, now: Tick) {
        self.slots[pin.slot as usize].refresh(timeout, now);
    }

    /// Notes `wanted` as the client's backend, or finds what another worker has just noted, if that is `usable`.
    /// Gives the backend that holds from now on.
    pub fn pin(
        &self,
        hash: FlowHash,
        key: &ClientKey,
        wanted: BackendId,
        timeout: AffinityTimeout,
        now: Tick,
        usable: impl Fn(BackendId) -> bool,
    ) -> Result<BackendId, Unpinned> {
        let home = &self.slots[(hash.low() & self.mask) as usize];
        let _latch = Latch::take(home, TRIES).ok_or(Unpinned::Busy)?;
        if let Some((at, held)) = self.tenant(hash, key) {
            let live = now.since(held.last_seen) < timeout.millis();
            let backend = if live && usable(held.backend) {
                held.backend
            } else {
                wanted
            };
            // It fails when a client of another home has just taken the place.
            if self.slots[at as usize].write(held.seq, key, backend, timeout, now) {
                return Ok(backend);
            }
        }
        self.settle(hash, now, |slot, seq| slot.write(seq, key, wanted, timeout, now))
            .then_some(wanted)
            .ok_or(Unpinned::Full)
    }

    /// Forgets those of the next `count` places who have been away too long, so that no tick of theirs gets so
    /// old that it looks new. Any worker may do it.
    pub fn sweep(&self, count: usize, now: Tick) {
        let from = self.cursor.fetch_add(count as u32, Ordering::Relaxed);
        for step in 0..count as u32 {
            self.slots[(from.wrapping_add(step) & self.mask) as usize].expire(now);
        }
    }

    /// Offers `take` the places of `hash` that may be had: vacant and expired ones, then the one longest away
    /// that never came again. Says whether one was taken.
    fn settle(&self, hash: FlowHash, now: Tick, take: impl Fn(&Slot, u32) -> bool) -> bool {
        let mut oldest: Option<(u32, u32, u32)> = None;
        for at in self.reach(hash) {
            let slot = &self.slots[at as usize];
            let Some((seq, tenant)) = slot.read() else {
                continue;
            };
            let Some(tenant) = tenant.filter(|tenant| !tenant.expired(now)) else {
                if take(slot, seq) {
                    return true;
                }
                continue;
            };
            let away = now.since(tenant.last_seen);
            if !tenant.again && oldest.is_none_or(|(most, _, _)| away > most) {
                oldest = Some((away, at, seq));
            }
        }
        oldest.is_some_and(|(_, at, seq)| take(&self.slots[at as usize], seq))
    }

    fn tenant(&self, hash: FlowHash, key: &ClientKey) -> Option<(u32, Tenant)> {
        self.reach(hash).find_map(|at| {
            let (_, tenant) = self.slots[at as usize].read()?;
            tenant
                .filter(|tenant| tenant.key == *key)
                .map(|tenant| (at, tenant))
        })
    }

    fn reach(&self, hash: FlowHash) -> impl Iterator<Item = u32> + use<> {
        let (home, mask) = (hash.low(), self.mask);
        (0..PROBES as u32).map(move |i| home.wrapping_add(i) & mask)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
