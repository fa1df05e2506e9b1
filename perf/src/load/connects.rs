//! A new connection for every request, like curl in a loop: what rollouts and failovers must not break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Target;
use super::http::Connection;
use super::report::{Event, Report, Tally};

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub target: Target,
    pub count: usize,
    pub concurrency: usize,
    /// Between two connections, all workers together; zero is as fast as they end.
    pub interval: Duration,
    pub path: String,
}

/// Makes `count` connections, `concurrency` at a time, one request each.
pub async fn run(settings: Settings, stop: watch::Receiver<bool>, mut tell: impl FnMut(Event)) -> Report {
    let start = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::new(settings.count as u64)));
    let next = Arc::new(AtomicUsize::new(0));
    let settings = Arc::new(settings);
    let mut tasks = JoinSet::new();
    for _ in 0..settings.concurrency.clamp(1, settings.count.max(1)) {
        tasks.spawn(worker(
            Arc::clone(&settings),
            Arc::clone(&tally),
            Arc::clone(&next),
            start,
            stop.clone(),
        ));
    }
    let report = |start: Instant| {
        tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(start.elapsed())
    };
    let mut second = tokio::time::interval(settings.target.progress);
    second.tick().await;
    loop {
        tokio::select! {
            ended = tasks.join_next() => if ended.is_none() { break },
            _ = second.tick() => tell(Event::Progress(report(start))),
        }
    }
    let report = report(start);
    tell(Event::Report(report.clone()));
    report
}

async fn worker(
    settings: Arc<Settings>,
    tally: Arc<Mutex<Tally>>,
    next: Arc<AtomicUsize>,
    start: Instant,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= settings.count || *stop.borrow() {
            return;
        }
        let due = start + settings.interval * u32::try_from(index).unwrap_or(u32::MAX);
        tokio::select! {
            () = sleep_until(due) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let asked = Instant::now();
        let opened = Connection::open(&settings.target, index).await;
        let was_open = opened.is_ok();
        let answer = match opened {
            Ok(mut connection) => connection.get(&settings.path).await,
            Err(failure) => Err(failure),
        };
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.request();
        if was_open {
            tally.established();
        }
        match answer {
            Ok(answer) => {
                tally.assigned(&answer.backend);
                tally.answer(&answer.backend, asked.elapsed(), answer.body);
            }
            Err(failure) => tally.failed(failure, None),
        }
    }
}
