//! Putting the program on an interface: who is there already, which mode the driver takes, what to say when it will not.
//! Native first; an MTU beyond one buffer takes the multi-buffer twin; generic last, with one warning. Never through
//! netlink: such a program would outlive us.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;
use aya::programs::Xdp;

use crate::XskError;
use crate::sys::bpf::{self, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
use crate::sys::netlink::{self, AttachedXdp};

/// How the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the driver, declared fit for frames of several buffers (MTU above about 3,500).
    NativeMultiBuffer,
    /// In the stack, after the socket buffer was made: works everywhere, costs two to three times as much.
    Generic,
}

impl AttachMode {
    pub(crate) fn program_name(self) -> &'static str {
        match self {
            AttachMode::Native | AttachMode::Generic => PROGRAM,
            AttachMode::NativeMultiBuffer => "maglane_steer_f",
        }
    }

    fn flags(self) -> u32 {
        match self {
            AttachMode::Native | AttachMode::NativeMultiBuffer => XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => XDP_FLAGS_SKB_MODE,
        }
    }
}

/// Which modes to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachWish {
    #[default]
    Auto,
    Native,
    Generic,
}

impl AttachWish {
    fn modes(self) -> &'static [AttachMode] {
        match self {
            AttachWish::Auto => &[
                AttachMode::Native,
                AttachMode::NativeMultiBuffer,
                AttachMode::Generic,
            ],
            AttachWish::Native => &[AttachMode::Native, AttachMode::NativeMultiBuffer],
            AttachWish::Generic => &[AttachMode::Generic],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachOptions {
    pub mode: AttachWish,
    /// Replace a foreign program (never needed after our own crash: that leaves none).
    pub force: bool,
    /// RX queues of the interface: size of the socket map.
    pub queues: u32,
}

impl Default for AttachOptions {
    fn default() -> Self {
        AttachOptions {
            mode: AttachWish::Auto,
            force: false,
            queues: 64,
        }
    }
}

/// All our programs' names begin so; the kernel keeps 15 bytes.
const PROGRAM: &str = "maglane_steer";
/// What fits one 4 KiB page with headroom and skb tail on every driver known.
const SAFE_MTU: u32 = 3498;

pub(super) struct Attached {
    pub link: OwnedFd,
    pub mode: AttachMode,
    pub warning: Option<String>,
}

/// The interface.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub index: u32,
}

impl Place<'_> {
    /// Ok when no program is attached, or it was foreign and `force` took it off.
    pub(super) fn make_free(&self, force: bool) -> Result<(), XskError> {
        let Some(attached) = self.facts()?.xdp else {
            return Ok(());
        };
        if !force {
            return Err(self.occupied(attached));
        }
        let detached = match bpf::find_xdp_link(attached.program, self.index) {
            Some(link) => bpf::detach_link(link.id),
            None => netlink::detach_xdp(self.index, attached.native),
        };
        detached.map_err(|source| self.attach_error(source))
    }

    pub(super) fn attach(&self, bpf: &mut Ebpf, wish: AttachWish) -> Result<Attached, XskError> {
        let mut refusal = None;
        for &mode in wish.modes() {
            match self.link(super::program(bpf, mode)?, mode) {
                Ok(link) => {
                    return Ok(Attached {
                        link,
                        mode,
                        warning: self.warning(mode, refusal.as_ref()),
                    });
                }
                Err(error @ (XskError::MtuTooLarge { .. } | XskError::ModeUnsupported { .. })) => {
                    // The plain program's refusal says more than its twin's.
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal.expect("every wish has a mode"))
    }

    /// One try. The link is ours alone and not pinned, so it dies with its last descriptor.
    pub(super) fn link(&self, program: &Xdp, mode: AttachMode) -> Result<OwnedFd, XskError> {
        let program = program.fd().map_err(|e| super::maps::load_error(&e))?;
        let link = bpf::create_xdp_link(program.as_fd(), self.index, mode.flags());
        link.map_err(|source| match source.raw_os_error() {
            // Somebody was quicker between our look and the call.
            Some(libc::EBUSY | libc::EEXIST) => match self.facts() {
                Ok(netlink::LinkFacts {
                    xdp: Some(attached), ..
                }) => self.occupied(attached),
                Ok(_) | Err(_) => self.attach_error(source),
            },
            Some(libc::ERANGE | libc::EINVAL | libc::EOPNOTSUPP | libc::E2BIG | libc::EMSGSIZE) => {
                self.mode_error(source)
            }
            _ => self.attach_error(source),
        })
    }

    fn facts(&self) -> Result<netlink::LinkFacts, XskError> {
        netlink::link_facts(self.index).map_err(XskError::system("asking netlink for an interface"))
    }

    fn mode_error(&self, source: io::Error) -> XskError {
        let (name, mtu) = (self.name.to_owned(), self.facts().map_or(0, |facts| facts.mtu));
        // veth says ERANGE for its peer's MTU, others anything at all.
        if mtu > SAFE_MTU || source.raw_os_error() == Some(libc::ERANGE) {
            XskError::MtuTooLarge {
                name,
                mtu,
                suggested: SAFE_MTU,
                source,
            }
        } else {
            XskError::ModeUnsupported { name, mtu, source }
        }
    }

    fn attach_error(&self, source: io::Error) -> XskError {
        let name = self.name.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM) => XskError::MissingCapability {
                what: format!("{name}: attaching the steering program"),
                capability: "CAP_NET_ADMIN",
                source,
            },
            _ => XskError::Attach { name, source },
        }
    }

    fn occupied(&self, attached: AttachedXdp) -> XskError {
        let (name, program) = (self.name.to_owned(), attached.program);
        let pid = bpf::find_xdp_link(program, self.index).and_then(|link| link_owner(link.id));
        let program_name = bpf::program_name(program).unwrap_or_else(|| "?".to_owned());
        if program_name.starts_with(PROGRAM) {
            XskError::OtherInstance { name, program, pid }
        } else {
            XskError::ForeignProgram {
                name,
                program,
                program_name,
                pid,
            }
        }
    }

    fn warning(&self, mode: AttachMode, refusal: Option<&XskError>) -> Option<String> {
        let refusal = refusal?;
        (mode == AttachMode::Generic).then(|| {
            format!(
                "{}: generic XDP, two to three times slower, because: {refusal}",
                self.name
            )
        })
    }
}

/// The first process whose `/proc/<pid>/fdinfo` shows this link.
fn link_owner(link: u32) -> Option<u32> {
    let line = format!("link_id:\t{link}\n");
    let numbers = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = numbers.collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
            return false;
        };
        files
            .flatten()
            .any(|file| fs::read_to_string(file.path()).is_ok_and(|text| text.contains(&line)))
    })
}
