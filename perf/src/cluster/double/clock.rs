//! The server's clock, as objects carry it.

/// Seconds, as `creationTimestamp` has them.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
