//! Receive offloads that join packets before the steering program sees them (FAILURES D11): such a packet is
//! larger than the MTU, so it is dropped and counted, and the operator should know before it happens.

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolFeatureBit};
use futures_util::StreamExt;

use crate::cli::values::XdpMode;

/// Offloads that harm in every mode: the NIC or its driver joins packets.
const ALWAYS: [&str; 2] = ["rx-lro", "rx-gro-hw"];
/// In generic mode the program runs after the stack has joined packets.
const GENERIC: [&str; 1] = ["rx-gro"];

/// One warning an interface that has such offloads on. An interface that does not tell gets none.
pub fn warnings(interfaces: &[String], mode: XdpMode) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        return vec![];
    };
    interfaces
        .iter()
        .filter_map(|name| warning(name, &runtime.block_on(active(name)), mode))
        .collect()
}

fn warning(interface: &str, active: &[String], mode: XdpMode) -> Option<String> {
    let generic: &[&str] = match mode {
        XdpMode::Generic => &GENERIC,
        XdpMode::Auto | XdpMode::Native => &[],
    };
    let harmful: Vec<&str> = ALWAYS
        .iter()
        .chain(generic)
        .copied()
        .filter(|name| active.iter().any(|a| a == name))
        .collect();
    let flags: Vec<String> = harmful.iter().map(|name| format!("{name} off")).collect();
    (!harmful.is_empty()).then(|| {
        format!(
            "{interface}: {} joins received packets, which are then too large and dropped; \
             turn it off with `ethtool -K {interface} {}`",
            harmful.join(" and "),
            flags.join(" ")
        )
    })
}

/// Names of the features in force; empty when the kernel or the driver does not say.
async fn active(interface: &str) -> Vec<String> {
    let Ok((connection, mut handle, _)) = ethtool::new_connection() else {
        return vec![];
    };
    let connection = tokio::spawn(connection);
    let mut names = vec![];
    if let Ok(mut messages) = handle.feature().get(Some(interface)).execute().await {
        while let Some(Ok(message)) = messages.next().await {
            names.extend(message.payload.nlas.iter().flat_map(names_of));
        }
    }
    connection.abort();
    names
}

fn names_of(attribute: &EthtoolAttr) -> Vec<String> {
    let on = |bits: &[EthtoolFeatureBit]| bits.iter().filter(|b| b.value).map(|b| b.name.clone()).collect();
    if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) = attribute {
        on(bits)
    } else {
        vec![]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_harms_is_warned_of() {
        let active = ["rx-gro", "rx-lro", "rx-checksum"].map(str::to_owned);
        let native = warning("eth0", &active, XdpMode::Auto).unwrap();
        assert!(native.contains("`ethtool -K eth0 rx-lro off`"), "{native}");
        let generic = warning("eth0", &active, XdpMode::Generic).unwrap();
        assert!(generic.contains("rx-lro off rx-gro off"), "{generic}");
        assert_eq!(warning("eth0", &active[2..], XdpMode::Generic), None);
    }

    #[test]
    fn loopback_is_asked_without_a_complaint() {
        assert!(warnings(&["lo".to_owned(), "mglbin-none".to_owned()], XdpMode::Native).is_empty());
    }
}
