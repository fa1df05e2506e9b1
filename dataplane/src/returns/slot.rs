//! One mapping as a cache line of atomics.
//!
//! `seq` odd = being written. Writers claim by compare-and-swap, so a place has one writer at a time;
//! readers check `seq` before and after (Boehm, "Can seqlocks get along with programming language memory
//! models?", MSPC 2012). `note` and `last_seen` change under readers' hands and live outside the sequence:
//! `note` carries the low byte of `seq`, so a late note never lands on the place's next tenant.

use maglane_shared::addr::{Addr, Protocol};
use maglane_shared::next_hop::HopIndex;
use maglane_shared::service::ServiceId;
use maglane_shared::sync::{AtomicU32, AtomicU64, Ordering, fence};
use maglane_shared::tick::Tick;

use super::{Close, Mapping, Replies, Via};
use crate::forward::Endpoint;

const WORDS: usize = 6;
/// Word of ports and protocol; 0 = vacant (no protocol is 0).
const PORTS: usize = 5;
const VIA_CLIENT: u8 = u8::MAX;

/// Milliseconds between two writes of `last_seen`.
const TOUCH_EVERY: u32 = 1000;

// Layout of `note`: route version 32 | hop 16 | low byte of seq 8 | flags 8.
const FIN: u64 = 1;
const RST: u64 = 2;
/// Set once `hop` is worth reading.
const HOP: u64 = 4;
const FLAGS: u64 = 0xff;
const TENANT: u64 = 0xff00;

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    seq: AtomicU32,
    last_seen: AtomicU32,
    note: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            seq: AtomicU32::new(0),
            last_seen: AtomicU32::new(0),
            note: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Slot {
    /// The mapping and its note, if there is one and nobody is writing it.
    #[inline]
    pub(super) fn read(&self) -> Option<(Mapping, u64)> {
        let before = self.seq.load(Ordering::Acquire);
        let words = std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        let note = self.note.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let after = self.seq.load(Ordering::Relaxed);
        if before % 2 == 1 || before != after {
            return None;
        }
        Some((unpack(&words)?, note))
    }

    /// Takes a vacant place and publishes `mapping` in it; false if it is not vacant.
    pub(super) fn claim(&self, mapping: &Mapping, now: Tick) -> bool {
        let seq = self.seq.load(Ordering::Acquire);
        if seq % 2 == 1 || self.words[PORTS].load(Ordering::Relaxed) != 0 {
            return false;
        }
        let odd = seq.wrapping_add(1);
        if self
            .seq
            .compare_exchange(seq, odd, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        let even = odd.wrapping_add(1);
        fence(Ordering::Release);
        self.last_seen.store(now.0, Ordering::Relaxed);
        // A swap, so that a late note on the last tenant comes before it or fails (loom has it no other way).
        self.note.swap(u64::from(even as u8) << 8, Ordering::Relaxed);
        for (word, value) in self.words.iter().zip(pack(mapping)) {
            word.store(value, Ordering::Relaxed);
        }
        self.seq.store(even, Ordering::Release);
        true
    }

    /// Vacates the place; only its owner calls this, so nobody else is writing.
    pub(super) fn clear(&self) {
        let seq = self.seq.load(Ordering::Relaxed);
        self.seq.store(seq.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.words[PORTS].store(0, Ordering::Relaxed);
        self.seq.store(seq.wrapping_add(2), Ordering::Release);
    }

    /// Does this place hold, or is it about to hold, a mapping that clashes with `mapping`? A place that is
    /// being written counts: better another port for nothing than one port for two flows.
    pub(super) fn rivals(&self, mapping: &Mapping) -> bool {
        let seq = self.seq.load(Ordering::Acquire);
        match self.read() {
            Some((held, _)) => held.clashes(mapping),
            None => seq % 2 == 1 || self.seq.load(Ordering::Relaxed) != seq,
        }
    }

    #[inline]
    pub(super) fn touch(&self, now: Tick) {
        let last = Tick(self.last_seen.load(Ordering::Relaxed));
        if now.since(last) >= TOUCH_EVERY {
            self.last_seen.store(now.0, Ordering::Relaxed);
        }
    }

    pub(super) fn note_close(&self, seen: u64, close: Close) {
        let flag = match close {
            Close::Fin => FIN,
            Close::Rst => RST,
        };
        self.update_note(seen, |note| note | flag);
    }

    pub(super) fn note_hop(&self, seen: u64, routes: u32, hop: HopIndex) {
        let cached = u64::from(routes) << 32 | u64::from(hop.0) << 16 | HOP;
        self.update_note(seen, |note| cached | note & (TENANT | FLAGS));
    }

    pub(super) fn replies(&self) -> Replies {
        let note = self.note.load(Ordering::Relaxed);
        Replies {
            last_seen: Tick(self.last_seen.load(Ordering::Relaxed)),
            fin: note & FIN != 0,
            rst: note & RST != 0,
        }
    }

    /// Changes the note while it is still the tenant's whose note `seen` was. One try: what loses a race
    /// comes again with the next packet.
    fn update_note(&self, seen: u64, change: impl Fn(u64) -> u64) {
        let current = self.note.load(Ordering::Relaxed);
        let next = change(current);
        if current & TENANT == seen & TENANT && next != current {
            let _ = self
                .note
                .compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[inline]
pub(super) fn hop_in(note: u64, routes: u32) -> Option<HopIndex> {
    (note & HOP != 0 && (note >> 32) as u32 == routes).then_some(HopIndex((note >> 16) as u16))
}

fn pack(mapping: &Mapping) -> [u64; WORDS] {
    let (backend, client) = (mapping.backend.addr.bits(), mapping.client.addr.bits());
    let via = match mapping.via {
        Via::Snat(index) => index,
        Via::Client => VIA_CLIENT,
    };
    [
        (backend >> 64) as u64,
        backend as u64,
        (client >> 64) as u64,
        client as u64,
        u64::from(mapping.service.slot) << 32 | u64::from(mapping.service.epoch),
        u64::from(mapping.port) << 48
            | u64::from(mapping.backend.port) << 32
            | u64::from(mapping.client.port) << 16
            | u64::from(via) << 8
            | mapping.protocol as u64,
    ]
}

#[inline]
fn unpack(words: &[u64; WORDS]) -> Option<Mapping> {
    let [b1, b0, c1, c0, service, ports] = *words;
    let addr = |high: u64, low: u64| Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    let protocol = match ports as u8 {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return None,
    };
    Some(Mapping {
        backend: Endpoint {
            addr: addr(b1, b0),
            port: (ports >> 32) as u16,
        },
        via: if (ports >> 8) as u8 == VIA_CLIENT {
            Via::Client
        } else {
            Via::Snat((ports >> 8) as u8)
        },
        port: (ports >> 48) as u16,
        protocol,
        client: Endpoint {
            addr: addr(c1, c0),
            port: (ports >> 16) as u16,
        },
        service: ServiceId {
            slot: (service >> 32) as u32,
            epoch: service as u32,
        },
    })
}
