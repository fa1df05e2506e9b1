//! From a configuration to a UMEM and bound ports: huge pages or not, and which bind flags all ports take.

use std::io;

use crate::XskError;
use crate::config::{QueueSetConfig, Toggle};
use crate::port::{Endpoint, Port, Shares};
use crate::socket::{Attempt, Request, XskSocket};
use crate::sys;
use crate::umem::Umem;

/// The best combination of flags that every port takes.
pub(crate) fn open(config: &QueueSetConfig) -> Result<(Umem, Vec<Port>), XskError> {
    config.check()?;
    // When this is refused the UMEM registration fails next and says what to do.
    let _ = sys::raise_memlock_limit();
    let interfaces = interface_indices(config)?;
    let (umem, huge_pages) = open_umem(config)?;
    let attempts = attempts(config, &interfaces);
    let mut outcome = Err(XskError::Config("nothing to try".into()));
    for attempt in attempts {
        outcome = open_ports(config, &interfaces, &umem, attempt);
        match &outcome {
            Err(XskError::NoZeroCopy { .. } | XskError::QueueAbsent { .. } | XskError::Bind { .. }) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let mut ports = outcome?;
    for port in &mut ports {
        port.mode.huge_pages = huge_pages;
    }
    Ok((umem, ports))
}

/// Kernel index and MTU of each configured interface.
fn interface_indices(config: &QueueSetConfig) -> Result<Vec<(u32, u32)>, XskError> {
    let facts = |name: &str| {
        let index = sys::interface_index(name)?;
        let facts =
            sys::netlink::link_facts(index).map_err(XskError::system("asking netlink for an interface"))?;
        Ok((index, facts.mtu))
    };
    config
        .interfaces
        .iter()
        .map(|interface| facts(&interface.name))
        .collect()
}

/// The UMEM and whether it lies on huge pages (reserved ones; those that madvise may bring later do not count).
fn open_umem(config: &QueueSetConfig) -> Result<(Umem, bool), XskError> {
    let bytes = config.frames as usize * config.chunk_size as usize;
    let open = |huge| {
        Umem::new(
            config.frames as usize,
            config.chunk_size as usize,
            config.data_start() as usize,
            huge,
        )
    };
    let plain =
        || -> Result<Umem, XskError> { open(false).map_err(|source| XskError::Umem { bytes, source }) };
    let refused = |source: io::Error| XskError::HugePages {
        bytes,
        needed: bytes.div_ceil(2 << 20),
        source,
    };
    match config.huge_pages {
        Toggle::Off => Ok((plain()?, false)),
        Toggle::On => Ok((open(true).map_err(refused)?, true)),
        Toggle::Auto => match open(true) {
            Ok(umem) => Ok((umem, true)),
            Err(_) => {
                let umem = plain()?;
                umem.memory().advise_huge();
                Ok((umem, false))
            }
        },
    }
}

/// Bind flags from best to safest.
fn attempts(config: &QueueSetConfig, interfaces: &[(u32, u32)]) -> Vec<Attempt> {
    const ETHERNET_AND_TAGS: u32 = 14 + 8;
    let payload = config.chunk_size - config.data_start();
    let jumbo = interfaces
        .iter()
        .any(|(_, mtu)| mtu + ETHERNET_AND_TAGS > payload);
    let choices = |toggle: Toggle, wanted: bool| match toggle {
        Toggle::On => vec![true],
        Toggle::Off => vec![false],
        Toggle::Auto if wanted => vec![true, false],
        Toggle::Auto => vec![false],
    };
    let segments = choices(config.multi_buffer, jumbo);
    let pairs = |zero_copy| {
        segments.iter().map(move |&multi_buffer| Attempt {
            zero_copy,
            multi_buffer,
        })
    };
    choices(config.zero_copy, true)
        .into_iter()
        .flat_map(pairs)
        .collect()
}

fn open_ports(
    config: &QueueSetConfig,
    interfaces: &[(u32, u32)],
    umem: &Umem,
    attempt: Attempt,
) -> Result<Vec<Port>, XskError> {
    let count = config.interfaces.len() as u32;
    let shares = Shares::of(
        config.frames,
        count,
        config.fill_ring,
        config.tx_ring,
        config.completion_ring,
    );
    let mut ports: Vec<Port> = Vec::with_capacity(config.interfaces.len());
    for (interface, &(index, _)) in config.interfaces.iter().zip(interfaces) {
        let shared = ports.first().and_then(Port::socket).map(XskSocket::fd);
        let request = Request {
            config,
            interface,
            index,
            memory: umem.memory(),
            attempt,
            shared,
        };
        let (socket, rings, mode) = XskSocket::open(&request)?;
        let id = ports.len() as u8;
        ports.push(Port::new(id, rings, Endpoint::Socket(socket), mode, shares));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceConfig;
    use crate::queue_set::QueueSet;

    fn config() -> QueueSetConfig {
        QueueSetConfig::new(vec![InterfaceConfig {
            name: "lo".into(),
            queue: 0,
        }])
    }

    #[test]
    fn flags_are_tried_from_best_to_safest() {
        let attempt = |zero_copy, multi_buffer| Attempt {
            zero_copy,
            multi_buffer,
        };
        assert_eq!(
            attempts(&config(), &[(1, 1500)]),
            [attempt(true, false), attempt(false, false)]
        );
        let all = [
            attempt(true, true),
            attempt(true, false),
            attempt(false, true),
            attempt(false, false),
        ];
        assert_eq!(attempts(&config(), &[(1, 9000)]), all);
        let fixed = QueueSetConfig {
            zero_copy: Toggle::Off,
            multi_buffer: Toggle::On,
            ..config()
        };
        assert_eq!(attempts(&fixed, &[(1, 1500)]), [attempt(false, true)]);
    }

    #[test]
    fn an_absent_interface_is_named() {
        let config = QueueSetConfig::new(vec![InterfaceConfig {
            name: "nosuch9".into(),
            queue: 0,
        }]);
        let text = QueueSet::open(&config).unwrap_err().to_string();
        assert!(text.starts_with("interface nosuch9: not found"), "{text}");
    }
}
