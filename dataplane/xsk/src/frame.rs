//! The token that stands for a chunk outside this crate. Only [`crate::umem`] makes one, and only for a chunk nobody has.

/// The right to one chunk: its number and where the data lies inside. Dropping it leaks the chunk (it stays `held` in the
/// census), so hand it to `transmit` or `release`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped frame is lost to the pool: transmit or release it"]
pub struct Frame {
    pub(crate) chunk: u32,
    pub(crate) start: u16,
    pub(crate) len: u16,
    pub(crate) chunk_size: u16,
}

/// `set_range` beyond the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range {start}+{len} does not fit a chunk of {chunk_size}")]
pub struct BadRange {
    pub start: usize,
    pub len: usize,
    pub chunk_size: usize,
}

impl Frame {
    /// Bytes of data.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the data starts in the chunk; this much headroom is there.
    #[inline]
    pub fn start(&self) -> usize {
        usize::from(self.start)
    }

    /// Where the data ends in the chunk.
    #[inline]
    pub fn end(&self) -> usize {
        self.start() + self.len()
    }

    /// Moves the data's bounds (not its bytes), for example 20 bytes to the front to encapsulate in place.
    #[inline]
    pub fn set_range(&mut self, start: usize, len: usize) -> Result<(), BadRange> {
        let chunk_size = usize::from(self.chunk_size);
        let fits = start.checked_add(len).is_some_and(|end| end <= chunk_size);
        if !fits {
            return Err(BadRange {
                start,
                len,
                chunk_size,
            });
        }
        self.start = start as u16;
        self.len = len as u16;
        Ok(())
    }
}
