//! The program's maps, and the errors of the library that fills them. The mirror of a map changes entry by entry, after the
//! kernel agreed, so that it is right after a failure too.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::{Ebpf, Pod};

use super::filter::{self, FilterImage, Owned};
use super::set::{AddressKey, EndpointKey, MapKey, NatReturns, SteerSet};
use crate::XskError;

/// Limits of the maps in entries; the defaults in steer.c are the same.
const VIP_LIMIT: u32 = 65_536;
const ENDPOINT_LIMIT: u32 = 65_536;
const NAT_LIMIT: u32 = 1024;
const DNAT_LIMIT: u32 = 262_144;
const LOCAL_LIMIT: u32 = 4096;
const OWNED_LIMIT: u32 = 65_536;

/// All maps of one program instance.
pub(super) struct Maps {
    pub xsks: XskMap<MapData>,
    pub filter: Array<MapData, [u8; filter::BYTES]>,
    pub vips: Table<AddressKey, u32>,
    pub endpoints: Table<EndpointKey, u32>,
    pub nat_returns: Table<AddressKey, [u16; 2]>,
    pub dnat_returns: Table<EndpointKey, u32>,
    pub local: Table<AddressKey, u32>,
    pub owned: Table<AddressKey, u32>,
    pub counters: PerCpuArray<MapData, u64>,
}

impl Maps {
    pub fn take(bpf: &mut Ebpf) -> Result<Maps, XskError> {
        let mut take = |name: &'static str| {
            bpf.take_map(name)
                .ok_or_else(|| XskError::Load(format!("no map {name}")))
        };
        Ok(Maps {
            xsks: XskMap::try_from(take("xsks")?).map_err(|e| load_error(&e))?,
            filter: Array::try_from(take("filter")?).map_err(|e| load_error(&e))?,
            vips: Table::new("vips", VIP_LIMIT, take("vips")?)?,
            endpoints: Table::new("endpoints", ENDPOINT_LIMIT, take("endpoints")?)?,
            nat_returns: Table::new("nat_returns", NAT_LIMIT, take("nat_returns")?)?,
            dnat_returns: Table::new("dnat_returns", DNAT_LIMIT, take("dnat_returns")?)?,
            local: Table::new("local", LOCAL_LIMIT, take("local")?)?,
            owned: Table::new("owned", OWNED_LIMIT, take("owned")?)?,
            counters: PerCpuArray::try_from(take("counters")?).map_err(|e| load_error(&e))?,
        })
    }

    pub fn write_filter(&mut self, sets: &[&SteerSet], owned: Owned) -> Result<(), XskError> {
        let image = FilterImage::of(sets, owned);
        self.filter
            .set(0, image.bytes(), 0)
            .map_err(|e| map_error("filter", 1, 1, e))
    }
}

/// One hash map and the mirror's way into it: the mirror changes entry by entry, after the kernel agreed.
pub(super) struct Table<K: Pod, V: Pod> {
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
    pub fn add_all<T: Copy + Ord + MapKey<K>>(
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

    pub fn keep_only<T: Copy + Ord + MapKey<K>>(
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
    pub fn put_all(&mut self, now: &mut NatReturns, want: &NatReturns) -> Result<(), XskError> {
        for (address, range) in want {
            if now.get(address) != Some(range) {
                self.insert(now.len(), address.key(), [range.first, range.last])?;
                now.insert(*address, *range);
            }
        }
        Ok(())
    }

    pub fn keep_only_keys(&mut self, now: &mut NatReturns, want: &NatReturns) -> Result<(), XskError> {
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

/// Finds the kernel's EPERM at the bottom of aya's chain, else repeats the whole chain.
pub(super) fn load_error(error: &(dyn Error + 'static)) -> XskError {
    match errno(error) {
        Some(errno @ libc::EPERM) => XskError::MissingCapability {
            what: "loading the steering program".into(),
            capability: "CAP_BPF and CAP_NET_ADMIN",
            source: io::Error::from_raw_os_error(errno),
        },
        Some(_) | None => XskError::Load(text(error)),
    }
}

pub(super) fn map_error(map: &'static str, entries: usize, limit: u32, error: MapError) -> XskError {
    XskError::Map {
        map,
        entries,
        limit,
        detail: text(&error),
    }
}

/// The system call's error at the bottom of aya's chain.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
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
