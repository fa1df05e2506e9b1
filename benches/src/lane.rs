//! 64 frames in chunks of 2 KiB, as in a UMEM, filled off the clock and carried on it.
//!
//! [`Lane::forward`] is what the worker does with a batch (`dataplane::worker::batch`), without a queue.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use maglane_dataplane::config::MAX_BATCH;
use maglane_dataplane::forward::Prepared;
use maglane_dataplane::{Forwarder, Packet, Verdict};
use maglane_shared::table::ForwardingTable;
use maglane_shared::tick::Tick;

use crate::scene::PORT;
use crate::traffic::{LEN, Template, Tuple};

pub const CHUNK: usize = 2048;
/// Where a frame starts in its chunk, as the queue hands it out.
pub const START: usize = 256;
const HEADERS_AHEAD: usize = 4;
const FLOWS_AHEAD: usize = 8;

pub type Chunk = [u8; CHUNK];

#[derive(Debug)]
pub struct Lane {
    chunks: Box<[Chunk]>,
}

impl Default for Lane {
    fn default() -> Self {
        Lane {
            chunks: vec![[0; CHUNK]; MAX_BATCH].into(),
        }
    }
}

impl Lane {
    pub fn fill(&mut self, template: &Template, tuples: impl Iterator<Item = Tuple>) {
        for (chunk, tuple) in self.chunks.iter_mut().zip(tuples) {
            if let Some(frame) = chunk[START..].first_chunk_mut::<LEN>() {
                template.stamp(tuple, frame);
            }
        }
    }

    pub fn chunks(&mut self) -> &mut [Chunk] {
        &mut self.chunks
    }

    /// Carries all 64 frames, `batch` at a time; gives the number forwarded.
    pub fn forward(
        &mut self,
        forwarder: &mut Forwarder,
        table: &ForwardingTable,
        batch: usize,
        now: Tick,
    ) -> u32 {
        self.chunks
            .chunks_mut(batch)
            .map(|chunks| carry(forwarder, table, chunks, now))
            .sum()
    }
}

fn carry(forwarder: &mut Forwarder, table: &ForwardingTable, chunks: &mut [Chunk], now: Tick) -> u32 {
    let mut prepared = ArrayVec::<Prepared<'_>, MAX_BATCH>::new();
    prepared.extend(chunks.iter().map(|_| Prepared::EMPTY));
    chunks
        .iter()
        .take(HEADERS_AHEAD)
        .for_each(|c| maglane_xsk::prefetch(c, START));
    for ((i, chunk), prepared) in chunks.iter().enumerate().zip(&mut prepared) {
        if let Some(ahead) = chunks.get(i + HEADERS_AHEAD) {
            maglane_xsk::prefetch(ahead, START);
        }
        forwarder.prepare(&chunk[START..START + LEN], PORT, table, now, prepared);
    }
    prepared
        .iter_mut()
        .take(FLOWS_AHEAD)
        .for_each(|p| forwarder.approach(p));
    let mut forwarded = 0;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        if let Some(ahead) = prepared.get_mut(i + FLOWS_AHEAD) {
            forwarder.approach(ahead);
        }
        let Some(mut packet) = Packet::new(chunk, START, LEN) else {
            continue;
        };
        let verdict = forwarder.finish(&mut packet, &prepared[i], table, now);
        forwarded += u32::from(matches!(verdict, Verdict::Forward(_)));
        std::hint::black_box(packet.start());
    }
    forwarded
}

/// Time that `carry` takes for `packets` packets of `tuples`; filling the lane is off the clock. Told from
/// the median batch, because a batch that lost its core to a neighbour says nothing about the code.
pub fn time(
    lane: &mut Lane,
    template: &Template,
    tuples: &mut impl Iterator<Item = Tuple>,
    packets: u32,
    mut carry: impl FnMut(&mut Lane) -> u32,
) -> Duration {
    let mut forwarded = 0;
    let batch = |_| {
        lane.fill(template, &mut *tuples);
        let start = Instant::now();
        forwarded += carry(lane);
        start.elapsed()
    };
    let mut batches: Vec<Duration> = (0..packets.div_ceil(MAX_BATCH as u32)).map(batch).collect();
    assert!(
        u64::from(forwarded) * 1000 >= u64::from(packets) * 999,
        "only {forwarded} of {packets} packets were forwarded"
    );
    let middle = batches.len() / 2;
    let median = *batches.select_nth_unstable(middle).1;
    median.mul_f64(f64::from(packets) / MAX_BATCH as f64)
}
