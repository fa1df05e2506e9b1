//! The objects of one cluster as events: every kind followed by a task of its own, folded into what is news.
//!
//! `follow` lists and watches a kind, `wire` cuts the answers into objects, `fold` keeps what was told and
//! `barrier` holds deletions back until every kind has told all; `probe` finds out when etcd is not what it
//! was, `trouble` what to say while the server cannot be reached. There is no copy of any object here.

mod barrier;
mod body;
mod fold;
mod follow;
mod objects;
mod probe;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::event::{Event, Source};
use crate::kube::config::Access;
use crate::kube::failure::Failure;
use crate::kube::kinds::{Kind, kinds_of, resource};
use crate::model::{ClusterId, ObjectName, ObjectRef};
use crate::problem::Problem;
use barrier::{Barrier, Opened};
use fold::{Fold, News};
use follow::Follower;
use trouble::Trouble;

/// Pages and bursts of lines that wait to be taken; more wait at the server.
const WAITING: usize = 4;
/// Problems about objects that are told; a fault that hits all would fill the controller's memory and log.
const MOST_PROBLEMS: usize = 100;

/// A followed cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub id: ClusterId,
    /// Its name in problems: `kubernetes`, `cluster west`.
    pub place: String,
}

/// Times and sizes. The defaults are for production.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Objects a page.
    pub page: u32,
    /// The longest life of a watch: also how long a dead connection can go unnoticed, less four seconds.
    pub watch: Duration,
    /// Until a watch answers.
    pub answer: Duration,
    /// Until a list answers, and between two parts of its answer.
    pub stall: Duration,
    /// Between two attempts.
    pub retry_cap: Duration,
    pub probe_every: Duration,
    /// Everything is read anew as often, whatever the watches say.
    pub relist_every: Duration,
    /// How long a kind that was there must be gone before its objects are.
    pub absent_after: Duration,
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings {
            page: 250,
            watch: Duration::from_secs(25),
            answer: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            retry_cap: Duration::from_secs(2),
            probe_every: Duration::from_secs(30),
            relist_every: Duration::from_secs(1800),
            absent_after: Duration::from_secs(60),
        }
    }
}

/// What the tasks of a cluster share.
struct Common {
    cluster: Cluster,
    settings: StreamSettings,
    access: Arc<Access>,
    /// Grows when the server's data is not what it was.
    histories: watch::Receiver<u64>,
    /// A stream is back after a failure: the probe should look at once.
    back: Notify,
}

/// What a task tells the source.
#[derive(Debug)]
enum What {
    News(News),
    /// What is wrong with objects of the kind: the first of it, and how much there is.
    Problems(Vec<Problem>, usize),
    Failed(Failure),
    Well,
}

/// A task's way to the source.
struct Reporter {
    /// The place of the kind; one more for the probe.
    place: usize,
    reports: mpsc::Sender<(usize, What)>,
    failing: bool,
}

impl Reporter {
    async fn tell(&mut self, what: What) {
        self.failing |= matches!(what, What::Failed(_));
        // A closed channel is a source that was dropped, and this task with it.
        let _ = self.reports.send((self.place, what)).await;
    }

    /// Tells so after a failure.
    async fn well(&mut self, back: &Notify) {
        if std::mem::take(&mut self.failing) {
            self.tell(What::Well).await;
            back.notify_one();
        }
    }
}

/// The source. Dropping it ends its tasks.
pub struct ClusterSource {
    cluster: Cluster,
    reports: mpsc::Receiver<(usize, What)>,
    /// What each place reads.
    names: Vec<&'static str>,
    barrier: Barrier,
    trouble: Trouble,
    /// By place.
    problems: BTreeMap<usize, (Vec<Problem>, usize)>,
    told_problems: Vec<Problem>,
    start: Instant,
    _tasks: JoinSet<()>,
}

