//! Where a worker runs and what it asks of the caches. Nothing here changes what a program computes.

use core_affinity::CoreId;

use crate::{XskError, sys};

/// Binds the calling thread to one core.
pub fn pin_current_thread(core: usize) -> Result<(), XskError> {
    let known = available_cores().contains(&core);
    if known && core_affinity::set_for_current(CoreId { id: core }) {
        Ok(())
    } else {
        Err(XskError::NoSuchCore(core))
    }
}

/// Lets the calling thread run as soon as it can, whatever else wants its core (SCHED_FIFO, the lowest of its
/// priorities). For threads that work for microseconds and then wait. Needs CAP_SYS_NICE.
pub fn take_precedence() -> std::io::Result<()> {
    sys::set_fifo(1)
}

/// Cores this process may use, in ascending order (respects cpusets and taskset).
pub fn available_cores() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    cores.sort_unstable();
    cores
}

/// Asks for the cache line at `bytes[offset]`; nothing happens when that is outside.
#[inline(always)]
pub fn prefetch(bytes: &[u8], offset: usize) {
    if let Some(byte) = bytes.get(offset) {
        prefetch_ref(byte);
    }
}

/// Asks for the first cache line of `value`.
#[inline(always)]
pub fn prefetch_ref<T>(value: &T) {
    sys::prefetch_line(std::ptr::from_ref(value).cast());
}

/// Asks the kernel to back the whole huge pages inside `items` with such; false when it cannot or none fits (under 4 MiB).
pub fn advise_huge_pages<T>(items: &[T]) -> bool {
    sys::advise_huge(items.as_ptr().cast(), std::mem::size_of_val(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_moves_the_thread_and_refuses_a_core_that_is_not_there() {
        std::thread::spawn(|| {
            let core = *available_cores().last().unwrap();
            pin_current_thread(core).unwrap();
            assert_eq!(available_cores(), [core]);
            assert!(matches!(
                pin_current_thread(9999),
                Err(XskError::NoSuchCore(9999))
            ));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn prefetch_takes_any_offset() {
        let bytes = [1u8; 8];
        prefetch(&bytes, 3);
        prefetch(&bytes, usize::MAX);
        prefetch(&[], 0);
    }

    #[test]
    fn small_slices_have_no_huge_page() {
        assert!(!advise_huge_pages(&[0u64; 16]));
        let large = vec![0u8; 8 << 20];
        advise_huge_pages(&large);
        assert!(large.iter().all(|&b| b == 0));
    }
}
