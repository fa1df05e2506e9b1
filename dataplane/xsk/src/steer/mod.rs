//! The steering program on one interface: what goes to our sockets, everything else to the kernel (invariant 10).
//!
//! [`Steering::apply`] states the whole wanted set; the difference to what the maps hold is worked out here, additions before
//! removals, so that no packet of an unchanged VIP is ever lost. Attached by a bpf_link: it goes when the process goes, however
//! that dies (FAILURES D8). Must never decide *what* to steer; `dataplane/xdp/steer.c` says how the maps are read.

mod attach;
mod filter;
mod set;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};

use crate::{XskError, sys};

pub use attach::{AttachMode, AttachOptions, AttachWish};
pub use set::{Endpoint, PortRange, Protocol, SteerSet};

use filter::FilterImage;
use set::{AddressKey, EndpointKey, MapKey};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.o"));

/// Limits of the maps in entries; the defaults in steer.c are the same.
const VIP_LIMIT: u32 = 65_536;
const NAT_LIMIT: u32 = 1024;
const DNAT_LIMIT: u32 = 262_144;
const LOCAL_LIMIT: u32 = 4096;

/// What the program did with packets, summed over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteerCounters {
    /// Handed to a socket (which may still drop them: [`crate::KernelStats`]).
    pub redirected: u64,
    /// Looked at and left to the kernel. Not counted while all maps are empty.
    pub passed: u64,
    /// Ours, but no socket serves that queue.
    pub passed_no_socket: u64,
    /// A later fragment to a NAT address: no port to judge by.
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
}

struct Maps {
    xsks: XskMap<MapData>,
    filter: Array<MapData, [u8; filter::BYTES]>,
    vips: Table<AddressKey, u32>,
    nat_returns: Table<AddressKey, [u16; 2]>,
    dnat_returns: Table<EndpointKey, u32>,
    local: Table<AddressKey, u32>,
    counters: PerCpuArray<MapData, u64>,
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
        self.maps.write_filter(&[&self.current, want])?;
        if self.grow(want).is_err() {
            // A full map has to lose before it can gain.
            self.shrink(want)?;
            self.grow(want)?;
        }
        self.shrink(want)?;
        self.maps.write_filter(&[want])
    }

    /// `local` holds packets back, so it grows first and shrinks last.
    fn grow(&mut self, want: &SteerSet) -> Result<(), XskError> {
        let (maps, now) = (&mut self.maps, &mut self.current);
        maps.local.add_all(&mut now.local, &want.local)?;
        maps.vips.add_all(&mut now.vips, &want.vips)?;
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

    fn program_id(&self) -> Option<u32> {
        let program = self.bpf.program(self.mode.program_name())?;
        Some(program.info().ok()?.id())
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
        program.load().map_err(|e| load_error(&e))?;
    }
    Ok(program)
}

fn load(queues: u32) -> Result<Ebpf, XskError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("xsks", queues.max(1));
    loader.load(OBJECT).map_err(|e| load_error(&e))
}

/// Finds the kernel's EPERM at the bottom of aya's chain, else repeats the whole chain.
fn load_error(error: &(dyn Error + 'static)) -> XskError {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    match io.and_then(io::Error::raw_os_error) {
        Some(errno @ libc::EPERM) => XskError::MissingCapability {
            what: "loading the steering program".into(),
            capability: "CAP_BPF and CAP_NET_ADMIN",
            source: io::Error::from_raw_os_error(errno),
        },
        Some(_) | None => XskError::Load(text(error)),
    }
}

fn map_error(map: &'static str, entries: usize, limit: u32, error: MapError) -> XskError {
    XskError::Map {
        map,
        entries,
        limit,
        detail: text(&error),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// aya's own messages leave the cause to `source`.
fn text(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl Maps {
    fn take(bpf: &mut Ebpf) -> Result<Maps, XskError> {
        let mut take = |name: &'static str| {
            bpf.take_map(name)
                .ok_or_else(|| XskError::Load(format!("no map {name}")))
        };
        Ok(Maps {
            xsks: XskMap::try_from(take("xsks")?).map_err(|e| load_error(&e))?,
            filter: Array::try_from(take("filter")?).map_err(|e| load_error(&e))?,
            vips: Table::new("vips", VIP_LIMIT, take("vips")?)?,
            nat_returns: Table::new("nat_returns", NAT_LIMIT, take("nat_returns")?)?,
            dnat_returns: Table::new("dnat_returns", DNAT_LIMIT, take("dnat_returns")?)?,
            local: Table::new("local", LOCAL_LIMIT, take("local")?)?,
            counters: PerCpuArray::try_from(take("counters")?).map_err(|e| load_error(&e))?,
        })
    }

    fn write_filter(&mut self, sets: &[&SteerSet]) -> Result<(), XskError> {
        let image = FilterImage::of(sets);
        self.filter
            .set(0, image.bytes(), 0)
            .map_err(|e| map_error("filter", 1, 1, e))
    }
}

/// One hash map and the mirror's way into it: the mirror changes entry by entry, after the kernel agreed.
struct Table<K: Pod, V: Pod> {
    name: &'static str,
    limit: u32,
    map: HashMap<MapData, K, V>,
}

impl<K: Pod, V: Pod> Table<K, V> {
    fn new(name: &'static str, limit: u32, map: aya::maps::Map) -> Result<Self, XskError> {
        Ok(Table {
            name,
            limit,
            map: HashMap::try_from(map).map_err(|e| load_error(&e))?,
        })
    }

    fn insert(&mut self, entries: usize, key: K, value: V) -> Result<(), XskError> {
        let inserted = self.map.insert(key, value, 0);
        inserted.map_err(|e| map_error(self.name, entries, self.limit, e))
    }

    /// An entry that is gone already is as wanted.
    fn remove(&mut self, entries: usize, key: K) -> Result<(), XskError> {
        match self.map.remove(&key) {
            Ok(()) => Ok(()),
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            Err(e) => Err(map_error(self.name, entries, self.limit, e)),
        }
    }
}

impl<K: Pod> Table<K, u32> {
    fn add_all<T: Copy + Ord + MapKey<K>>(
        &mut self,
        now: &mut BTreeSet<T>,
        want: &BTreeSet<T>,
    ) -> Result<(), XskError> {
        let missing: Vec<T> = want.difference(now).copied().collect();
        for item in missing {
            self.insert(now.len(), item.key(), 1)?;
            now.insert(item);
        }
        Ok(())
    }

    fn keep_only<T: Copy + Ord + MapKey<K>>(
        &mut self,
        now: &mut BTreeSet<T>,
        want: &BTreeSet<T>,
    ) -> Result<(), XskError> {
        let surplus: Vec<T> = now.difference(want).copied().collect();
        for item in surplus {
            self.remove(now.len(), item.key())?;
            now.remove(&item);
        }
        Ok(())
    }
}

impl Table<AddressKey, [u16; 2]> {
    fn put_all(&mut self, now: &mut set::NatReturns, want: &set::NatReturns) -> Result<(), XskError> {
        for (address, range) in want {
            if now.get(address) != Some(range) {
                self.insert(now.len(), address.key(), [range.first, range.last])?;
                now.insert(*address, *range);
            }
        }
        Ok(())
    }

    fn keep_only_keys(&mut self, now: &mut set::NatReturns, want: &set::NatReturns) -> Result<(), XskError> {
        let surplus: Vec<_> = now
            .keys()
            .filter(|address| !want.contains_key(*address))
            .copied()
            .collect();
        for address in surplus {
            self.remove(now.len(), address.key())?;
            now.remove(&address);
        }
        Ok(())
    }
}
