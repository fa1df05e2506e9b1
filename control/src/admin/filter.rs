//! Which flows a question is about.

use maglane_shared::addr::{Addr, VipKey};
use maglane_shared::counters::FlowRecord;

use super::FlowFilter;

impl FlowFilter {
    pub(super) fn matches(&self, record: &FlowRecord, vip: &VipKey, backend: Addr) -> bool {
        fits(self.vip, vip.addr)
            && fits(self.port, vip.port)
            && fits(self.protocol, vip.protocol)
            && fits(self.client, record.client)
            && fits(self.backend, backend)
    }
}

fn fits<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
    wanted.is_none_or(|wanted| wanted == is)
}
