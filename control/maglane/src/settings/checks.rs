//! What a flag's value must be beyond its syntax, one function a flag.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maglane_control::l2::{L2Settings, Peers};
use maglane_control::plan::Serve;
use maglane_shared::flow::HashKey;
use maglane_shared::maglev;

use super::{KubernetesSettings, SettingsError, TunnelSettings};
use crate::cli::run::{KubernetesArgs, L2Args, TunnelArgs};
use crate::cli::values::{AutoOr, HashKeySource, Served, parse_secret};

/// As many as [`maglane_control::model::ClusterId`] can number, and some to spare.
const MAX_CLUSTERS: usize = 200;
/// More interfaces than any node has NICs.
const MAX_INTERFACES: usize = 32;

/// One core a worker, none twice.
pub fn core_count(cores: &[usize], workers: usize) -> Result<(), SettingsError> {
    let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    if cores.iter().collect::<HashSet<_>>().len() != cores.len() {
        return Err(SettingsError::new(
            "--cores",
            list,
            "names a core twice",
            "give each worker its own core",
        ));
    }
    if cores.len() == workers {
        return Ok(());
    }
    let problem = format!("names {} cores for {workers} workers", cores.len());
    Err(SettingsError::new(
        "--cores",
        list,
        problem,
        "name one core a worker, or write auto",
    ))
}

pub(super) fn interfaces(names: Vec<String>) -> Result<Vec<String>, SettingsError> {
    let all = names.join(",");
    let fail = |problem: &str, remedy: &str| Err(SettingsError::new("--interface", &all, problem, remedy));
    if names.len() > MAX_INTERFACES {
        return fail("is more than 32 interfaces", "name at most 32");
    }
    if names
        .iter()
        .any(|n| n.is_empty() || n.len() > 15 || n.contains(['/', ' ', '.']))
    {
        return fail(
            "holds an impossible interface name",
            "write names as `ip link` shows them, joined by commas",
        );
    }
    if names.iter().collect::<HashSet<_>>().len() != names.len() {
        return fail("names an interface twice", "name each once");
    }
    Ok(names)
}

pub(super) fn manifests(dir: PathBuf) -> Result<PathBuf, SettingsError> {
    if dir.is_dir() {
        return Ok(dir);
    }
    let remedy = "create it, or name the directory that holds the manifests";
    Err(SettingsError::new(
        "--manifests",
        dir.display(),
        "is not a directory",
        remedy,
    ))
}

pub(super) fn kubernetes(args: KubernetesArgs) -> Result<KubernetesSettings, SettingsError> {
    let names: Vec<&str> = args.cluster.iter().map(|cluster| cluster.name.as_str()).collect();
    let fail =
        |problem: &str, remedy: &str| Err(SettingsError::new("--cluster", names.join(","), problem, remedy));
    if names.len() > MAX_CLUSTERS {
        return fail("is more than 200 clusters", "name at most 200");
    }
    let mut unique: HashSet<&str> = names.iter().copied().collect();
    if unique.len() != names.len() || !unique.insert(&args.cluster_name) {
        let remedy = "give each cluster a name of its own, other than --cluster-name";
        return fail("names a cluster twice", remedy);
    }
    if !args.cluster.is_empty() && args.kubeconfig.is_none() {
        let remedy = "name this node's own cluster with --kubeconfig as well";
        return fail(
            "is of no use alone: another cluster only adds to Services of the own one",
            remedy,
        );
    }
    Ok(KubernetesSettings {
        own: args.kubeconfig,
        cluster_name: args.cluster_name,
        node_name: args.node_name.map_or_else(host_name, Ok)?,
        namespace: args.namespace,
        lease_duration: Duration::from_secs(args.lease_duration.into()),
        class: args.class.load_balancer_class,
        default_class: args.class.default_class,
        serve: Serve {
            node_port: args.serve.contains(&Served::NodePort),
            cluster_ip: args.serve.contains(&Served::ClusterIp),
            external_ip: args.serve.contains(&Served::ExternalIp),
        },
        max_removal_percent: args.max_removal_percent,
        state_dir: args.state_dir,
        record: args.record,
        others: args.cluster,
    })
}

