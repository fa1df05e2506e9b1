//! From messages to events: what to pass on, what to read anew.

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use rtnetlink::Handle;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval};

use super::decode;
use super::read;
use crate::error::ControlError;
use crate::event::{Event, Source};
use crate::problem::Problem;

/// Everything is read anew this often, should a message have been missed after all (FAILURES K12).
const READ_EVERY: Duration = Duration::from_secs(30);
/// After a read failed.
const RETRY: Duration = Duration::from_secs(1);

/// Parts of the kernel's state to read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stale {
    links: bool,
    addresses: bool,
    routes: bool,
    neighbors: bool,
}

impl Stale {
    const ALL: Stale = Stale {
        links: true,
        addresses: true,
        routes: true,
        neighbors: true,
    };
}

pub(super) struct Follower<S> {
    handle: Handle,
    messages: S,
    told: UnboundedSender<Vec<Event>>,
    stale: Stale,
    /// The last read failed, and the controller knows.
    failing: bool,
}

impl<S: Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin> Follower<S> {
    pub fn new(handle: Handle, messages: S, told: UnboundedSender<Vec<Event>>) -> Self {
        Follower {
            handle,
            messages,
            told,
            stale: Stale::ALL,
            failing: false,
        }
    }

    /// Ends when the kernel's socket or the other end of the channel does.
    pub async fn run(mut self) {
        let mut again = interval(READ_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.reset();
        let mut events = vec![];
        let mut synced = false;
        loop {
            self.read_stale(&mut events).await;
            if !synced && self.stale == Stale::default() {
                events.push(Event::SourceSynced(Source::Kernel));
                synced = true;
            }
            if !events.is_empty() && self.told.send(std::mem::take(&mut events)).is_err() {
                return;
            }
            let retry = async {
                match self.failing {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            let first = tokio::select! {
                message = self.messages.next() => message,
                _ = again.tick() => { self.stale = Stale::ALL; continue }
                () = retry => continue,
            };
            let Some(first) = first else { return };
            self.take(first, &mut events);
            while let Some(Some(message)) = self.messages.next().now_or_never() {
                self.take(message, &mut events);
            }
        }
    }

    fn take(&mut self, message: NetlinkMessage<RouteNetlinkMessage>, events: &mut Vec<Event>) {
        let stale = &mut self.stale;
        if matches!(message.payload, NetlinkPayload::Overrun(_)) {
            *stale = Stale::ALL;
        }
        let NetlinkPayload::InnerMessage(message) = message.payload else {
            return;
        };
        if let RouteNetlinkMessage::NewNeighbour(neighbor) = &message {
            events.extend(decode::neighbor(neighbor).map(Event::NeighborChanged));
        } else if let RouteNetlinkMessage::DelNeighbour(neighbor) = &message {
            let gone = decode::neighbor_key(neighbor);
            events.extend(gone.map(|(interface, addr)| Event::NeighborRemoved { interface, addr }));
        } else if matches!(
            message,
            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_)
        ) {
            stale.routes = true;
        } else if matches!(
            message,
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_)
        ) {
            *stale = Stale {
                addresses: true,
                routes: true,
                ..*stale
            };
        } else if matches!(
            message,
            RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)
        ) {
            *stale = Stale::ALL;
        }
    }

    /// Reads what is stale; what fails stays so.
    async fn read_stale(&mut self, events: &mut Vec<Event>) {
        let outcome = self.try_read(events).await;
        let problems = match outcome {
            Ok(()) if self.failing => vec![],
            Ok(()) => return,
            Err(error) => vec![Problem::error(
                error.to_string(),
                "it is tried again every second",
            )],
        };
        self.failing = !problems.is_empty();
        events.push(Event::SourceProblems {
            source: Source::Kernel,
            problems,
        });
    }

    /// Links first: the rest speaks of their indexes.
    async fn try_read(&mut self, events: &mut Vec<Event>) -> Result<(), ControlError> {
        if self.stale.links {
            events.push(Event::LinksRead(read::links(&self.handle).await?));
            self.stale.links = false;
        }
        if self.stale.addresses {
            events.push(Event::AddressesRead(read::addresses(&self.handle).await?));
            self.stale.addresses = false;
        }
        if self.stale.routes {
            events.push(Event::RoutesRead(read::routes(&self.handle).await?));
            self.stale.routes = false;
        }
        if self.stale.neighbors {
            events.push(Event::NeighborsRead(read::neighbors(&self.handle).await?));
            self.stale.neighbors = false;
        }
        Ok(())
    }
}
