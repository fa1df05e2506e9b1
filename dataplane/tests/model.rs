//! A slow, obvious forwarder against the fast one: random conversations over random, changing tables.
//!
//! The model knows packets as their fields and flows as a `HashMap`. What must leave is written anew by
//! `etherparse` with whole checksums and compared byte by byte; only the source port of a new `nat` flow is
//! taken from the fast one, and held to its rules from then on. A failure names the seed and the step.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod common;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support {
    pub mod check;
    pub mod frame;
}

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

use common::{BACKENDS, CLIENTS, MTU, SNAT_V4, SNAT_V6, Service, config, mac_of, workers};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use maglane_dataplane::Verdict;
use maglane_dataplane::flow_table::FlowEntry;
use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::{FlowHash, FlowKey, HashInputs};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::policy::{AffinityTimeout, Policy, Removal, SourceRanges};
use maglane_shared::service::{BackendId, BackendState, ForwardingMode};
use maglane_shared::table::{BackendEntry, ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;
use support::check::check;
use support::frame::{ACKNOWLEDGMENT, Frame, PORT0, PORT1, ROUTER, SEQUENCE, tcp, udp};

/// Packets a test; ten times as many in release builds.
const STEPS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
const NOW: Tick = Tick(5000);

type Endpoint = (Addr, u16);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A packet by its fields.
#[derive(Clone, Debug)]
struct Fields {
    src: Endpoint,
    dst: Endpoint,
    protocol: Protocol,
    flags: &'static str,
    ttl: u8,
    data: usize,
    dont_fragment: bool,
    vlan: bool,
}

impl Fields {
    fn frame(&self) -> Frame {
        let text = |(addr, port): Endpoint| std::net::SocketAddr::new(addr.ip(), port).to_string();
        let (src, dst) = (text(self.src), text(self.dst));
        let frame = match self.protocol {
            Protocol::Tcp => tcp(&src, &dst, self.flags),
            Protocol::Udp => udp(&src, &dst),
        };
        let frame = frame.ttl(self.ttl).data(self.data);
        let frame = if self.dont_fragment {
            frame
        } else {
            frame.fragmentable()
        };
        if self.vlan { frame.vlan(7) } else { frame }
    }

    /// The reset that answers it.
    fn reset(&self) -> Frame {
        let text = |(addr, port): Endpoint| std::net::SocketAddr::new(addr.ip(), port).to_string();
        let (from, to) = (text(self.dst), text(self.src));
        let frame = if self.flags.contains('A') {
            tcp(&from, &to, "R").numbers(ACKNOWLEDGMENT, 0, 0)
        } else {
            let after = SEQUENCE + self.data as u32 + u32::from(self.flags.contains('F'));
            tcp(&from, &to, "RA").numbers(0, after, 0)
        };
        let frame = frame.ttl(64).id(0);
        if self.vlan { frame.vlan(7) } else { frame }
    }

    fn ip_len(&self) -> usize {
        let ip = if self.dst.0.is_v4() { 20 } else { 40 };
        let transport = match self.protocol {
            Protocol::Tcp => 20,
            Protocol::Udp => 8,
        };
        ip + transport + self.data
    }

    fn forbids_fragments(&self) -> bool {
        self.dont_fragment || !self.dst.0.is_v4()
    }
}

/// What the model says of a packet.
#[derive(Debug)]
enum Expected {
    /// Leaves like this; `nat` = from a port of ours that is yet to be seen.
    Out {
        fields: Fields,
        port: PortIndex,
        mac: [u8; 6],
        tunnel: Option<ForwardingMode>,
        new_source: bool,
    },
    Reply,
    /// Turned round into a TCP reset.
    Reset,
    Pass,
    Drop(DropReason),
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    backend: BackendId,
    source: Option<Endpoint>,
    ended: bool,
}

type FlowKeyOf = (Endpoint, VipKey);

#[derive(Default)]
struct Model {
    flows: HashMap<FlowKeyOf, Flow>,
    /// (backend, our side, protocol) -> flow: how replies find back.
    returns: HashMap<(Endpoint, Endpoint, Protocol), FlowKeyOf>,
    /// Where a client's last flow to a VIP port with affinity went.
    homes: HashMap<(Addr, VipKey), BackendId>,
}

impl Model {
    fn client(&mut self, table: &ForwardingTable, packet: &Fields) -> Expected {
        let vip = VipKey {
            addr: packet.dst.0,
            port: packet.dst.1,
            protocol: packet.protocol,
        };
        let Some(service) = table.services.entries().iter().find(|s| s.key == vip) else {
            return Expected::Drop(DropReason::VipUnknownPort);
        };
        if !service.admits(packet.src.0) {
            return Expected::Drop(DropReason::SourceNotAllowed);
        }
        if packet.ttl <= 1 {
            return Expected::Reply;
        }
        if self.is_reset(table, packet, service) {
            self.flows.get_mut(&(packet.src, vip)).unwrap().ended = true;
            return Expected::Reset;
        }
        let id = match self.backend_of(table, packet, vip) {
            Ok(id) => id,
            Err(reason) => return Expected::Drop(reason),
        };
        let backend = table.backend(id).unwrap();
        let overhead = match (service.mode, backend.addr.is_v4()) {
            (ForwardingMode::Nat | ForwardingMode::Dnat | ForwardingMode::L2Dsr, _) => 0,
            (ForwardingMode::Ipip, true) => 20,
            (ForwardingMode::Gue, true) => 28,
            (ForwardingMode::Ipip, false) => 40,
            (ForwardingMode::Gue, false) => 48,
        };
        let mtu = service.policy.as_ref().map_or(MTU, |p| p.limit(MTU));
        if packet.ip_len() + overhead > usize::from(mtu) {
            let refused = Expected::Drop(DropReason::TooBigFragmentable);
            return if packet.forbids_fragments() {
                Expected::Reply
            } else {
                refused
            };
        }
        let mut fields = Fields {
            ttl: packet.ttl - 1,
            ..packet.clone()
        };
        let flow = self.flows.get(&(packet.src, vip));
        let source = flow.and_then(|f| f.source);
        match service.mode {
            ForwardingMode::Nat => {
                fields.dst = (backend.addr, backend.port);
                fields.src = source.unwrap_or(packet.src);
            }
            ForwardingMode::Dnat => fields.dst = (backend.addr, backend.port),
            ForwardingMode::L2Dsr | ForwardingMode::Ipip | ForwardingMode::Gue => {}
        }
        let tunnel =
            matches!(service.mode, ForwardingMode::Ipip | ForwardingMode::Gue).then_some(service.mode);
        let new_source = service.mode == ForwardingMode::Nat && source.is_none();
        Expected::Out {
            fields,
            port: BACKENDS,
            mac: mac_of(backend.addr).0,
            tunnel,
            new_source,
        }
    }

    /// Does the packet go on with a TCP flow whose backend leaves, and does the service want that reset?
    fn is_reset(&self, table: &ForwardingTable, packet: &Fields, service: &ServiceEntry) -> bool {
        let Some(flow) = self.flows.get(&(packet.src, service.key)) else {
            return false;
        };
        let wanted = service
            .policy
            .as_ref()
            .is_some_and(|p| p.removal == Removal::Reset);
        let leaves = match table.backend(flow.backend) {
            Some(backend) => backend.state == BackendState::Draining && !service.maglev.is_empty(),
            None => true,
        };
        let goes_on = packet.protocol == Protocol::Tcp && packet.flags != "S" && packet.flags != "R";
        wanted && leaves && goes_on
    }

    /// The backend for a new flow.
    fn choose(
        &mut self,
        table: &ForwardingTable,
        packet: &Fields,
        service: &ServiceEntry,
        hash: FlowHash,
    ) -> Result<BackendId, DropReason> {
        let (id, _) = table.select(service, hash).ok_or(DropReason::NoBackend)?;
        if service.policy.as_ref().is_none_or(|p| p.affinity.is_none()) {
            return Ok(id);
        }
        let client = (packet.src.0, service.key);
        let held = self.homes.get(&client).copied();
        let active = |id: &BackendId| {
            table
                .backend(*id)
                .is_some_and(|b| b.state == BackendState::Active)
        };
        let chosen = held.filter(active).unwrap_or(id);
        if packet.protocol == Protocol::Udp || packet.flags != "R" {
            self.homes.insert(client, chosen);
        }
        Ok(chosen)
    }

    /// The flow's backend, or a new flow's.
    fn backend_of(
        &mut self,
        table: &ForwardingTable,
        packet: &Fields,
        vip: VipKey,
    ) -> Result<BackendId, DropReason> {
        let service = table.services.entries().iter().find(|s| s.key == vip).unwrap();
        let key = (packet.src, vip);
        let reset = packet.protocol == Protocol::Tcp && packet.flags.contains('R');
        let ending = packet.protocol == Protocol::Tcp && packet.flags.contains(['F', 'R']);
        let opening = packet.protocol == Protocol::Tcp && packet.flags == "S";
        if let Some(flow) = self.flows.get(&key).copied() {
            let draining = table
                .backend(flow.backend)
                .map(|b| b.state == BackendState::Draining);
            let removal = service.policy.as_ref().map_or(Removal::Drain, |p| p.removal);
            let leave = match removal {
                _ if service.maglev.is_empty() => false,
                _ if packet.protocol == Protocol::Udp => true,
                Removal::Drain => false,
                Removal::Move => true,
                // What goes on was reset before; a reset of the client's own stays.
                Removal::Reset => opening,
            };
            if draining.is_some_and(|d| !(d && leave)) && !(opening && flow.ended) {
                // A reset closes, a FIN closes; what follows either does not open again.
                self.flows.get_mut(&key).unwrap().ended |= ending;
                return Ok(flow.backend);
            }
            self.flows.remove(&key);
            self.returns.retain(|_, k| *k != key);
        }
        let flow_key = FlowKey {
            client: packet.src.0,
            vip: vip.addr,
            client_port: packet.src.1,
            vip_port: vip.port,
            protocol: vip.protocol,
        };
        let hash = flow_key.hash(&table.hash_key);
        let hash = match service.hash_inputs {
            HashInputs::FiveTuple => hash,
            HashInputs::ClientAddress => flow_key.selection_hash(&table.hash_key, service.hash_inputs, hash),
        };
        let id = self.choose(table, packet, service, hash)?;
        let backend = table.backend(id).unwrap();
        let translated = matches!(service.mode, ForwardingMode::Nat | ForwardingMode::Dnat);
        if translated && backend.addr.family() != vip.addr.family() {
            return Err(DropReason::FamilyMismatch);
        }
        let reply = ((backend.addr, backend.port), packet.src, packet.protocol);
        if service.mode == ForwardingMode::Dnat && self.returns.get(&reply).is_some_and(|k| *k != key) {
            return Err(DropReason::NatPortsExhausted);
        }
        if !reset {
            self.flows.insert(
                key,
                Flow {
                    backend: id,
                    source: None,
                    ended: ending,
                },
            );
            if service.mode == ForwardingMode::Dnat {
                self.returns.insert(reply, key);
            }
        }
        Ok(id)
    }

    /// A new flow's source, as the fast one chose it: ours, in range, and nobody else's.
    fn learn(&mut self, packet: &Fields, source: Endpoint, backend: Endpoint) {
        let (config, vip) = (
            config(),
            VipKey {
                addr: packet.dst.0,
                port: packet.dst.1,
                protocol: packet.protocol,
            },
        );
        assert!(config.snat.ports.contains(&source.1), "port {}", source.1);
        assert_eq!(
            source.0,
            if source.0.is_v4() { SNAT_V4 } else { SNAT_V6 }.parse().unwrap()
        );
        let key = (packet.src, vip);
        let reply = (backend, source, packet.protocol);
        let Some(flow) = self.flows.get_mut(&key) else {
            assert!(
                !self.returns.contains_key(&reply),
                "a reset from another flow's port"
            );
            return;
        };
        flow.source = Some(source);
        assert_eq!(self.returns.insert(reply, key), None, "one port, two flows");
    }

    /// A packet that did not fit made a flow nevertheless: its source is in the fast one's flow table.
    fn learn_unseen(&mut self, table: &ForwardingTable, worker: &common::Worker, packet: &Fields) {
        let vip = VipKey {
            addr: packet.dst.0,
            port: packet.dst.1,
            protocol: packet.protocol,
        };
        let Some(service) = table.services.lookup(&vip) else {
            return;
        };
        let unknown = self
            .flows
            .get(&(packet.src, vip))
            .filter(|flow| flow.source.is_none());
        let (ForwardingMode::Nat, Some(flow)) = (service.mode, unknown) else {
            return;
        };
        let BackendEntry { addr, port, .. } = *table.backend(flow.backend).unwrap();
        let flows = worker.forwarder.flows();
        let mut entries = (0..flows.buckets()).flat_map(|bucket| flows.bucket_entries(bucket));
        let same =
            |e: &&FlowEntry| e.id.service == service.id && (e.id.client, e.id.client_port) == packet.src;
        let ours = if addr.is_v4() { SNAT_V4 } else { SNAT_V6 };
        let source = (ours.parse().unwrap(), entries.find(same).unwrap().nat_port);
        self.learn(packet, source, (addr, port));
    }

    fn reply(&self, table: &ForwardingTable, packet: &Fields) -> Expected {
        let found = self.returns.get(&(packet.src, packet.dst, packet.protocol));
        let (src, dst) = match found {
            Some((client, vip)) => ((vip.addr, vip.port), *client),
            None if [SNAT_V4, SNAT_V6]
                .map(|a| a.parse().unwrap())
                .contains(&packet.dst.0) =>
            {
                return Expected::Drop(DropReason::NatReturnUnknown);
            }
            // No reply, but this node is a dnat backend's router.
            None => {
                let from = VipKey {
                    addr: packet.src.0,
                    port: packet.src.1,
                    protocol: packet.protocol,
                };
                if !table.services.is_dnat_backend(&from) {
                    return Expected::Pass;
                }
                (packet.src, packet.dst)
            }
        };
        if packet.ttl <= 1 {
            return Expected::Reply;
        }
        if packet.ip_len() > usize::from(MTU) {
            let refused = Expected::Drop(DropReason::TooBigFragmentable);
            return if packet.forbids_fragments() {
                Expected::Reply
            } else {
                refused
            };
        }
        let fields = Fields {
            src,
            dst,
            ttl: packet.ttl - 1,
            ..packet.clone()
        };
        Expected::Out {
            fields,
            port: CLIENTS,
            mac: ROUTER,
            tunnel: None,
            new_source: false,
        }
    }
}

/// Services in every mode and family, some with backends of the other family.
fn services() -> Vec<Service> {
    let v4 = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:9090"];
    let v6 = ["[2001:db8:a::1]:8080", "[2001:db8:a::2]:8080"];
    let mut services = vec![];
    for (n, mode) in (1..).zip(ForwardingMode::ALL) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            services.push(Service::new(&format!("192.0.2.{n}:80"), protocol, mode, &v4));
            services.push(Service::new(&format!("[2001:db8::{n}]:80"), protocol, mode, &v6));
        }
        services.push(Service::new(&format!("192.0.2.{n}:81"), Protocol::Tcp, mode, &v6));
    }
    services[0].inputs = HashInputs::ClientAddress;
    for (n, service) in services.iter_mut().enumerate() {
        service.policy = policy(n);
    }
    services
}

