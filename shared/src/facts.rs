//! Facts that a worker passes up besides counters: bounded, lock-free, lost rather than waited for.

use crossbeam::queue::ArrayQueue;

use crate::addr::{Addr, MacAddr};
use crate::counters::{DumpRequest, FlowRecord};
use crate::next_hop::PortIndex;

/// An answer to a flow dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpItem {
    Flow(FlowRecord),
    /// This worker has shown its whole table for this request.
    End {
        worker: u16,
        request: u32,
    },
}

/// Another MAC address claims a virtual address that this node answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub port: PortIndex,
    pub addr: Addr,
    pub mac: MacAddr,
}

/// One worker's mailbox towards the control side.
#[derive(Debug)]
pub struct Facts {
    /// On-link addresses that packets wanted but nobody has resolved.
    pub unresolved: ArrayQueue<(PortIndex, Addr)>,
    /// Who else says that an address of ours is his.
    pub conflicts: ArrayQueue<Conflict>,
    pub dump_request: DumpRequest,
    pub dump: ArrayQueue<DumpItem>,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            unresolved: ArrayQueue::new(256),
            conflicts: ArrayQueue::new(64),
            dump_request: DumpRequest::default(),
            dump: ArrayQueue::new(4096),
        }
    }
}
