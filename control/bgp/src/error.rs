//! Errors at the edges: settings and text that cannot be used. Protocol errors are not errors but
//! NOTIFICATIONs and events.

/// A community that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCommunityError {
    #[error("community {0:?}: write two numbers from 0 to 65535, as in 65001:100")]
    Standard(String),
    #[error("large community {0:?}: write three numbers from 0 to 4294967295, as in 65001:1:2")]
    Large(String),
}
