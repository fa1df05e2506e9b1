//! What a worker remembers of its flows: which backend, in what state, when last seen.
//!
//! ```text
//!   hash ─low bits─► tags   [t0 t1 .. t7] x 4  four buckets a cache line: a miss costs this line alone
//!        ─high 16──► tag ───────┐ equal
//!                               ▼
//!                    entries [e0 e1 .. e7] x 4  64 bytes an entry: a hit costs one line more
//! ```
//! A flow lies in its home bucket or, when that was full, in one of the three on the same line.
//! Fixed size, no allocation after [`FlowTable::new`], one owner, no clock. When all are full, one gives way in this
//! order: expired, closed, SYN-sent (oldest first), and to a datagram also the oldest datagram. An
//! established flow is never evicted (FAILURES D21); the newcomer is then steered by Maglev alone.

mod state;
mod tags;

use maglane_shared::addr::Addr;
use maglane_shared::counters::FlowState;
use maglane_shared::flow::FlowHash;
use maglane_shared::next_hop::HopIndex;
use maglane_shared::policy::IdleTimeout;
use maglane_shared::service::{BackendId, ServiceId};
use maglane_shared::tick::Tick;

use crate::config::Timeouts;
use crate::returns::ReturnSlot;

pub use state::Segment;
pub use tags::WAYS;
use tags::{NEIGHBORS, TagLine, Tags, VACANT};

/// A flow's identity inside one table; protocol, VIP and port are the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub client: Addr,
    pub service: ServiceId,
    pub client_port: u16,
}

/// Where the replies of a translated flow are described (see [`crate::returns::NatReturns`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Replies don't come through here.
    None,
    /// This entry made the mapping and frees it.
    Owned(ReturnSlot),
    /// Another worker made the mapping; it may take it away at any time.
    Borrowed(ReturnSlot),
}

/// One flow: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct FlowEntry {
    pub id: FlowId,
    pub backend: BackendId,
    pub last_seen: Tick,
    /// `RouteTable::version` that [`Self::hop`] was picked under.
    pub routes: u32,
    pub translation: Translation,
    pub hop: HopIndex,
    /// The service's own timeout, as it was when the flow began.
    pub idle: Option<IdleTimeout>,
    /// Source port and index of the source address towards the backend; port 0 without NAT.
    pub nat_port: u16,
    pub nat_address: u8,
    pub state: FlowState,
}

const _: () = assert!(size_of::<FlowEntry>() == 64);

/// Where an entry lies; valid until the next insert or sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowIndex(u32);

/// Every entry in reach is worth more than the newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketFull;

/// See the module's head.
#[derive(Debug)]
pub struct FlowTable {
    tags: Box<[TagLine]>,
    entries: Box<[FlowEntry]>,
    bucket_mask: u32,
    timeouts: Timeouts,
    /// Next bucket to sweep.
    cursor: u32,
    len: usize,
}

