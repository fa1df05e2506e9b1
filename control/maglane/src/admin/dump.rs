//! The workers' flow tables, collected from their mailboxes. Bounded: a worker that does not answer in time
//! is left out, and the workers never wait for us.

use std::sync::Arc;
use std::time::Duration;

use maglane_shared::counters::FlowRecord;
use maglane_shared::facts::{DumpItem, Facts};
use tokio::time::Instant;

use crate::run::Shared;

/// Longest wait for the workers.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks into the mailboxes: a worker fills one in about this time.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Every flow of every worker, as far as they tell within [`LIMIT`].
pub async fn collect(shared: &Shared) -> Vec<FlowRecord> {
    let _turn = shared.dump.lock().await;
    let facts: Vec<Arc<Facts>> = shared
        .engine
        .watches
        .iter()
        .map(|watch| Arc::clone(&watch.facts))
        .collect();
    let mut open: Vec<(Arc<Facts>, u32)> = facts.into_iter().map(ask).collect();
    let (mut records, start) = (vec![], Instant::now());
    while !open.is_empty() && start.elapsed() < LIMIT {
        open.retain(|(facts, request)| take(facts, *request, &mut records) == Progress::Open);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    records
}

/// Empties the mailbox of what an earlier request left, and asks anew.
fn ask(facts: Arc<Facts>) -> (Arc<Facts>, u32) {
    while facts.dump.pop().is_some() {}
    let request = facts.dump_request.ask();
    (facts, request)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Open,
    Done,
}

fn take(facts: &Facts, wanted: u32, records: &mut Vec<FlowRecord>) -> Progress {
    while let Some(item) = facts.dump.pop() {
        match item {
            DumpItem::Flow(record) => records.push(record),
            DumpItem::End { worker: _, request } if request == wanted => return Progress::Done,
            DumpItem::End { .. } => {}
        }
    }
    Progress::Open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_this_request_counts() {
        let facts = Arc::new(Facts::default());
        facts
            .dump
            .push(DumpItem::End {
                worker: 0,
                request: 7,
            })
            .unwrap();
        let (facts, request) = ask(facts);
        facts
            .dump
            .push(DumpItem::End {
                worker: 0,
                request: request.wrapping_sub(1),
            })
            .unwrap();
        let mut records = vec![];
        assert_eq!(take(&facts, request, &mut records), Progress::Open);
        facts.dump.push(DumpItem::End { worker: 0, request }).unwrap();
        assert_eq!(take(&facts, request, &mut records), Progress::Done);
        assert!(records.is_empty());
    }
}
