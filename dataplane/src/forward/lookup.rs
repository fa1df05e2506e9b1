//! Whose packet is this? A client's for a service, a backend's reply to a translated flow, or ICMP.

use maglane_shared::addr::{Addr, Protocol, VipKey};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::{FlowHash, FlowKey};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::table::{ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;

use super::parse::{self, Icmp, Parsed, Transport};
use super::{Endpoint, Forwarder, l2};
use crate::flow_table::{FlowIndex, Segment};
use crate::returns::Via;
use crate::wire::tcp::TcpFlags;

/// A packet after the first pass; made once and written over, see [`parse::parse_into`].
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'t> {
    pub(super) parsed: Parsed,
    pub(super) role: Role<'t>,
    /// Of the flow; of a reply, where its mapping lies.
    pub(super) hash: FlowHash,
    /// Where its flow probably is, once it has been approached.
    pub(super) guess: Option<FlowIndex>,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) protocol: Protocol,
    pub(super) segment: Segment,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Role<'t> {
    /// From a client to a service.
    Client(&'t ServiceEntry),
    /// Perhaps from a backend to a client.
    Reply(Via),
    /// To a VIP, but not to a service of it.
    UnknownPort,
    Icmp(Icmp),
    /// ARP or neighbour discovery, on this interface.
    Neighbor(PortIndex),
    Refused(DropReason),
}

impl Prepared<'_> {
    /// What is to be written over.
    pub const EMPTY: Self = Prepared {
        parsed: Parsed::EMPTY,
        role: Role::UnknownPort,
        hash: FlowHash(0),
        guess: None,
        src_port: 0,
        dst_port: 0,
        protocol: Protocol::Tcp,
        segment: Segment::Other,
    };

    #[inline]
    pub(super) fn src(&self) -> Endpoint {
        let (addr, port) = (self.parsed.src, self.src_port);
        Endpoint { addr, port }
    }

    #[inline]
    pub(super) fn dst(&self) -> Endpoint {
        let (addr, port) = (self.parsed.dst, self.dst_port);
        Endpoint { addr, port }
    }
}

impl Forwarder {
    #[inline(always)]
    pub(super) fn look_up<'t>(
        &mut self,
        data: &[u8],
        port: PortIndex,
        table: &'t ForwardingTable,
        now: Tick,
        prepared: &mut Prepared<'t>,
    ) -> Result<(), DropReason> {
        let own = table.routes.port_macs.get(usize::from(port.0));
        let own = *own.ok_or(DropReason::PortUnknown)?;
        parse::parse_into(data, &mut prepared.parsed)?;
        if l2::destination(data) != Some(own) {
            return Err(DropReason::EthernetOtherHost);
        }
        if prepared.parsed.fragment.is_some() {
            return self.fragment(table, now, prepared);
        }
        match prepared.parsed.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => self.assign(
                table,
                prepared,
                (src_port, dst_port),
                Protocol::Tcp,
                segment(flags),
            ),
            Transport::Udp { src_port, dst_port } => {
                self.assign(
                    table,
                    prepared,
                    (src_port, dst_port),
                    Protocol::Udp,
                    Segment::Datagram,
                );
            }
            Transport::Icmp(Icmp::Neighbor) => prepared.role = Role::Neighbor(port),
            Transport::Icmp(message @ (Icmp::EchoRequest | Icmp::Error(_) | Icmp::Other)) => {
                prepared.role = Role::Icmp(message);
            }
            Transport::LaterFragment => return Err(DropReason::FragmentUnknown),
        }
        Ok(())
    }

    /// A later fragment's ports are those of its first.
    #[cold]
    fn fragment<'t>(
        &mut self,
        table: &'t ForwardingTable,
        now: Tick,
        prepared: &mut Prepared<'t>,
    ) -> Result<(), DropReason> {
        let parsed = &prepared.parsed;
        if let Transport::Icmp(message) = parsed.transport {
            prepared.role = Role::Icmp(message);
            return Ok(());
        }
        let ports = self.fragments.ports(parsed, &table.hash_key, now)?;
        let ports = ports.ok_or(DropReason::FragmentUnknown)?;
        let segment = match (parsed.transport, ports.protocol) {
            (Transport::Tcp { flags, .. }, _) => segment(flags),
            (_, Protocol::Tcp) => Segment::Other,
            (_, Protocol::Udp) => Segment::Datagram,
        };
        let numbers = (ports.src_port, ports.dst_port);
        self.assign(table, prepared, numbers, ports.protocol, segment);
        Ok(())
    }

    #[inline(always)]
    fn assign<'t>(
        &self,
        table: &'t ForwardingTable,
        prepared: &mut Prepared<'t>,
        (src_port, dst_port): (u16, u16),
        protocol: Protocol,
        segment: Segment,
    ) {
        let (src, dst) = (prepared.parsed.src, prepared.parsed.dst);
        prepared.src_port = src_port;
        prepared.dst_port = dst_port;
        prepared.protocol = protocol;
        prepared.segment = segment;
        // A reply's own flow hash is also where its mapping lies: one hash serves both roles.
        prepared.hash = FlowKey {
            client: src,
            vip: dst,
            client_port: src_port,
            vip_port: dst_port,
            protocol,
        }
        .hash(&table.hash_key);
        let vip = VipKey {
            addr: dst,
            port: dst_port,
            protocol,
        };
        prepared.role = match table.services.lookup(&vip) {
            Some(service) => {
                self.flows.prefetch_tags(prepared.hash);
                Role::Client(service)
            }
            None => self.no_service(table, prepared.hash, dst, dst_port),
        };
    }

    #[inline]
    fn no_service<'t>(&self, table: &ForwardingTable, hash: FlowHash, addr: Addr, port: u16) -> Role<'t> {
        match self.via(Endpoint { addr, port }) {
            Via::Client if table.services.is_vip(addr) => Role::UnknownPort,
            via @ (Via::Client | Via::Snat(_)) => {
                self.returns.prefetch(hash);
                Role::Reply(via)
            }
        }
    }
}

#[inline]
fn segment(flags: TcpFlags) -> Segment {
    if flags.contains(TcpFlags::RST) {
        Segment::Rst
    } else if flags.contains(TcpFlags::FIN) {
        Segment::Fin
    } else if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK) {
        Segment::Syn
    } else {
        Segment::Other
    }
}
