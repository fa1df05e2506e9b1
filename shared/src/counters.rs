//! What workers count. One writer a counter (its worker), any reader: plain loads and stores, no
//! locked instruction on the hot path.
//!
//! [`DropReason`] is the one list of reasons: variant = counter = metric label = doc line = test name.

use crossbeam::utils::CachePadded;

use crate::addr::Addr;
use crate::service::{BackendId, ServiceId};
use crate::table::Generation;
use crate::tick::Tick;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A 64-bit count with one writing thread.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the owning worker calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub fn sub(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! drop_reasons {
    ($($variant:ident $label:literal $help:literal)+) => {
        /// Why a packet ended here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $variant,)+
        }

        impl DropReason {
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];
            pub const COUNT: usize = Self::ALL.len();

            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$variant => $label,)+ }
            }

            /// One line for people.
            pub const fn help(self) -> &'static str {
                match self { $(DropReason::$variant => $help,)+ }
            }
        }
    };
}

drop_reasons! {
    EthernetTruncated "ethernet_truncated" "Shorter than its Ethernet and VLAN headers."
    EthernetMulticast "ethernet_multicast" "Sent to a multicast or broadcast MAC address."
    EthernetOtherHost "ethernet_other_host" "Sent to the MAC address of another host."
    EtherTypeUnknown "ether_type_unknown" "Neither IPv4 nor IPv6."
    VlanTooDeep "vlan_too_deep" "More than two VLAN tags."
    Ipv4Truncated "ipv4_truncated" "Shorter than its IPv4 header."
    Ipv4BadVersion "ipv4_bad_version" "An IPv4 EtherType with another version in the header."
    Ipv4BadHeaderLength "ipv4_bad_header_length" "IPv4 header length below 20 bytes or past the end of the packet."
    Ipv4BadTotalLength "ipv4_bad_total_length" "IPv4 total length below its header or past the end of the frame."
    Ipv4BadChecksum "ipv4_bad_checksum" "IPv4 header checksum is wrong."
    Ipv6Truncated "ipv6_truncated" "Shorter than its IPv6 header."
    Ipv6BadVersion "ipv6_bad_version" "An IPv6 EtherType with another version in the header."
    Ipv6BadPayloadLength "ipv6_bad_payload_length" "IPv6 payload length past the end of the frame, or a jumbogram."
    Ipv6ExtensionTruncated "ipv6_extension_truncated" "An IPv6 extension header runs past the end of the packet."
    Ipv6ExtensionsTooMany "ipv6_extensions_too_many" "More IPv6 extension headers than are followed."
    Ipv6RoutingHeader "ipv6_routing_header" "An IPv6 routing header that makes this node a waypoint (RFC 5095)."
    AddressInvalid "address_invalid" "Source is unspecified, multicast, loopback or broadcast, or IPv4 inside IPv6."
    LandAttack "land_attack" "Source and destination address are the same."
    ProtocolUnsupported "protocol_unsupported" "Neither TCP, UDP nor ICMP."
    TcpTruncated "tcp_truncated" "Shorter than its TCP header."
    TcpBadDataOffset "tcp_bad_data_offset" "TCP data offset below 20 bytes or past the end of the packet."
    TcpBadFlags "tcp_bad_flags" "An impossible set of TCP flags: none, SYN with FIN, or SYN with RST."
    UdpTruncated "udp_truncated" "Shorter than its UDP header."
    UdpBadLength "udp_bad_length" "UDP length below 8 bytes or past the end of the packet."
    UdpZeroChecksum "udp_zero_checksum" "UDP over IPv6 without a checksum (RFC 8200 §8.1)."
    IcmpTruncated "icmp_truncated" "Shorter than its ICMP header, or the packet quoted in an error is too short to tell its flow."
    IcmpBadChecksum "icmp_bad_checksum" "ICMP checksum is wrong."
    IcmpTypeIgnored "icmp_type_ignored" "An ICMP message that a virtual address does not answer or carry."
    IcmpUnknownFlow "icmp_unknown_flow" "An ICMP error about a flow that is not ours."
    IcmpRateLimited "icmp_rate_limited" "An ICMP message not sent or answered because its rate limit was reached."
    TtlExceeded "ttl_exceeded" "TTL or hop limit ran out here in a packet that may not be answered; answered ones count as replies."
    VipUnknownPort "vip_unknown_port" "A virtual address, but no service on this port."
    SourceNotAllowed "source_not_allowed" "The client is in none of the service's source ranges (loadBalancerSourceRanges)."
    NoBackend "no_backend" "The service has no usable backend."
    ResetNotSent "reset_not_sent" "Of a flow that is to be reset, its backend being removed, but not answered: a fragment, or the rate limit was reached."
    FamilyMismatch "family_mismatch" "The backend's address family cannot be reached in this forwarding mode."
    NatPortsExhausted "nat_ports_exhausted" "No free source port towards this backend: add --snat-address or widen --snat-ports."
    NatTableFull "nat_table_full" "No room for another translated flow: raise --flow-table-size."
    NatReturnUnknown "nat_return_unknown" "A reply to a translated flow that is not (or no longer) known."
    FragmentUnknown "fragment_unknown" "A later fragment whose first fragment was not seen."
    FragmentInvalid "fragment_invalid" "A first fragment too short to hold its transport header, or an overlapping one."
    TooBig "too_big" "Larger than the path's MTU in a packet that may not be answered; answered ones count as replies."
    TooBigFragmentable "too_big_fragmentable" "Larger than the path's MTU without the don't-fragment bit; Maglane does not fragment."
    NoHeadroom "no_headroom" "No room in front of the packet for the outer headers."
    NoRoute "no_route" "The kernel has no route to the destination through a served interface."
    NextHopUnresolved "next_hop_unresolved" "The next hop's MAC address is not known yet."
    NeighborMalformed "neighbor_malformed" "An ARP or neighbor discovery message that breaks the rules of RFC 826 or RFC 4861 §7.1."
    NeighborNotOwned "neighbor_not_owned" "Asks for an address that this node does not answer for on this interface."
    NeighborIgnored "neighbor_ignored" "An ARP or neighbor discovery message that asks nothing of us: our own, an answer, or meant for another host."
    NeighborFenced "neighbor_fenced" "Asks for a virtual address after this node's right to answer has run out: its node lease was not renewed."
    NeighborConflict "neighbor_conflict" "Another MAC address claims a virtual address that this node answers for."
    PortUnknown "port_unknown" "The next hop is on an interface this worker has no socket for."
    TxRingFull "tx_ring_full" "The interface did not take the packet: its transmit ring stayed full."
}

