//! The kernel's links, addresses, routes and neighbours as events, and neighbours resolved through the kernel.
//!
//! Neighbours are followed message by message. Everything else is read anew, as a whole, when any message says
//! that it changed: the kernel drops IPv4 routes without a word when a link goes down, and tells of IPv6
//! multipath routes piecemeal. Next-hop objects (`nhid`) need nothing of their own: by default
//! (`net.ipv4.nexthop_compat_mode`) the kernel shows their routes in full. Netlink types end here.

mod decode;
mod follow;
mod read;

use futures_util::StreamExt;
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::effect::{NeighborRef, Question};
use crate::error::ControlError;
use crate::event::Event;

use follow::Follower;

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Of the event socket, in bytes: some ten thousand messages. What overflows it leads to reading all anew.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The source. Dropping it ends its tasks.
#[derive(Debug)]
pub struct Netlink {
    events: UnboundedReceiver<Vec<Event>>,
    wishes: UnboundedSender<Vec<NeighborRef>>,
    _tasks: JoinSet<()>,
}

impl Netlink {
    /// Opens its sockets in this thread's network namespace. Call inside a tokio runtime.
    pub fn open() -> Result<Netlink, ControlError> {
        let (mut followed, _, messages) =
            new_multicast_connection(&GROUPS).map_err(ControlError::NetlinkOpen)?;
        let socket = followed.socket_mut().socket_mut();
        // Needs no privilege, but the kernel may give less: an overflow is survived anyway.
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        // Requests go over another socket: an overflow of the first must not cost their answers.
        let (asked, handle, _) = new_connection().map_err(ControlError::NetlinkOpen)?;
        let (told, events) = unbounded_channel();
        let (wishes, wished) = unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(followed);
        tasks.spawn(asked);
        tasks.spawn(resolve_wishes(handle.clone(), wished));
        tasks.spawn(async move {
            Follower::new(handle, messages.map(|(message, _)| message), told)
                .run()
                .await
        });
        Ok(Netlink {
            events,
            wishes,
            _tasks: tasks,
        })
    }

    /// What has changed: at first everything, with `SourceSynced`. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Vec<Event>, ControlError> {
        self.events.recv().await.ok_or(ControlError::NetlinkClosed)
    }

    /// Makes the kernel ask these. What comes of it arrives as events.
    pub fn resolve(&self, neighbors: &[NeighborRef]) {
        if !neighbors.is_empty() {
            // A closed channel shows in `next`.
            let _ = self.wishes.send(neighbors.to_vec());
        }
    }
}

/// NTF_USE is what a packet of the kernel's own would do: ask when the entry is missing or failed. It leaves an
/// ordinary cache entry behind, which the kernel forgets in its own time. Set to PROBE, an entry is confirmed
/// by unicast however reachable it seemed; set to NONE, its address is forgotten and USE asks by broadcast.
async fn resolve_wishes(handle: Handle, mut wished: UnboundedReceiver<Vec<NeighborRef>>) {
    while let Some(neighbors) = wished.recv().await {
        for NeighborRef {
            port: _,
            interface,
            addr,
            question,
        } in neighbors
        {
            let ask = |state: NeighbourState, flags: NeighbourFlags| {
                let request = handle.neighbours().add(interface, addr.ip());
                request.state(state).flags(flags).replace().execute()
            };
            let none = NeighbourFlags::empty();
            // A link that is down, or an entry just gone: the controller asks again within a second.
            let _ = match question {
                Question::Resolve => ask(NeighbourState::None, NeighbourFlags::Use).await,
                Question::Confirm => ask(NeighbourState::Probe, none).await,
                Question::Anew => {
                    let _ = ask(NeighbourState::None, none).await;
                    ask(NeighbourState::None, NeighbourFlags::Use).await
                }
            };
        }
    }
}
