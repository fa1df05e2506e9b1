//! The liveness thread: runs BFD sessions over UDP, and only while the workers forward.
//!
//! ```text
//!  Liveness, SessionHandle ── orders (bounded) ──► Thread::run ── boards (atomics), news (a datagram) ──► readers
//! ```
//! The thread has no runtime, takes no lock that anybody holds long, and allocates nothing once a session
//! is set up: sockets are opened by whoever asks for the session. Nothing it is told by packets, orders or
//! readers that do not read can hold it up. Whoever spawns it chooses name, core and priority.

mod board;
mod socket;
mod thread;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ControlPlane, Hops, Role, Session, Settings, Timers};
use crate::error::BfdError;
use board::{Board, Pulse};
use socket::Kind;
use thread::{Order, Slot};

pub use board::{Discards, Status};
pub use thread::Thread;

/// Room for this many sessions.
pub const MAX_SESSIONS: usize = 256;
/// How often the thread looks at the workers at least.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Orders not yet looked at.
const ORDERS: usize = 2 * MAX_SESSIONS;

/// What the caller of [`Thread::run`] says about forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    Works,
    /// Nothing is sent from now on, but one last packet to peers that think otherwise.
    Stuck,
}

/// One session to be: a peer, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub peer: IpAddr,
    /// The address to send from; the kernel chooses without one.
    pub source: Option<IpAddr>,
    /// The interface; needed for link-local addresses.
    pub device: Option<String>,
    pub hops: Hops,
    pub role: Role,
    pub timers: Timers,
    pub control_plane: ControlPlane,
}

impl Path {
    /// A peer on the link, default timers.
    pub fn new(peer: IpAddr) -> Self {
        Path {
            peer,
            source: None,
            device: None,
            hops: Hops::Single,
            role: Role::Active,
            timers: Timers::DEFAULT,
            control_plane: ControlPlane::SharesFate,
        }
    }
}

/// What distinguishes sessions for who cannot see our discriminator: the first packets of a peer.
type PathKey = (IpAddr, bool, u32);

#[derive(Debug)]
struct Desk {
    orders: SyncSender<Order>,
    bell: UnixDatagram,
    taken: Mutex<Taken>,
    pulse: Arc<Pulse>,
}

#[derive(Debug, Default)]
struct Taken {
    paths: BTreeMap<PathKey, NonZeroU32>,
    listening: [bool; Kind::COUNT],
}

/// Sessions are asked for here. Clones share the thread.
#[derive(Clone, Debug)]
pub struct Liveness(Arc<Desk>);

/// A thread to run, and who gives it orders.
pub fn prepare() -> io::Result<(Liveness, Thread)> {
    let (orders, inbox) = sync_channel(ORDERS);
    let (bell, wake) = UnixDatagram::pair()?;
    bell.set_nonblocking(true)?;
    wake.set_nonblocking(true)?;
    let pulse = Arc::new(Pulse::default());
    let desk = Desk {
        orders,
        bell,
        taken: Mutex::default(),
        pulse: Arc::clone(&pulse),
    };
    Ok((Liveness(Arc::new(desk)), Thread::new(inbox, wake, pulse)))
}

impl Liveness {
    /// Begins a session. Blocks for no longer than opening sockets takes.
    pub fn add(&self, path: &Path) -> Result<SessionHandle, BfdError> {
        path.timers.check()?;
        let index = device_index(path)?;
        let kind = Kind::of(path.peer, path.hops);
        let key = (path.peer, kind.multi_hop, index);
        let mut taken = self.0.taken();
        if taken.paths.contains_key(&key) {
            return Err(BfdError::Twice(path.peer));
        }
        if taken.paths.len() >= MAX_SESSIONS {
            return Err(BfdError::Full(taken.paths.len()));
        }
        self.listen(&mut taken, kind)?;
        let socket =
            socket::sender(kind, path.source, path.device.as_deref()).map_err(|error| BfdError::Source {
                peer: path.peer,
                from: path.source.unwrap_or(path.peer),
                error,
            })?;
        let id = taken.new_discriminator();
        let board = Arc::new(Board::new());
        let settings = Settings {
            peer: path.peer,
            hops: path.hops,
            role: path.role,
            timers: path.timers,
            discriminator: id,
            control_plane: path.control_plane,
        };
        let target = socket::at(path.peer, kind.port(), scope(path.peer, index));
        let session = Session::new(settings);
        let slot = Slot::new(session, kind, index, socket, target, Arc::clone(&board));
        self.0.order(Order::Add(Box::new(slot)))?;
        taken.paths.insert(key, id);
        Ok(SessionHandle {
            desk: Arc::clone(&self.0),
            board,
            id,
            key,
        })
    }

