//! Shows the flow table to whoever asked, a few buckets a turn, and waits for no one: when the mailbox is
//! full the next turn goes on where this one stopped.

use maglane_shared::counters::FlowRecord;
use maglane_shared::facts::{DumpItem, Facts};
use maglane_shared::tick::Tick;

use crate::flow_table::FlowEntry;
use crate::forward::Forwarder;

/// Buckets shown in one turn at most.
const BUCKETS: usize = 16;

#[derive(Debug)]
pub(super) struct Dump {
    worker: u16,
    /// The last request taken up.
    request: u32,
    /// Next bucket and flow within it; `None` = nothing to show.
    at: Option<(usize, usize)>,
    /// The mailbox was full: whoever asked is slow, or gone.
    full: bool,
}

impl Dump {
    pub(super) fn new(worker: u16, request: u32) -> Self {
        Dump {
            worker,
            request,
            at: None,
            full: false,
        }
    }

    /// Is there something to show, and room for it? Then an idle worker goes on instead of sleeping.
    #[inline]
    pub(super) fn is_going(&self) -> bool {
        self.at.is_some() && !self.full
    }

    #[inline]
    pub(super) fn serve(&mut self, forwarder: &Forwarder, facts: &Facts, now: Tick) {
        let request = facts.dump_request.current();
        if request != self.request {
            self.request = request;
            self.at = Some((0, 0));
        }
        if self.at.is_some() {
            self.show(forwarder, facts, now);
        }
    }

    #[cold]
    fn show(&mut self, forwarder: &Forwarder, facts: &Facts, now: Tick) {
        let flows = forwarder.flows();
        self.full = false;
        for _ in 0..BUCKETS {
            let Some((bucket, mut done)) = self.at else { return };
            if bucket >= flows.buckets() {
                let end = DumpItem::End {
                    worker: self.worker,
                    request: self.request,
                };
                self.at = facts.dump.push(end).err().map(|_| (bucket, 0));
                self.full = self.at.is_some();
                return;
            }
            for entry in flows.bucket_entries(bucket).skip(done) {
                if facts.dump.push(DumpItem::Flow(self.record(entry, now))).is_err() {
                    self.at = Some((bucket, done));
                    self.full = true;
                    return;
                }
                done += 1;
            }
            self.at = Some((bucket + 1, 0));
        }
    }

    fn record(&self, entry: &FlowEntry, now: Tick) -> FlowRecord {
        FlowRecord {
            worker: self.worker,
            service: entry.id.service,
            backend: entry.backend,
            client: entry.id.client,
            client_port: entry.id.client_port,
            nat: (entry.nat_port != 0).then_some((entry.nat_address, entry.nat_port)),
            state: entry.state,
            idle_ms: now.since(entry.last_seen),
        }
    }
}
