//! `maglane`: the binary.
#![forbid(unsafe_code)]
mod cli;
mod preflight;
mod settings;
fn main() {}
