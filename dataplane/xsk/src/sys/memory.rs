//! Anonymous and device mappings, unmapped on drop. [`Mapping`] hands out a pointer only; who may look through it is
//! decided by its two users: [`super::ring_memory`] (atomics) and [`ChunkMemory`] (packet bytes).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// A mapped region. Owns the address range, not the meaning of its bytes.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; the pointer is read only through its two users.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself never dereferences.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed private memory, on reserved huge pages when `huge`.
    pub(crate) fn anonymous(len: usize, huge: bool) -> io::Result<Mapping> {
        let huge = if huge { libc::MAP_HUGETLB } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | huge;
        Self::map(len, flags, -1, 0)
    }

    /// One of a socket's rings.
    pub(crate) fn ring(socket: BorrowedFd<'_>, len: usize, offset: i64) -> io::Result<Mapping> {
        Self::map(
            len,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            socket.as_raw_fd(),
            offset,
        )
    }

    fn map(len: usize, flags: libc::c_int, fd: libc::c_int, offset: i64) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping can be replaced.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Mapping { start, len })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range this value mapped, and its users hold it by ownership or `Arc`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The bytes of a UMEM: `chunks` of `chunk_size`, one after the other.
#[derive(Debug)]
pub(crate) struct ChunkMemory {
    mapping: Mapping,
    chunks: usize,
    chunk_size: usize,
}

impl ChunkMemory {
    pub(crate) fn new(chunks: usize, chunk_size: usize, huge: bool) -> io::Result<ChunkMemory> {
        let bytes = chunks * chunk_size;
        let len = if huge {
            bytes.next_multiple_of(2 << 20)
        } else {
            bytes
        };
        Ok(ChunkMemory {
            mapping: Mapping::anonymous(len, huge)?,
            chunks,
            chunk_size,
        })
    }

    /// Address and length for `XDP_UMEM_REG`.
    pub(crate) fn region(&self) -> (u64, u64) {
        (
            self.mapping.start().as_ptr() as u64,
            (self.chunks * self.chunk_size) as u64,
        )
    }

    pub(crate) fn advise_huge(&self) -> bool {
        super::advise_huge(self.mapping.start().as_ptr(), self.mapping.len())
    }

    /// # Safety
    /// The kernel must not own the chunk (no fill or TX ring holds it).
    #[inline]
    pub(crate) unsafe fn chunk(&self, index: usize) -> &[u8] {
        let start = self.chunk_start(index);
        // SAFETY: in bounds (checked by chunk_start), initialised by mmap; the caller keeps the kernel out, `&self` our writers.
        unsafe { std::slice::from_raw_parts(start, self.chunk_size) }
    }

    /// # Safety
    /// As for [`Self::chunk`].
    #[inline]
    pub(crate) unsafe fn chunk_mut(&mut self, index: usize) -> &mut [u8] {
        let start = self.chunk_start(index);
        // SAFETY: in bounds, initialised; `&mut self` makes this the only view of any chunk in this process.
        unsafe { std::slice::from_raw_parts_mut(start, self.chunk_size) }
    }

    #[inline]
    fn chunk_start(&self, index: usize) -> *mut u8 {
        assert!(index < self.chunks, "chunk {index} of {}", self.chunks);
        // SAFETY: index < chunks and the mapping holds chunks * chunk_size bytes.
        unsafe { self.mapping.start().as_ptr().add(index * self.chunk_size) }
    }
}
