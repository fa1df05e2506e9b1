//! Fragments after the first have no ports: a bounded table remembers what the first one said.
//!
//! Nothing is held back or reassembled. A later fragment that comes before its first is dropped, and so is
//! one that overlaps what went before (RFC 5722, RFC 1858): backends never see a packet that two
//! readers could put together differently. The identity is RFC 791 §3.2's and RFC 8200 §4.5's. Ids are the
//! senders' own; `nat` keeps them, so two clients' fragments behind one source address could meet at the backend.

use maglane_shared::addr::{Addr, Protocol};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::HashKey;
use maglane_shared::tick::Tick;

use super::parse::{Fragment, Parsed, Transport};

/// How long a fragmented packet is remembered, in milliseconds (RFC 791 §3.2 proposes 15 s).
pub const TIMEOUT_MS: u32 = 15_000;

/// Entries that may hold one packet: its bucket.
const WAYS: usize = 8;

/// Disjoint stretches of one packet that are told apart; a sender or a path that shuffles more than this
/// is not worth following.
const STRETCHES: usize = 4;

/// What the first fragment's transport header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub protocol: Protocol,
    pub src_port: u16,
    pub dst_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    src: Addr,
    dst: Addr,
    id: u32,
    protocol: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    identity: Identity,
    ports: Ports,
    seen: Seen,
    first_at: Tick,
}

/// Fragmented packets of one worker. No allocation after [`FragmentTable::new`].
#[derive(Debug)]
pub struct FragmentTable {
    /// Buckets of [`WAYS`]; a power of two of them.
    buckets: Box<[[Option<Entry>; WAYS]]>,
}

impl FragmentTable {
    /// Room for at least `capacity` packets in flight.
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(WAYS).next_power_of_two();
        FragmentTable {
            buckets: vec![[None; WAYS]; buckets].into_boxed_slice(),
        }
    }

    /// The ports of a fragment: a first one's own, which are remembered, or those its first one had. `None`
    /// for packets that are not fragments of TCP or UDP.
    pub fn ports(&mut self, parsed: &Parsed, key: &HashKey, now: Tick) -> Result<Option<Ports>, DropReason> {
        let Some(fragment) = parsed.fragment else {
            return Ok(None);
        };
        let (protocol, src_port, dst_port) = match parsed.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags: _,
            } => (Protocol::Tcp, src_port, dst_port),
            Transport::Udp { src_port, dst_port } => (Protocol::Udp, src_port, dst_port),
            Transport::Icmp(_) => return Ok(None),
            Transport::LaterFragment => return self.later(parsed, fragment, key, now).map(Some),
        };
        let ports = Ports {
            protocol,
            src_port,
            dst_port,
        };
        self.first(parsed, fragment, ports, key, now)
            .map(|()| Some(ports))
    }

    fn first(
        &mut self,
        parsed: &Parsed,
        fragment: Fragment,
        ports: Ports,
        key: &HashKey,
        now: Tick,
    ) -> Result<(), DropReason> {
        let identity = Identity::new(parsed, fragment);
        let bucket = self.bucket(&identity, key);
        if find(bucket, &identity, now).is_some() {
            // A second first fragment: a duplicate at best.
            return Err(DropReason::FragmentInvalid);
        }
        let mut seen = Seen::default();
        seen.add(fragment)?;
        let entry = Entry {
            identity,
            ports,
            seen,
            first_at: now,
        };
        // The place of the oldest, vacant ones before all.
        if let Some(place) = bucket
            .iter_mut()
            .max_by_key(|e| e.map_or(u32::MAX, |e| now.since(e.first_at)))
        {
            *place = Some(entry);
        }
        Ok(())
    }

    fn later(
        &mut self,
        parsed: &Parsed,
        fragment: Fragment,
        key: &HashKey,
        now: Tick,
    ) -> Result<Ports, DropReason> {
        let identity = Identity::new(parsed, fragment);
        let bucket = self.bucket(&identity, key);
        let entry = find(bucket, &identity, now).ok_or(DropReason::FragmentUnknown)?;
        entry.seen.add(fragment)?;
        Ok(entry.ports)
    }

    /// Under the fleet's key, so that nobody can aim ids at one bucket.
    fn bucket(&mut self, identity: &Identity, key: &HashKey) -> &mut [Option<Entry>] {
        let mut bytes = [0; 37];
        bytes[..16].copy_from_slice(&identity.src.v6_bytes());
        bytes[16..32].copy_from_slice(&identity.dst.v6_bytes());
        bytes[32..36].copy_from_slice(&identity.id.to_be_bytes());
        bytes[36] = identity.protocol;
        let at = key.hash_bytes(&bytes) as usize & (self.buckets.len() - 1);
        self.buckets
            .get_mut(at)
            .map(|b| b.as_mut_slice())
            .unwrap_or_default()
    }
}

