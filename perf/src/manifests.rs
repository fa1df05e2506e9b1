//! Writes what `maglane run --manifests DIR` reads: a Service and its EndpointSlices, one file a service.
//!
//! Files are replaced by rename, so a reader never sees half of one.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::rig::{Dual, RigError, plan};

/// One Service with one or both families.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub vips: Vec<IpAddr>,
    /// `nat`, `dnat`, `l2-dsr`, `ipip` or `gue`.
    pub mode: String,
    pub ports: Vec<Port>,
    pub endpoints: Vec<Endpoint>,
    /// Further annotations, verbatim.
    pub annotations: Vec<(String, String)>,
}

/// One port; `target` is where backends listen (DSR modes need it equal to `port`).
#[derive(Debug, Clone)]
pub struct Port {
    pub name: String,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    pub port: u16,
    pub target: u16,
}

/// One backend.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: Dual,
    pub state: EndpointState,
}

/// An endpoint's conditions in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// New flows and old ones.
    Ready,
    /// `terminating` yet `serving`: old flows only.
    Terminating,
    /// Not ready, not serving.
    NotReady,
}

impl EndpointState {
    fn conditions(self) -> &'static str {
        match self {
            Self::Ready => "{ready: true, serving: true, terminating: false}",
            Self::Terminating => "{ready: false, serving: true, terminating: true}",
            Self::NotReady => "{ready: false, serving: false, terminating: false}",
        }
    }
}

impl Service {
    /// The rig's usual service: VIP `vip`, both families, HTTP on 80 and UDP echo on 5353, backends
    /// b1..b`backends`, all ready.
    #[must_use]
    pub fn standard(name: &str, vip: u8, mode: &str, backends: u8) -> Self {
        let port = |name: &str, protocol, port| Port {
            name: name.to_owned(),
            protocol,
            port,
            target: port,
        };
        Self {
            name: name.to_owned(),
            vips: plan::vip(vip).both().to_vec(),
            mode: mode.to_owned(),
            ports: vec![port("http", "TCP", 80), port("echo", "UDP", 5353)],
            endpoints: (1..=backends)
                .map(|n| Endpoint {
                    address: plan::backend(n),
                    state: EndpointState::Ready,
                })
                .collect(),
            annotations: Vec::new(),
        }
    }

    /// The YAML documents: the Service, then one EndpointSlice per family among the VIPs.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = self.service();
        for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
            if self.vips.iter().any(|vip| vip.is_ipv4() == is_v4) {
                text.push_str(&self.slice(family, is_v4));
            }
        }
        text
    }

    /// Writes `DIR/NAME.yaml` in one step.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, RigError> {
        let path = directory.join(format!("{}.yaml", self.name));
        let draft = directory.join(format!(".{}.draft", self.name));
        std::fs::write(&draft, self.yaml()).map_err(|error| RigError::file(&draft, error))?;
        std::fs::rename(&draft, &path).map_err(|error| RigError::file(&path, error))?;
        Ok(path)
    }

    fn service(&self) -> String {
        let vips: Vec<String> = self.vips.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  namespace: default\n  annotations:\n    \
             maglane.io/addresses: \"{}\"\n    maglane.io/forwarding-mode: {}\n",
            self.name,
            vips.join(","),
            self.mode
        );
        for (key, value) in &self.annotations {
            let _ = writeln!(text, "    {key}: \"{value}\"");
        }
        text.push_str("spec:\n  type: LoadBalancer\n  ipFamilyPolicy: PreferDualStack\n  ports:\n");
        for Port {
            name,
            protocol,
            port,
            target,
        } in &self.ports
        {
            let _ = writeln!(
                text,
                "    - {{name: {name}, protocol: {protocol}, port: {port}, targetPort: {target}}}"
            );
        }
        text
    }

    fn slice(&self, family: &str, is_v4: bool) -> String {
        let name = &self.name;
        let suffix = family.to_lowercase();
        let mut text = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{suffix}\n  \
             namespace: default\n  labels:\n    kubernetes.io/service-name: {name}\naddressType: {family}\nports:\n"
        );
        for Port {
            name,
            protocol,
            target,
            ..
        } in &self.ports
        {
            let _ = writeln!(text, "  - {{name: {name}, protocol: {protocol}, port: {target}}}");
        }
        text.push_str(if self.endpoints.is_empty() {
            "endpoints: []\n"
        } else {
            "endpoints:\n"
        });
        for Endpoint { address, state } in &self.endpoints {
            let address: IpAddr = if is_v4 {
                address.v4.into()
            } else {
                address.v6.into()
            };
            let _ = writeln!(
                text,
                "  - {{addresses: [\"{address}\"], conditions: {}}}",
                state.conditions()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_and_every_backend_are_written() {
        let mut service = Service::standard("web", 10, "l2-dsr", 3);
        service.endpoints[1].state = EndpointState::Terminating;
        let text = service.yaml();
        assert_eq!(text.matches("kind: EndpointSlice").count(), 2);
        assert!(
            text.contains("maglane.io/addresses: \"203.0.113.10,2001:db8:f00d::a\""),
            "{text}"
        );
        assert!(text.contains("maglane.io/forwarding-mode: l2-dsr"));
        assert_eq!(
            text.matches("{ready: false, serving: true, terminating: true}")
                .count(),
            2
        );
        assert!(text.contains("addresses: [\"fd30::67\"]"));
        assert!(text.contains("{name: echo, protocol: UDP, port: 5353, targetPort: 5353}"));
    }

    #[test]
    fn one_family_gives_one_slice_and_no_endpoints_stay_valid_yaml() {
        let mut service = Service::standard("web", 1, "nat", 0);
        service.vips.truncate(1);
        let text = service.yaml();
        assert_eq!(text.matches("kind: EndpointSlice").count(), 1);
        assert!(text.contains("endpoints: []"));
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        for backends in [1, 2] {
            let path = Service::standard("web", 1, "nat", backends)
                .write(folder.path())
                .unwrap();
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(text.matches("addresses: [").count(), usize::from(backends) * 2);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