/// A third of the services ask for nothing.
fn policy(n: usize) -> Policy {
    let ranges = ["203.0.113.2/31", "203.0.113.4/32", "2001:db8:9::2/127"].map(|net| net.parse().unwrap());
    Policy {
        sources: (n % 6 == 1).then(|| SourceRanges::new(ranges)),
        affinity: AffinityTimeout::from_secs(3600).filter(|_| n % 3 == 2),
        removal: Removal::ALL[n % 3],
        mtu: NonZeroU16::new(1400).filter(|_| n % 12 == 4),
        ..Policy::default()
    }
}

/// A backend drains, comes back, or is replaced by another at the same place.
fn change(random: &mut Random, services: &mut [Service], epoch: u32) {
    let backends = &mut services[random.below(25)].backends;
    let at = random.below(backends.len());
    match random.below(3) {
        0 => backends[at].2 = BackendState::Draining,
        1 => backends[at].2 = BackendState::Active,
        _ => backends[at].3 = epoch,
    }
}

fn any_packet(random: &mut Random, services: &[Service]) -> Fields {
    let vip = random.pick(services).vip;
    let n = random.below(400);
    let client: Addr = match vip.addr.is_v4() {
        true => Addr::from_v4_bytes([203, 0, 113, 1 + (n / 100) as u8]),
        false => format!("2001:db8:9::{}", 1 + n / 100).parse().unwrap(),
    };
    Fields {
        src: (client, 40_000 + n as u16),
        dst: (vip.addr, vip.port + 2 * u16::from(random.below(20) == 0)),
        protocol: vip.protocol,
        flags: ["S", "A", "PA", "A", "FA", "F", "R", "SA"][random.below(8)],
        ttl: if random.below(20) == 0 {
            random.below(2) as u8
        } else {
            2 + random.below(250) as u8
        },
        data: if random.below(10) == 0 {
            1380 + random.below(120)
        } else {
            random.below(100)
        },
        dont_fragment: random.below(2) == 0,
        vlan: random.below(4) == 0,
    }
}