impl Identity {
    fn new(parsed: &Parsed, fragment: Fragment) -> Self {
        Identity {
            src: parsed.src,
            dst: parsed.dst,
            id: fragment.id,
            protocol: fragment.protocol,
        }
    }
}

fn find<'b>(bucket: &'b mut [Option<Entry>], identity: &Identity, now: Tick) -> Option<&'b mut Entry> {
    let entries = bucket.iter_mut().flatten();
    entries
        .into_iter()
        .find(|e| e.identity == *identity && now.since(e.first_at) < TIMEOUT_MS)
}

/// The stretches of one packet that have passed: half-open, disjoint, merged where they touch.
#[derive(Clone, Copy, Debug, Default)]
struct Seen([(u16, u16); STRETCHES]);

impl Seen {
    /// An overlapping fragment, or one stretch too many, is refused and changes nothing.
    fn add(&mut self, fragment: Fragment) -> Result<(), DropReason> {
        let (mut start, mut end) = (fragment.offset, fragment.offset.saturating_add(fragment.len));
        if self.0.iter().any(|&(from, to)| from < end && start < to) {
            return Err(DropReason::FragmentInvalid);
        }
        let mut merged = *self;
        for stretch in &mut merged.0 {
            let (from, to) = *stretch;
            if from < to && (to == start || from == end) {
                (start, end) = (start.min(from), end.max(to));
                *stretch = (0, 0);
            }
        }
        let free = merged
            .0
            .iter_mut()
            .find(|(from, to)| from == to)
            .ok_or(DropReason::FragmentInvalid)?;
        *free = (start, end);
        *self = merged;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: u32, offset: u16, len: u16) -> Parsed {
        let transport = match offset {
            0 => Transport::Udp {
                src_port: id as u16,
                dst_port: 53,
            },
            _ => Transport::LaterFragment,
        };
        Parsed {
            src: "192.0.2.1".parse().unwrap(),
            dst: "192.0.2.2".parse().unwrap(),
            l3: 14,
            l4: 34,
            end: 34 + len,
            ttl: 64,
            traffic_class: 0,
            family: maglane_shared::addr::Family::V4,
            dont_fragment: false,
            fragment: Some(Fragment {
                id,
                protocol: 17,
                offset,
                len,
                more: true,
            }),
            transport,
        }
    }

    /// FAILURES D27: fragments that follow their first at once survive a flood of 100,000 other ids.
    #[test]
    fn a_flood_of_ids_costs_honest_fragments_little() {
        let mut table = FragmentTable::new(1024);
        let mut lost = 0;
        for id in 0..100_000 {
            table
                .ports(&fragment(id, 0, 800), &HashKey::default(), Tick(id / 100))
                .unwrap();
            // Honest: every hundredth, its later fragment sixteen firsts behind.
            if id % 100 == 16 {
                let honest = fragment(id - 16, 800, 800);
                lost += u32::from(table.ports(&honest, &HashKey::default(), Tick(id / 100)).is_err());
            }
        }
        assert!(lost <= 1, "{lost} of 1000");
    }

    #[test]
    fn ports_come_from_the_first_fragment_until_it_is_forgotten() {
        let mut table = FragmentTable::new(8);
        let later = |table: &mut FragmentTable, offset, now| {
            table
                .ports(&fragment(7, offset, 8), &HashKey::default(), Tick(now))
                .map(|ports| ports.unwrap().src_port)
        };
        assert_eq!(later(&mut table, 8, 0), Err(DropReason::FragmentUnknown));
        table
            .ports(&fragment(7, 0, 8), &HashKey::default(), Tick(0))
            .unwrap();
        assert_eq!(later(&mut table, 8, TIMEOUT_MS - 1), Ok(7));
        assert_eq!(
            later(&mut table, 16, TIMEOUT_MS),
            Err(DropReason::FragmentUnknown)
        );
    }

    /// Random fragments against a map of bytes: nothing passes twice, and what is refused overlaps or is
    /// one stretch too many.
    #[test]
    fn overlaps_are_told_apart_exactly() {
        let mut state = 1u32;
        for _ in 0..2000 {
            let (mut seen, mut bytes) = (Seen::default(), [false; 256]);
            for _ in 0..24 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (offset, len) = ((state >> 24) as u16 & 0xf8, ((state >> 16) as u16 & 7) + 1);
                let range = usize::from(offset)..usize::from(offset + len);
                let fragment = Fragment {
                    id: 0,
                    protocol: 0,
                    offset,
                    len,
                    more: true,
                };
                let overlaps = bytes[range.clone()].contains(&true);
                let stretches = bytes.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
                match seen.add(fragment) {
                    Ok(()) => {
                        assert!(!overlaps);
                        bytes[range].fill(true);
                    }
                    Err(_) => assert!(overlaps || stretches == STRETCHES),
                }
            }
        }
    }
}
