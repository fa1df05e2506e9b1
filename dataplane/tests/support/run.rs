//! Runs frames through a [`Forwarder`] and writes down what became of them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use maglane_dataplane::{Affinities, Forwarder, NatReturns, Packet, Verdict};
use maglane_shared::counters::{Counter, Counters, DropReason, FlowStats};
use maglane_shared::facts::Facts;
use maglane_shared::owned::Fence;
use maglane_shared::publish;
use maglane_shared::tick::Tick;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use super::table::Setup;

/// A frame and when it came, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    pub at: u32,
    pub frame: Vec<u8>,
}

/// What left, and the account of what happened.
pub struct Outcome {
    pub frames: Vec<Timed>,
    pub account: String,
}

/// The chunk of a UMEM.
const CHUNK: usize = 16_384;

pub fn run(setup: &Setup, input: &[Timed]) -> Outcome {
    let table = setup.table(0);
    let config = setup.config();
    let counters = Arc::new(Counters::new(
        table.services.entries().len(),
        table.backends.len(),
    ));
    let returns = Arc::new(NatReturns::new(setup.settings().returns));
    let (affinities, facts) = (Arc::new(Affinities::new(16)), Arc::new(Facts::default()));
    let (owned, until) = setup.owned();
    let (_publisher, mut readers) = publish::channel(&Arc::new(owned), 1);
    let fence = Arc::new(Fence::default());
    fence.set(until);
    let mut forwarder = Forwarder::new(&config, 0, returns, affinities, counters.clone(), facts)
        .answering(readers.remove(0), fence);
    let mut outcome = Outcome {
        frames: vec![],
        account: String::new(),
    };
    for (number, Timed { at, frame }) in input.iter().enumerate() {
        let mut chunk = vec![0; CHUNK];
        let start = setup.settings().headroom;
        chunk[start..start + frame.len()].copy_from_slice(frame);
        let mut packet = Packet::new(&mut chunk, start, frame.len()).unwrap();
        let (now, table) = (Tick(*at), setup.table(*at));
        forwarder.sweep(now);
        let verdict = forwarder.process(&mut packet, setup.port_of(frame), &table, now);
        writeln!(outcome.account, "packet {}: {}", number + 1, name(verdict)).unwrap();
        if matches!(verdict, Verdict::Forward(_) | Verdict::Reply) {
            outcome.frames.push(Timed {
                at: *at,
                frame: packet.data().to_vec(),
            });
        }
    }
    count(&counters, &mut outcome.account);
    outcome
}

fn name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward(port) => format!("forward port {}", port.0),
        Verdict::Reply => "reply".to_owned(),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Drop(reason) => format!("drop {}", reason.label()),
    }
}

/// Every counter that is not zero.
fn count(counters: &Counters, account: &mut String) {
    let mut line = |name: &str, counter: &Counter| {
        if counter.get() != 0 {
            writeln!(account, "{name} {}", counter.get()).unwrap();
        }
    };
    for reason in DropReason::ALL {
        line(
            &format!("drops {}", reason.label()),
            &counters.drops[*reason as usize],
        );
    }
    line("flow_hits", &counters.flow_hits);
    line("flow_misses", &counters.flow_misses);
    line("flow_inserts", &counters.flow_inserts);
    line("flow_evictions", &counters.flow_evictions);
    line("flow_expirations", &counters.flow_expirations);
    line("flow_entries", &counters.flow_entries);
    line("nat_entries", &counters.nat_entries);
    line("resets", &counters.resets);
    line("affinity_hits", &counters.affinity_hits);
    line("affinity_misses", &counters.affinity_misses);
    line("affinity_full", &counters.affinity_full);
    line("neighbor_requests", &counters.neighbor_requests);
    line("neighbor_answers", &counters.neighbor_answers);
    for (kind, all) in [("service", &counters.services), ("backend", &counters.backends)] {
        for (
            slot,
            FlowStats {
                packets,
                bytes,
                new_flows,
                active_flows,
            },
        ) in all.iter().enumerate()
        {
            line(&format!("{kind} {slot} packets"), packets);
            line(&format!("{kind} {slot} bytes"), bytes);
            line(&format!("{kind} {slot} new_flows"), new_flows);
            line(&format!("{kind} {slot} active_flows"), active_flows);
        }
    }
}

pub fn read_pcap(path: &Path) -> Vec<Timed> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = PcapReader::new(bytes.as_slice()).unwrap();
    let mut frames = vec![];
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        frames.push(Timed {
            at: packet.timestamp.as_millis() as u32,
            frame: packet.data.into_owned(),
        });
    }
    frames
}

/// The same bytes on every machine.
pub fn to_pcap(frames: &[Timed]) -> Vec<u8> {
    let header = PcapHeader {
        version_major: 2,
        version_minor: 4,
        ts_correction: 0,
        ts_accuracy: 0,
        snaplen: u32::from(u16::MAX),
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::MicroSecond,
        endianness: Endianness::Little,
    };
    let mut writer = PcapWriter::with_header(vec![], header).unwrap();
    for Timed { at, frame } in frames {
        let time = Duration::from_millis(u64::from(*at));
        writer
            .write_packet(&PcapPacket::new(time, frame.len() as u32, frame))
            .unwrap();
    }
    writer.into_writer()
}