/// The same frame with its checksums blanked: zero and 0xffff mean the same to UDP's and RFC 1624's sums.
fn blank(mut frame: Vec<u8>) -> Vec<u8> {
    let at = checksum_at(&frame);
    frame[at..at + 2].fill(0);
    frame
}

fn checksum_at(frame: &[u8]) -> usize {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let l4 = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => ip.payload().payload.as_ptr() as usize,
        NetSlice::Ipv6(ip) => ip.payload().payload.as_ptr() as usize,
        NetSlice::Arp(_) => panic!("ARP"),
    } - frame.as_ptr() as usize;
    match sliced.transport {
        Some(TransportSlice::Tcp(_)) => l4 + 16,
        Some(TransportSlice::Udp(_)) => l4 + 6,
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => {
            panic!("no ports")
        }
    }
}

/// Takes the outer headers off, after holding them against the tunnel's rules.
fn unwrap(frame: &[u8], mode: ForwardingMode, backend: Addr) -> Vec<u8> {
    let (link, l3) = support::check::link(frame);
    let v4 = link == 0x0800;
    assert_eq!(v4, backend.is_v4());
    let (ip, protocol) = if v4 {
        (20, frame[l3 + 9])
    } else {
        (40, frame[l3 + 6])
    };
    let dst = if v4 {
        &frame[l3 + 16..l3 + 20]
    } else {
        &frame[l3 + 24..l3 + 40]
    };
    assert!(backend.v6_bytes().ends_with(dst));
    let inner = match mode {
        ForwardingMode::Gue => {
            assert_eq!(
                (protocol, &frame[l3 + ip + 2..l3 + ip + 4]),
                (17, &6080u16.to_be_bytes()[..])
            );
            l3 + ip + 8
        }
        ForwardingMode::Ipip => {
            let prefix: &[u8] = if v4 { &[172, 16] } else { &[1, 0, 0, 0, 0, 0, 0, 0] };
            assert!(frame[l3 + if v4 { 12 } else { 8 }..].starts_with(prefix));
            l3 + ip
        }
        ForwardingMode::Nat | ForwardingMode::Dnat | ForwardingMode::L2Dsr => panic!("no tunnel"),
    };
    let mut out = frame[..l3].to_vec();
    let kind: u16 = if frame[inner] >> 4 == 4 { 0x0800 } else { 0x86dd };
    out[l3 - 2..].copy_from_slice(&kind.to_be_bytes());
    out.extend(&frame[inner..]);
    out
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut services = services();
    let mut table = common::table(0, &services);
    let mut config = config();
    config.flow_table_size = 1 << 17;
    config.icmp.total = 1_000_000;
    config.icmp.per_source = 1_000_000;
    let mut worker = workers(&config, 1).remove(0);
    let mut model = Model::default();
    let mut seen: Vec<Fields> = vec![];
    let mut outcomes = HashSet::new();
    for step in 0..STEPS {
        if random.below(200) == 0 {
            change(&mut random, &mut services, step as u32 + 2);
            table = common::table(step as u64, &services);
        }
        let back = !seen.is_empty() && random.below(3) == 0;
        let (packet, port) = if back {
            // A backend answers something it has received at some time.
            let Fields { src, dst, .. } = *random.pick(&seen);
            let stray = u16::from(random.below(20) == 0);
            (
                Fields {
                    src: (dst.0, dst.1 + stray),
                    dst: src,
                    ..random.pick(&seen).clone()
                },
                BACKENDS,
            )
        } else {
            (any_packet(&mut random, &services), CLIENTS)
        };
        let macs = if back {
            (PORT1, [2, 7, 7, 7, 7, 7])
        } else {
            (PORT0, ROUTER)
        };
        let bytes = packet.frame().macs(macs.0, macs.1).bytes();
        let expected = if back {
            model.reply(&table, &packet)
        } else {
            model.client(&table, &packet)
        };
        let (verdict, out) = worker.process(&table, port, &bytes, NOW);
        let context = || format!("seed {seed} step {step}: {packet:?} -> {expected:?}, got {verdict:?}");
        outcomes.insert(std::mem::discriminant(&expected));
        if !back && !matches!(expected, Expected::Out { .. }) {
            model.learn_unseen(&table, &worker, &packet);
        }
        match &expected {
            Expected::Drop(reason) => assert_eq!(verdict, Verdict::Drop(*reason), "{}", context()),
            Expected::Pass => assert_eq!(verdict, Verdict::Pass, "{}", context()),
            Expected::Reply => {
                assert_eq!(verdict, Verdict::Reply, "{}", context());
                check(&out);
            }
            Expected::Reset => {
                assert_eq!(verdict, Verdict::Reply, "{}", context());
                assert_eq!(out, packet.reset().macs(ROUTER, PORT0).bytes(), "{}", context());
            }
            Expected::Out {
                fields,
                port,
                mac,
                tunnel,
                new_source,
            } => {
                assert_eq!(verdict, Verdict::Forward(*port), "{}", context());
                check(&out);
                let mut fields = fields.clone();
                if *new_source {
                    let parsed = maglane_dataplane::forward::parse::parse(&out).unwrap();
                    let l4 = usize::from(parsed.l4);
                    fields.src = (parsed.src, u16::from_be_bytes([out[l4], out[l4 + 1]]));
                    model.learn(&packet, fields.src, fields.dst);
                }
                let inner = match tunnel {
                    Some(mode) => {
                        let by_mac = |b: &&BackendEntry| mac_of(b.addr).0 == *mac;
                        unwrap(&out, *mode, table.backends.iter().find(by_mac).unwrap().addr)
                    }
                    None => out.clone(),
                };
                let ours = if back { PORT0 } else { PORT1 };
                let want = fields.frame().macs(*mac, ours).bytes();
                assert_eq!(blank(inner), blank(want), "{}", context());
                if !back && tunnel.is_none() && fields.dst != packet.dst {
                    seen.push(fields);
                }
            }
        }
    }
    assert_eq!(outcomes.len(), 5, "all kinds of outcome");
    assert_eq!(worker.counters.flow_entries.get(), model.flows.len() as u64);
}

#[test]
fn the_fast_forwarder_does_what_the_obvious_one_does() {
    (1..=5).for_each(run);
}
