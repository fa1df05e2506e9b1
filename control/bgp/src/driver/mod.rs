//! The only part of BGP that does I/O: one tokio task a peer, turning sockets and clock into inputs of
//! [`Peer`] and its actions into bytes.
//!
//! Commands go in by a channel, [`Status`] comes out as a value that is replaced (a `watch`): a slow
//! reader misses steps, never the outcome, and can stall nothing.

mod connection;
mod link;
mod listener;
mod sockopt;
#[cfg(test)]
mod tests;

use std::future::{Future, pending};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use link::{Distance, LinkSettings};
pub use listener::{Incoming, Listener};
pub use sockopt::Password;

use crate::error::SettingsError;
use crate::fsm::{Side, StopReason};
use crate::peer::{Action, Gate, Peer, PeerInput, Status};
use crate::rib::Routes;
use crate::settings::SessionSettings;
use crate::time::{At, Millis};
use connection::{Connection, Written};

/// How much is read at once.
const READ_LEN: usize = 16 * 1024;
/// Commands not yet looked at; the sender waits beyond that.
const COMMANDS: usize = 64;

#[derive(Clone, Debug)]
pub enum Command {
    /// The whole desired set; [`Status::synced`] repeats `revision` once TCP has taken it.
    Routes { revision: u64, routes: Routes },
    /// Closing the gate withdraws everything and keeps the session: a drain.
    Gate(Gate),
    /// The path changed for the better: dial now.
    Hurry,
    /// Ends the session and begins anew.
    Restart(StopReason),
    /// Ends the session and the task.
    Stop(StopReason),
}

/// A running peer. Dropping it stops the peer as removed.
pub struct PeerHandle {
    pub commands: mpsc::Sender<Command>,
    pub status: watch::Receiver<Status>,
    pub task: JoinHandle<()>,
}

/// Starts a peer with a closed gate. `incoming` comes from [`Listener::expect`] where the peer may dial.
pub fn spawn(
    session: SessionSettings,
    link: LinkSettings,
    incoming: Option<Incoming>,
) -> Result<PeerHandle, SettingsError> {
    let peer = Peer::new(session)?;
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (publish, status) = watch::channel(peer.status());
    let driver = Driver {
        peer,
        link,
        incoming,
        inbox,
        publish,
        dial: None,
        connections: [None, None],
        offered: None,
        farewells: Vec::new(),
        epoch: Instant::now(),
        chance: RandomState::new(),
        draws: 0,
        buffer: vec![0; READ_LEN].into_boxed_slice(),
    };
    Ok(PeerHandle {
        commands,
        status,
        task: tokio::spawn(driver.run()),
    })
}

type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

struct Driver {
    peer: Peer,
    link: LinkSettings,
    incoming: Option<Incoming>,
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<Status>,
    dial: Option<Dial>,
    connections: [Option<Connection>; 2],
    /// Accepted, and not yet adopted or refused.
    offered: Option<TcpStream>,
    farewells: Vec<JoinHandle<()>>,
    epoch: Instant,
    chance: RandomState,
    draws: u64,
    buffer: Box<[u8]>,
}

/// What the task woke up for.
enum Woken {
    Command(Option<Command>),
    Dialed(io::Result<TcpStream>),
    Offered(TcpStream),
    Ready(Side, io::Result<()>),
    Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Finish,
}

impl Driver {
    async fn run(mut self) {
        self.step(PeerInput::Start);
        loop {
            self.publish_status();
            let woken = self.wait().await;
            if self.handle(woken) == Next::Finish {
                break;
            }
        }
        self.publish_status();
        for farewell in self.farewells {
            // Bounded by its own timeout; a panic in it concerns nobody.
            drop(farewell.await);
        }
    }

    fn publish_status(&self) {
        let status = self.peer.status();
        self.publish.send_if_modified(|published| {
            let changed = *published != status;
            *published = status;
            changed
        });
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self
            .peer
            .deadline()
            .map(|at| self.epoch + Duration::from_millis(at.0));
        let [outgoing, incoming] = &self.connections;
        tokio::select! {
            command = self.inbox.recv() => Woken::Command(command),
            dialed = dialed(&mut self.dial) => Woken::Dialed(dialed),
            stream = offered(&mut self.incoming) => Woken::Offered(stream),
            ready = ready(outgoing) => Woken::Ready(Side::Outgoing, ready),
            ready = ready(incoming) => Woken::Ready(Side::Incoming, ready),
            () = until(deadline) => Woken::Timer,
        }
    }

    fn handle(&mut self, woken: Woken) -> Next {
        match woken {
            Woken::Command(command) => return self.command(command),
            Woken::Dialed(result) => self.dialed(result),
            Woken::Offered(stream) => self.accept(stream),
            Woken::Ready(side, Ok(())) => self.transfer(side),
            Woken::Ready(side, Err(error)) => self.lost(side, &error.to_string()),
            Woken::Timer => self.step(PeerInput::Timer),
        }
        Next::Continue
    }

