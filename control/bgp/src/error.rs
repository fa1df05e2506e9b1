//! Errors at the edges: settings and text that cannot be used. Protocol errors are not errors but
//! NOTIFICATIONs and events.

use std::io;
use std::net::IpAddr;

/// A community that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCommunityError {
    #[error("community {0:?}: write two numbers from 0 to 65535, as in 65001:100")]
    Standard(String),
    #[error("large community {0:?}: write three numbers from 0 to 4294967295, as in 65001:1:2")]
    Large(String),
}

/// A session that cannot be as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("AS number 0 is reserved (RFC 7607): give the AS number this side or the peer really has")]
    AsZero,
    #[error("router id 0.0.0.0: give any other IPv4 address that no neighbour of the router uses")]
    RouterId,
    #[error("hold time {0} s: choose 0 (no keepalives) or at least 3 s (RFC 4271 §4.2)")]
    HoldTime(u16),
    #[error("connect and keepalive time 0 s: choose 1 s or more")]
    ZeroTime,
    #[error("no address family: name ipv4, ipv6 or both")]
    NoFamily,
    #[error("the link-local next hop is not in fe80::/10: give the address of the interface to the peer")]
    LinkLocal,
}

/// BFD timers that cannot be as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BfdSettingsError {
    #[error("BFD detect multiplier 0 would never be up: choose 1 to 255, usually 3")]
    Multiplier,
    #[error("BFD interval {0} µs: choose 10 ms to 60 s")]
    Interval(u32),
}

/// A TCP MD5 key the kernel would not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the BGP password is empty: give 1 to 80 bytes, or leave it out")]
    Empty,
    #[error("the BGP password has {0} bytes, and TCP MD5 takes at most 80 (RFC 2385): shorten it")]
    TooLong(usize),
}

/// A BFD session that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BfdError {
    #[error(transparent)]
    Settings(#[from] BfdSettingsError),
    #[error("BFD with {0}: a link-local address means nothing without its interface: name the device")]
    Device(IpAddr),
    #[error("BFD with {peer}: device {device}: {error}; name an interface of this node")]
    NoDevice {
        peer: IpAddr,
        device: String,
        error: io::Error,
    },
    #[error("BFD cannot listen at UDP port {port}: {error}; stop the other BFD daemon of this node")]
    Listen { port: u16, error: io::Error },
    #[error("BFD with {peer}: cannot send from {from}: {error}; give an address of this node, or none")]
    Source {
        peer: IpAddr,
        from: IpAddr,
        error: io::Error,
    },
    #[error("BFD with {0} exists already: one session serves all who ask about one peer")]
    Twice(IpAddr),
    #[error("{0} BFD sessions exist, and there is room for no more: remove some")]
    Full(usize),
    #[error("the liveness thread takes no orders: it has ended, or does not keep up")]
    Thread,
}