impl ClusterSource {
    /// `known` is what the controller has of this cluster already: what is not there any more is deleted once
    /// everything was read. Call inside a tokio runtime.
    pub fn start(
        access: Arc<Access>,
        cluster: Cluster,
        settings: StreamSettings,
        known: impl IntoIterator<Item = ObjectRef>,
    ) -> ClusterSource {
        let kinds: Vec<&'static Kind> = kinds_of(cluster.id).collect();
        let (reports, received) = mpsc::channel(WAITING);
        let (changed, histories) = watch::channel(0);
        let common = Arc::new(Common {
            cluster: cluster.clone(),
            settings,
            access,
            histories,
            back: Notify::new(),
        });
        let reporter = |place| Reporter {
            place,
            reports: reports.clone(),
            failing: false,
        };
        let known: BTreeSet<ObjectRef> = known.into_iter().collect();
        let mut tasks = JoinSet::new();
        for (place, kind) in kinds.iter().enumerate() {
            let fold = Fold::new(names_of(&known, kind));
            let follower = Follower::new(Arc::clone(&common), kind, fold, reporter(place));
            tasks.spawn(follower.run());
        }
        tasks.spawn(probe::probe(common, changed, reporter(kinds.len())));
        let plurals = kinds.iter().map(|kind| resource(kind.kind).plural);
        ClusterSource {
            cluster,
            reports: received,
            names: plurals.chain([probe::WHAT]).collect(),
            barrier: Barrier::new(kinds),
            trouble: Trouble::default(),
            problems: BTreeMap::new(),
            told_problems: vec![],
            start: Instant::now(),
            _tasks: tasks,
        }
    }

    /// What has changed, never nothing. `SourceSynced` comes once, when every kind was read. May be dropped
    /// while it waits: nothing is lost.
    pub async fn next(&mut self) -> Vec<Event> {
        let mut events = vec![];
        while events.is_empty() {
            let due = self.trouble.due(self.start.elapsed());
            let longer = async {
                match due {
                    Some(due) => sleep_until(self.start + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = self.reports.recv() => match report {
                    Some((place, what)) => self.take(place, what, &mut events),
                    // The tasks never end; were they gone, nothing more would come.
                    None => std::future::pending().await,
                },
                () = longer => {}
            }
            while let Ok((place, what)) = self.reports.try_recv() {
                self.take(place, what, &mut events);
            }
            self.tell_problems(&mut events);
        }
        events
    }

    fn take(&mut self, place: usize, what: What, events: &mut Vec<Event>) {
        let name = self.names.get(place).copied().unwrap_or_default();
        match what {
            What::News(news) => match self.barrier.pass(place, news, events) {
                Opened::Now => events.push(Event::SourceSynced(Source::Cluster(self.cluster.id))),
                Opened::No => {}
            },
            What::Problems(first, count) => drop(self.problems.insert(place, (first, count))),
            What::Failed(failure) => self.trouble.failed((name, place), failure, self.start.elapsed()),
            What::Well => self.trouble.well((name, place)),
        }
    }

    fn tell_problems(&mut self, events: &mut Vec<Event>) {
        let place = &self.cluster.place;
        let standing = self.trouble.problem(self.start.elapsed());
        let mut problems: Vec<Problem> = standing.into_iter().map(|p| p.clone().at(place)).collect();
        let of_objects = self.problems.values().flat_map(|(first, _)| first);
        let listed = problems.len();
        problems.extend(of_objects.take(MOST_PROBLEMS).cloned());
        let count: usize = self.problems.values().map(|(_, count)| count).sum();
        let more = count - (problems.len() - listed);
        if more > 0 {
            let message = format!("{more} more objects have problems");
            let remedy = "mend those listed first; likely they have one cause";
            problems.push(Problem::error(message, remedy).at(place));
        }
        if problems != self.told_problems {
            self.told_problems.clone_from(&problems);
            events.push(Event::SourceProblems {
                source: Source::Cluster(self.cluster.id),
                problems,
            });
        }
    }
}

fn names_of<'a>(known: &'a BTreeSet<ObjectRef>, kind: &'a Kind) -> impl Iterator<Item = ObjectName> + 'a {
    let of_kind = known.iter().filter(|object| object.kind == kind.kind);
    of_kind.map(|object| object.name.clone())
}
