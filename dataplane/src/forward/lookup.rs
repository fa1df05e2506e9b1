//! Whose packet is this? A client's for a service, a backend's reply to a translated flow, or ICMP.

use maglane_shared::addr::{Protocol, VipKey};
use maglane_shared::counters::DropReason;
use maglane_shared::flow::{FlowHash, FlowKey};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::table::{ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;

use super::fragment::Ports;
use super::parse::{self, Icmp, Parsed, Transport};
use super::{Endpoint, Forwarder, l2};
use crate::flow_table::Segment;
use crate::returns::{ReplyKey, Via};
use crate::wire::tcp::TcpFlags;

/// A packet after the first pass.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'t> {
    pub(super) parsed: Parsed,
    pub(super) role: Role<'t>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Role<'t> {
    Client(Client<'t>),
    Reply(Reply),
    /// To a VIP, but not to a service of it.
    UnknownPort,
    Icmp(Icmp),
}

/// From a client to a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'t> {
    pub service: &'t ServiceEntry,
    pub client: Endpoint,
    pub hash: FlowHash,
    pub segment: Segment,
}

/// Perhaps from a backend to a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub key: ReplyKey,
    pub hash: FlowHash,
    pub segment: Segment,
}

/// What a flow is told by.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    from: Endpoint,
    to: Endpoint,
    protocol: Protocol,
    segment: Segment,
}

impl Forwarder {
    #[inline]
    pub(super) fn look_up<'t>(
        &mut self,
        data: &[u8],
        port: PortIndex,
        table: &'t ForwardingTable,
        now: Tick,
    ) -> Result<Prepared<'t>, DropReason> {
        let own = table
            .routes
            .port_macs
            .get(usize::from(port.0))
            .ok_or(DropReason::PortUnknown)?;
        let parsed = parse::parse(data)?;
        if l2::destination(data) != Some(*own) {
            return Err(DropReason::EthernetOtherHost);
        }
        let role = match self.tuple(&parsed, table, now)? {
            Ok(tuple) => self.role(&tuple, table),
            Err(message) => Role::Icmp(message),
        };
        Ok(Prepared { parsed, role })
    }

    /// Ports and protocol, for a later fragment those of its first; else the ICMP message.
    #[inline]
    fn tuple(
        &mut self,
        parsed: &Parsed,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Result<Tuple, Icmp>, DropReason> {
        let first = match parsed.fragment {
            None => None,
            Some(_) => self.fragments.ports(parsed, &table.hash_key, now)?,
        };
        let (src_port, dst_port, protocol, segment) = match (parsed.transport, first) {
            (
                Transport::Tcp {
                    src_port,
                    dst_port,
                    flags,
                },
                _,
            ) => (src_port, dst_port, Protocol::Tcp, segment(flags)),
            (Transport::Udp { src_port, dst_port }, _) => {
                (src_port, dst_port, Protocol::Udp, Segment::Datagram)
            }
            (Transport::Icmp(message), _) => return Ok(Err(message)),
            (
                Transport::LaterFragment,
                Some(Ports {
                    protocol,
                    src_port,
                    dst_port,
                }),
            ) => (src_port, dst_port, protocol, continuation(protocol)),
            (Transport::LaterFragment, None) => return Err(DropReason::FragmentUnknown),
        };
        let from = Endpoint {
            addr: parsed.src,
            port: src_port,
        };
        let to = Endpoint {
            addr: parsed.dst,
            port: dst_port,
        };
        Ok(Ok(Tuple {
            from,
            to,
            protocol,
            segment,
        }))
    }

    #[inline]
    fn role<'t>(&self, tuple: &Tuple, table: &'t ForwardingTable) -> Role<'t> {
        let Tuple {
            from,
            to,
            protocol,
            segment,
        } = *tuple;
        let vip = VipKey {
            addr: to.addr,
            port: to.port,
            protocol,
        };
        if let Some(service) = table.services.lookup(&vip) {
            let hash = flow_hash(table, from, vip);
            return Role::Client(Client {
                service,
                client: from,
                hash,
                segment,
            });
        }
        let via = self.via(to);
        if via == Via::Client && table.services.is_vip(to.addr) {
            return Role::UnknownPort;
        }
        let key = ReplyKey {
            backend: from,
            to,
            via,
            protocol,
        };
        Role::Reply(Reply {
            key,
            hash: key.hash(&table.hash_key),
            segment,
        })
    }
}

/// The hash of a client's flow.
#[inline]
pub(super) fn flow_hash(table: &ForwardingTable, client: Endpoint, vip: VipKey) -> FlowHash {
    FlowKey {
        client: client.addr,
        vip: vip.addr,
        client_port: client.port,
        vip_port: vip.port,
        protocol: vip.protocol,
    }
    .hash(&table.hash_key)
}

/// A later fragment has no flags of its own.
fn continuation(protocol: Protocol) -> Segment {
    match protocol {
        Protocol::Tcp => Segment::Other,
        Protocol::Udp => Segment::Datagram,
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
