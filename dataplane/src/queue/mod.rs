//! Where a worker's frames come from and go to: AF_XDP in service, memory in tests and benches.
//!
//! A [`Frame`] is the only right to its chunk and cannot be copied, so a frame is always in exactly one
//! place: with the queue, or with the worker, who must transmit or release it.

pub mod mem;
mod xdp;

use std::time::Duration;

use maglane_shared::next_hop::PortIndex;
pub use maglane_xsk::{Frame, FrameCensus, Received};

/// One worker's side of the network. Nothing here allocates, locks or logs; `receive`, `transmit` and
/// `flush` make system calls per batch at most.
pub trait Queue {
    /// Appends up to `max` frames, never more than `out` has room for; gives their number.
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize;

    /// The whole chunk; the data is at `[frame.start()..frame.end()]`.
    fn chunk(&self, frame: &Frame) -> &[u8];

    fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8];

    /// Is this an interface of ours?
    fn has_port(&self, port: PortIndex) -> bool;

    /// Sends a frame out of a port that [`Self::has_port`]; gives it back when there is no room.
    fn transmit(&mut self, port: PortIndex, frame: Frame) -> Result<(), Frame>;

    fn release(&mut self, frame: Frame);

    /// The end of a turn: what was transmitted must leave now.
    fn flush(&mut self);

    /// Sleeps until a frame waits, at most `timeout`.
    fn wait(&mut self, timeout: Duration);

    /// Where every frame is.
    fn census(&self) -> FrameCensus;

    /// Descriptors so far that named a frame the kernel did not hold.
    fn bad_descriptors(&self) -> u64;
}
