//! Chunks of packet memory and who has them.
//!
//! ```text
//!   chunk:  | kernel headroom 256 | headroom | data [start, start+len) | tail |
//!   owner:  free ──fill──► kernel(RX) ──receive──► held ──transmit──► kernel(TX) ──complete──► free
//!             └────────────allocate────────────────►│◄─release──► free
//! ```
//! A [`Frame`] is the only right to a chunk outside this crate: neither `Clone` nor `Copy`. Every chunk has one owner in a
//! byte table; a descriptor from the kernel becomes a token only if the table says the kernel had that chunk on that port.
//! So a repeated or invented address cannot make two tokens, and a frame from another UMEM panics instead of reading memory
//! that the kernel may be writing.

use std::io;

use crate::config::KERNEL_HEADROOM;
use crate::frame::Frame;
use crate::ring::Descriptor;
use crate::stats::FrameCensus;
use crate::sys::memory::ChunkMemory;

/// One byte a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner(u8);

impl Owner {
    const FREE: Owner = Owner(0);
    const HELD: Owner = Owner(1);

    /// In the fill or RX ring of a port.
    #[inline]
    fn fill(port: u8) -> Owner {
        Owner(2 + 2 * port)
    }

    /// In the TX or completion ring of a port.
    #[inline]
    fn tx(port: u8) -> Owner {
        Owner(3 + 2 * port)
    }
}

/// A UMEM: memory, owner table, free list (last in, first out: hot lines first).
#[derive(Debug)]
pub(crate) struct Umem {
    memory: ChunkMemory,
    owners: Box<[Owner]>,
    free: Vec<u32>,
    chunk_shift: u32,
    data_start: u16,
    held: usize,
}

impl Umem {
    /// `chunk_size` is 2048 or 4096; `data_start` is where allocated frames begin.
    pub(crate) fn new(chunks: usize, chunk_size: usize, data_start: usize, huge: bool) -> io::Result<Umem> {
        assert!(matches!(chunk_size, 2048 | 4096), "chunk size {chunk_size}");
        assert!(
            data_start <= chunk_size,
            "data start {data_start} in a chunk of {chunk_size}"
        );
        Ok(Umem {
            memory: ChunkMemory::new(chunks, chunk_size, huge)?,
            owners: vec![Owner::FREE; chunks].into_boxed_slice(),
            free: (0..chunks as u32).rev().collect(),
            chunk_shift: chunk_size.trailing_zeros(),
            data_start: data_start as u16,
            held: 0,
        })
    }

    pub(crate) fn memory(&self) -> &ChunkMemory {
        &self.memory
    }

    pub(crate) fn chunks(&self) -> usize {
        self.owners.len()
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn held_count(&self) -> usize {
        self.held
    }

    #[inline]
    pub(crate) fn allocate(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        self.hold(chunk);
        Some(self.token(chunk, self.data_start, 0))
    }

    /// # Panics
    /// If the frame belongs to another UMEM.
    #[inline]
    pub(crate) fn release(&mut self, frame: Frame) {
        self.expect_held(&frame);
        self.held -= 1;
        self.set_free(frame.chunk);
    }

    /// # Panics
    /// If the frame belongs to another UMEM.
    #[inline]
    pub(crate) fn chunk(&self, frame: &Frame) -> &[u8] {
        self.expect_held(frame);
        // SAFETY: the owner table says a token holds the chunk, so no ring does and the kernel leaves it alone.
        unsafe { self.memory.chunk(frame.chunk as usize) }
    }

    /// # Panics
    /// If the frame belongs to another UMEM.
    #[inline]
    pub(crate) fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8] {
        self.expect_held(frame);
        // SAFETY: the owner table says a token holds the chunk, so no ring does and the kernel leaves it alone.
        unsafe { self.memory.chunk_mut(frame.chunk as usize) }
    }

    /// free -> fill: a chunk's address for a fill ring.
    #[inline]
    pub(crate) fn give_fill(&mut self, port: u8) -> Option<u64> {
        let chunk = self.free.pop()?;
        self.owners[chunk as usize] = Owner::fill(port);
        Some(u64::from(chunk) << self.chunk_shift)
    }

