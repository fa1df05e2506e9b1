//! Reads captures and recomputes every checksum in them, tunnels included; independent of the data plane.
//!
//! Dissection is `etherparse`'s, sums are computed here from the bytes (RFC 1071). A frame that a host with
//! checksum offload sent looks bad in a capture taken there: the rig turns that off.

mod file;
mod frame;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use file::check_file;
pub use frame::{Inspector, Link};

/// Findings kept with their frame numbers; the counts go on.
const MAX_FINDINGS: usize = 50;

/// What a capture holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    pub frames: u64,
    pub bytes: u64,
    /// Frames cut by the capture, or shorter than their own lengths say.
    pub truncated: u64,
    pub bad_checksums: u64,
    /// Transport checksums that could be verified; fragments can't.
    pub verified: u64,
    pub tcp_resets: u64,
    /// Longest frame, bytes.
    pub longest: u64,
    /// Packets by protocol, inner packets of tunnels counted as well.
    pub protocols: BTreeMap<String, u64>,
    /// The first 50 faults.
    pub findings: Vec<Finding>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Counted from 1, as tcpdump and Wireshark do.
    pub frame: u64,
    pub fault: String,
}

impl Summary {
    /// True when nothing is wrong: resets are no fault of the bytes and don't count.
    #[must_use]
    pub fn good(&self) -> bool {
        self.bad_checksums == 0 && self.truncated == 0
    }

    pub(crate) fn find(&mut self, fault: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                frame: self.frames,
                fault,
            });
        }
    }

    pub(crate) fn count(&mut self, protocol: &str) {
        *self.protocols.entry(protocol.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames, {} bytes, longest {}; {} transport checksums verified, {} bad, {} truncated, {} TCP resets;",
            self.frames,
            self.bytes,
            self.longest,
            self.verified,
            self.bad_checksums,
            self.truncated,
            self.tcp_resets
        )?;
        for (name, count) in &self.protocols {
            write!(f, " {name} {count}")?;
        }
        for finding in &self.findings {
            write!(f, "\n  frame {}: {}", finding.frame, finding.fault)?;
        }
        Ok(())
    }
}
