//! AF_XDP as a [`Queue`]: names only, the work is in `maglane-xsk`.

use std::time::Duration;

use maglane_shared::next_hop::PortIndex;
use maglane_xsk::{Frame, FrameCensus, PortId, QueueSet, Received};

use super::Queue;

impl Queue for QueueSet {
    #[inline]
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        QueueSet::receive(self, out, max)
    }

    #[inline]
    fn chunk(&self, frame: &Frame) -> &[u8] {
        QueueSet::chunk(self, frame)
    }

    #[inline]
    fn chunk_mut(&mut self, frame: &Frame) -> &mut [u8] {
        QueueSet::chunk_mut(self, frame)
    }

    #[inline]
    fn has_port(&self, port: PortIndex) -> bool {
        usize::from(port.0) < self.ports().count()
    }

    #[inline]
    fn transmit(&mut self, port: PortIndex, frame: Frame) -> Result<(), Frame> {
        QueueSet::transmit(self, PortId(port.0), frame)
    }

    #[inline]
    fn release(&mut self, frame: Frame) {
        QueueSet::release(self, frame);
    }

    #[inline]
    fn flush(&mut self) {
        QueueSet::flush(self);
    }

    fn wait(&mut self, timeout: Duration) {
        QueueSet::wait(self, timeout);
    }

    fn census(&self) -> FrameCensus {
        QueueSet::census(self)
    }

    fn bad_descriptors(&self) -> u64 {
        self.stats().map(|port| port.bad_descriptors).sum()
    }
}
