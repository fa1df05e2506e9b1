//! What the packet tests share: frames written readably, and an independent judge of finished ones.

pub mod check;
pub mod frame;
