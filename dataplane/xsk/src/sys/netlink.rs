//! Two rtnetlink questions about one interface: its MTU and which XDP program it runs; and one order: take that program off.
//! The attributes are walked by hand: a netlink crate would be the heavier dependency for three of them.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

const IFLA_MTU: u16 = 4;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const NLA_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = !(3 << 14);

const HEADER: usize = mem::size_of::<libc::nlmsghdr>();
/// `struct ifinfomsg`: family, pad, type (u16), index (i32), flags (u32), change (u32).
const IFINFO: usize = 16;

/// What the kernel says about one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub mtu: u32,
    /// Program id and whether it runs in the driver.
    pub xdp: Option<AttachedXdp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachedXdp {
    pub program: u32,
    pub native: bool,
}

pub(crate) fn link_facts(interface: u32) -> io::Result<LinkFacts> {
    let request = message(libc::RTM_GETLINK, libc::NLM_F_REQUEST, interface, &[]);
    let answer = exchange(&request)?;
    if answer.kind != libc::RTM_NEWLINK {
        return Err(io::Error::other(format!(
            "netlink answered RTM_GETLINK with type {}",
            answer.kind
        )));
    }
    Ok(parse_link(answer.body.get(IFINFO..).unwrap_or_default()))
}

/// Detaches a program that was attached through netlink (one held by a bpf_link says EBUSY).
pub(crate) fn detach_xdp(interface: u32, native: bool) -> io::Result<()> {
    const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
    const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
    let flags = if native {
        XDP_FLAGS_DRV_MODE
    } else {
        XDP_FLAGS_SKB_MODE
    };
    let mut nested = attribute(IFLA_XDP_FD, &(-1i32).to_ne_bytes());
    nested.extend(attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes()));
    let attributes = attribute(IFLA_XDP | NLA_NESTED, &nested);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    exchange(&message(libc::RTM_SETLINK, flags, interface, &attributes)).map(drop)
}

struct Answer {
    kind: u16,
    body: Vec<u8>,
}

fn exchange(request: &[u8]) -> io::Result<Answer> {
    let socket = open()?;
    let fd = socket.as_raw_fd();
    // SAFETY: pointer and length describe `request`, which the call only reads.
    let sent = unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buffer = vec![0u8; 64 << 10];
    // SAFETY: pointer and length describe `buffer`, which the call may fill.
    let received = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    parse_answer(&buffer[..received])
}

fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: a descriptor the kernel just gave us, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn message(kind: u16, flags: libc::c_int, interface: u32, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + IFINFO + attributes.len());
    bytes.extend(((HEADER + IFINFO + attributes.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    bytes.extend([0u8; 8]); // sequence, port
    bytes.extend([0u8; 4]); // family, pad, device type
    bytes.extend(interface.to_ne_bytes());
    bytes.extend([0u8; 8]); // flags, change mask
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + payload.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn parse_answer(bytes: &[u8]) -> io::Result<Answer> {
    let short = || io::Error::other("netlink answer too short");
    let len = word(bytes, 0).ok_or_else(short)? as usize;
    let kind = half(bytes, 4).ok_or_else(short)?;
    let body = bytes.get(HEADER..len).ok_or_else(short)?;
    if i32::from(kind) == libc::NLMSG_ERROR {
        let code = word(body, 0).ok_or_else(short)? as i32;
        if code != 0 {
            return Err(io::Error::from_raw_os_error(-code));
        }
    }
    Ok(Answer {
        kind,
        body: body.to_vec(),
    })
}

fn parse_link(attributes: &[u8]) -> LinkFacts {
    let mut facts = LinkFacts::default();
    for (kind, payload) in Attributes(attributes) {
        if kind == IFLA_MTU {
            facts.mtu = word(payload, 0).unwrap_or(0);
        } else if kind == IFLA_XDP {
            facts.xdp = parse_xdp(payload);
        }
    }
    facts
}

/// `IFLA_XDP_ATTACHED`: 0 none, 1 driver, 2 generic, 3 hardware, 4 several (then one id a mode).
fn parse_xdp(attributes: &[u8]) -> Option<AttachedXdp> {
    let mut attached = 0;
    let (mut any, mut driver, mut generic) = (None, None, None);
    for (kind, payload) in Attributes(attributes) {
        match kind {
            IFLA_XDP_ATTACHED => attached = *payload.first()?,
            IFLA_XDP_PROG_ID => any = word(payload, 0),
            IFLA_XDP_DRV_PROG_ID => driver = word(payload, 0),
            IFLA_XDP_SKB_PROG_ID => generic = word(payload, 0),
            _ => {}
        }
    }
    if attached == 0 {
        return None;
    }
    let native = driver.is_some() || (generic.is_none() && attached != 2);
    driver
        .or(generic)
        .or(any)
        .map(|program| AttachedXdp { program, native })
}

struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = half(self.0, 0)? as usize;
        let kind = half(self.0, 2)? & NLA_TYPE_MASK;
        let payload = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_an_mtu_and_no_program() {
        let index = crate::sys::interface_index("lo").unwrap();
        let facts = link_facts(index).unwrap();
        assert!(facts.mtu >= 1280, "{facts:?}");
        assert_eq!(facts.xdp, None);
    }

    #[test]
    fn absent_interface_is_an_error() {
        assert_eq!(
            link_facts(0x7fff_fff0).unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
    }

    #[test]
    fn xdp_attributes_are_read_and_garbage_ends_quietly() {
        let mut nested = attribute(IFLA_XDP_ATTACHED, &[1]);
        nested.extend(attribute(IFLA_XDP_PROG_ID, &77u32.to_ne_bytes()));
        nested.extend(attribute(IFLA_XDP_DRV_PROG_ID, &77u32.to_ne_bytes()));
        let facts = parse_link(&attribute(IFLA_XDP | NLA_NESTED, &nested));
        assert_eq!(
            facts.xdp,
            Some(AttachedXdp {
                program: 77,
                native: true
            })
        );
        for cut in 0..nested.len() {
            parse_link(&nested[..cut]);
        }
        assert_eq!(parse_link(&[255, 255, 0, 0]), LinkFacts::default());
    }
}