    fn listen(&self, taken: &mut Taken, kind: Kind) -> Result<(), BfdError> {
        if taken.listening[kind.place()] {
            return Ok(());
        }
        let socket = socket::listen(kind).map_err(|error| BfdError::Listen {
            port: kind.port(),
            error,
        })?;
        self.0.order(Order::Listen(kind, socket))?;
        taken.listening[kind.place()] = true;
        Ok(())
    }

    /// A socket that becomes readable when a state or [`Self::forwarding`] changed since it was last read
    /// empty. What changed is on the boards. One reader at a time: the newest.
    pub fn news(&self) -> Result<UnixDatagram, BfdError> {
        let (reader, writer) = UnixDatagram::pair().map_err(|_| BfdError::Thread)?;
        for end in [&reader, &writer] {
            end.set_nonblocking(true).map_err(|_| BfdError::Thread)?;
        }
        self.0.order(Order::Report(writer))?;
        Ok(reader)
    }

    /// What the thread last heard of the workers.
    pub fn forwarding(&self) -> Forwarding {
        if self.0.pulse.silent.load(Ordering::Acquire) {
            Forwarding::Stuck
        } else {
            Forwarding::Works
        }
    }

    /// How often forwarding was lost since the start.
    pub fn losses(&self) -> u32 {
        self.0.pulse.losses.load(Ordering::Relaxed)
    }

    /// Packets at our ports that belong to no session.
    pub fn strays(&self) -> Discards {
        self.0.pulse.strays.read()
    }
}

impl Desk {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) -> Result<(), BfdError> {
        self.orders.try_send(order).map_err(|_| BfdError::Thread)?;
        // A full bell has been rung.
        let _ = self.bell.send(&[0]);
        Ok(())
    }
}

impl Taken {
    fn new_discriminator(&self) -> NonZeroU32 {
        let chance = RandomState::new();
        let unused = |id: &NonZeroU32| !self.paths.values().any(|taken| taken == id);
        (0u64..)
            .filter_map(|draw| NonZeroU32::new(chance.hash_one(draw) as u32))
            .find(unused)
            .unwrap_or(NonZeroU32::MIN)
    }
}

/// A session. Dropping it ends the session: the peer is told AdminDown for a detection time.
#[derive(Debug)]
pub struct SessionHandle {
    desk: Arc<Desk>,
    board: Arc<Board>,
    id: NonZeroU32,
    key: PathKey,
}

impl SessionHandle {
    pub fn status(&self) -> Status {
        self.board.read()
    }

    /// Reads the same, and keeps no session.
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.board))
    }

    /// Our discriminator.
    pub fn id(&self) -> NonZeroU32 {
        self.id
    }

    /// New timers without losing the session.
    pub fn set_timers(&self, timers: Timers) -> Result<(), BfdError> {
        timers.check()?;
        self.desk.order(Order::Timers(self.id, timers))
    }

    /// Says AdminDown from now on; the board shows it once the first such packet is out.
    pub fn admin_down(&self) -> Result<(), BfdError> {
        self.desk.order(Order::AdminDown(self.id))
    }

    pub fn admin_up(&self) -> Result<(), BfdError> {
        self.desk.order(Order::AdminUp(self.id))
    }
}

/// The figures of a session, for whoever shows them.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Board>);

impl Reader {
    pub fn status(&self) -> Status {
        self.0.read()
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        let mut taken = self.desk.taken();
        // A thread that is gone has no session left.
        let _ = self.desk.order(Order::Remove(self.id));
        taken.paths.remove(&self.key);
    }
}

/// 0 where the session is bound to no interface.
fn device_index(path: &Path) -> Result<u32, BfdError> {
    match &path.device {
        Some(device) => socket::interface(device).map_err(|error| BfdError::NoDevice {
            peer: path.peer,
            device: device.clone(),
            error,
        }),
        None if link_local(path.peer) => Err(BfdError::Device(path.peer)),
        None => Ok(0),
    }
}

fn scope(peer: IpAddr, index: u32) -> u32 {
    if link_local(peer) { index } else { 0 }
}

fn link_local(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
