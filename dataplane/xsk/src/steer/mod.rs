//! The steering program on one interface: what goes to our sockets, everything else to the kernel (invariant 10).
//!
//! [`Steering::apply`] states the whole wanted set; the difference to what the maps hold is worked out here, additions before
//! removals, so that no packet of an unchanged VIP is ever lost. Attached by a bpf_link: it goes when the process goes, however
//! that dies (FAILURES D8). Must never decide *what* to steer; `dataplane/xdp/steer.c` says how the maps are read.

mod attach;
mod filter;
mod maps;
mod set;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use aya::programs::{ProgramError, ProgramInfo, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};

use crate::{XskError, sys};

pub use attach::{AttachMode, AttachOptions, AttachWish};
pub use set::{Endpoint, PortRange, Protocol, SteerSet};

use filter::Owned;
use maps::{Maps, errno, load_error, map_error};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.o"));

/// What the program did with packets, summed over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteerCounters {
    /// Handed to a socket (which may still drop them: [`crate::KernelStats`]).
    pub redirected: u64,
    /// Looked at and left to the kernel. Not counted while all maps are empty.
    pub passed: u64,
    /// Ours, but no socket serves that queue.
    pub passed_no_socket: u64,
    /// A later fragment to a NAT address or that of an endpoint: no port to judge by.
    pub passed_fragment: u64,
}

/// One attached program instance. Dropping it detaches.
pub struct Steering {
    name: String,
    index: u32,
    mode: AttachMode,
    warning: Option<String>,
    /// The only thing that keeps the program on the interface.
    link: OwnedFd,
    bpf: Ebpf,
    maps: Maps,
    /// What the maps hold.
    current: SteerSet,
    owned: BTreeSet<IpAddr>,
}

impl Steering {
    /// Loads and attaches with empty maps: nothing is redirected before [`Self::apply`]. Refuses an interface that already
    /// runs a program, unless `force`; another Maglane is told apart by name.
    pub fn attach(interface: &str, options: &AttachOptions) -> Result<Steering, XskError> {
        let index = sys::interface_index(interface)?;
        let place = attach::Place {
            name: interface,
            index,
        };
        place.make_free(options.force)?;
        let mut bpf = load(options.queues)?;
        let attached = place.attach(&mut bpf, options.mode)?;
        let maps = Maps::take(&mut bpf)?;
        Ok(Steering {
            name: interface.to_owned(),
            index,
            mode: attached.mode,
            warning: attached.warning,
            link: attached.link,
            bpf,
            maps,
            current: SteerSet::default(),
            owned: BTreeSet::new(),
        })
    }

