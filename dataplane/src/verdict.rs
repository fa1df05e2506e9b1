//! What becomes of a packet. The bytes are already as they must leave when a verdict is given.

use maglane_shared::counters::DropReason;
use maglane_shared::next_hop::PortIndex;

/// The end of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Towards a backend or a client, out of this interface.
    Forward(PortIndex),
    /// Turned round into an answer of ours: out of the interface it came in on.
    Reply,
    /// Not ours to carry. The steering program should have left it to the kernel; a worker cannot
    /// hand it back, so it counts the frame as passed and releases it.
    Pass,
    Drop(DropReason),
}
