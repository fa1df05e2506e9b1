//! One kind of one cluster, followed for ever: list, then watch; from the start when the server says so.
//!
//! Nothing that goes wrong ends it, and nothing that goes wrong is told as a deletion: it waits, at most
//! [`StreamSettings::retry_cap`], and tries again (FAILURES K1, K4, K5).

use std::sync::Arc;
use std::time::Duration;

use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::body::{Body, Limit};
use super::fold::{Fold, History, News};
use super::objects::Objects;
use super::wire::{Page, version};
use super::{Common, MOST_PROBLEMS, Reporter, What};
use crate::kube::backoff::{Backoff, spread};
use crate::kube::failure::Failure;
use crate::kube::kinds::{Kind, resource};

/// A watch that ends before counts as one that failed.
const SHORT: Duration = Duration::from_secs(1);
/// After the time at which the server should have ended a watch.
const GRACE: Duration = Duration::from_secs(4);
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait that a server may ask for, in longest waits of our own.
const MOST_ASKED: u32 = 5;

pub(super) struct Follower {
    common: Arc<Common>,
    kind: &'static Kind,
    /// Newest version first.
    paths: Vec<String>,
    /// Which of them is in use.
    path: usize,
    objects: Objects,
    reporter: Reporter,
    histories: watch::Receiver<u64>,
    backoff: Backoff,
    /// The server says that it has no such kind.
    absent_since: Option<Instant>,
}

/// Why a watch ended, other than by failure.
enum Ended {
    /// Its time was over: go on from there.
    Naturally,
    /// Everything is to be read anew.
    Relist(History),
}

impl Follower {
    pub fn new(common: Arc<Common>, kind: &'static Kind, fold: Fold, reporter: Reporter) -> Follower {
        Follower {
            paths: versions(kind),
            path: 0,
            histories: common.histories.clone(),
            backoff: Backoff::new(FIRST_RETRY, common.settings.retry_cap),
            objects: Objects::new(common.cluster.clone(), kind, fold),
            common,
            kind,
            reporter,
            absent_since: None,
        }
    }

    /// Never ends: whoever owns the source drops it.
    pub async fn run(mut self) {
        let mut history = History::Same;
        loop {
            match self.list(history).await {
                Ok(from) => history = self.watch(from).await,
                Err(Failure::NotFound(_)) if self.try_older() => {}
                Err(Failure::NotFound(text)) => self.missing(text).await,
                Err(failure) => self.failed(failure).await,
            }
        }
    }

    /// Reads everything; returns the version to watch from.
    async fn list(&mut self, history: History) -> Result<String, Failure> {
        self.histories.mark_unchanged();
        let mut next = String::new();
        loop {
            let text = self.page(&next).await?;
            let page = Page::read(&text)?;
            let at = version(&page.metadata.resource_version);
            if next.is_empty() {
                self.objects.fold.begin(at, history);
            }
            let mut news = News::default();
            let all_named = self.objects.take_page(&page, &mut news).await;
            let last = page.metadata.next.is_empty();
            if last && all_named.is_ok() {
                self.objects.fold.finish(&mut news);
            }
            self.tell(news).await;
            all_named?;
            if last {
                self.absent_since = None;
                self.reporter.well(&self.common.back).await;
                return Ok(page.metadata.resource_version.into_owned());
            }
            next = page.metadata.next.into_owned();
        }
    }

    async fn page(&self, next: &str) -> Result<Vec<u8>, Failure> {
        let settings = &self.common.settings;
        let mut params = ListParams::default().limit(settings.page);
        if !self.kind.selector.is_empty() {
            params = params.labels(self.kind.selector);
        }
        if !next.is_empty() {
            params = params.continue_token(next);
        }
        let request = Request::new(&self.paths[self.path])
            .list(&params)
            .map_err(kube::Error::BuildRequest)?;
        let client = self.common.access.clients().streams;
        let body = Body::open(&client, request, Limit::within(settings.stall)).await?;
        body.whole(settings.stall).await
    }

