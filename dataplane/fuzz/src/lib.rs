//! The bodies of the fuzz targets, shared with `dataplane/tests/replay.rs`, which runs them over `seeds/`.

#![allow(dead_code, reason = "the fixtures are the tests'")]

#[path = "../../tests/bodies/mod.rs"]
pub mod bodies;
#[path = "../../tests/common/mod.rs"]
mod common;
mod support {
    #[path = "../../../tests/support/frame.rs"]
    pub mod frame;
}
