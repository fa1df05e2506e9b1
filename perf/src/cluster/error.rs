//! What can go wrong with a test cluster; each message names the object and the remedy.

use std::time::Duration;

use crate::rig::RigError;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "no {0} in $KUBEBUILDER_ASSETS, /usr/local/kubebuilder/bin or $PATH; install it or use the double"
    )]
    NoProgram(&'static str),
    #[error("`setpriv` is not in $PATH; install the package util-linux: servers must end with this process")]
    NoGuardian,
    #[error("throw-away certificates: {0}; this is a bug of the rig")]
    Certificates(#[from] rcgen::Error),
    #[error("TLS: {0}; this is a bug of the rig")]
    Tls(#[from] rustls::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{label} ended while starting; its last words: {tail}")]
    Ended { label: String, tail: String },
    #[error("{what} did not happen within {after:?}; its last words: {tail}")]
    Timeout {
        what: String,
        after: Duration,
        tail: String,
    },
    #[error("{method} {path}: no answer: {reason}")]
    NoAnswer {
        method: String,
        path: String,
        reason: String,
    },
    #[error("{method} {path}: the server said {code}: {message}")]
    Refused {
        method: String,
        path: String,
        code: u16,
        message: String,
    },
    #[error("the object is not usable: {0}")]
    BadObject(String),
    #[error("the cluster's own thread has ended; look for a panic above")]
    Gone,
    #[error(transparent)]
    Rig(#[from] RigError),
}

impl ClusterError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The HTTP status of a refusal; none for everything else.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        if let Self::Refused { code, .. } = self {
            Some(*code)
        } else {
            None
        }
    }
}