    /// Watches until everything is to be read anew.
    async fn watch(&mut self, mut from: String) -> History {
        let relist_at = Instant::now() + spread(self.common.settings.relist_every, fastrand::u32(..));
        loop {
            let begun = Instant::now();
            let ended = self.watch_once(&mut from, relist_at).await;
            if begun.elapsed() >= SHORT {
                self.backoff.reset();
            }
            match ended {
                Ok(Ended::Relist(history)) => return history,
                Ok(Ended::Naturally) => {
                    if begun.elapsed() < SHORT {
                        self.pause(Duration::ZERO).await;
                    }
                }
                // What was not understood may have been news; a kind that is gone is for the list to judge.
                Err(failure @ (Failure::Expired | Failure::Garbled(_) | Failure::NotFound(_))) => {
                    self.failed(failure).await;
                    return History::Same;
                }
                Err(failure) => self.failed(failure).await,
            }
        }
    }

    async fn watch_once(&mut self, from: &mut String, relist_at: Instant) -> Result<Ended, Failure> {
        let settings = &self.common.settings;
        let span = spread(settings.watch, fastrand::u32(..)).max(SHORT);
        let limit = Limit::within(span + GRACE);
        let params = WatchParams {
            timeout: Some(u32::try_from(span.as_secs()).unwrap_or(1)),
            label_selector: Some(self.kind.selector.to_owned()).filter(|s| !s.is_empty()),
            ..WatchParams::default()
        };
        let request = Request::new(&self.paths[self.path])
            .watch(&params, from)
            .map_err(kube::Error::BuildRequest)?;
        let client = self.common.access.clients().streams;
        let answer = Limit::within(settings.answer);
        let mut histories = self.histories.clone();
        let mut body = tokio::select! {
            body = Body::open(&client, request, answer) => body?,
            _ = histories.changed() => return Ok(Ended::Relist(History::Another)),
        };
        self.absent_since = None;
        self.reporter.well(&self.common.back).await;
        loop {
            let lines = tokio::select! {
                lines = body.lines(limit) => lines?,
                _ = histories.changed() => return Ok(Ended::Relist(History::Another)),
                () = sleep_until(relist_at) => return Ok(Ended::Relist(History::Same)),
            };
            let Some(lines) = lines else {
                return Ok(Ended::Naturally);
            };
            let mut news = News::default();
            let taken = self.objects.take_lines(&lines, from, &mut news);
            self.tell(news).await;
            taken?;
        }
    }

    /// The server does not know the version in use: is there another one to try?
    fn try_older(&mut self) -> bool {
        self.path = (self.path + 1) % self.paths.len();
        self.path != 0
    }

    /// The server has no such kind.
    async fn missing(&mut self, text: String) {
        let settings = self.common.settings.clone();
        let gone_for = self.absent_since.get_or_insert_with(Instant::now).elapsed();
        if !self
            .kind
            .presence
            .is_absent(gone_for, settings.absent_after, self.objects.fold.told())
        {
            return self.failed(Failure::NotFound(text)).await;
        }
        let mut news = News::default();
        self.objects.fold.begin(None, History::Another);
        self.objects.fold.finish(&mut news);
        self.reporter.well(&self.common.back).await;
        self.tell(news).await;
        sleep(spread(settings.probe_every, fastrand::u32(..))).await;
    }

    /// Reports, and waits.
    async fn failed(&mut self, failure: Failure) {
        let after = failure.retry_after();
        if let Failure::Unauthorized(_) = &failure {
            self.common.access.renew().await;
        }
        if failure != Failure::Expired {
            self.reporter.tell(What::Failed(failure)).await;
        }
        self.pause(after).await;
    }

    /// As long as the server asks, within bounds, and no shorter than the back-off.
    async fn pause(&mut self, asked: Duration) {
        let wait = self.backoff.next(fastrand::u32(..));
        let asked = spread(
            asked.min(self.common.settings.retry_cap * MOST_ASKED),
            fastrand::u32(..),
        );
        sleep(wait.max(asked)).await;
    }

    async fn tell(&mut self, news: News) {
        if news.problems {
            let (first, count) = self.objects.fold.problems(MOST_PROBLEMS);
            self.reporter.tell(What::Problems(first, count)).await;
        }
        if !news.is_empty() {
            self.reporter.tell(What::News(news)).await;
        }
    }
}

/// Where the kind may be, newest version first.
fn versions(kind: &Kind) -> Vec<String> {
    let newest = resource(kind.kind);
    std::iter::once(newest)
        .chain(newest.older())
        .map(|resource| resource.everywhere())
        .collect()
}