fn host_name() -> Result<String, SettingsError> {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    name.ok_or_else(|| {
        let remedy = "name the Node object with --node-name";
        SettingsError::new(
            "--node-name",
            "",
            "cannot be found out: the host name is not text",
            remedy,
        )
    })
}

pub(super) fn maglev(size: AutoOr<u32>) -> Result<Option<u32>, SettingsError> {
    match size {
        AutoOr::Auto => Ok(None),
        AutoOr::Fixed(rows) if is_prime(rows) && rows <= maglev::MAX_ROWS => Ok(Some(rows)),
        AutoOr::Fixed(rows) => {
            let remedy = format!("write auto or a prime such as one of {:?}", maglev::SIZES);
            Err(SettingsError::new(
                "--maglev-table-size",
                rows,
                "is not a prime in bounds",
                remedy,
            ))
        }
    }
}

pub(super) fn is_prime(n: u32) -> bool {
    n > 2
        && !n.is_multiple_of(2)
        && (3..)
            .step_by(2)
            .take_while(|d: &u32| u64::from(*d).pow(2) <= u64::from(n))
            .all(|d| !n.is_multiple_of(d))
}

pub(super) fn hash_key(source: HashKeySource) -> Result<HashKey, SettingsError> {
    match source {
        HashKeySource::WellKnown => Ok(HashKey::default()),
        HashKeySource::Secret(secret) => Ok(HashKey::new(secret)),
        HashKeySource::File(path) => secret_from(&path).map(HashKey::new),
    }
}

fn secret_from(path: &Path) -> Result<[u8; 16], SettingsError> {
    let fail = |problem: String, remedy: String| {
        SettingsError::new("--hash-key", format!("@{}", path.display()), problem, remedy)
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        fail(
            format!("cannot be read ({error})"),
            "name a file that this user may read".into(),
        )
    })?;
    parse_secret(text.trim()).map_err(|remedy| fail("does not hold a 128-bit key".into(), remedy))
}

pub(super) fn snat_addresses(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, SettingsError> {
    let fail = |value: String, problem: &str, remedy: &str| {
        Err(SettingsError::new("--snat-address", value, problem, remedy))
    };
    for (i, address) in addresses.iter().enumerate() {
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            let remedy = "name unicast addresses of this node, as `ip addr` shows them";
            return fail(
                address.to_string(),
                "cannot be a source address on the wire",
                remedy,
            );
        }
        if addresses[..i].contains(address) {
            return fail(address.to_string(), "is named twice", "name each address once");
        }
    }
    Ok(addresses)
}

pub(super) fn tunnels(tunnels: TunnelArgs) -> Result<TunnelSettings, SettingsError> {
    let remedy = "name a unicast address of this node";
    let sources = [
        (
            "--ipip-source-v4",
            Some(IpAddr::V4(tunnels.ipip_source_v4.network())),
        ),
        (
            "--ipip-source-v6",
            Some(IpAddr::V6(tunnels.ipip_source_v6.network())),
        ),
        ("--gue-source-v4", tunnels.gue_source_v4.map(IpAddr::V4)),
        ("--gue-source-v6", tunnels.gue_source_v6.map(IpAddr::V6)),
    ];
    for (flag, source) in sources {
        match source {
            Some(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() => {
                return Err(SettingsError::new(
                    flag,
                    ip,
                    "cannot be an outer source address",
                    remedy,
                ));
            }
            Some(_) | None => {}
        }
    }
    Ok(TunnelSettings {
        ipip_v4: tunnels.ipip_source_v4,
        ipip_v6: tunnels.ipip_source_v6,
        gue_v4: tunnels.gue_source_v4,
        gue_v6: tunnels.gue_source_v6,
    })
}

/// Without a cluster there is nobody to share addresses with.
pub(super) fn l2(args: &L2Args, kubernetes: &KubernetesSettings) -> L2Settings {
    L2Settings {
        coverage: args.l2.into(),
        peers: match kubernetes.own {
            Some(_) => Peers::Leases,
            None => Peers::Alone,
        },
        on_api_loss: args.l2_on_api_loss.into(),
        refresh: Some(args.l2_refresh).filter(|every| !every.is_zero()),
    }
}