/// Where a packet buffer can be. The places add up to all buffers, always (invariant 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FramePlace {
    /// On the worker's free list.
    Free,
    /// Given to the kernel to receive into.
    Fill,
    /// Received, not yet taken.
    Rx,
    /// Given to the kernel to send.
    Tx,
    /// Sent, not yet taken back.
    Completion,
    /// In the worker's hands.
    Held,
}

impl FramePlace {
    pub const ALL: [FramePlace; 6] = [
        FramePlace::Free,
        FramePlace::Fill,
        FramePlace::Rx,
        FramePlace::Tx,
        FramePlace::Completion,
        FramePlace::Held,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            FramePlace::Free => "free",
            FramePlace::Fill => "fill",
            FramePlace::Rx => "rx",
            FramePlace::Tx => "tx",
            FramePlace::Completion => "completion",
            FramePlace::Held => "held",
        }
    }
}

/// Milliseconds between two counts of the packet buffers.
pub const CENSUS_MS: u32 = 100;

/// Packets, bytes and flows of one service or one backend on one worker.
#[derive(Debug, Default)]
#[repr(align(32))]
pub struct FlowStats {
    pub packets: Counter,
    pub bytes: Counter,
    pub new_flows: Counter,
    pub active_flows: Counter,
}

impl FlowStats {
    /// A packet went on.
    #[inline]
    pub fn carried(&self, bytes: u64) {
        self.packets.add(1);
        self.bytes.add(bytes);
    }
}

/// Everything one worker counts; shared with the control side for reading.
#[derive(Debug)]
pub struct Counters {
    pub rx_packets: Counter,
    pub rx_bytes: Counter,
    /// Frames handed to a transmit ring that came in on a receive ring (forwarded or turned round).
    pub tx_packets: Counter,
    pub tx_bytes: Counter,
    /// Of `tx_packets`: answers made here (echo replies, ICMP errors, TCP resets).
    pub replies: Counter,
    /// Of `replies`: TCP resets of flows whose backend was removed.
    pub resets: Counter,
    /// Frames left to the kernel.
    pub passed: Counter,
    pub drops: [Counter; DropReason::COUNT],
    pub flow_hits: Counter,
    pub flow_misses: Counter,
    pub flow_inserts: Counter,
    pub flow_evictions: Counter,
    pub flow_expirations: Counter,
    pub flow_entries: Counter,
    pub nat_entries: Counter,
    /// New flows, of services with client affinity, whose client had a backend that could still be used.
    pub affinity_hits: Counter,
    /// New flows of such services whose client had none, or one that is gone.
    pub affinity_misses: Counter,
    /// Of `affinity_misses`: there was no room to remember the client.
    pub affinity_full: Counter,
    /// ARP requests and neighbour solicitations for addresses this node owns.
    pub neighbor_requests: Counter,
    /// Of `replies`: answers to those.
    pub neighbor_answers: Counter,
    /// Turns of the loop with and without packets.
    pub busy_turns: Counter,
    pub idle_turns: Counter,
    pub sleeps: Counter,
    /// Longest time between two turns since the start, in microseconds.
    pub longest_gap_us: Counter,
    /// Packet buffers by where they are, as of the last census (every [`CENSUS_MS`]); see [`FramePlace`].
    pub frames: [Counter; FramePlace::ALL.len()],
    /// Descriptors from the kernel that named a buffer it did not hold.
    pub bad_descriptors: Counter,
    /// Batches by size: 1, 2-3, 4-7, ... 64 and more.
    pub batch_sizes: [Counter; 8],
    /// By [`ServiceId::slot`].
    pub services: Box<[FlowStats]>,
    /// By [`BackendId::slot`].
    pub backends: Box<[FlowStats]>,
}

