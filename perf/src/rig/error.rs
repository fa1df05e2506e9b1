//! What can go wrong while laying out a rig; each message names the object and the remedy.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum RigError {
    #[error("the rig needs root to create network namespaces; run it with sudo")]
    NotRoot,
    #[error("`{tool}` is not installed; install the package `{package}`")]
    MissingTool {
        tool: &'static str,
        package: &'static str,
    },
    #[error("`{what}` failed in namespace {namespace} with {status}: {stderr}")]
    Command {
        what: String,
        namespace: String,
        status: String,
        stderr: String,
    },
    #[error("`{what}` could not be started: {source}; is it installed and on PATH?")]
    Spawn { what: String, source: std::io::Error },
    #[error("{what} did not happen within {after:?}; look at the process output and `ip netns list`")]
    Timeout { what: String, after: Duration },
    #[error("`{label}` ended early with {status}; its last words: {tail}")]
    Ended {
        label: String,
        status: String,
        tail: String,
    },
    #[error("no host `{0}` in this rig; hosts are c1.., r, sw, lb1.. (or lb) and b1..")]
    NoHost(String),
    #[error("{what} is {got}, outside {low}..={high}; choose a value inside")]
    Range {
        what: &'static str,
        got: usize,
        low: usize,
        high: usize,
    },
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error(
        "the binary `maglane-rig` was not found beside {0}; run `cargo build -p maglane-perf` or set MAGLANE_RIG"
    )]
    NoBinary(String),
    #[error(
        "the binary `maglane` was not found beside this program; run `cargo build -p maglane` or set MAGLANE_BIN"
    )]
    NoBalancer,
}

impl RigError {
    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}