    fn command(&mut self, command: Option<Command>) -> Next {
        match command {
            Some(Command::Routes { revision, routes }) => self.step(PeerInput::Routes { revision, routes }),
            Some(Command::Gate(gate)) => self.step(PeerInput::Gate(gate)),
            Some(Command::Hurry) => self.step(PeerInput::Hurry),
            Some(Command::Restart(reason)) => {
                self.step(PeerInput::Stop(reason));
                self.step(PeerInput::Start);
            }
            Some(Command::Stop(reason)) => {
                self.step(PeerInput::Stop(reason));
                return Next::Finish;
            }
            None => {
                self.step(PeerInput::Stop(StopReason::PeerRemoved));
                return Next::Finish;
            }
        }
        Next::Continue
    }

    fn dialed(&mut self, result: io::Result<TcpStream>) {
        self.dial = None;
        let connected = result.and_then(|stream| Ok((stream.local_addr()?.ip(), stream)));
        match connected {
            Ok((local, stream)) => {
                self.connections[Side::Outgoing as usize] = Some(Connection::new(stream));
                self.step(PeerInput::Connected(Side::Outgoing, local));
            }
            Err(error) => {
                self.peer.note_error(error.to_string());
                self.step(PeerInput::DialFailed);
            }
        }
    }

    fn accept(&mut self, stream: TcpStream) {
        let prepared = self
            .link
            .apply(&SockRef::from(&stream))
            .and_then(|()| stream.local_addr());
        match prepared {
            Ok(local) => {
                self.offered = Some(stream);
                self.step(PeerInput::Connected(Side::Incoming, local.ip()));
                self.offered = None;
            }
            Err(error) => self
                .peer
                .note_error(format!("accept from {}: {error}", self.link.peer)),
        }
    }

    /// Reads once and writes what TCP takes.
    fn transfer(&mut self, side: Side) {
        self.flush(side);
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.connections[side as usize]
            .as_mut()
            .map_or(Ok(None), |c| c.read(&mut buffer));
        match read {
            Ok(None) => {}
            Ok(Some(0)) => self.lost(side, "the peer closed the connection"),
            Ok(Some(count)) => self.step(PeerInput::Bytes(side, &buffer[..count])),
            Err(error) => self.lost(side, &error.to_string()),
        }
        self.buffer = buffer;
    }

    /// Writes until TCP is full or nothing is left; the peer may then have more to say.
    fn flush(&mut self, side: Side) {
        while let Some(connection) = self.connections[side as usize]
            .as_mut()
            .filter(|c| c.has_unsent())
        {
            match connection.write() {
                Ok(Written::All) => {
                    self.act_on(PeerInput::Progress(side));
                    self.act_on(PeerInput::Flushed(side));
                }
                Ok(Written::Some) => return self.act_on(PeerInput::Progress(side)),
                Ok(Written::Nothing) => return,
                Err(error) => return self.lost(side, &error.to_string()),
            }
        }
    }

    fn lost(&mut self, side: Side, why: &str) {
        if self.connections[side as usize].take().is_some() {
            self.act_on(PeerInput::Closed(side));
            if self.peer.status().session.is_none() {
                self.peer
                    .note_error(format!("connection to {}: {why}", self.link.peer));
            }
        }
    }

    fn step(&mut self, input: PeerInput<'_>) {
        self.act_on(input);
        for side in Side::BOTH {
            self.flush(side);
        }
    }

    fn act_on(&mut self, input: PeerInput<'_>) {
        self.draws += 1;
        let at = At {
            now: Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)),
            random: self.chance.hash_one(self.draws) as u32,
        };
        let mut actions = Vec::new();
        self.peer.step(input, at, &mut actions);
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dial => {
                let link = self.link.clone();
                self.dial = Some(Box::pin(async move { link.dial().await }));
            }
            Action::AbortDial => self.dial = None,
            Action::Adopt => {
                self.connections[Side::Incoming as usize] = self.offered.take().map(Connection::new)
            }
            Action::Refuse(last_word) => self.refuse(&last_word),
            Action::Send(side, bytes) => {
                if let Some(connection) = &mut self.connections[side as usize] {
                    connection.queue(&bytes);
                }
            }
            Action::Close(side) => {
                let closing = self.connections[side as usize].take();
                self.part(closing);
            }
        }
    }

    fn refuse(&mut self, last_word: &Bytes) {
        let refused = self.offered.take().map(|stream| {
            let mut connection = Connection::new(stream);
            connection.queue(last_word);
            connection
        });
        self.part(refused);
    }

    fn part(&mut self, connection: Option<Connection>) {
        self.farewells.retain(|farewell| !farewell.is_finished());
        self.farewells.extend(connection.map(Connection::close));
    }
}

async fn dialed(dial: &mut Option<Dial>) -> io::Result<TcpStream> {
    match dial {
        Some(dial) => dial.await,
        None => pending().await,
    }
}

/// The next connection the peer opened; never, where it may not or the listener is gone.
async fn offered(incoming: &mut Option<Incoming>) -> TcpStream {
    match incoming {
        Some(incoming) => match incoming.connections.recv().await {
            Some(stream) => stream,
            None => pending().await,
        },
        None => pending().await,
    }
}

async fn ready(connection: &Option<Connection>) -> io::Result<()> {
    match connection {
        Some(connection) => connection.ready().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
