//! The few `bpf(2)` commands that aya does not offer the way we need them: an XDP link without a netlink fallback (which
//! would outlive the process), finding and detaching somebody else's link, and the name of a program.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

// enum bpf_cmd, enum bpf_attach_type and enum bpf_link_type in linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_LINK_CREATE: u32 = 28;
const BPF_LINK_GET_FD_BY_ID: u32 = 30;
const BPF_LINK_GET_NEXT_ID: u32 = 31;
const BPF_LINK_DETACH: u32 = 34;
const BPF_XDP: u32 = 37;
const BPF_LINK_TYPE_XDP: u32 = 6;
pub(crate) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The head of `union bpf_attr` as every command here uses it: up to eight 32-bit words, the rest zero.
type Attributes = [u32; 8];

fn command(command: u32, attributes: &mut Attributes) -> io::Result<libc::c_int> {
    let size = mem::size_of::<Attributes>();
    // SAFETY: pointer and size describe live words; a command that follows a pointer inside them is the caller's to justify.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    check(result as libc::c_int)
}

fn descriptor(number: u32, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    let fd = command(number, attributes)?;
    // SAFETY: a descriptor the kernel just gave us, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches `program`; dropping the descriptor, or dying, detaches it.
pub(crate) fn create_xdp_link(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = [program.as_raw_fd() as u32, interface, BPF_XDP, flags, 0, 0, 0, 0];
    descriptor(BPF_LINK_CREATE, &mut attributes)
}

/// One XDP link in the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpLink {
    pub id: u32,
    pub program: u32,
    /// 0 once the link was detached or its interface is gone.
    pub interface: u32,
}

/// The link that holds `program` on `interface`, whoever owns it.
pub(crate) fn find_xdp_link(program: u32, interface: u32) -> Option<XdpLink> {
    let mut id = 0;
    loop {
        let mut attributes = [id, 0, 0, 0, 0, 0, 0, 0];
        command(BPF_LINK_GET_NEXT_ID, &mut attributes).ok()?;
        id = attributes[1];
        let found = link_by_id(id).ok().and_then(|link| xdp_link(&link));
        match found {
            Some(link) if link.program == program && link.interface == interface => return Some(link),
            Some(_) | None => {}
        }
    }
}

/// Takes a link off its interface though its owner still holds it.
pub(crate) fn detach_link(id: u32) -> io::Result<()> {
    let link = link_by_id(id)?;
    let mut attributes = [link.as_raw_fd() as u32, 0, 0, 0, 0, 0, 0, 0];
    command(BPF_LINK_DETACH, &mut attributes).map(drop)
}

fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    descriptor(BPF_LINK_GET_FD_BY_ID, &mut [id, 0, 0, 0, 0, 0, 0, 0])
}

fn xdp_link(link: &OwnedFd) -> Option<XdpLink> {
    // struct bpf_link_info: type, id, prog_id, (pad), xdp.ifindex, ...
    let info: [u32; 8] = object_info(link).ok()?;
    let [kind, id, program, _, interface, ..] = info;
    (kind == BPF_LINK_TYPE_XDP).then_some(XdpLink {
        id,
        program,
        interface,
    })
}

/// The program's name (15 bytes are kept by the kernel); None when it is gone or may not be read.
pub(crate) fn program_name(id: u32) -> Option<String> {
    let program = descriptor(BPF_PROG_GET_FD_BY_ID, &mut [id, 0, 0, 0, 0, 0, 0, 0]).ok()?;
    // struct bpf_prog_info: type, id, tag[8], jited_len, xlated_len, two pointers, load_time, uid, nr_map_ids, map_ids, name[16].
    let info: [u32; 20] = object_info(&program).ok()?;
    let bytes: Vec<u8> = info[16..20].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// The first words of an object's info; all pointers in it stay zero, so the kernel writes nothing elsewhere.
fn object_info<const N: usize>(object: &impl AsRawFd) -> io::Result<[u32; N]> {
    // The kernel wants the info 8-byte aligned in size only; words of u64 keep the address aligned as well.
    let mut info = [0u64; 16];
    let address = (&raw mut info) as u64;
    let bytes = mem::size_of_val(&info) as u32;
    let (low, high) = (address as u32, (address >> 32) as u32);
    let words = if cfg!(target_endian = "little") {
        [low, high]
    } else {
        [high, low]
    };
    let mut attributes = [object.as_raw_fd() as u32, bytes, words[0], words[1], 0, 0, 0, 0];
    // The address inside names `info`, which is live, writable and `bytes` long.
    command(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    let all: Vec<u32> = info.iter().flat_map(|word| split(*word)).collect();
    Ok(std::array::from_fn(|i| all[i]))
}

fn split(word: u64) -> [u32; 2] {
    let b = word.to_ne_bytes();
    [
        u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
        u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    ]
}
