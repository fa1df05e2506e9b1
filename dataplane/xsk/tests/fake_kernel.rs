//! The queue set against a kernel played by the test: no root, no network.
//! Conservation (invariant 5) is checked after every step, whatever the kernel does.

#![cfg(not(loom))]

use std::collections::{HashSet, VecDeque};

use maglane_xsk::ring::Descriptor;
use maglane_xsk::testing::{FakeConfig, FakeKernel, Sent, Undelivered, WakeupRing};
use maglane_xsk::{Frame, PortId, QueueSet, Received};
use proptest::prelude::*;

const A: PortId = PortId(0);
const B: PortId = PortId(1);
/// The kernel's headroom before every packet.
const HEADROOM: u64 = 256;

fn receive(set: &mut QueueSet) -> Vec<Received> {
    let mut out = Vec::with_capacity(64);
    set.receive(&mut out, 64);
    out
}

fn data<'a>(set: &'a QueueSet, frame: &Frame) -> &'a [u8] {
    &set.chunk(frame)[frame.start()..frame.end()]
}

fn conserved(set: &QueueSet) {
    let census = set.census();
    assert_eq!(census.sum(), census.total, "{census:?}");
}

/// A frame with `bytes` in it.
fn frame(set: &mut QueueSet, bytes: &[u8]) -> Frame {
    let mut frame = set.allocate().unwrap();
    frame.set_range(frame.start(), bytes.len()).unwrap();
    let (start, end) = (frame.start(), frame.end());
    set.chunk_mut(&frame)[start..end].copy_from_slice(bytes);
    frame
}

fn take_all(kernel: &mut FakeKernel, set: &mut QueueSet, port: PortId) -> Vec<Sent> {
    std::iter::from_fn(|| kernel.take_sent(set, port)).collect()
}

#[test]
fn a_packet_enters_on_one_port_and_leaves_on_the_other_from_a_shifted_start() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        ports: 2,
        ..FakeConfig::default()
    });
    kernel.deliver(&mut set, A, b"payload").unwrap();
    let Received { port, mut frame } = receive(&mut set).pop().unwrap();
    assert_eq!((port, data(&set, &frame)), (A, &b"payload"[..]));
    // In-place encapsulation: four bytes to the front.
    let start = frame.start() - 4;
    frame.set_range(start, frame.len() + 4).unwrap();
    set.chunk_mut(&frame)[start..start + 4].copy_from_slice(b"head");
    set.transmit(B, frame).unwrap();
    assert_eq!(
        kernel.take_sent(&mut set, B),
        None,
        "nothing is seen before flush"
    );
    set.flush();
    let sent = kernel.take_sent(&mut set, B).unwrap();
    assert_eq!(sent.bytes, b"headpayload");
    assert_eq!(set.census().tx, 1);
    kernel.complete(B, sent.descriptor.address);
    assert_eq!(set.census().completion, 1);
    set.flush();
    assert_eq!(
        (set.census().tx, set.census().completion, set.census().held),
        (0, 0, 0)
    );
    conserved(&set);
}

#[test]
fn fill_rings_are_full_from_the_start_and_after_every_receive() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        ports: 2,
        ..FakeConfig::default()
    });
    assert_eq!(kernel.empty_chunks(B), 64);
    for _ in 0..1000 {
        for i in 0..10 {
            kernel.deliver(&mut set, A, &[i; 64]).unwrap();
        }
        receive(&mut set).into_iter().for_each(|r| set.release(r.frame));
        assert_eq!(set.census().fill, 128);
    }
    assert_eq!(set.stats().next().unwrap().rx_frames, 10_000);
}

#[test]
fn receive_is_fair_and_never_grows_the_vector() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        ports: 2,
        ..FakeConfig::default()
    });
    for _ in 0..40 {
        kernel.deliver(&mut set, A, &[0; 64]).unwrap();
        kernel.deliver(&mut set, B, &[0; 64]).unwrap();
    }
    let mut out = Vec::with_capacity(16);
    let capacity = out.capacity();
    assert_eq!(set.receive(&mut out, 1000), capacity);
    let from_a = out.iter().filter(|r| r.port == A).count();
    assert_eq!(from_a, capacity / 2);
    assert_eq!(set.receive(&mut out, 1000), 0);
    assert_eq!(out.capacity(), capacity);
    out.into_iter().for_each(|r| set.release(r.frame));
    // A quiet port leaves its part to the busy one.
    while kernel.deliver(&mut set, A, &[0; 64]).is_ok() {}
    let before = receive(&mut set).len();
    assert_eq!(before, 64);
}

