//! UDP requests and answers: one socket a flow, numbered payloads, `NAME NUMBER` back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::report::{Event, Failure, Report, Tally};
use super::{Target, phase};

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub target: Target,
    pub flows: usize,
    pub duration: Duration,
    /// Between two datagrams of one flow; zero is back to back.
    pub interval: Duration,
    /// Payload bytes, at least 16.
    pub size: usize,
}

/// Runs for `duration` or until `stop`; an answer that is late by more than the timeout is lost.
pub async fn run(settings: Settings, mut stop: watch::Receiver<bool>, mut tell: impl FnMut(Event)) -> Report {
    let (end, ended) = watch::channel(false);
    let tally = Arc::new(Mutex::new(Tally::new(settings.flows as u64)));
    let settings = Arc::new(settings);
    let start = Instant::now();
    let mut flows = JoinSet::new();
    for index in 0..settings.flows {
        flows.spawn(flow(
            Arc::clone(&settings),
            Arc::clone(&tally),
            index,
            ended.clone(),
        ));
    }
    let report = || {
        tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(start.elapsed())
    };
    tell(Event::Ready(report()));
    let mut second = tokio::time::interval(settings.target.progress);
    second.tick().await;
    let over = sleep(settings.duration);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => break,
            stopped = stop.wait_for(|stop| *stop) => if stopped.is_ok() { break } else { (&mut over).await; break },
            _ = second.tick() => tell(Event::Progress(report())),
        }
    }
    end.send_replace(true);
    while flows.join_next().await.is_some() {}
    let report = report();
    tell(Event::Report(report.clone()));
    report
}

async fn flow(
    settings: Arc<Settings>,
    tally: Arc<Mutex<Tally>>,
    index: usize,
    mut ended: watch::Receiver<bool>,
) {
    let with = |change: &mut dyn FnMut(&mut Tally)| {
        change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let socket = match open(&settings.target, index).await {
        Ok(socket) => socket,
        Err(error) => {
            with(&mut |tally| tally.failed(Failure::Connect(error.kind()), None));
            return;
        }
    };
    with(&mut Tally::established);
    let mut owner: Option<String> = None;
    let mut due = Instant::now() + phase(index, settings.flows, settings.interval);
    for number in 0_u64.. {
        tokio::select! {
            () = sleep_until(due) => {}
            _ = ended.wait_for(|end| *end) => return,
        }
        due = Instant::now().max(due + settings.interval);
        let asked = Instant::now();
        with(&mut Tally::request);
        match ask(&socket, number, &settings).await {
            Ok(backend) => with(&mut |tally| {
                tally.answer(&backend, asked.elapsed(), settings.size as u64);
                match &owner {
                    None => tally.assigned(&backend),
                    Some(own) if *own != backend => tally.mismatch(),
                    Some(_) => {}
                }
                owner = Some(backend.clone());
            }),
            Err(failure) => with(&mut |tally| tally.failed(failure, owner.as_deref())),
        }
    }
}

async fn open(target: &Target, index: usize) -> std::io::Result<UdpSocket> {
    let any = match target.address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(target.source(index).unwrap_or(any)).await?;
    socket.connect(target.address).await?;
    Ok(socket)
}

/// Sends one number and waits for it to come back; late answers to earlier numbers are passed over.
async fn ask(socket: &UdpSocket, number: u64, settings: &Settings) -> Result<String, Failure> {
    let mut payload = format!("{number:016x}").into_bytes();
    payload.resize(settings.size.max(16), b'.');
    socket.send(&payload).await.map_err(|_| Failure::Reset)?;
    let answer = async {
        let mut buffer = vec![0_u8; settings.size + 256];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(|_| Failure::Reset)?;
            if let Some(backend) = backend_of(&buffer[..length], &payload) {
                return Ok(backend);
            }
        }
    };
    timeout(settings.target.timeout, answer)
        .await
        .unwrap_or(Err(Failure::Timeout))
}

fn backend_of(answer: &[u8], payload: &[u8]) -> Option<String> {
    let name = answer.strip_suffix(payload)?.strip_suffix(b" ")?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_number_counts() {
        assert_eq!(backend_of(b"b1 0001", b"0001"), Some("b1".to_owned()));
        assert_eq!(backend_of(b"b1 0002", b"0001"), None);
        assert_eq!(backend_of(b"0001", b"0001"), None);
    }
}