    /// From now on packets of `queue` that are ours go to this socket; it leaves the map by itself when closed.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XskError> {
        let set = self.maps.xsks.set(queue, socket.as_raw_fd(), 0);
        let limit = self.maps.xsks.len();
        set.map_err(|e| XskError::Map {
            map: "xsks",
            entries: queue as usize,
            limit,
            detail: e.to_string(),
        })
    }

    /// Makes the maps hold `want`. After an error they hold something between the old and the new set; applying again goes on.
    pub fn apply(&mut self, want: &SteerSet) -> Result<(), XskError> {
        if *want == self.current {
            return Ok(());
        }
        let owned = self.owns_any();
        self.maps.write_filter(&[&self.current, want], owned)?;
        if self.grow(want).is_err() {
            // A full map has to lose before it can gain.
            self.shrink(want)?;
            self.grow(want)?;
        }
        self.shrink(want)?;
        self.maps.write_filter(&[want], owned)
    }

    /// Makes ARP and neighbour discovery about exactly these addresses come to the sockets. After an error as
    /// [`Self::apply`]. What else is steered stays.
    pub fn own(&mut self, want: &BTreeSet<IpAddr>) -> Result<(), XskError> {
        if *want == self.owned {
            return Ok(());
        }
        if !want.is_empty() && self.owned.is_empty() {
            self.maps.write_filter(&[&self.current], Owned::Some)?;
        }
        let (map, now) = (&mut self.maps.owned, &mut self.owned);
        map.keep_only(now, want)?;
        map.add_all(now, want)?;
        match self.owns_any() {
            Owned::Some => Ok(()),
            Owned::None => self.maps.write_filter(&[&self.current], Owned::None),
        }
    }

    fn owns_any(&self) -> Owned {
        if self.owned.is_empty() {
            Owned::None
        } else {
            Owned::Some
        }
    }

    /// `local` holds packets back, so it grows first and shrinks last.
    fn grow(&mut self, want: &SteerSet) -> Result<(), XskError> {
        let (maps, now) = (&mut self.maps, &mut self.current);
        maps.local.add_all(&mut now.local, &want.local)?;
        maps.vips.add_all(&mut now.vips, &want.vips)?;
        maps.endpoints.add_all(&mut now.endpoints, &want.endpoints)?;
        maps.nat_returns
            .put_all(&mut now.nat_returns, &want.nat_returns)?;
        maps.dnat_returns
            .add_all(&mut now.dnat_returns, &want.dnat_returns)
    }

    fn shrink(&mut self, want: &SteerSet) -> Result<(), XskError> {
        let (maps, now) = (&mut self.maps, &mut self.current);
        maps.dnat_returns
            .keep_only(&mut now.dnat_returns, &want.dnat_returns)?;
        maps.nat_returns
            .keep_only_keys(&mut now.nat_returns, &want.nat_returns)?;
        maps.endpoints.keep_only(&mut now.endpoints, &want.endpoints)?;
        maps.vips.keep_only(&mut now.vips, &want.vips)?;
        maps.local.keep_only(&mut now.local, &want.local)
    }

    pub fn counters(&self) -> Result<SteerCounters, XskError> {
        let counters = &self.maps.counters;
        let read = |index: u32| match counters.get(&index, 0) {
            Ok(values) => Ok(values.iter().sum()),
            Err(e) => Err(map_error("counters", 0, counters.len(), e)),
        };
        Ok(SteerCounters {
            redirected: read(0)?,
            passed: read(1)?,
            passed_no_socket: read(2)?,
            passed_fragment: read(3)?,
        })
    }

    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Why it is not native, if that was hoped for: one line to log once.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    pub fn interface(&self) -> &str {
        &self.name
    }

    /// What the maps hold.
    pub fn current(&self) -> &SteerSet {
        &self.current
    }

    /// Whether the program is still on the interface; an operator's `bpftool link detach` can take it off behind our back.
    pub fn is_attached(&self) -> Result<bool, XskError> {
        let facts = sys::netlink::link_facts(self.index)
            .map_err(XskError::system("asking netlink for an interface"))?;
        Ok(facts
            .xdp
            .is_some_and(|xdp| Some(xdp.program) == self.program_id()))
    }

    /// Attaches again, in the same mode, when [`Self::is_attached`] says no. True if that was needed.
    pub fn reattach(&mut self) -> Result<bool, XskError> {
        if self.is_attached()? {
            return Ok(false);
        }
        let place = attach::Place {
            name: &self.name,
            index: self.index,
        };
        place.make_free(false)?;
        self.link = place.link(program(&mut self.bpf, self.mode)?, self.mode)?;
        Ok(true)
    }

    /// Runs the program on a packet without a wire (`BPF_PROG_TEST_RUN`): the XDP action and nanoseconds a run.
    /// For tests, `doctor` and the bench.
    pub fn test_run(&mut self, packet: &[u8], repeat: u32) -> Result<(u32, u64), XskError> {
        let program = program(&mut self.bpf, self.mode)?;
        let options = TestRunOptions {
            data_in: Some(packet),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).map_err(|e| load_error(&e))?;
        Ok((result.return_value, result.duration.as_nanos() as u64))
    }

    /// What the kernel's verifier walked through; it gives up at a million. Kernels before 5.16 don't tell.
    pub fn verified_instructions(&self) -> Option<u32> {
        self.info()?.verified_instruction_count()
    }

    fn program_id(&self) -> Option<u32> {
        Some(self.info()?.id())
    }

    fn info(&self) -> Option<ProgramInfo> {
        self.bpf.program(self.mode.program_name())?.info().ok()
    }
}

/// The loaded program of that mode.
fn program(bpf: &mut Ebpf, mode: AttachMode) -> Result<&mut Xdp, XskError> {
    let name = mode.program_name();
    let program = bpf
        .program_mut(name)
        .ok_or_else(|| XskError::Load(format!("no program {name} in the object")))?;
    let program: &mut Xdp = program.try_into().map_err(|e| load_error(&e))?;
    if program.fd().is_err() {
        undisturbed(|| program.load()).map_err(|e| load_error(&e))?;
    }
    Ok(program)
}

/// The kernel breaks off verifying (EAGAIN) and test runs (EINTR) when a signal is pending; libbpf tries five times as well.
fn undisturbed<T>(mut call: impl FnMut() -> Result<T, ProgramError>) -> Result<T, ProgramError> {
    const TRIES: usize = 10;
    let disturbed = |error: &ProgramError| matches!(errno(error), Some(libc::EAGAIN | libc::EINTR));
    let mut result = call();
    for _ in 1..TRIES {
        match &result {
            Err(error) if disturbed(error) => result = call(),
            Ok(_) | Err(_) => break,
        }
    }
    result
}

fn load(queues: u32) -> Result<Ebpf, XskError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("xsks", queues.max(1));
    loader.load(OBJECT).map_err(|e| load_error(&e))
}
