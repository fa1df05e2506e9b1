//! A batch in two passes, so that no packet waits for memory alone: the first parses, hashes and asks for
//! the lines that the second needs; the second decides, rewrites and sends. Between them the lines arrive.

use arrayvec::ArrayVec;
use maglane_shared::counters::{Counters, DropReason};
use maglane_shared::next_hop::PortIndex;
use maglane_shared::tick::Tick;

use super::Worker;
use crate::config::MAX_BATCH;
use crate::forward::Prepared;
use crate::packet::Packet;
use crate::queue::{Frame, Queue, Received};
use crate::verdict::Verdict;

/// Frames whose headers are asked for ahead of parsing.
const HEADERS_AHEAD: usize = 4;
/// Packets whose flow entries are asked for ahead of deciding.
const FLOWS_AHEAD: usize = 8;

type Batch<'t> = ArrayVec<Prepared<'t>, MAX_BATCH>;

impl<Q: Queue> Worker<Q> {
    /// Carries all of `self.received` to their verdicts.
    pub(super) fn carry(&mut self, now: Tick) {
        let Worker {
            queue,
            forwarder,
            tables,
            watch,
            received,
            ..
        } = self;
        let counters = &*watch.counters;
        let Some(table) = tables.get() else {
            // Never without one since start; were it so, nothing of ours could be told from the rest.
            counters.passed.add(received.len() as u64);
            received.drain(..).for_each(|r| queue.release(r.frame));
            return;
        };
        // Filled where it lies: collected, it would be copied.
        let mut batch = Batch::new();
        batch.extend(received.iter().map(|_| Prepared::EMPTY));
        let mut bytes = 0;
        received
            .iter()
            .take(HEADERS_AHEAD)
            .for_each(|r| prefetch_headers(queue, r));
        for ((i, r), prepared) in received.iter().enumerate().zip(&mut batch) {
            if let Some(ahead) = received.get(i + HEADERS_AHEAD) {
                prefetch_headers(queue, ahead);
            }
            bytes += r.frame.len() as u64;
            let data = &queue.chunk(&r.frame)[r.frame.start()..r.frame.end()];
            forwarder.prepare(data, PortIndex(r.port.0), table, now, prepared);
        }
        counters.rx_packets.add(received.len() as u64);
        counters.rx_bytes.add(bytes);
        batch
            .iter_mut()
            .take(FLOWS_AHEAD)
            .for_each(|p| forwarder.approach(p));
        for (i, r) in received.drain(..).enumerate() {
            if let Some(ahead) = batch.get_mut(i + FLOWS_AHEAD) {
                forwarder.approach(ahead);
            }
            let Received { port, mut frame } = r;
            let verdict = finish(queue, &mut frame, |packet| {
                forwarder.finish(packet, &batch[i], table, now)
            });
            dispose(queue, counters, PortIndex(port.0), frame, verdict);
        }
    }
}

#[inline]
fn prefetch_headers<Q: Queue>(queue: &Q, received: &Received) {
    maglane_xsk::prefetch(queue.chunk(&received.frame), received.frame.start());
}

/// Lends the frame's bytes to `decide` and keeps the bounds it leaves. The queue has checked the frame's
/// bounds and [`Packet`] keeps to the chunk, so neither can fail.
#[inline]
fn finish<Q: Queue>(
    queue: &mut Q,
    frame: &mut Frame,
    decide: impl FnOnce(&mut Packet<'_>) -> Verdict,
) -> Verdict {
    let (start, len) = (frame.start(), frame.len());
    let Some(mut packet) = Packet::new(queue.chunk_mut(frame), start, len) else {
        return Verdict::Pass;
    };
    let verdict = decide(&mut packet);
    let (start, len) = (packet.start(), packet.len());
    let fits = frame.set_range(start, len);
    debug_assert!(fits.is_ok(), "a packet left its chunk: {fits:?}");
    verdict
}

#[inline]
fn dispose<Q: Queue>(queue: &mut Q, counters: &Counters, from: PortIndex, frame: Frame, verdict: Verdict) {
    match verdict {
        Verdict::Forward(port) => {
            send(queue, counters, port, frame);
        }
        Verdict::Reply => {
            let sent = send(queue, counters, from, frame);
            counters.replies.add(u64::from(sent));
        }
        Verdict::Pass => {
            counters.passed.add(1);
            queue.release(frame);
        }
        Verdict::Drop(_) => queue.release(frame),
    }
}

#[inline]
fn send<Q: Queue>(queue: &mut Q, counters: &Counters, port: PortIndex, frame: Frame) -> bool {
    let len = frame.len() as u64;
    if !queue.has_port(port) {
        counters.drop(DropReason::PortUnknown);
        queue.release(frame);
        return false;
    }
    match queue.transmit(port, frame) {
        Ok(()) => {
            counters.tx_packets.add(1);
            counters.tx_bytes.add(len);
            true
        }
        Err(frame) => {
            counters.drop(DropReason::TxRingFull);
            queue.release(frame);
            false
        }
    }
}