#[test]
fn bad_descriptors_are_counted_and_make_no_second_token() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig::default());
    let bent = |address, len| Descriptor {
        address,
        len,
        options: 0,
    };
    kernel.deliver(&mut set, A, b"good").unwrap();
    let first = receive(&mut set).pop().unwrap().frame;
    let empty = kernel.take_empty(A).unwrap();
    let twice = kernel.take_empty(A).unwrap();
    let total = set.census().total as u64;
    for descriptor in [
        bent(u64::MAX, 60),
        bent(total * 2048, 60),
        bent(empty, 2049),
        bent(empty, 60), // recovered by the line before: free now
        bent(twice + HEADROOM, 60),
        bent(twice + HEADROOM, 60),
    ] {
        assert!(kernel.inject_received(A, descriptor));
    }
    let got = receive(&mut set);
    assert_eq!(got.len(), 1);
    assert_eq!(set.stats().next().unwrap().bad_descriptors, 5);
    for address in [empty, u64::MAX, total * 2048] {
        kernel.complete(A, address);
    }
    set.transmit(A, first).unwrap();
    set.flush();
    let sent = kernel.take_sent(&mut set, A).unwrap();
    kernel.complete(A, sent.descriptor.address);
    kernel.complete(A, sent.descriptor.address);
    set.flush();
    assert_eq!(set.stats().next().unwrap().bad_descriptors, 5 + 4);
    conserved(&set);
}

#[test]
fn a_frame_in_several_buffers_is_dropped_whole() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig::default());
    kernel
        .deliver_fragments(&mut set, A, &[&[1; 100], &[2; 100], &[3; 10]])
        .unwrap();
    kernel.deliver(&mut set, A, b"after").unwrap();
    let got = receive(&mut set);
    assert_eq!(got.len(), 1);
    assert_eq!(data(&set, &got[0].frame), b"after");
    assert_eq!(set.stats().next().unwrap().fragmented_frames, 1);
    assert_eq!(set.census().held, 1);
    conserved(&set);
}

#[test]
fn a_full_tx_ring_kicks_and_gives_the_frame_back_then_recovers() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        frames: 512,
        ..FakeConfig::default()
    });
    let mut sent = 0u64;
    let rejected = loop {
        let next = frame(&mut set, &[7; 60]);
        match set.transmit(A, next) {
            Ok(()) => sent += 1,
            Err(frame) => break frame,
        }
    };
    assert_eq!(sent, 64, "the ring's size");
    assert_eq!(rejected.len(), 60);
    let kicks = kernel.kicks(A);
    assert!((1..=3).contains(&kicks), "{kicks} kicks");
    // Blocked: no further system calls this turn, and none of them counts twice.
    let rejected = set.transmit(A, rejected).unwrap_err();
    assert_eq!(kernel.kicks(A), kicks);
    assert_eq!(set.stats().next().unwrap().tx_ring_full, 2);
    // The kernel takes and completes: room at once, without a flush in between.
    let taken = take_all(&mut kernel, &mut set, A);
    assert_eq!(taken.len(), 64);
    taken
        .iter()
        .for_each(|s| assert!(kernel.complete(A, s.descriptor.address)));
    set.transmit(A, rejected).unwrap();
    set.flush();
    assert_eq!(take_all(&mut kernel, &mut set, A).len(), 1);
    conserved(&set);
}

#[test]
fn a_blocked_port_cannot_starve_the_others() {
    let config = FakeConfig {
        ports: 2,
        frames: 128,
        ring: 64,
        ..FakeConfig::default()
    };
    let (mut set, mut kernel) = FakeKernel::queue_set(config);
    // Port B sends nothing on: the kernel takes packets and never completes them.
    for _ in 0..1000 {
        let _ = kernel.deliver(&mut set, A, &[1; 64]);
        for Received { frame, .. } in receive(&mut set) {
            if let Err(frame) = set.transmit(B, frame) {
                set.release(frame);
            }
        }
        set.flush();
        take_all(&mut kernel, &mut set, B);
        conserved(&set);
    }
    let stats: Vec<_> = set.stats().collect();
    assert_eq!(stats[1].tx_frames, 32, "a quarter of the chunks");
    assert_eq!(stats[0].rx_frames, 1000, "A still receives everything");
    assert_eq!(kernel.empty_chunks(A), 32);
    assert_eq!(kernel.empty_chunks(B), 32);
}

