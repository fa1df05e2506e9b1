//! The control packet: 24 octets without authentication (RFC 5880 §4.1).

use serde::{Deserialize, Serialize};

/// Octets we send, and the least we take.
pub const PACKET_LEN: usize = 24;
/// The least with an authentication section.
const AUTHENTICATED_LEN: u8 = 26;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    AdminDown = 0,
    Down = 1,
    Init = 2,
    Up = 3,
}

impl State {
    /// Of the lowest two bits.
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }
}

/// Why the session last changed (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    None,
    DetectionTimeExpired,
    EchoFailed,
    NeighborSignaledDown,
    ForwardingPlaneReset,
    PathDown,
    ConcatenatedPathDown,
    AdministrativelyDown,
    ReverseConcatenatedPathDown,
    /// 9 to 31, reserved.
    Reserved(u8),
}

impl Diagnostic {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Diagnostic::None,
            1 => Diagnostic::DetectionTimeExpired,
            2 => Diagnostic::EchoFailed,
            3 => Diagnostic::NeighborSignaledDown,
            4 => Diagnostic::ForwardingPlaneReset,
            5 => Diagnostic::PathDown,
            6 => Diagnostic::ConcatenatedPathDown,
            7 => Diagnostic::AdministrativelyDown,
            8 => Diagnostic::ReverseConcatenatedPathDown,
            other => Diagnostic::Reserved(other & 0x1f),
        }
    }

    pub const fn code(self) -> u8 {
        match self {
            Diagnostic::None => 0,
            Diagnostic::DetectionTimeExpired => 1,
            Diagnostic::EchoFailed => 2,
            Diagnostic::NeighborSignaledDown => 3,
            Diagnostic::ForwardingPlaneReset => 4,
            Diagnostic::PathDown => 5,
            Diagnostic::ConcatenatedPathDown => 6,
            Diagnostic::AdministrativelyDown => 7,
            Diagnostic::ReverseConcatenatedPathDown => 8,
            Diagnostic::Reserved(code) => code,
        }
    }
}

/// A control packet as read; the fields are the RFC's, intervals in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub diagnostic: Diagnostic,
    pub state: State,
    pub poll: bool,
    pub final_: bool,
    pub control_plane_independent: bool,
    pub authentication_present: bool,
    pub demand: bool,
    pub detect_mult: u8,
    pub my_discriminator: u32,
    pub your_discriminator: u32,
    pub desired_min_tx: u32,
    pub required_min_rx: u32,
    pub required_min_echo_rx: u32,
}

/// The first check of RFC 5880 §6.8.6 that bytes fail without knowing any session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    Version,
    /// The length field is less than the least packet.
    TooShort,
    /// The length field exceeds the payload.
    Truncated,
    ZeroMultiplier,
    Multipoint,
    ZeroDiscriminator,
}

impl Packet {
    /// Reads a UDP payload, checking in the order of RFC 5880 §6.8.6.
    pub fn decode(payload: &[u8]) -> Result<Packet, Malformed> {
        let bytes: &[u8; PACKET_LEN] = payload.first_chunk().ok_or(Malformed::TooShort)?;
        let flags = bytes[1];
        let authenticated = flags & AUTHENTICATION != 0;
        let least = if authenticated {
            AUTHENTICATED_LEN
        } else {
            PACKET_LEN as u8
        };
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let fault = if bytes[0] >> 5 != VERSION {
            Some(Malformed::Version)
        } else if bytes[3] < least {
            Some(Malformed::TooShort)
        } else if usize::from(bytes[3]) > payload.len() {
            Some(Malformed::Truncated)
        } else if bytes[2] == 0 {
            Some(Malformed::ZeroMultiplier)
        } else if flags & MULTIPOINT != 0 {
            Some(Malformed::Multipoint)
        } else if word(4) == 0 {
            Some(Malformed::ZeroDiscriminator)
        } else {
            None
        };
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Packet {
                diagnostic: Diagnostic::from_bits(bytes[0] & 0x1f),
                state: State::from_bits(flags >> 6),
                poll: flags & POLL != 0,
                final_: flags & FINAL != 0,
                control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
                authentication_present: authenticated,
                demand: flags & DEMAND != 0,
                detect_mult: bytes[2],
                my_discriminator: word(4),
                your_discriminator: word(8),
                desired_min_tx: word(12),
                required_min_rx: word(16),
                required_min_echo_rx: word(20),
            }),
        }
    }

    /// The packet as sent; never with authentication.
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut bytes = [0; PACKET_LEN];
        bytes[0] = VERSION << 5 | self.diagnostic.code();
        bytes[1] = (self.state as u8) << 6
            | flag(self.poll, POLL)
            | flag(self.final_, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        bytes[2] = self.detect_mult;
        bytes[3] = PACKET_LEN as u8;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (slot, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}
