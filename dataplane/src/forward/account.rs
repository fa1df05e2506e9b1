//! A flow enters the table and leaves it: what is counted then, and what hangs on its entry.

use maglane_shared::counters::{Counters, DropReason, FlowState};
use maglane_shared::flow::FlowHash;
use maglane_shared::tick::Tick;

use super::Forwarder;
use crate::flow_table::{BucketFull, FlowEntry, Translation};
use crate::returns::{NatReturns, Replies};

impl Forwarder {
    /// A flow that finds no room is steered by Maglev alone, packet by packet; a translated one cannot be.
    pub(super) fn remember(&mut self, hash: FlowHash, entry: FlowEntry, now: Tick) -> Result<(), DropReason> {
        let returns = &self.returns;
        match self.flows.insert(hash, entry, now, |e| refresh(returns, e)) {
            Ok((_, evicted)) => {
                if let Some(evicted) = evicted {
                    self.counters.flow_evictions.add(1);
                    self.account_end(&evicted);
                }
                self.account_start(&entry);
                Ok(())
            }
            Err(BucketFull) => match entry.translation {
                Translation::None | Translation::Borrowed(_) => Ok(()),
                Translation::Owned(slot) => {
                    self.returns.remove(slot);
                    Err(DropReason::NatTableFull)
                }
            },
        }
    }

    fn account_start(&self, entry: &FlowEntry) {
        let counters = &self.counters;
        counters.flow_inserts.add(1);
        counters.flow_entries.add(1);
        if matches!(entry.translation, Translation::Owned(_)) {
            counters.nat_entries.add(1);
        }
        for stats in counters
            .service(entry.id.service)
            .into_iter()
            .chain(counters.backend(entry.backend))
        {
            stats.new_flows.add(1);
            stats.active_flows.add(1);
        }
    }

    /// The entry is gone from the table; so must be what hangs on it.
    pub(super) fn account_end(&self, entry: &FlowEntry) {
        end(&self.counters, &self.returns, entry);
    }
}

/// As [`Forwarder::account_end`], for callers that hold the flow table.
pub(super) fn end(counters: &Counters, returns: &NatReturns, entry: &FlowEntry) {
    counters.flow_entries.sub(1);
    if let Translation::Owned(slot) = entry.translation {
        returns.remove(slot);
        counters.nat_entries.sub(1);
    }
    for stats in counters
        .service(entry.id.service)
        .into_iter()
        .chain(counters.backend(entry.backend))
    {
        stats.active_flows.sub(1);
    }
}

/// Brings what replies have shown into the entry: a flow lives while either side talks.
pub(super) fn refresh(returns: &NatReturns, entry: &mut FlowEntry) {
    let Translation::Owned(slot) = entry.translation else {
        return;
    };
    let Replies { last_seen, fin, rst } = returns.replies(slot);
    if last_seen.since(entry.last_seen) > 0 {
        entry.last_seen = last_seen;
    }
    if rst || (fin && entry.state == FlowState::Closing) {
        entry.state = match entry.state {
            FlowState::Datagram => FlowState::Datagram,
            FlowState::SynSent | FlowState::Established | FlowState::Closing | FlowState::Closed => {
                FlowState::Closed
            }
        };
    }
}
