//! A [`Queue`] in memory over the same frames: a test or a bench is the network.

use std::collections::VecDeque;
use std::time::Duration;

use maglane_shared::next_hop::PortIndex;
use maglane_xsk::{Frame, FrameCensus, HeapUmem, PortId, Received};

use super::Queue;

/// Ports that share one UMEM. Allocates in [`MemQueue::new`] only.
#[derive(Debug)]
pub struct MemQueue {
    umem: HeapUmem,
    arrived: VecDeque<Received>,
    sent: VecDeque<Received>,
    ports: u8,
    /// Frames `sent` takes before it is full.
    room: usize,
    waits: u64,
}

impl MemQueue {
    /// `ports` interfaces over `frames` chunks of 2048 bytes.
    pub fn new(ports: u8, frames: usize) -> Self {
        MemQueue {
            umem: HeapUmem::new(frames, 2048),
            arrived: VecDeque::with_capacity(frames),
            sent: VecDeque::with_capacity(frames),
            ports,
            room: frames,
            waits: 0,
        }
    }

    /// A frame arrives; false when no chunk is free or it does not fit one.
    pub fn deliver(&mut self, port: PortIndex, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.umem.allocate() else {
            return false;
        };
        let start = frame.start();
        if frame.set_range(start, bytes.len()).is_err() {
            self.umem.release(frame);
            return false;
        }
        self.umem.chunk_mut(&frame)[start..start + bytes.len()].copy_from_slice(bytes);
        self.arrived.push_back(Received {
            port: PortId(port.0),
            frame,
        });
        true
    }

    /// Shows the oldest sent frame to `look` and frees it.
    pub fn collect<T>(&mut self, look: impl FnOnce(PortIndex, &[u8]) -> T) -> Option<T> {
        let Received { port, frame } = self.sent.pop_front()?;
        let seen = look(
            PortIndex(port.0),
            &self.umem.chunk(&frame)[frame.start()..frame.end()],
        );
        self.umem.release(frame);
        Some(seen)
    }

    /// From now on the transmit ring takes this many frames at a time.
    pub fn limit_transmit(&mut self, room: usize) {
        self.room = room;
    }

    /// How often the worker went to sleep.
    pub fn waits(&self) -> u64 {
        self.waits
    }
}

impl Queue for MemQueue {
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        let count = self.arrived.len().min(max).min(out.capacity() - out.len());
        out.extend(self.arrived.drain(..count));
        count
    }

    #[inline]
    fn chunk(&self, frame: &Frame) -> &[u8] {
        self.umem.chunk(frame)
    }

    #[inline]
    fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8] {
        self.umem.chunk_mut(frame)
    }

    #[inline]
    fn has_port(&self, port: PortIndex) -> bool {
        port.0 < self.ports
    }

    fn transmit(&mut self, port: PortIndex, frame: Frame) -> Result<(), Frame> {
        if self.sent.len() >= self.room {
            return Err(frame);
        }
        self.sent.push_back(Received {
            port: PortId(port.0),
            frame,
        });
        Ok(())
    }

    fn release(&mut self, frame: Frame) {
        self.umem.release(frame);
    }

    fn flush(&mut self) {}

    /// Only yields the core: a test has its own time.
    fn wait(&mut self, _: Duration) {
        self.waits += 1;
        std::thread::yield_now();
    }

    /// The two queues are this test's ends of the rings.
    fn census(&self) -> FrameCensus {
        let (rx, tx) = (self.arrived.len(), self.sent.len());
        let held = self.umem.census();
        FrameCensus {
            rx,
            tx,
            held: held.held - rx - tx,
            ..held
        }
    }

    fn bad_descriptors(&self) -> u64 {
        0
    }
}