    /// fill -> held: checks a received descriptor. None: never issued to this port, or (chunk recovered) an impossible range.
    #[inline]
    pub(crate) fn take_received(&mut self, port: u8, descriptor: Descriptor) -> Received {
        let Some(chunk) = self.find(descriptor.address, Owner::fill(port)) else {
            return Received::Unknown;
        };
        let chunk_size = 1u64 << self.chunk_shift;
        let start = descriptor.address & (chunk_size - 1);
        if descriptor.len == 0 || start + u64::from(descriptor.len) > chunk_size {
            self.set_free(chunk);
            return Received::BadRange;
        }
        self.hold(chunk);
        Received::Frame(self.token(chunk, start as u16, descriptor.len as u16))
    }

    /// held -> tx: the descriptor to send.
    ///
    /// # Panics
    /// If the frame belongs to another UMEM.
    #[inline]
    pub(crate) fn give_tx(&mut self, port: u8, frame: Frame) -> Descriptor {
        self.expect_held(&frame);
        self.held -= 1;
        self.owners[frame.chunk as usize] = Owner::tx(port);
        let address = (u64::from(frame.chunk) << self.chunk_shift) + u64::from(frame.start);
        Descriptor {
            address,
            len: u32::from(frame.len),
            options: 0,
        }
    }

    /// tx -> free: false if that chunk was not being sent by this port.
    #[inline]
    pub(crate) fn complete(&mut self, port: u8, address: u64) -> bool {
        let chunk = self.find(address, Owner::tx(port));
        if let Some(chunk) = chunk {
            self.set_free(chunk);
        }
        chunk.is_some()
    }

    /// The kernel's view of a chunk, for tests that play it. The exclusive borrow keeps every slice of ours out.
    pub(crate) fn kernel_bytes(&mut self, address: u64) -> Option<&mut [u8]> {
        let chunk = usize::try_from(address >> self.chunk_shift)
            .ok()
            .filter(|&c| c < self.owners.len())?;
        let start = (address & ((1 << self.chunk_shift) - 1)) as usize;
        // SAFETY: only `testing` calls this, where no kernel is attached to the memory.
        let chunk = unsafe { self.memory.chunk_mut(chunk) };
        Some(&mut chunk[start..])
    }

    #[inline]
    fn find(&self, address: u64, owner: Owner) -> Option<u32> {
        let chunk = usize::try_from(address >> self.chunk_shift).ok()?;
        (*self.owners.get(chunk)? == owner).then_some(chunk as u32)
    }

    #[inline]
    fn token(&self, chunk: u32, start: u16, len: u16) -> Frame {
        Frame {
            chunk,
            start,
            len,
            chunk_size: 1 << self.chunk_shift,
        }
    }

    #[inline]
    fn hold(&mut self, chunk: u32) {
        self.owners[chunk as usize] = Owner::HELD;
        self.held += 1;
    }

    #[inline]
    fn set_free(&mut self, chunk: u32) {
        self.owners[chunk as usize] = Owner::FREE;
        // The list has capacity for every chunk and a chunk enters only on leaving another state: never grows.
        self.free.push(chunk);
    }

    #[inline]
    fn expect_held(&self, frame: &Frame) {
        let owner = self.owners.get(frame.chunk as usize);
        assert!(
            owner == Some(&Owner::HELD),
            "frame of another UMEM: {frame:?} is {owner:?} here"
        );
    }
}

/// What a received descriptor turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Frame(Frame),
    /// Not a chunk this port had given to the kernel.
    Unknown,
    /// A chunk of ours with a range that leaves it; it went back to the free list.
    BadRange,
}

/// A UMEM without sockets, for an in-memory queue over the same [`Frame`] tokens.
#[derive(Debug)]
pub struct HeapUmem(Umem);

impl HeapUmem {
    /// `chunk_size` is 2048 or 4096. Panics when memory is short or the size is another.
    pub fn new(chunks: usize, chunk_size: usize) -> HeapUmem {
        let umem = Umem::new(chunks, chunk_size, KERNEL_HEADROOM as usize, false);
        HeapUmem(umem.expect("memory for a heap UMEM"))
    }

