//! How far a TCP flow has come, told from the client's direction alone (RFC 9293 §3.3.2 names).
//!
//! One packet proves nothing: whatever its flags, a newcomer is evictable until a second packet follows.
//! So floods of SYNs, of ACKs or of FINs only ever replace one another, never an established flow.

use maglane_shared::counters::FlowState;

/// What a packet means for its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// SYN without ACK: a client opens.
    Syn,
    Fin,
    Rst,
    /// TCP with none of these.
    Other,
    /// Not TCP.
    Datagram,
}

impl Segment {
    /// The state of a flow whose first packet this is; `None` = not worth an entry.
    #[inline]
    pub fn first(self) -> Option<FlowState> {
        match self {
            Segment::Syn | Segment::Other => Some(FlowState::SynSent),
            Segment::Fin => Some(FlowState::Closed),
            Segment::Rst => None,
            Segment::Datagram => Some(FlowState::Datagram),
        }
    }

    /// The state after this packet of a known flow. A flow closed by a reset that goes on sending comes
    /// back as closing: the reset may have been forged, and hashing again could move it to another backend.
    #[inline]
    pub fn next(self, state: FlowState) -> FlowState {
        match (state, self) {
            (_, Segment::Datagram) | (FlowState::Datagram, _) => FlowState::Datagram,
            (_, Segment::Rst) => FlowState::Closed,
            (_, Segment::Fin) | (FlowState::Closing | FlowState::Closed, Segment::Other) => {
                FlowState::Closing
            }
            (FlowState::SynSent | FlowState::Closing | FlowState::Closed, Segment::Syn) => FlowState::SynSent,
            (FlowState::SynSent | FlowState::Established, Segment::Other) => FlowState::Established,
            (FlowState::Established, Segment::Syn) => FlowState::Established,
        }
    }

    /// Does the client open a new connection from the port of one that has ended (RFC 9293 §3.6.1)?
    #[inline]
    pub fn restarts(self, state: FlowState) -> bool {
        self == Segment::Syn && matches!(state, FlowState::Closing | FlowState::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_opens_works_and_closes() {
        let mut state = Segment::Syn.first().unwrap();
        for (segment, want) in [
            (Segment::Syn, FlowState::SynSent),
            (Segment::Other, FlowState::Established),
            (Segment::Syn, FlowState::Established),
            (Segment::Fin, FlowState::Closing),
            (Segment::Other, FlowState::Closing),
            (Segment::Rst, FlowState::Closed),
            (Segment::Other, FlowState::Closing),
        ] {
            state = segment.next(state);
            assert_eq!(state, want, "{segment:?}");
        }
        assert!(Segment::Syn.restarts(state));
        assert!(!Segment::Syn.restarts(FlowState::Established));
        assert_eq!(Segment::Rst.first(), None);
    }
}
