//! The backend of a new flow: where its client went last, if the service wants that (`sessionAffinity:
//! ClientIP`), else what Maglev says.

use maglane_shared::counters::DropReason;
use maglane_shared::policy::AffinityTimeout;
use maglane_shared::service::{BackendId, BackendState};
use maglane_shared::table::BackendEntry;

use super::Forwarder;
use super::select::Arrival;
use crate::affinity::{ClientKey, Unpinned};

/// A backend and its id.
type Chosen<'t> = (BackendId, &'t BackendEntry);

impl<'t> Arrival<'t> {
    /// By hash alone.
    #[inline]
    fn hashed(&self) -> Result<Chosen<'t>, DropReason> {
        self.table
            .select(self.service, self.selection_hash())
            .ok_or(DropReason::NoBackend)
    }

    fn active(&self, id: BackendId) -> Option<Chosen<'t>> {
        let backend = self.table.backend(id)?;
        (backend.state == BackendState::Active).then_some((id, backend))
    }
}

impl Forwarder {
    #[inline]
    pub(super) fn choose<'t>(&self, arrival: &Arrival<'t>) -> Result<Chosen<'t>, DropReason> {
        match arrival.service.policy.as_ref().and_then(|p| p.affinity) {
            None => arrival.hashed(),
            Some(timeout) => self.sticky(arrival, timeout),
        }
    }

    /// A packet that opens no flow finds its client's backend and leaves no trace.
    #[inline(never)]
    fn sticky<'t>(&self, arrival: &Arrival<'t>, timeout: AffinityTimeout) -> Result<Chosen<'t>, DropReason> {
        let client = ClientKey {
            client: arrival.client.addr,
            service: arrival.service.id,
        };
        let (now, opens) = (arrival.now, arrival.segment.first().is_some());
        let place = client.hash(arrival.service.key, &arrival.table.hash_key);
        let pin = self.affinities.find(place, &client, timeout, now);
        if let Some((pin, found)) = pin.and_then(|pin| Some((pin, arrival.active(pin.backend)?))) {
            if opens {
                self.counters.affinity_hits.add(1);
                self.affinities.refresh(&pin, timeout, now);
            }
            return Ok(found);
        }
        let chosen = arrival.hashed()?;
        if !opens {
            return Ok(chosen);
        }
        self.counters.affinity_misses.add(1);
        let usable = |id| arrival.active(id).is_some();
        match self
            .affinities
            .pin(place, &client, chosen.0, timeout, now, usable)
        {
            Ok(id) => Ok(arrival.active(id).unwrap_or(chosen)),
            Err(Unpinned::Full) => {
                self.counters.affinity_full.add(1);
                Ok(chosen)
            }
            Err(Unpinned::Busy) => Ok(chosen),
        }
    }
}
