//! Who is told of which addresses: what the shell is to do about BGP ([`BgpPlan`]), and what it has come to
//! ([`BgpSession`], [`BfdSession`]). Pure.
//!
//! Only desired state travels. Sockets, and whether a session may be told its routes at this moment (BFD up long
//! enough, workers alive), are the shell's business; that nothing is announced which is not served, is `step`'s.
//! [`decide`] says what is to be announced of what may be: node, selectors, attributes, aggregation.

mod attributes;
mod decide;
mod explain;
mod peers;
mod plan;
mod routes;
mod session;
#[cfg(test)]
mod tests;

pub use decide::{Candidate, Decision, Memory, Node, Situation, Standing, decide};
pub use explain::{Reason, Verdict};
pub use plan::{BfdPlan, BgpPlan, Bring, Hidden, LinkPlan, Neighbor, PasswordSource, PeerPlan, Routes};
pub(crate) use routes::{is_about, pool_of};
pub use session::{BfdSession, BgpSession, Withheld};