impl Counters {
    pub fn new(services: usize, backends: usize) -> Self {
        let stats = |n| std::iter::repeat_with(FlowStats::default).take(n).collect();
        Counters {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            replies: Counter::default(),
            resets: Counter::default(),
            passed: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            flow_hits: Counter::default(),
            flow_misses: Counter::default(),
            flow_inserts: Counter::default(),
            flow_evictions: Counter::default(),
            flow_expirations: Counter::default(),
            flow_entries: Counter::default(),
            nat_entries: Counter::default(),
            affinity_hits: Counter::default(),
            affinity_misses: Counter::default(),
            affinity_full: Counter::default(),
            neighbor_requests: Counter::default(),
            neighbor_answers: Counter::default(),
            busy_turns: Counter::default(),
            idle_turns: Counter::default(),
            sleeps: Counter::default(),
            longest_gap_us: Counter::default(),
            frames: std::array::from_fn(|_| Counter::default()),
            bad_descriptors: Counter::default(),
            batch_sizes: std::array::from_fn(|_| Counter::default()),
            services: stats(services),
            backends: stats(backends),
        }
    }

    #[inline]
    pub fn drop(&self, reason: DropReason) {
        self.drops[reason as usize].add(1);
    }

    #[inline]
    pub fn service(&self, id: ServiceId) -> Option<&FlowStats> {
        self.services.get(id.slot as usize)
    }

    #[inline]
    pub fn backend(&self, id: BackendId) -> Option<&FlowStats> {
        self.backends.get(id.slot as usize)
    }

    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }
}

/// A worker's sign of life: written once a turn, read by the liveness and control threads.
#[derive(Debug, Default)]
pub struct Vitals {
    heartbeat: CachePadded<AtomicU64>,
    generation: CachePadded<AtomicU64>,
    stopped: AtomicBool,
}

impl Vitals {
    /// One turn of the loop has begun.
    #[inline]
    pub fn beat(&self) {
        self.heartbeat.store(
            self.heartbeat.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    pub fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// The worker now runs this table. Release: what it did under the old one happened before.
    #[inline]
    pub fn run(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Release);
    }

    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Token bucket over [`Tick`]s, for ICMP.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    tokens_milli: u32,
    last: Tick,
}

impl TokenBucket {
    pub const fn full(burst: u32, now: Tick) -> Self {
        TokenBucket {
            tokens_milli: burst * 1000,
            last: now,
        }
    }

    /// Takes a token if there is one. `rate` tokens a second, at most `burst` saved (both below 10^6).
    pub fn take(&mut self, now: Tick, rate: u32, burst: u32) -> bool {
        let earned = u64::from(now.since(self.last)) * u64::from(rate);
        self.tokens_milli = (u64::from(self.tokens_milli) + earned).min(u64::from(burst) * 1000) as u32;
        self.last = now;
        if self.tokens_milli < 1000 {
            return false;
        }
        self.tokens_milli -= 1000;
        true
    }
}

/// A flow as `maglane flows` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub worker: u16,
    pub service: ServiceId,
    pub backend: BackendId,
    pub client: Addr,
    pub client_port: u16,
    /// Source address index and port towards the backend, in `nat` mode.
    pub nat: Option<(u8, u16)>,
    pub state: FlowState,
    /// Milliseconds since its last packet.
    pub idle_ms: u32,
}

/// How far a flow has come, as far as one direction tells (RFC 9293 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowState {
    /// SYN seen, nothing after it.
    SynSent = 1,
    Established = 2,
    /// A FIN was seen.
    Closing = 3,
    /// RST seen, or both sides closed.
    Closed = 4,
    /// UDP.
    Datagram = 5,
}

impl FlowState {
    pub const fn name(self) -> &'static str {
        match self {
            FlowState::SynSent => "syn-sent",
            FlowState::Established => "established",
            FlowState::Closing => "closing",
            FlowState::Closed => "closed",
            FlowState::Datagram => "datagram",
        }
    }
}

/// A request for the workers' flow tables: the control side bumps it, each worker answers each number once.
#[derive(Debug, Default)]
pub struct DumpRequest(AtomicU32);

impl DumpRequest {
    pub fn ask(&self) -> u32 {
        self.0.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    #[inline]
    pub fn current(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn drop_reasons_are_one_list() {
        let labels: HashSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert!(
                reason.help().ends_with('.') || reason.help().contains("--"),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_token_bucket_holds_its_rate() {
        let mut bucket = TokenBucket::full(10, Tick(0));
        let taken = (0..10_000u32)
            .filter(|ms| bucket.take(Tick(*ms), 100, 10))
            .count();
        assert!((1000..=1010).contains(&taken), "{taken}");
    }
}
