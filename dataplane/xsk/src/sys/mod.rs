//! Raw system calls behind safe signatures. No policy: nothing here retries, logs or chooses. Kernel structs stop here.
//!
//! Why not `xsk-rs`: its descriptor keeps the address private, so a packet cannot be sent from a shifted start, which
//! encapsulation in place needs; and it leaves every unsafe promise (one owner a chunk, one side a ring) to its caller.
//! It serves as the second implementation in the root tests instead.

pub(crate) mod bpf;
pub(crate) mod memory;
pub(crate) mod netlink;
pub(crate) mod ring_memory;
pub(crate) mod socket;

use std::ffi::CString;
use std::io;

use crate::XskError;

/// Turns libc's -1 into `errno`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Lifts RLIMIT_MEMLOCK: below Linux 5.11, and for AF_XDP still, rings and UMEM count against it (64 KiB: ENOBUFS).
pub fn raise_memlock_limit() -> Result<(), XskError> {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the pointer is to a live rlimit that the call only reads.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) };
    check(result)
        .map(drop)
        .map_err(|source| XskError::MissingCapability {
            what: "raising RLIMIT_MEMLOCK".into(),
            capability: "CAP_SYS_RESOURCE",
            source,
        })
}

/// Runs the calling thread before every ordinary one (SCHED_FIFO).
pub(crate) fn set_fifo(priority: i32) -> io::Result<()> {
    let wanted = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: reads `wanted`, which lives through the call; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &wanted) }).map(drop)
}

/// The interface's index in this network namespace.
pub(crate) fn interface_index(name: &str) -> Result<u32, XskError> {
    let unknown = |source| XskError::UnknownInterface {
        name: name.to_owned(),
        source,
    };
    let c_name = CString::new(name).map_err(|e| unknown(e.into()))?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 {
        Err(unknown(io::Error::last_os_error()))
    } else {
        Ok(index)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch_line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint; it cannot fault whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch_line(_address: *const i8) {}

/// `madvise(MADV_HUGEPAGE)` on the whole huge pages inside `[address, address + bytes)`; false when refused or none fit.
pub(crate) fn advise_huge(address: *const u8, bytes: usize) -> bool {
    const HUGE: usize = 2 << 20;
    let start = (address as usize).next_multiple_of(HUGE);
    let end = (address as usize + bytes) / HUGE * HUGE;
    if end <= start {
        return false;
    }
    // SAFETY: the range lies inside memory the caller borrows; MADV_HUGEPAGE changes no content.
    let result = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    result == 0
}