impl FlowTable {
    /// Room for `capacity` flows, rounded up to a power of two of at least one line of buckets.
    pub fn new(capacity: usize, timeouts: Timeouts) -> Self {
        let capacity = capacity.next_power_of_two().max(WAYS * NEIGHBORS);
        let buckets = capacity / WAYS;
        let mut entries = Vec::with_capacity(capacity);
        // Before the first touch: the kernel then hands out huge pages at once (a quarter of the TLB misses).
        maglane_xsk::advise_huge_pages(entries.spare_capacity_mut());
        entries.resize(capacity, FlowEntry::VACANT);
        FlowTable {
            tags: vec![TagLine::default(); buckets / NEIGHBORS].into_boxed_slice(),
            entries: entries.into_boxed_slice(),
            bucket_mask: (buckets - 1) as u32,
            timeouts,
            cursor: 0,
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn buckets(&self) -> usize {
        self.bucket_mask as usize + 1
    }

    /// Asks for the line that [`Self::find`] reads first.
    #[inline]
    pub fn prefetch_tags(&self, hash: FlowHash) {
        maglane_xsk::prefetch_ref(&self.tags[self.home(hash) / NEIGHBORS]);
    }

    /// Asks for the line that [`Self::find_near`] reads, or that [`Self::insert`] is going to write. Gives
    /// where the flow is, as far as its tag tells.
    #[inline]
    pub fn approach(&self, hash: FlowHash) -> Option<FlowIndex> {
        let guess = self.way(hash, tag_of(hash));
        if let Some(at) = guess.or_else(|| self.way(hash, VACANT)) {
            maglane_xsk::prefetch_ref(&self.entries[at]);
        }
        guess.map(|at| FlowIndex(at as u32))
    }

    /// As [`Self::find`], from a guess that may be wrong or have become so.
    #[inline]
    pub fn find_near(&self, guess: Option<FlowIndex>, hash: FlowHash, id: &FlowId) -> Option<FlowIndex> {
        match guess {
            Some(at) if self.entries[at.0 as usize].id == *id => Some(at),
            Some(_) | None => self.find(hash, id),
        }
    }

    pub fn find(&self, hash: FlowHash, id: &FlowId) -> Option<FlowIndex> {
        let (home, tag) = (self.home(hash), tag_of(hash));
        if !self.tags[home / NEIGHBORS].any(tag) {
            return None;
        }
        self.reach(hash).find_map(|bucket| {
            let mut ways = self.tags(bucket).equal(tag);
            while ways != 0 {
                let at = bucket * WAYS + ways.trailing_zeros() as usize;
                if self.entries[at].id == *id {
                    return Some(FlowIndex(at as u32));
                }
                ways &= ways - 1;
            }
            None
        })
    }

    #[inline]
    pub fn get(&self, at: FlowIndex) -> &FlowEntry {
        &self.entries[at.0 as usize]
    }

    #[inline]
    pub fn get_mut(&mut self, at: FlowIndex) -> &mut FlowEntry {
        &mut self.entries[at.0 as usize]
    }

    /// Adds a flow that [`Self::find`] did not find. `refresh` brings an entry up to date with what other
    /// workers saw of it, before it is judged. Gives the evicted entry, if there was one.
    pub fn insert(
        &mut self,
        hash: FlowHash,
        entry: FlowEntry,
        now: Tick,
        refresh: impl FnMut(&mut FlowEntry),
    ) -> Result<(FlowIndex, Option<FlowEntry>), BucketFull> {
        let (at, evicted) = match self.way(hash, VACANT) {
            Some(at) => {
                self.len += 1;
                (at, None)
            }
            None => {
                let at = self.victim(hash, entry.state, now, refresh).ok_or(BucketFull)?;
                (at, Some(self.entries[at]))
            }
        };
        self.set_tag(at, tag_of(hash));
        self.entries[at] = entry;
        Ok((FlowIndex(at as u32), evicted))
    }

    /// Forgets an entry and gives it. Its place no longer looks like the flow's, for who has guessed it.
    pub fn remove(&mut self, at: FlowIndex) -> FlowEntry {
        let at = at.0 as usize;
        self.set_tag(at, VACANT);
        self.len -= 1;
        std::mem::replace(&mut self.entries[at], FlowEntry::VACANT)
    }

    /// Forgets the expired entries of the next `buckets` buckets, each given to `gone`.
    pub fn sweep(
        &mut self,
        buckets: usize,
        now: Tick,
        mut refresh: impl FnMut(&mut FlowEntry),
        mut gone: impl FnMut(&FlowEntry),
    ) {
        for _ in 0..buckets.min(self.buckets()) {
            let bucket = self.cursor as usize;
            self.cursor = (self.cursor + 1) & self.bucket_mask;
            let mut held = !self.tags(bucket).equal(VACANT) & 0xff;
            while held != 0 {
                let at = bucket * WAYS + held.trailing_zeros() as usize;
                held &= held - 1;
                refresh(&mut self.entries[at]);
                if self.expired(&self.entries[at], now) {
                    gone(&self.remove(FlowIndex(at as u32)));
                }
            }
        }
    }

    /// The flows of one bucket, for dumps.
    pub fn bucket_entries(&self, bucket: usize) -> impl Iterator<Item = &FlowEntry> {
        let tags = if bucket < self.buckets() {
            self.tags(bucket)
        } else {
            Tags::default()
        };
        (0..WAYS)
            .filter(move |&way| tags.get(way) != VACANT)
            .map(move |way| &self.entries[bucket * WAYS + way])
    }

    /// The entry that a newcomer in this state may replace: of the first bucket in reach that has one. A tie
    /// goes to the one longest idle.
    fn victim(
        &mut self,
        hash: FlowHash,
        newcomer: FlowState,
        now: Tick,
        mut refresh: impl FnMut(&mut FlowEntry),
    ) -> Option<usize> {
        self.reach(hash).find_map(|bucket| {
            let mut best: Option<(Standing, u32, usize)> = None;
            for at in bucket * WAYS..(bucket + 1) * WAYS {
                refresh(&mut self.entries[at]);
                let entry = &self.entries[at];
                let Some(standing) = self.standing(entry, newcomer, now) else {
                    continue;
                };
                let youth = u32::MAX - now.since(entry.last_seen);
                if best.is_none_or(|(s, y, _)| (standing, youth) < (s, y)) {
                    best = Some((standing, youth, at));
                }
            }
            best.map(|(_, _, at)| at)
        })
    }

    fn standing(&self, entry: &FlowEntry, newcomer: FlowState, now: Tick) -> Option<Standing> {
        if self.expired(entry, now) {
            return Some(Standing::Expired);
        }
        match entry.state {
            FlowState::Closed => Some(Standing::Closed),
            FlowState::SynSent => Some(Standing::Unproven),
            FlowState::Datagram => (newcomer == FlowState::Datagram).then_some(Standing::Datagram),
            FlowState::Established | FlowState::Closing => None,
        }
    }

    #[inline]
    fn expired(&self, entry: &FlowEntry, now: Tick) -> bool {
        let own = entry.idle.map(IdleTimeout::millis);
        let limit = match entry.state {
            FlowState::SynSent => self.timeouts.syn_sent,
            FlowState::Established => own.unwrap_or(self.timeouts.established),
            FlowState::Closing => self.timeouts.closing,
            FlowState::Closed => self.timeouts.closed,
            FlowState::Datagram => own.unwrap_or(self.timeouts.datagram),
        };
        now.since(entry.last_seen) >= limit
    }

    #[inline]
    fn home(&self, hash: FlowHash) -> usize {
        (hash.low() & self.bucket_mask) as usize
    }

    /// The buckets where a flow may lie, its home first.
    #[inline]
    fn reach(&self, hash: FlowHash) -> impl Iterator<Item = usize> + use<> {
        let home = self.home(hash);
        (0..NEIGHBORS).map(move |step| home ^ step)
    }

    /// The first entry in reach whose tag is this one: mostly at home.
    #[inline]
    fn way(&self, hash: FlowHash, tag: u16) -> Option<usize> {
        let home = self.home(hash);
        match self.tags(home).equal(tag) {
            0 => self.way_beside(home, tag),
            ways => Some(home * WAYS + ways.trailing_zeros() as usize),
        }
    }

    #[inline(never)]
    fn way_beside(&self, home: usize, tag: u16) -> Option<usize> {
        if !self.tags[home / NEIGHBORS].any(tag) {
            return None;
        }
        (1..NEIGHBORS).find_map(|step| {
            let ways = self.tags(home ^ step).equal(tag);
            (ways != 0).then(|| (home ^ step) * WAYS + ways.trailing_zeros() as usize)
        })
    }

    #[inline]
    fn tags(&self, bucket: usize) -> Tags {
        self.tags[bucket / NEIGHBORS].bucket(bucket)
    }

    #[inline]
    fn set_tag(&mut self, at: usize, tag: u16) {
        let bucket = at / WAYS;
        self.tags[bucket / NEIGHBORS]
            .bucket_mut(bucket)
            .set(at % WAYS, tag);
    }
}

impl FlowEntry {
    /// What vacant ways hold; its tag says it is none.
    const VACANT: FlowEntry = FlowEntry {
        id: FlowId {
            client: Addr::UNSPECIFIED,
            service: ServiceId { slot: 0, epoch: 0 },
            client_port: 0,
        },
        backend: BackendId { slot: 0, epoch: 0 },
        last_seen: Tick(0),
        routes: 0,
        translation: Translation::None,
        hop: HopIndex(0),
        idle: None,
        nat_port: 0,
        nat_address: 0,
        state: FlowState::Closed,
    };
}

/// Why an entry may be evicted; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Expired,
    Closed,
    Unproven,
    Datagram,
}

/// From the upper half, which does not choose the bucket; never [`VACANT`].
#[inline]
fn tag_of(hash: FlowHash) -> u16 {
    ((hash.0 >> 32) as u16).max(1)
}

#[cfg(test)]
mod tests;