#[test]
fn the_kernel_is_woken_and_kicked_when_its_flags_or_copy_mode_ask() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig::default());
    let start = kernel.wakeups(A);
    set.flush();
    assert_eq!(
        (kernel.wakeups(A), kernel.kicks(A)),
        (start, 0),
        "nothing to say, no system call"
    );
    kernel.set_need_wakeup(A, WakeupRing::Fill, true);
    set.flush();
    assert_eq!(kernel.wakeups(A), start + 1);
    assert_eq!(set.stats().next().unwrap().wakeups, 1);
    kernel.set_need_wakeup(A, WakeupRing::Fill, false);
    let packet = frame(&mut set, b"x");
    set.transmit(A, packet).unwrap();
    set.flush();
    assert_eq!(kernel.kicks(A), 1, "copy mode: whatever the TX flag says");
}

#[test]
fn a_dead_link_costs_one_kick_a_turn_and_is_counted() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig::default());
    kernel.refuse_kicks(A, 100 /* ENETDOWN */);
    for _ in 0..10 {
        let packet = frame(&mut set, b"x");
        set.transmit(A, packet).unwrap();
        set.flush();
    }
    let stats = set.stats().next().unwrap();
    assert_eq!((stats.kicks, stats.kick_errors), (10, 10));
    conserved(&set);
}

#[test]
fn an_empty_frame_is_not_sent() {
    let (mut set, _kernel) = FakeKernel::queue_set(FakeConfig::default());
    let empty = set.allocate().unwrap();
    let back = set.transmit(A, empty).unwrap_err();
    set.release(back);
    conserved(&set);
}

#[test]
fn an_empty_fill_ring_or_a_full_rx_ring_is_the_kernels_drop() {
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        frames: 128,
        ..FakeConfig::default()
    });
    while kernel.take_empty(A).is_some() {}
    assert_eq!(kernel.deliver(&mut set, A, b"x"), Err(Undelivered::FillEmpty));
    let (mut set, mut kernel) = FakeKernel::queue_set(FakeConfig {
        ring: 16,
        ..FakeConfig::default()
    });
    let delivered = (0..100)
        .take_while(|_| kernel.deliver(&mut set, A, b"x").is_ok())
        .count();
    assert_eq!(delivered, 16);
    conserved(&set);
}

