//! Asks health check node ports, each about every two seconds, and tells the verdicts as events.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::ProbeTarget;
use super::machine::{Answer, Machine};
use crate::event::Event;

/// Questions under way at a time; dead nodes use up their whole time.
const AT_ONCE: usize = 256;
/// Verdicts that wait to be taken.
const WAITING: usize = 64;
/// Of an answer, at most so many bytes are read.
const LONGEST_ANSWER: u64 = 4096;

/// The default is for production.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub interval: Duration,
    /// Until the answer is there.
    pub limit: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            interval: Duration::from_secs(2),
            limit: Duration::from_secs(1),
        }
    }
}

/// Dropping it ends its tasks.
#[derive(Debug)]
pub struct Prober {
    timing: Timing,
    slots: Arc<Semaphore>,
    tasks: BTreeMap<ProbeTarget, Task>,
    tell: mpsc::Sender<Event>,
    told: mpsc::Receiver<Event>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Prober {
    pub fn new(timing: Timing) -> Prober {
        let (tell, told) = mpsc::channel(WAITING);
        Prober {
            timing,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: BTreeMap::new(),
            tell,
            told,
        }
    }

    /// Asks these from now on, and nobody else. Call inside a tokio runtime.
    pub fn want(&mut self, targets: &BTreeSet<ProbeTarget>) {
        self.tasks.retain(|target, _| targets.contains(target));
        for &target in targets {
            let (timing, slots, tell) = (self.timing, Arc::clone(&self.slots), self.tell.clone());
            self.tasks
                .entry(target)
                .or_insert_with(|| Task(tokio::spawn(probe(target, timing, slots, tell))));
        }
    }

    /// The next verdicts, never none. May be dropped while it waits.
    pub async fn next(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = self.told.recv().await.into_iter().collect();
        while let Ok(event) = self.told.try_recv() {
            events.push(event);
        }
        events
    }
}

/// For ever, and never in step with the others.
async fn probe(target: ProbeTarget, timing: Timing, slots: Arc<Semaphore>, tell: mpsc::Sender<Event>) {
    let mut machine = Machine::default();
    sleep(timing.interval.mul_f64(0.1 * fastrand::f64())).await;
    loop {
        // The semaphore is never closed.
        let slot = slots.acquire().await;
        let answer = ask(target, timing.limit).await;
        drop(slot);
        if let Some(verdict) = machine.take(answer) {
            // A closed channel is a prober that was dropped, and this task with it.
            let _ = tell.send(Event::NodeHealth { target, verdict }).await;
        }
        sleep(timing.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

async fn ask(target: ProbeTarget, limit: Duration) -> Answer {
    match timeout(limit, is_well(target)).await {
        Ok(Ok(true)) => Answer::Well,
        Ok(Ok(false) | Err(_)) | Err(_) => Answer::Failed,
    }
}

async fn is_well(target: ProbeTarget) -> io::Result<bool> {
    let mut stream = TcpStream::connect(target.socket()).await?;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {target}\r\nUser-Agent: maglane\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200 OK`
    let mut status = [0; 13];
    stream.read_exact(&mut status).await?;
    // Read to its end, so that the connection is not reset under the one who answers.
    let mut rest = vec![];
    let _ = stream.take(LONGEST_ANSWER).read_to_end(&mut rest).await;
    Ok(status.starts_with(b"HTTP/1.") && &status[8..] == b" 200 ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::net::TcpListener;

    use super::*;
    use crate::health::Verdict;

    /// Answers 200 or 503, as the flag says.
    async fn node(well: Arc<AtomicBool>) -> ProbeTarget {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                let status = match well.load(Ordering::Relaxed) {
                    true => "200 OK",
                    false => "503 Service Unavailable",
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        ProbeTarget {
            addr: at.ip().into(),
            port: at.port(),
        }
    }

    async fn verdict(prober: &mut Prober) -> (ProbeTarget, Verdict) {
        let events = timeout(Duration::from_secs(20), prober.next()).await.unwrap();
        match events[..] {
            [Event::NodeHealth { target, verdict }] => (target, verdict),
            _ => panic!("{events:?}"),
        }
    }

    #[tokio::test]
    async fn a_node_is_followed_from_well_to_ill_and_back_until_nobody_asks() {
        let well = Arc::new(AtomicBool::new(true));
        let target = node(Arc::clone(&well)).await;
        let mut prober = Prober::new(Timing {
            interval: Duration::from_millis(5),
            limit: Duration::from_secs(5),
        });
        prober.want(&[target].into());
        assert_eq!(verdict(&mut prober).await, (target, Verdict::Up));
        well.store(false, Ordering::Relaxed);
        assert_eq!(verdict(&mut prober).await, (target, Verdict::Down));
        well.store(true, Ordering::Relaxed);
        assert_eq!(verdict(&mut prober).await, (target, Verdict::Up));
        prober.want(&BTreeSet::new());
        assert!(prober.tasks.is_empty());
    }

    #[tokio::test]
    async fn who_does_not_answer_in_time_or_at_all_is_down() {
        // Accepts by the kernel's backlog, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = |listener: &TcpListener| ProbeTarget {
            addr: listener.local_addr().unwrap().ip().into(),
            port: listener.local_addr().unwrap().port(),
        };
        let (silent_target, closed_target) = (target(&silent), target(&closed));
        drop(closed);
        for target in [silent_target, closed_target] {
            let mut prober = Prober::new(Timing {
                interval: Duration::from_millis(2),
                limit: Duration::from_millis(20),
            });
            prober.want(&[target].into());
            assert_eq!(verdict(&mut prober).await, (target, Verdict::Down));
        }
    }
}
