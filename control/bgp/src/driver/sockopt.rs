//! The two socket options no safe crate names: the least TTL taken (RFC 5082 §3) and the TCP MD5 key
//! (RFC 2385 §4). The unsafe call is inside nix's macro, which exists for this.

use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::sys::socket::{SetSockOpt, sockopt};

use crate::error::PasswordError;

/// The longest key the kernel takes (TCP_MD5SIG_MAXKEYLEN).
const KEY_MAX: usize = 80;

/// A TCP MD5 key; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        match text.len() {
            0 => Err(PasswordError::Empty),
            1..=KEY_MAX => Ok(Password(text.as_bytes().to_vec())),
            longer => Err(PasswordError::TooLong(longer)),
        }
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// `struct tcp_md5sig` of linux/tcp.h, its `sockaddr_storage` as bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Md5Signature {
    address: [u8; 128],
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: u32,
    key: [u8; KEY_MAX],
}

#[derive(Clone, Copy, Debug)]
struct TcpMd5;
nix::setsockopt_impl!(
    TcpMd5,
    libc::IPPROTO_TCP,
    libc::TCP_MD5SIG,
    Md5Signature,
    sockopt::SetStruct<Md5Signature>
);

#[derive(Clone, Copy, Debug)]
struct MinTtl;
nix::setsockopt_impl!(
    MinTtl,
    libc::IPPROTO_IP,
    libc::IP_MINTTL,
    i32,
    sockopt::SetStruct<i32>
);

#[derive(Clone, Copy, Debug)]
struct MinHopLimit;
nix::setsockopt_impl!(
    MinHopLimit,
    libc::IPPROTO_IPV6,
    libc::IPV6_MINHOPCOUNT,
    i32,
    sockopt::SetStruct<i32>
);

/// Signs segments to `peer` and drops unsigned ones from it; `None` takes the key away.
pub(super) fn set_md5(socket: &impl AsFd, peer: IpAddr, password: Option<&Password>) -> std::io::Result<()> {
    let mut signature = Md5Signature {
        address: [0; 128],
        flags: 0,
        prefix_len: 0,
        key_len: 0,
        interface: 0,
        key: [0; KEY_MAX],
    };
    let (family, offset, octets) = match peer {
        IpAddr::V4(v4) => (libc::AF_INET, 4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, 8, v6.octets().to_vec()),
    };
    signature.address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    signature.address[offset..offset + octets.len()].copy_from_slice(&octets);
    if let Some(Password(key)) = password {
        signature.key_len = key.len() as u16;
        signature.key[..key.len()].copy_from_slice(key);
    }
    Ok(TcpMd5.set(socket, &signature)?)
}

/// Drops segments that came from farther than `least` allows.
pub(super) fn set_min_ttl(socket: &impl AsFd, peer: IpAddr, least: u8) -> std::io::Result<()> {
    Ok(match peer {
        IpAddr::V4(_) => MinTtl.set(socket, &i32::from(least)),
        IpAddr::V6(_) => MinHopLimit.set(socket, &i32::from(least)),
    }?)
}