/// A few hundred thousand packets both ways, completions in any order and late.
#[test]
fn many_packets_in_any_order_keep_every_chunk() {
    let config = FakeConfig {
        ports: 2,
        frames: 512,
        ..FakeConfig::default()
    };
    let (mut set, mut kernel) = FakeKernel::queue_set(config);
    let mut random = Random(42);
    let mut late: VecDeque<(PortId, u64)> = VecDeque::new();
    let (mut delivered, mut forwarded, mut expected) = (0u64, 0u64, VecDeque::new());
    while delivered < 200_000 {
        for _ in 0..random.below(80) {
            let port = PortId(random.below(2) as u8);
            let bytes = delivered.to_le_bytes();
            if kernel.deliver(&mut set, port, &bytes).is_ok() {
                delivered += 1;
            }
        }
        for Received { port, frame } in receive(&mut set) {
            let bytes = data(&set, &frame).to_vec();
            match set.transmit(PortId(1 - port.0), frame) {
                Ok(()) => expected.push_back((1 - port.0, bytes)),
                Err(frame) => set.release(frame),
            }
        }
        set.flush();
        for port in [A, B] {
            for sent in take_all(&mut kernel, &mut set, port) {
                let at = expected.iter().position(|(p, _)| *p == port.0).unwrap();
                assert_eq!(
                    expected.remove(at).unwrap().1,
                    sent.bytes,
                    "order and bytes hold on a port"
                );
                late.push_back((port, sent.descriptor.address));
                forwarded += 1;
            }
        }
        for _ in 0..random.below(100).min(late.len() as u64) {
            let at = random.below(late.len() as u64) as usize;
            let (port, address) = late.swap_remove_back(at).unwrap();
            if !kernel.complete(port, address) {
                late.push_back((port, address));
            }
        }
        conserved(&set);
    }
    assert!(forwarded > 100_000, "{forwarded}");
    assert!(set.stats().all(|s| s.bad_descriptors == 0));
    assert_eq!(set.census().held, 0);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(u8),
    DeliverFragments(u8),
    InjectReceived(u8, u64, u32, u32),
    RepeatReceived(u8),
    Receive(usize),
    TransmitHeld(u8, usize),
    ReleaseHeld,
    Allocate,
    Flush,
    TakeSent(u8),
    CompleteOne(u8, usize),
    InjectCompletion(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let address = prop_oneof![0u64..70 * 2048, any::<u64>()];
    prop_oneof![
        8 => (0u8..2).prop_map(Step::Deliver),
        1 => (0u8..2).prop_map(Step::DeliverFragments),
        1 => (0u8..2, address.clone(), 0u32..3000, 0u32..2).prop_map(|(p, a, l, o)| Step::InjectReceived(p, a, l, o)),
        1 => (0u8..2).prop_map(Step::RepeatReceived),
        6 => (0usize..40).prop_map(Step::Receive),
        6 => (0u8..2, 0usize..2048).prop_map(|(p, len)| Step::TransmitHeld(p, len)),
        2 => Just(Step::ReleaseHeld),
        2 => Just(Step::Allocate),
        4 => Just(Step::Flush),
        4 => (0u8..2).prop_map(Step::TakeSent),
        4 => (0u8..2, any::<usize>()).prop_map(|(p, n)| Step::CompleteOne(p, n)),
        1 => (0u8..2, address).prop_map(|(p, a)| Step::InjectCompletion(p, a)),
    ]
}

/// What the property needs to remember of a run.
struct Run {
    set: QueueSet,
    kernel: FakeKernel,
    held: Vec<Frame>,
    sent: [Vec<u64>; 2],
    last: Option<Descriptor>,
}

impl Run {
    fn apply(&mut self, step: Step) {
        let Run {
            set,
            kernel,
            held,
            sent,
            last,
        } = self;
        match step {
            Step::Deliver(port) => {
                let _ = kernel.deliver(set, PortId(port), &[port; 60]);
            }
            Step::DeliverFragments(port) => {
                let _ = kernel.deliver_fragments(set, PortId(port), &[&[1; 9], &[2; 9]]);
            }
            Step::InjectReceived(port, address, len, options) => {
                *last = Some(Descriptor {
                    address,
                    len,
                    options,
                });
                kernel.inject_received(PortId(port), last.unwrap());
            }
            Step::RepeatReceived(port) => {
                if let Some(descriptor) = *last {
                    kernel.inject_received(PortId(port), descriptor);
                }
            }
            Step::Receive(max) => {
                let mut out = Vec::with_capacity(max);
                set.receive(&mut out, max);
                held.extend(out.into_iter().map(|r| r.frame));
            }
            Step::TransmitHeld(port, len) => {
                if let Some(mut frame) = held.pop() {
                    let start = frame.start().min(2048 - len);
                    frame.set_range(start, len).unwrap();
                    held.extend(set.transmit(PortId(port), frame).err());
                }
            }
            Step::ReleaseHeld => held.pop().into_iter().for_each(|f| set.release(f)),
            Step::Allocate => held.extend(set.allocate()),
            Step::Flush => set.flush(),
            Step::TakeSent(port) => {
                let taken = kernel.take_sent(set, PortId(port));
                sent[usize::from(port)].extend(taken.map(|s| s.descriptor.address));
            }
            Step::CompleteOne(port, which) => {
                let list = &mut sent[usize::from(port)];
                if !list.is_empty() {
                    let address = list.swap_remove(which % list.len());
                    kernel.complete(PortId(port), address);
                }
            }
            Step::InjectCompletion(port, address) => {
                kernel.complete(PortId(port), address);
            }
        }
    }
}

proptest! {
    /// Whatever the kernel does: the sum holds, and no two tokens have one chunk.
    #[test]
    fn frames_are_conserved_and_unique(steps in prop::collection::vec(step(), 0..400)) {
        let config = FakeConfig { ports: 2, frames: 128, ring: 32, ..FakeConfig::default() };
        let (set, kernel) = FakeKernel::queue_set(config);
        let mut run = Run { set, kernel, held: Vec::new(), sent: [Vec::new(), Vec::new()], last: None };
        for step in steps {
            run.apply(step);
            let census = run.set.census();
            prop_assert_eq!(census.sum(), census.total);
            prop_assert_eq!(census.held, run.held.len());
            let chunks: HashSet<*const u8> = run.held.iter().map(|f| run.set.chunk(f).as_ptr()).collect();
            prop_assert_eq!(chunks.len(), run.held.len(), "one chunk, one token");
        }
    }
}
