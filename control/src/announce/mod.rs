//! Who is told of which addresses: what the shell is to do about BGP ([`BgpPlan`]), and what it has come to
//! ([`BgpSession`], [`BfdSession`]). Pure.
//!
//! Only desired state travels. Sockets, and whether a session may be told its routes at this moment (BFD up long
//! enough, workers alive), are the shell's business; that nothing is announced which is not served, is `step`'s.

mod plan;
mod session;

pub use plan::{
    BfdPlan, BgpPlan, Bring, Hidden, LinkPlan, Neighbor, PasswordSource, PeerPlan, Routes, SecretRef,
};
pub use session::{BfdSession, BgpSession, Withheld};
