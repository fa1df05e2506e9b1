//! What the packet tests share: frames written readably, an independent judge of finished ones, and the
//! golden cases with what runs them.

pub mod cases;
pub mod check;
pub mod frame;
pub mod run;
pub mod table;
