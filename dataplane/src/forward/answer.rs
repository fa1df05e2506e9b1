//! Answers of our own: ICMP errors and echo replies, and the limits that keep them from being a weapon.
//!
//! An answer is made in the frame of the packet it answers, so a flood of bad packets can at most be
//! returned, never multiplied (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).

use maglane_shared::addr::Addr;
use maglane_shared::counters::{DropReason, TokenBucket};
use maglane_shared::flow::HashKey;
use maglane_shared::tick::Tick;

use super::icmp::{self, IcmpError};
use super::{Forwarder, l2};
use crate::config::IcmpRates;
use crate::forward::parse::Parsed;
use crate::packet::Packet;
use crate::verdict::Verdict;

const SOURCES: usize = 1024;

/// Token buckets for answers: one of the worker, one a hashed source.
#[derive(Debug)]
pub(super) struct Limits {
    rates: IcmpRates,
    total: TokenBucket,
    sources: Box<[TokenBucket]>,
}

impl Limits {
    pub(super) fn new(rates: IcmpRates) -> Self {
        Limits {
            rates,
            total: TokenBucket::full(rates.total, Tick(0)),
            sources: vec![TokenBucket::full(rates.per_source, Tick(0)); SOURCES].into_boxed_slice(),
        }
    }

    /// One source's flood takes from its own bucket first, so it cannot empty everybody's.
    pub(super) fn allow(&mut self, source: Addr, key: &HashKey, now: Tick) -> bool {
        let bucket = key.hash_bytes(&source.v6_bytes()) as usize % SOURCES;
        let IcmpRates { total, per_source } = self.rates;
        self.sources[bucket].take(now, per_source, per_source) && self.total.take(now, total, total)
    }
}

impl Forwarder {
    /// Tells the sender what is wrong with its packet. When it may not be told (it is an error itself, or
    /// too short to quote), the packet is dropped for `reason`.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        error: IcmpError,
        reason: DropReason,
        key: &HashKey,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        if !icmp::may_answer(parsed) {
            return Err(reason);
        }
        if !self.limits.allow(parsed.src, key, now) {
            return Err(DropReason::IcmpRateLimited);
        }
        // From the address the packet was sent to: a VIP, or our own source in the backend's eyes.
        icmp::icmp_error(packet, parsed, error, parsed.dst)?;
        l2::turn_round(packet);
        Ok(Verdict::Reply)
    }

    /// Answers a ping of a VIP.
    pub(super) fn echo(
        &mut self,
        packet: &mut Packet<'_>,
        parsed: &Parsed,
        key: &HashKey,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        if !self.limits.allow(parsed.src, key, now) {
            return Err(DropReason::IcmpRateLimited);
        }
        icmp::echo_reply(packet, parsed)?;
        l2::turn_round(packet);
        Ok(Verdict::Reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAILURES D26: at most 100 ICMP messages a second to one source.
    #[test]
    fn no_source_gets_more_than_its_rate_and_none_starves_the_others() {
        let mut limits = Limits::new(IcmpRates {
            total: 1000,
            per_source: 100,
        });
        let (flood, quiet) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let key = HashKey::default();
        let (mut flooded, mut heard) = (0, 0);
        for ms in 0..10_000 {
            flooded += (0..10).filter(|_| limits.allow(flood, &key, Tick(ms))).count();
            heard += usize::from(ms % 100 == 0 && limits.allow(quiet, &key, Tick(ms)));
        }
        assert!((1000..=1100).contains(&flooded), "{flooded}");
        assert_eq!(heard, 100);
    }
}
