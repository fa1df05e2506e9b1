//! A frame in its chunk: the bytes, the headroom in front of them and the tailroom behind.
//!
//! Encapsulation and ICMP errors grow a frame at its front, so that no payload is ever copied. Nothing
//! here panics: a frame that would leave its chunk is refused.

use maglane_shared::counters::DropReason;

/// A frame that may be rewritten and grown in place.
#[derive(Debug)]
pub struct Packet<'a> {
    chunk: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> Packet<'a> {
    /// A frame of `len` bytes from `start` on; `None` where that is not inside the chunk.
    #[inline]
    pub fn new(chunk: &'a mut [u8], start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= chunk.len()).then_some(Packet { chunk, start, end })
    }

    #[inline]
    pub fn data(&self) -> &[u8] {
        self.chunk.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.chunk.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Where the frame begins in its chunk.
    #[inline]
    pub fn start(&self) -> usize {
        self.start
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub fn headroom(&self) -> usize {
        self.start
    }

    #[inline]
    pub fn tailroom(&self) -> usize {
        self.chunk.len() - self.end
    }

    /// Grows the frame by `n` bytes at its front; their content is whatever the headroom held.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Result<(), DropReason> {
        self.start = self.start.checked_sub(n).ok_or(DropReason::NoHeadroom)?;
        Ok(())
    }

    /// Makes room for `n` bytes behind the first `at`, which move to the front; the rest stays in place.
    #[inline]
    pub fn insert(&mut self, at: usize, n: usize) -> Result<(), DropReason> {
        self.prepend(n)?;
        let data = self.data_mut();
        // Ethernet with no, one and two VLAN tags: a few moves each, where any other length is a call.
        match at {
            14 => move_front::<14>(data, n),
            18 => move_front::<18>(data, n),
            22 => move_front::<22>(data, n),
            _ => {
                if let Some(end) = at.checked_add(n).filter(|end| *end <= data.len()) {
                    data.copy_within(n..end, 0);
                }
            }
        }
        Ok(())
    }

    /// Takes up to `n` bytes off the front.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
    }

    /// Shortens or lengthens the frame at its end, within the chunk.
    #[inline]
    pub fn set_len(&mut self, n: usize) -> Result<(), DropReason> {
        let end = self.start.checked_add(n).filter(|end| *end <= self.chunk.len());
        self.end = end.ok_or(DropReason::NoHeadroom)?;
        Ok(())
    }
}

/// The `N` bytes at `from` go to the front.
#[inline]
fn move_front<const N: usize>(data: &mut [u8], from: usize) {
    let bytes: Option<[u8; N]> = data.get(from..).and_then(|rest| rest.first_chunk().copied());
    if let (Some(bytes), Some(front)) = (bytes, data.first_chunk_mut()) {
        *front = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stays_inside_its_chunk() {
        let mut chunk = [0; 64];
        assert!(Packet::new(&mut chunk, 60, 5).is_none());
        assert!(Packet::new(&mut chunk, usize::MAX, 2).is_none());
        let mut packet = Packet::new(&mut chunk, 16, 40).unwrap();
        assert_eq!((packet.headroom(), packet.len(), packet.tailroom()), (16, 40, 8));
        assert_eq!(packet.prepend(17), Err(DropReason::NoHeadroom));
        assert_eq!(packet.prepend(16), Ok(()));
        assert_eq!((packet.start(), packet.len()), (0, 56));
        assert_eq!(packet.set_len(65), Err(DropReason::NoHeadroom));
        assert_eq!(packet.set_len(64), Ok(()));
        packet.trim_front(100);
        assert!(packet.is_empty() && packet.data().is_empty() && packet.data_mut().is_empty());
    }
}
