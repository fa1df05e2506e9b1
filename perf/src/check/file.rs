//! pcap and pcapng files, frame by frame.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, bail};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use super::{Inspector, Link, Summary};

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// # Errors
/// When the file can't be read, is no capture, or has a link type the checker does not know.
pub fn check_file(path: &Path) -> anyhow::Result<Summary> {
    let name = path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("open the capture {name}"))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic)
        .with_context(|| format!("{name} is no capture: shorter than 4 bytes"))?;
    file.rewind()?;
    let reader = BufReader::with_capacity(1 << 20, file);
    let mut inspector = Inspector::default();
    let outcome = if magic == PCAPNG_MAGIC {
        pcapng(reader, &mut inspector)
    } else {
        pcap(reader, &mut inspector)
    };
    outcome.with_context(|| format!("read {name}, frame {}", inspector.summary().frames + 1))?;
    Ok(inspector.into_summary())
}

fn pcap(reader: impl Read, inspector: &mut Inspector) -> anyhow::Result<()> {
    let mut reader = PcapReader::new(reader)?;
    let link = link(reader.header().datalink)?;
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        inspector.inspect(link, &packet.data, packet.orig_len);
    }
    Ok(())
}

fn pcapng(reader: impl Read, inspector: &mut Inspector) -> anyhow::Result<()> {
    let mut reader = PcapNgReader::new(reader)?;
    let mut links = Vec::new();
    while let Some(block) = reader.next_block() {
        match block? {
            Block::InterfaceDescription(interface) => links.push(link(interface.linktype)?),
            Block::EnhancedPacket(packet) => {
                let link = links
                    .get(packet.interface_id as usize)
                    .copied()
                    .context("unknown interface")?;
                inspector.inspect(link, &packet.data, packet.original_len);
            }
            Block::SimplePacket(packet) => {
                let link = links.first().copied().context("a packet before any interface")?;
                inspector.inspect(link, &packet.data, packet.original_len);
            }
            Block::SectionHeader(_) => links.clear(),
            Block::Packet(_)
            | Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::Unknown(_) => {}
        }
    }
    Ok(())
}

fn link(datalink: DataLink) -> anyhow::Result<Link> {
    const SLL2: u32 = 276;
    match u32::from(datalink) {
        1 => Ok(Link::Ethernet),
        12 | 101 | 228 | 229 => Ok(Link::Ip),
        113 => Ok(Link::Cooked {
            header: 16,
            protocol: 14,
        }),
        SLL2 => Ok(Link::Cooked {
            header: 20,
            protocol: 0,
        }),
        other => bail!("link type {other} is unknown; capture on one Ethernet interface"),
    }
}
