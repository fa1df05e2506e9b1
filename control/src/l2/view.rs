//! Who is alive, as this node sees it.
//!
//! A lease counts for its duration after *we* saw it change, so no two clocks are compared; its holder counts
//! from before it sent the renewal, and so is silent before anybody takes over. Our own lease is read back like
//! the others': once it looks stale, the view does, and nobody can be judged by it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{NodeFacts, NodeLease, OnApiLoss, Peers, SETTLE, Standing};

#[derive(Clone, Debug)]
struct Seen {
    lease: NodeLease,
    /// When it was last seen to change.
    at: Duration,
}

/// The leases as last told.
#[derive(Clone, Debug, Default)]
pub struct View(BTreeMap<Box<str>, Seen>);

impl View {
    pub fn applied(&mut self, lease: NodeLease, now: Duration) {
        let before = self.0.get(&lease.node);
        let same =
            before.filter(|seen| seen.lease.renewed == lease.renewed && seen.lease.holder == lease.holder);
        // Told again, by a list: no sign of life.
        let at = same.map_or(now, |seen| seen.at);
        self.0.insert(lease.node.clone(), Seen { lease, at });
    }

    pub fn deleted(&mut self, node: &str) {
        self.0.remove(node);
    }

    /// Those that are fresh.
    pub fn alive(&self, now: Duration) -> impl Iterator<Item = &NodeLease> {
        self.0.values().filter_map(move |seen| {
            let until = seen.at + Duration::from_secs(seen.lease.seconds.into());
            (now < until && !seen.lease.holder.is_empty()).then_some(&seen.lease)
        })
    }
}

/// Our own lease.
#[derive(Clone, Debug)]
pub struct Renewals {
    until: Option<Duration>,
    /// Held without a break since; only as long as it is held.
    since: Option<Duration>,
    standing: Standing,
}

impl Renewals {
    /// `standing` is that of an earlier controller of this process.
    pub fn new(standing: Standing) -> Renewals {
        Renewals {
            until: None,
            since: None,
            standing,
        }
    }

    pub fn renewed(&mut self, until: Duration, now: Duration) {
        if until > now {
            self.until = Some(until);
            self.since.get_or_insert(now);
        }
    }

    pub fn holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Takes note of time. One that was fenced comes back as a new one.
    pub fn look(&mut self, now: Duration, on_loss: OnApiLoss) {
        if self.holds(now) {
            if self.since.is_some_and(|since| now >= since + SETTLE) {
                self.standing = Standing::Settled;
            }
        } else if self.until.is_some() && on_loss == OnApiLoss::Fence {
            self.since = None;
            self.standing = Standing::New;
        }
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }
}

/// What this node may do with what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Gain and lose addresses.
    Full,
    /// Only go on with what it has.
    Frozen,
    Nothing,
}

/// `keep` freezes an owner that knows nothing of the others; whoever never held a lease owns nothing.
pub(crate) fn right(
    peers: Peers,
    view: &View,
    ours: &Renewals,
    us: &str,
    on_loss: OnApiLoss,
    now: Duration,
) -> Right {
    if peers == Peers::Alone {
        return Right::Full;
    }
    let sees_itself = view.alive(now).any(|lease| &*lease.node == us);
    match (ours.holds(now), on_loss) {
        (true, _) if sees_itself => Right::Full,
        // The renewals arrive, the news do not.
        (true, _) | (false, OnApiLoss::Keep) => Right::Frozen,
        (false, OnApiLoss::Fence) => Right::Nothing,
    }
}

impl NodeLease {
    /// Of a node without a cluster.
    pub(crate) fn alone(node: &str, facts: NodeFacts) -> NodeLease {
        NodeLease {
            node: node.into(),
            holder: node.into(),
            seconds: u32::MAX,
            renewed: 0,
            facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn lease(node: &str, renewed: i64) -> NodeLease {
        NodeLease {
            renewed,
            seconds: 5,
            ..NodeLease::alone(node, NodeFacts::default())
        }
    }

    fn alive(view: &View, now: Duration) -> Vec<&str> {
        view.alive(now).map(|lease| &*lease.node).collect()
    }

    #[test]
    fn a_lease_lives_for_its_duration_after_it_was_seen_to_change() {
        let mut view = View::default();
        view.applied(lease("a", 1), S);
        view.applied(lease("b", 1), 2 * S);
        // Told again by a list.
        view.applied(lease("a", 1), 5 * S);
        assert_eq!(alive(&view, 5 * S), ["a", "b"]);
        assert_eq!(alive(&view, 6 * S), ["b"]);
        view.applied(lease("a", 2), 6 * S);
        let mut released = lease("b", 2);
        released.holder = "".into();
        view.applied(released, 6 * S);
        assert_eq!(alive(&view, 7 * S), ["a"]);
        view.deleted("a");
        assert!(alive(&view, 7 * S).is_empty());
    }

    #[test]
    fn a_node_settles_and_a_fenced_one_is_new_again() {
        for (on_loss, after) in [
            (OnApiLoss::Fence, Standing::New),
            (OnApiLoss::Keep, Standing::Settled),
        ] {
            let mut ours = Renewals::new(Standing::New);
            ours.look(S, on_loss);
            for second in 1..=11 {
                ours.renewed((second + 5) * S, second * S);
                assert_eq!(ours.standing(), Standing::New, "after {second} s");
                ours.look(second * S, on_loss);
            }
            assert_eq!(ours.standing(), Standing::Settled);
            ours.look(15 * S, on_loss);
            assert!(ours.holds(15 * S) && !ours.holds(16 * S));
            ours.look(16 * S, on_loss);
            assert_eq!(ours.standing(), after);
        }
    }

    #[test]
    fn a_node_that_sees_nothing_gains_nothing() {
        let (mut view, mut ours) = (View::default(), Renewals::new(Standing::New));
        let right = |view: &View, ours: &Renewals, on_loss, now| {
            super::right(Peers::Leases, view, ours, "a", on_loss, now)
        };
        assert_eq!(right(&view, &ours, OnApiLoss::Fence, S), Right::Nothing);
        ours.renewed(6 * S, S);
        assert_eq!(right(&view, &ours, OnApiLoss::Fence, S), Right::Frozen);
        view.applied(lease("a", 1), S);
        assert_eq!(right(&view, &ours, OnApiLoss::Fence, S), Right::Full);
        assert_eq!(right(&view, &ours, OnApiLoss::Fence, 6 * S), Right::Nothing);
        assert_eq!(right(&view, &ours, OnApiLoss::Keep, 6 * S), Right::Frozen);
        assert_eq!(
            super::right(Peers::Alone, &view, &ours, "a", OnApiLoss::Fence, 99 * S),
            Right::Full
        );
    }
}
