//! `maglane run` in a balancer's namespace, and the questions one can ask it there.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Guard, maglane_binary};
use crate::rig::{Host, Namespace, Rig, RigError, output_of, plan};
use crate::wait::wait_until;

const START: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_millis(250);

/// A running balancer; it stops when dropped.
#[derive(Debug)]
pub struct Balancer {
    pub guard: Guard,
    namespace: Namespace,
    binary: PathBuf,
    socket: PathBuf,
}

impl Balancer {
    /// Starts `maglane run` on balancer `n` of the rig with both interfaces, one worker a queue, its address
    /// on the backend net for `nat`, and the manifests in `folder/manifests`; `more` flags come last.
    ///
    /// # Errors
    /// When the binary is missing, or does not answer on its admin socket within 15 s.
    pub fn start(rig: &Rig, n: u8, folder: &Path, more: &[&str]) -> Result<Self, RigError> {
        let binary = maglane_binary().ok_or(RigError::NoBalancer)?;
        let socket = folder.join(format!("lb{n}.sock"));
        let lock = folder.join(format!("lb{n}"));
        let manifests = folder.join("manifests");
        let [v4, v6] = plan::balancer_back(n).both();
        let args = [
            "run".to_owned(),
            format!("--interface={}", rig.balancer_interfaces()),
            format!("--workers={}", rig.spec().queues),
            format!("--manifests={}", manifests.display()),
            format!("--snat-address={v4},{v6}"),
            format!("--admin-socket={}", socket.display()),
            format!("--lock-dir={}", lock.display()),
            "--log-level=info".to_owned(),
        ];
        for path in [&manifests, &lock] {
            std::fs::create_dir_all(path).map_err(|error| RigError::file(path, error))?;
        }
        let namespace = rig.on(Host::Balancer(n));
        let more = more.iter().map(|&flag| flag.to_owned());
        let guard = namespace.spawn(&format!("maglane lb{n}"), &binary, args.into_iter().chain(more))?;
        let mut balancer = Self {
            guard,
            namespace,
            binary,
            socket,
        };
        balancer.wait_admin()?;
        Ok(balancer)
    }

    /// The answer of `maglane <question> -o json`, for example `status`, `services`, `bgp peers`.
    ///
    /// # Errors
    /// When the balancer does not answer.
    pub fn ask(&self, question: &str) -> Result<serde_json::Value, RigError> {
        let mut command = self.client(question);
        let text = output_of(command.args(["-o", "json"]), question, self.namespace.name())?;
        Ok(serde_json::from_str(&text).unwrap_or(serde_json::Value::Null))
    }

    /// The answer as people see it.
    ///
    /// # Errors
    /// When the balancer does not answer.
    pub fn table(&self, question: &str) -> Result<String, RigError> {
        output_of(&mut self.client(question), question, self.namespace.name())
    }

    fn client(&self, question: &str) -> Command {
        let mut command = self.namespace.command(&self.binary);
        command
            .args(question.split(' '))
            .arg("--admin-socket")
            .arg(&self.socket);
        command
    }

    fn wait_admin(&mut self) -> Result<(), RigError> {
        let mut alive = true;
        let answered = wait_until("maglane's admin socket", START, || {
            alive = self.guard.running();
            !alive || self.ask("status").is_ok()
        });
        match (alive, answered) {
            (true, answered) => answered.map(drop),
            // It has ended: this gives its status and last words.
            (false, _) => self.guard.wait_for("\u{0}", START).map(drop),
        }
    }
}

/// Waits until a TCP connection from `from` to `target` succeeds.
///
/// # Errors
/// When none does within `limit`.
pub fn wait_serving(from: &Namespace, target: SocketAddr, limit: Duration) -> Result<Duration, RigError> {
    from.inside(|| {
        let what = format!("an answer of {target}");
        wait_until(&what, limit, || {
            TcpStream::connect_timeout(&target, PROBE).is_ok()
        })
    })?
}

/// Packets dropped by reason, from the answer to `status`.
#[must_use]
pub fn drops(status: &serde_json::Value) -> Vec<(String, u64)> {
    let rows = status["drops"].as_array().into_iter().flatten();
    rows.filter_map(|row| Some((row["reason"].as_str()?.to_owned(), row["packets"].as_u64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_the_status() {
        let status = serde_json::json!({"drops": [{"reason": "no_route", "packets": 3, "help": "-"}]});
        assert_eq!(drops(&status), [("no_route".to_owned(), 3)]);
        assert!(drops(&serde_json::Value::Null).is_empty());
    }
}
