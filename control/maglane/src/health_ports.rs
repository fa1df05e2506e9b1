//! This node's answers on health check node ports, in kube-proxy's words: 200 while it has a usable backend for
//! the Service and is ready itself, else 503. A port that somebody else has, as kube-proxy where it runs too,
//! is a problem that is told, and tried again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use maglane_control::event::{Event, Source};
use maglane_control::health::HealthAnswer;
use maglane_control::problem::Problem;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::health::Health;
use crate::http::{converse, reply};

/// Of all ports together.
const MOST_CONNECTIONS: usize = 256;
/// Between two attempts to have a port.
const RETRY: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const WAITING: usize = 64;
/// At most this many ports are named in a problem.
const NAMED: usize = 5;
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// Dropping it closes the ports.
pub struct HealthPorts {
    common: Arc<Common>,
    ports: BTreeMap<u16, Task>,
    told: mpsc::Receiver<(u16, Option<String>)>,
    /// Why a port is not ours.
    failures: BTreeMap<u16, String>,
    problem: Option<Problem>,
}

struct Common {
    health: Arc<Health>,
    answers: Mutex<BTreeMap<u16, HealthAnswer>>,
    slots: Arc<Semaphore>,
    tell: mpsc::Sender<(u16, Option<String>)>,
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HealthPorts {
    pub fn new(health: Arc<Health>) -> HealthPorts {
        let (tell, told) = mpsc::channel(WAITING);
        HealthPorts {
            common: Arc::new(Common {
                health,
                answers: Mutex::default(),
                slots: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
                tell,
            }),
            ports: BTreeMap::new(),
            told,
            failures: BTreeMap::new(),
            problem: None,
        }
    }

    /// Answers so from now on, and on no other port.
    pub fn want(&mut self, answers: BTreeMap<u16, HealthAnswer>) {
        self.ports.retain(|port, _| answers.contains_key(port));
        self.failures.retain(|port, _| answers.contains_key(port));
        let ports: Vec<u16> = answers.keys().copied().collect();
        *self.common.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
        for port in ports {
            let common = Arc::clone(&self.common);
            self.ports
                .entry(port)
                .or_insert_with(|| Task(tokio::spawn(serve(port, common))));
        }
    }

    /// What is wrong, when that has changed. May be dropped while it waits.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            let problem = problem(&self.failures);
            if problem != self.problem {
                self.problem.clone_from(&problem);
                return vec![Event::SourceProblems {
                    source: Source::HealthPorts,
                    problems: problem.into_iter().collect(),
                }];
            }
            match self.told.recv().await {
                Some((port, Some(failure))) if self.ports.contains_key(&port) => {
                    self.failures.insert(port, failure);
                }
                Some((port, _)) => drop(self.failures.remove(&port)),
                // The sender is in `common`.
                None => std::future::pending().await,
            }
        }
    }
}

/// One for all: where kube-proxy runs, it has every one of them.
fn problem(failures: &BTreeMap<u16, String>) -> Option<Problem> {
    let (_, reason) = failures.first_key_value()?;
    let named: Vec<String> = failures.keys().take(NAMED).map(u16::to_string).collect();
    let more = if failures.len() > NAMED { ", ..." } else { "" };
    let message = format!(
        "{} health check node ports cannot be answered on ({}{more}): {reason}",
        failures.len(),
        named.join(", ")
    );
    let remedy = "stop the other proxy on this node, or leave node-port out of --serve; it is tried again";
    Some(Problem::warning(message, remedy).at("--serve node-port"))
}

async fn serve(port: u16, common: Arc<Common>) {
    let listener = loop {
        match bind(port).await {
            Ok(listener) => break listener,
            Err(error) => {
                // A closed channel is a control loop that ends, and this task with it.
                let _ = common.tell.send((port, Some(error.to_string()))).await;
                sleep(RETRY).await;
            }
        }
    };
    let _ = common.tell.send((port, None)).await;
    loop {
        // The semaphore is never closed; were it, connections would just not be counted.
        let slot = Arc::clone(&common.slots).acquire_owned().await.ok();
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let common = Arc::clone(&common);
        tokio::spawn(async move {
            converse(stream, |_| std::future::ready(answer(&common, port))).await;
            drop(slot);
        });
    }
}

/// On every address of either family.
async fn bind(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

fn answer(common: &Common, port: u16) -> Response<Full<Bytes>> {
    let healthy = common.health.ready().is_empty();
    let answers = common.answers.lock().unwrap_or_else(PoisonError::into_inner);
    match answers.get(&port) {
        Some(answer) => response(answer, healthy),
        // The connection is older than the newest set.
        None => reply(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            "no such Service\n".to_owned(),
        ),
    }
}

/// As kube-proxy's pkg/proxy/healthcheck/service_health.go.
fn response(answer: &HealthAnswer, healthy: bool) -> Response<Full<Bytes>> {
    let status = match answer.endpoints > 0 && healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({
        "service": { "namespace": answer.service.namespace, "name": answer.service.name },
        "localEndpoints": answer.endpoints,
        "serviceProxyHealthy": healthy,
    });
    let mut response = reply(status, "application/json", format!("{body:#}\n"));
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(WEIGHT, HeaderValue::from(answer.endpoints));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use maglane_control::model::ObjectName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn told(endpoints: usize) -> HealthAnswer {
        HealthAnswer {
            service: ObjectName::new("shop", "web"),
            endpoints,
        }
    }

    #[tokio::test]
    async fn the_answer_is_kube_proxys() {
        for (endpoints, healthy, status) in [(2, true, 200), (2, false, 503), (0, true, 503)] {
            let response = response(&told(endpoints), healthy);
            assert_eq!(response.status().as_u16(), status);
            let headers = response.headers();
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["x-load-balancing-endpoint-weight"], endpoints.to_string());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let want = serde_json::json!({
                "service": { "namespace": "shop", "name": "web" },
                "localEndpoints": endpoints,
                "serviceProxyHealthy": healthy,
            });
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), want);
        }
    }

    async fn ask(port: u16) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// The problems told next.
    async fn problems(ports: &mut HealthPorts) -> Vec<String> {
        let events = ports.next().await;
        let [Event::SourceProblems { problems, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        problems.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_taken_port_is_a_problem_until_it_is_not_wanted_and_a_free_one_is_served() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let health = Arc::new(Health::new(&[]));
        let mut ports = HealthPorts::new(Arc::clone(&health));
        ports.want([(taken_port, told(1))].into());
        let first = problems(&mut ports).await;
        assert!(first[0].contains(&format!(
            "1 health check node ports cannot be answered on ({taken_port})"
        )));
        ports.want([(port, told(1))].into());
        assert_eq!(problems(&mut ports).await, [""; 0]);
        assert_eq!(ports.told.recv().await, Some((port, None)));
        assert_eq!(ask(port).await, "HTTP/1.1 503 Service Unavailable");
        health.attached(true);
        health.synced(maglane_shared::table::Generation(0));
        assert_eq!(ask(port).await, "HTTP/1.1 200 OK");
    }
}
