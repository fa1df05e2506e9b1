//! How flows leave a backend that drains or is gone (FAILURES D18 to D20). Nothing here is asked for the
//! flows of backends that are there to stay.

use maglane_shared::counters::{DropReason, FlowState};
use maglane_shared::policy::Removal;
use maglane_shared::table::{ForwardingTable, ServiceEntry};
use maglane_shared::tick::Tick;

use super::lookup::Prepared;
use super::reset::tcp_reset;
use super::{Forwarder, l2};
use crate::flow_table::Segment;
use crate::packet::Packet;
use crate::verdict::Verdict;

/// A packet that is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsteered {
    Drop(DropReason),
    /// Its connection ends here; the client is to be told.
    Reset,
}

impl From<DropReason> for Unsteered {
    #[inline]
    fn from(reason: DropReason) -> Self {
        Unsteered::Drop(reason)
    }
}

/// How far a backend has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    Draining,
    Gone,
}

/// What becomes of a flow of such a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stay,
    /// To where a new flow would go.
    Leave,
    Reset,
}

/// Datagrams have no end to wait for, so they leave at once (D18). Nobody leaves a draining backend when there
/// is no other. A client that opens needs no reset, and one that resets gets none.
#[inline(never)]
pub(super) fn fate(service: &ServiceEntry, state: FlowState, segment: Segment, going: Going) -> Fate {
    if going == Going::Draining && service.maglev.is_empty() {
        return Fate::Stay;
    }
    let removal = service.policy.as_ref().map_or(Removal::Drain, |p| p.removal);
    match (state, segment, removal, going) {
        (FlowState::Datagram, _, _, _) | (_, _, Removal::Move, _) => Fate::Leave,
        (_, Segment::Syn, Removal::Reset, _) => Fate::Leave,
        (_, Segment::Fin | Segment::Other, Removal::Reset, _) => Fate::Reset,
        (_, _, Removal::Drain | Removal::Reset, Going::Draining) => Fate::Stay,
        (_, _, Removal::Drain | Removal::Reset, Going::Gone) => Fate::Leave,
    }
}

impl Forwarder {
    #[cold]
    pub(super) fn unsteered(
        &mut self,
        packet: &mut Packet<'_>,
        prepared: &Prepared<'_>,
        why: Unsteered,
        table: &ForwardingTable,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let parsed = &prepared.parsed;
        match why {
            Unsteered::Drop(reason) => Err(reason),
            Unsteered::Reset if !self.resets.allow(parsed.src, &table.hash_key, now) => {
                Err(DropReason::ResetNotSent)
            }
            Unsteered::Reset => {
                tcp_reset(packet, parsed)?;
                l2::turn_round(packet);
                self.counters.resets.add(1);
                Ok(Verdict::Reply)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use maglane_shared::addr::{Addr, Protocol, VipKey};
    use maglane_shared::flow::{HashInputs, HashKey};
    use maglane_shared::maglev::{MaglevTable, Member};
    use maglane_shared::policy::Policy;
    use maglane_shared::service::{ForwardingMode, ServiceId, VipKind};

    use super::*;

    fn service(removal: Removal, others: u16) -> ServiceEntry {
        let policy = Policy {
            removal,
            ..Policy::default()
        };
        let member = Member {
            identity: "10.0.0.1".into(),
            weight: others,
        };
        ServiceEntry {
            id: ServiceId { slot: 0, epoch: 1 },
            key: VipKey {
                addr: Addr::UNSPECIFIED,
                port: 80,
                protocol: Protocol::Tcp,
            },
            kind: VipKind::Address,
            mode: ForwardingMode::Nat,
            hash_inputs: HashInputs::FiveTuple,
            maglev: Arc::new(MaglevTable::build(&[member], 251, &HashKey::default())),
            backends: Arc::new([]),
            policy: policy.shared(),
        }
    }

    /// The table of the three policies, for an established flow that goes on.
    #[test]
    fn each_policy_has_its_way() {
        let fates = |removal| {
            [Going::Draining, Going::Gone].map(|going| {
                fate(
                    &service(removal, 1),
                    FlowState::Established,
                    Segment::Other,
                    going,
                )
            })
        };
        assert_eq!(fates(Removal::Drain), [Fate::Stay, Fate::Leave]);
        assert_eq!(fates(Removal::Move), [Fate::Leave, Fate::Leave]);
        assert_eq!(fates(Removal::Reset), [Fate::Reset, Fate::Reset]);
    }

    #[test]
    fn a_draining_backend_is_better_than_none() {
        for removal in Removal::ALL {
            for (state, segment) in [
                (FlowState::Established, Segment::Other),
                (FlowState::Datagram, Segment::Datagram),
            ] {
                let fate = fate(&service(removal, 0), state, segment, Going::Draining);
                assert_eq!(fate, Fate::Stay, "{removal} {state:?}");
            }
        }
        let gone = fate(
            &service(Removal::Reset, 0),
            FlowState::Established,
            Segment::Other,
            Going::Gone,
        );
        assert_eq!(gone, Fate::Reset, "the client learns of it all the same");
    }

    #[test]
    fn only_a_connection_that_goes_on_is_reset() {
        let reset = service(Removal::Reset, 1);
        for going in [Going::Draining, Going::Gone] {
            let of = |state, segment| fate(&reset, state, segment, going);
            assert_eq!(of(FlowState::Datagram, Segment::Datagram), Fate::Leave);
            assert_eq!(of(FlowState::SynSent, Segment::Syn), Fate::Leave);
            assert_eq!(of(FlowState::Closing, Segment::Fin), Fate::Reset);
            assert_ne!(of(FlowState::Established, Segment::Rst), Fate::Reset);
        }
    }
}
