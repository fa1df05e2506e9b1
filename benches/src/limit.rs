//! The limit: all of Katran's job (`katran/lib/bpf/balancer.bpf.c`) in one tight loop, for IPv4 and TCP.
//!
//! 512 VIPs, a flow table of 64-byte slots, Maglev, statistics, IP in IP; batches in two passes with prefetch.
//! It knows one packet shape and checks no more than Katran does: nothing a balancer could drop is in it,
//! so what the forwarder costs beyond this is the price of checks, modes, families and structure.

use maglane_shared::flow::FlowHash;
use maglane_shared::maglev::MaglevTable;

use crate::lane::{Chunk, START};
use crate::scene::{FIRST_VIP, GATEWAY_MAC, OUR_MAC, VIP_PORT};

/// Slots that a flow may lie in.
const PROBES: usize = 4;
const OUTER: usize = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    src: u32,
    dst: u32,
    ports: u32,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Slot {
    key: Key,
    backend: u32,
    last_seen: u32,
    used: bool,
}

#[derive(Debug)]
pub struct Limit {
    /// (VIP, port) -> index, half full.
    vips: Box<[(u32, u32, u32)]>,
    slots: Box<[Slot]>,
    maglev: MaglevTable,
    /// Outer destination of each backend.
    backends: Box<[u32]>,
    /// Packets and bytes of each VIP and each backend.
    stats: Box<[[u64; 2]]>,
    secret: [u64; 2],
}

/// A packet after the first pass.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    key: Key,
    vip: u32,
    hash: u64,
    syn: bool,
}

impl Limit {
    pub fn new(services: u32, backends: u32, maglev: MaglevTable, capacity: usize) -> Self {
        let mut vips = vec![(0, 0, u32::MAX); (services as usize * 2).next_power_of_two()].into_boxed_slice();
        for vip in 0..services {
            let mut at = vip_place(FIRST_VIP + vip) & (vips.len() - 1);
            while vips[at].2 != u32::MAX {
                at = (at + 1) & (vips.len() - 1);
            }
            vips[at] = (FIRST_VIP + vip, u32::from(VIP_PORT), vip);
        }
        let mut slots = Vec::with_capacity(capacity);
        maglane_xsk::advise_huge_pages(slots.spare_capacity_mut());
        slots.resize(capacity, Slot::default());
        Limit {
            vips,
            slots: slots.into(),
            maglev,
            backends: (0..backends).map(|i| 0x0a80_0001 + i).collect(),
            stats: vec![[0; 2]; (services + backends) as usize].into(),
            secret: [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93],
        }
    }

    /// Carries up to 64 frames; gives the number forwarded.
    pub fn forward(&mut self, chunks: &mut [Chunk], now: u32) -> u32 {
        let mut seen = [const { None }; 64];
        for (chunk, seen) in chunks.iter().zip(&mut seen) {
            *seen = self.look(chunk);
            if let Some(seen) = seen {
                maglane_xsk::prefetch_ref(&self.slots[seen.hash as usize & (self.slots.len() - 1)]);
            }
        }
        let mut forwarded = 0;
        for (chunk, seen) in chunks.iter_mut().zip(&seen) {
            if let Some(seen) = seen {
                self.carry(chunk, seen, now);
                forwarded += 1;
            }
        }
        forwarded
    }

    #[inline]
    fn look(&self, chunk: &Chunk) -> Option<Seen> {
        let frame = chunk[START..].first_chunk::<54>()?;
        let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let whole_tcp = frame[12..15] == [8, 0, 0x45] && frame[23] == 6 && word(18) & 0x3fff == 0;
        let key = Key {
            src: word(26),
            dst: word(30),
            ports: word(34),
        };
        let vip = self.vip(key.dst, key.ports & 0xffff)?;
        let a = (u64::from(key.src) << 32 | u64::from(key.dst)) ^ self.secret[0];
        let b = u64::from(key.ports) ^ self.secret[1];
        let hash = fold(fold(a, self.secret[1]) ^ b, self.secret[0]);
        whole_tcp.then_some(Seen {
            key,
            vip,
            hash,
            syn: frame[47] & 2 != 0,
        })
    }

    #[inline]
    fn vip(&self, addr: u32, port: u32) -> Option<u32> {
        let mut at = vip_place(addr) & (self.vips.len() - 1);
        loop {
            let (a, p, vip) = self.vips[at];
            if (a, p) == (addr, port) {
                return Some(vip);
            }
            if vip == u32::MAX {
                return None;
            }
            at = (at + 1) & (self.vips.len() - 1);
        }
    }

    #[inline]
    fn carry(&mut self, chunk: &mut Chunk, seen: &Seen, now: u32) {
        let backend = self.flow(seen, now);
        let bytes = u64::from(u16::from_be_bytes([chunk[START + 16], chunk[START + 17]])) + 14;
        let services = self.stats.len() - self.backends.len();
        for stats in [seen.vip as usize, services + backend as usize] {
            self.stats[stats][0] += 1;
            self.stats[stats][1] += bytes;
        }
        encapsulate(chunk, self.backends[backend as usize], seen.hash);
    }

    #[inline]
    fn flow(&mut self, seen: &Seen, now: u32) -> u32 {
        let mask = self.slots.len() - 1;
        if !seen.syn {
            for probe in 0..PROBES {
                let slot = &mut self.slots[(seen.hash as usize + probe) & mask];
                if slot.used && slot.key == seen.key {
                    slot.last_seen = now;
                    return slot.backend;
                }
            }
        }
        let backend = u32::from(self.maglev.lookup(FlowHash(seen.hash)).unwrap_or(0));
        let mut places = (0..PROBES).map(|probe| (seen.hash as usize + probe) & mask);
        let free = places.find(|&at| !self.slots[at].used);
        let place = free.unwrap_or(seen.hash as usize & mask);
        self.slots[place] = Slot {
            key: seen.key,
            backend,
            last_seen: now,
            used: true,
        };
        backend
    }
}

/// An outer IPv4 header in front, its source from the flow, and the Ethernet header in front of that.
#[inline]
fn encapsulate(chunk: &mut Chunk, backend: u32, hash: u64) {
    let inner = u16::from_be_bytes([chunk[START + 16], chunk[START + 17]]);
    let Some(frame) = chunk[START - OUTER..].first_chunk_mut::<34>() else {
        return;
    };
    frame[..6].copy_from_slice(&GATEWAY_MAC.0);
    frame[6..12].copy_from_slice(&OUR_MAC.0);
    frame[12..26].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 4, 0, 0]);
    frame[16..18].copy_from_slice(&(inner + OUTER as u16).to_be_bytes());
    let src = 0xac10_0000 | (hash >> 48) as u32;
    let sum = 0x4500 + u32::from(inner) + OUTER as u32 + 0x4004;
    let sum = sum + (src >> 16) + (src & 0xffff) + (backend >> 16) + (backend & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame[26..30].copy_from_slice(&src.to_be_bytes());
    frame[30..34].copy_from_slice(&backend.to_be_bytes());
}

#[inline]
fn vip_place(addr: u32) -> usize {
    (addr.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
