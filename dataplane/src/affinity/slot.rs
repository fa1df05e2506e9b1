//! One client as a cache line of atomics: a seqlock as in [`crate::returns`], whose place anyone may take.
//!
//! `seq` odd = being written; writers claim by compare-and-swap from the `seq` they judged the place by, so
//! what has changed since is not written over. `last_seen`, `timeout` and `again` change under readers' hands
//! and live outside the sequence: a late refresh may land on the next tenant and lets it stay a little longer.

use maglane_shared::addr::Addr;
use maglane_shared::policy::AffinityTimeout;
use maglane_shared::service::{BackendId, ServiceId};
use maglane_shared::sync::{AtomicU32, AtomicU64, Ordering, fence};
use maglane_shared::tick::Tick;

use super::ClientKey;

const WORDS: usize = 4;
/// Word of the backend; 0 = vacant (no backend has epoch 0).
const BACKEND: usize = 3;

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    seq: AtomicU32,
    /// Not about this place's tenant but about those whose home it is.
    latch: AtomicU32,
    last_seen: AtomicU32,
    /// Milliseconds; for whoever does not know the service.
    timeout: AtomicU32,
    /// The client began another flow after its first.
    again: AtomicU32,
    words: [AtomicU64; WORDS],
}

const _: () = assert!(cfg!(loom) || size_of::<Slot>() == 64);

/// Who is in a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenant {
    pub seq: u32,
    pub key: ClientKey,
    pub backend: BackendId,
    pub last_seen: Tick,
    pub again: bool,
    timeout: u32,
}

impl Tenant {
    pub(super) fn expired(&self, now: Tick) -> bool {
        now.since(self.last_seen) >= self.timeout
    }
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            seq: AtomicU32::new(0),
            latch: AtomicU32::new(0),
            last_seen: AtomicU32::new(0),
            timeout: AtomicU32::new(0),
            again: AtomicU32::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Slot {
    /// The sequence number and the tenant, if any; nothing while somebody writes.
    pub(super) fn read(&self) -> Option<(u32, Option<Tenant>)> {
        let seq = self.seq.load(Ordering::Acquire);
        let words: [u64; WORDS] = std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        let last_seen = Tick(self.last_seen.load(Ordering::Relaxed));
        let timeout = self.timeout.load(Ordering::Relaxed);
        let again = self.again.load(Ordering::Relaxed) != 0;
        fence(Ordering::Acquire);
        if seq % 2 == 1 || self.seq.load(Ordering::Relaxed) != seq {
            return None;
        }
        let tenant = unpack(&words).map(|(key, backend)| Tenant {
            seq,
            key,
            backend,
            last_seen,
            again,
            timeout,
        });
        Some((seq, tenant))
    }

    /// Puts a client here, if nothing has changed since `seq` was read.
    pub(super) fn write(
        &self,
        seq: u32,
        key: &ClientKey,
        backend: BackendId,
        timeout: AffinityTimeout,
        now: Tick,
    ) -> bool {
        self.change(seq, || {
            self.last_seen.store(now.0, Ordering::Relaxed);
            self.timeout.store(timeout.millis(), Ordering::Relaxed);
            self.again.store(0, Ordering::Relaxed);
            for (word, value) in self.words.iter().zip(pack(key, backend)) {
                word.store(value, Ordering::Relaxed);
            }
        })
    }

    pub(super) fn refresh(&self, timeout: AffinityTimeout, now: Tick) {
        self.last_seen.store(now.0, Ordering::Relaxed);
        self.timeout.store(timeout.millis(), Ordering::Relaxed);
        self.again.store(1, Ordering::Relaxed);
    }

    /// Vacates the place when its tenant has been away too long.
    pub(super) fn expire(&self, now: Tick) {
        if let Some((seq, Some(tenant))) = self.read()
            && tenant.expired(now)
        {
            self.change(seq, || self.words[BACKEND].store(0, Ordering::Relaxed));
        }
    }

    fn change(&self, seq: u32, write: impl FnOnce()) -> bool {
        let odd = seq.wrapping_add(1);
        if self
            .seq
            .compare_exchange(seq, odd, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        fence(Ordering::Release);
        write();
        self.seq.store(odd.wrapping_add(1), Ordering::Release);
        true
    }
}

/// The right to note clients of one home.
pub(super) struct Latch<'a>(&'a AtomicU32);

impl<'a> Latch<'a> {
    pub(super) fn take(home: &'a Slot, tries: usize) -> Option<Self> {
        let latch = &home.latch;
        (0..tries).find_map(|_| {
            let taken = latch.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_err() {
                std::hint::spin_loop();
            }
            taken.ok().map(|_| Latch(latch))
        })
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

fn pack(key: &ClientKey, backend: BackendId) -> [u64; WORDS] {
    let client = key.client.bits();
    let pair = |slot: u32, epoch: u32| u64::from(slot) << 32 | u64::from(epoch);
    [
        (client >> 64) as u64,
        client as u64,
        pair(key.service.slot, key.service.epoch),
        pair(backend.slot, backend.epoch),
    ]
}

fn unpack(words: &[u64; WORDS]) -> Option<(ClientKey, BackendId)> {
    let [high, low, service, backend] = *words;
    if backend == 0 {
        return None;
    }
    let pair = |word: u64| ((word >> 32) as u32, word as u32);
    let ((service_slot, service_epoch), (slot, epoch)) = (pair(service), pair(backend));
    let key = ClientKey {
        client: Addr::from_bits(u128::from(high) << 64 | u128::from(low)),
        service: ServiceId {
            slot: service_slot,
            epoch: service_epoch,
        },
    };
    Some((key, BackendId { slot, epoch }))
}
