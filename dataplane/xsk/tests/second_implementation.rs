//! The same wire through another implementation: xsk-rs (over libxdp) at one end of a veth, ours at the other.

#![cfg(not(loom))]

mod rig;

use std::io::Write;
use std::num::NonZeroU32;
use std::time::Duration;

use maglane_xsk::{AttachOptions, PortId, QueueSet, SteerSet, Steering};
use rig::{Rig, TCP, config, eventually, frame, packet, ports, receive};
use xsk_rs::config::{SocketConfig, UmemConfig};
use xsk_rs::{Socket, Umem};

const PACKETS: u16 = 64;

fn to_vip(i: u16) -> Vec<u8> {
    frame(&[], &packet("203.0.113.9", "192.0.2.1", TCP, &ports(i, 80)))
}

#[test]
fn xsk_rs_and_ours_understand_each_other() {
    let Some(rig) = Rig::new() else { return };
    rig.veth("a0", "a1");
    let mut ours = QueueSet::open(&config(&[("a1", 0)])).unwrap();
    let mut steering = Steering::attach("a1", &AttachOptions::default()).unwrap();
    steering.set_socket(0, ours.socket_fds()[0].1).unwrap();
    let vips = ["192.0.2.1".parse().unwrap()].into();
    steering
        .apply(&SteerSet {
            vips,
            ..SteerSet::default()
        })
        .unwrap();

    let count = NonZeroU32::new(256).unwrap();
    let (umem, mut frames) = Umem::new(UmemConfig::default(), count, false).unwrap();
    let interface = "a0".parse().unwrap();
    // SAFETY: no other socket shares this UMEM or queue.
    let opened = unsafe { Socket::new(SocketConfig::default(), &umem, &interface, 0) };
    let (mut tx, mut rx, rings) = opened.unwrap();
    let (mut fill, _completion) = rings.unwrap();
    let (to_send, to_fill) = frames.split_at_mut(128);
    // SAFETY: these frames are of this UMEM and in no other ring.
    assert_eq!(unsafe { fill.produce(to_fill) }, to_fill.len());

    // Theirs to ours.
    for (i, descriptor) in (0..PACKETS).zip(to_send.iter_mut()) {
        // SAFETY: the frame is in no ring yet.
        let mut data = unsafe { umem.data_mut(descriptor) };
        data.cursor().write_all(&to_vip(i)).unwrap();
    }
    // SAFETY: written above, in no other ring, not touched again.
    let produced = unsafe { tx.produce_and_wakeup(&to_send[..usize::from(PACKETS)]) };
    assert_eq!(produced.unwrap(), usize::from(PACKETS));
    let mut got = Vec::new();
    let all = eventually(Duration::from_secs(3), || {
        got.extend(receive(&mut ours, 1, Duration::from_millis(20)));
        // Copy mode takes 32 packets a call.
        tx.wakeup().ok();
        got.len() >= usize::from(PACKETS)
    });
    assert!(all, "{} packets", got.len());
    assert_eq!(got, (0..PACKETS).map(|i| (0, to_vip(i))).collect::<Vec<_>>());

    // Ours to theirs, from shifted starts: their side must see whole packets all the same.
    for i in 0..PACKETS {
        let (mut frame, bytes) = (ours.allocate().unwrap(), to_vip(i));
        let start = 100 + usize::from(i);
        frame.set_range(start, bytes.len()).unwrap();
        ours.chunk_mut(&frame)[start..start + bytes.len()].copy_from_slice(&bytes);
        ours.transmit(PortId(0), frame).unwrap();
    }
    ours.flush();
    let mut seen = Vec::new();
    let all = eventually(Duration::from_secs(3), || {
        let mut batch = to_fill.to_vec();
        // SAFETY: descriptors of this UMEM; the ring overwrites them with what was received.
        let count = unsafe { rx.poll_and_consume(&mut batch, 20) }.unwrap();
        for descriptor in &batch[..count] {
            // SAFETY: just received, so in no ring.
            seen.push(unsafe { umem.data(descriptor) }.contents().to_vec());
        }
        seen.len() >= usize::from(PACKETS)
    });
    assert!(all, "{} packets", seen.len());
    assert_eq!(seen, (0..PACKETS).map(to_vip).collect::<Vec<_>>());
}
