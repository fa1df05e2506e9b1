//! What etcd and kube-apiserver are started with.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::scratch::Scratch;
use super::{PROXY, Programs, Trust};
use crate::cluster::ClusterError;
use crate::cluster::pki::SigningKey;

pub(super) fn etcd(programs: &Programs, data: &Path, clients: SocketAddr, peers: SocketAddr) -> Command {
    let mut command = Command::new(&programs.etcd);
    command.args(["--name", "test", "--data-dir"]).arg(data);
    let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
    for (flag, value) in [
        ("--listen-client-urls", clients.clone()),
        ("--advertise-client-urls", clients),
        ("--listen-peer-urls", peers.clone()),
        ("--initial-advertise-peer-urls", peers.clone()),
        ("--initial-cluster", format!("test={peers}")),
    ] {
        command.arg(flag).arg(value);
    }
    command
}

pub(super) fn apiserver(
    programs: &Programs,
    scratch: &Scratch,
    address: SocketAddr,
    etcd: SocketAddr,
    trust: &Trust<'_>,
) -> Result<Command, ClusterError> {
    let server = trust.authority.server(address.ip())?;
    let tokens = SigningKey::new()?;
    let files = [
        ("--client-ca-file", trust.authority.pem.as_str()),
        ("--requestheader-client-ca-file", &trust.proxies.pem),
        ("--tls-cert-file", &server.certificate),
        ("--tls-private-key-file", &server.key),
        // The public half, though the flag's name does not say so.
        ("--service-account-key-file", &tokens.public),
        ("--service-account-signing-key-file", &tokens.private),
    ];
    let mut command = Command::new(&programs.apiserver);
    for (flag, text) in files {
        let name = format!("{}.pem", flag.trim_start_matches('-'));
        command.arg(flag).arg(scratch.write(&name, text)?);
    }
    command
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--advertise-address={}", address.ip()))
        .arg(format!("--secure-port={}", address.port()))
        .arg(format!("--etcd-servers=http://{etcd}"))
        .arg("--cert-dir")
        .arg(scratch.path("certificates"))
        .arg(format!("--requestheader-allowed-names={PROXY}"))
        .args([
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/12,fd96::/112",
            "--authorization-mode=RBAC",
            // Its accounts are made by the controller-manager, which is not there.
            "--disable-admission-plugins=ServiceAccount",
            // An Endpoints object of its own would need an address that is no loopback.
            "--endpoint-reconciler-type=none",
        ]);
    Ok(command)
}