    /// A free frame, empty, starting after the default headroom.
    pub fn allocate(&mut self) -> Option<Frame> {
        self.0.allocate()
    }

    pub fn release(&mut self, frame: Frame) {
        self.0.release(frame);
    }

    pub fn chunk(&self, frame: &Frame) -> &[u8] {
        self.0.chunk(frame)
    }

    pub fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8] {
        self.0.chunk_mut(frame)
    }

    pub fn census(&self) -> FrameCensus {
        let (total, free, held) = (self.0.chunks(), self.0.free_count(), self.0.held_count());
        FrameCensus {
            total,
            free,
            held,
            ..FrameCensus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::BadRange;

    fn umem() -> Umem {
        Umem::new(4, 2048, 256, false).unwrap()
    }

    fn descriptor(address: u64, len: u32) -> Descriptor {
        Descriptor {
            address,
            len,
            options: 0,
        }
    }

    #[test]
    fn set_range_moves_within_the_chunk_only() {
        let mut umem = HeapUmem::new(1, 2048);
        let mut frame = umem.allocate().unwrap();
        assert_eq!((frame.start(), frame.len()), (256, 0));
        frame.set_range(0, 2048).unwrap();
        frame.set_range(2048, 0).unwrap();
        for (start, len) in [(1, 2048), (2049, 0), (usize::MAX, 2)] {
            assert_eq!(
                frame.set_range(start, len).unwrap_err(),
                BadRange {
                    start,
                    len,
                    chunk_size: 2048
                }
            );
        }
        assert_eq!((frame.start(), frame.end()), (2048, 2048));
        umem.release(frame);
    }

    #[test]
    fn heap_umem_counts_its_chunks() {
        let mut umem = HeapUmem::new(2, 4096);
        let (a, b) = (umem.allocate().unwrap(), umem.allocate().unwrap());
        assert!(umem.allocate().is_none());
        umem.chunk_mut(&a).fill(1);
        umem.chunk_mut(&b).fill(2);
        assert!(umem.chunk(&a).iter().all(|&byte| byte == 1));
        umem.release(a);
        let census = umem.census();
        assert_eq!(
            (census.total, census.free, census.held, census.sum()),
            (2, 1, 1, 2)
        );
        umem.release(b);
    }

    #[test]
    fn only_what_was_given_comes_back() {
        let mut umem = umem();
        let address = umem.give_fill(0).unwrap();
        assert_eq!(
            umem.take_received(1, descriptor(address, 60)),
            Received::Unknown,
            "another port's"
        );
        assert_eq!(
            umem.take_received(0, descriptor(address + 4 * 2048, 60)),
            Received::Unknown,
            "outside"
        );
        assert_eq!(
            umem.take_received(0, descriptor(u64::MAX, 60)),
            Received::Unknown,
            "far outside"
        );
        let Received::Frame(frame) = umem.take_received(0, descriptor(address + 300, 60)) else {
            panic!()
        };
        assert_eq!((frame.start(), frame.len()), (300, 60));
        assert_eq!(
            umem.take_received(0, descriptor(address + 300, 60)),
            Received::Unknown,
            "twice"
        );
        let sent = umem.give_tx(0, frame);
        assert!(!umem.complete(1, sent.address), "another port's");
        assert!(umem.complete(0, sent.address));
        assert!(!umem.complete(0, sent.address), "twice");
        assert_eq!((umem.free_count(), umem.held_count()), (4, 0));
    }

    #[test]
    fn impossible_ranges_return_their_chunk() {
        for (offset, len) in [(0, 2049), (2047, 2), (0, 0), (0, u32::MAX)] {
            let mut umem = umem();
            let address = umem.give_fill(0).unwrap();
            assert_eq!(
                umem.take_received(0, descriptor(address + offset, len)),
                Received::BadRange
            );
            assert_eq!(umem.free_count(), 4);
        }
    }

    #[test]
    #[should_panic(expected = "frame of another UMEM")]
    fn a_foreign_frame_is_refused() {
        let mut other = umem();
        let frame = other.allocate().unwrap();
        umem().chunk_mut(&frame);
    }
}
