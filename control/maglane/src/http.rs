//! `/metrics`, `/livez` and `/readyz` over HTTP/1. Bounded: few connections, short headers, short waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::health::Health;

const MOST_CONNECTIONS: usize = 64;
const HEADER_WAIT: Duration = Duration::from_secs(5);
const CONNECTION_WAIT: Duration = Duration::from_secs(60);
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN_TYPE: &str = "text/plain; charset=utf-8";

/// Gives the metrics page.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers until the runtime ends.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Render) -> Infallible {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed; were it, connections would just not be counted.
        let slot = Arc::clone(&slots).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => {
                let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
                tokio::spawn(async move {
                    connection(stream, health, metrics).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "metrics: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, health: Arc<Health>, metrics: Render) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &health, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_WAIT, serving).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics: a connection ended early"),
    }
}

fn respond(method: &Method, path: &str, health: &Health, metrics: &Render) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TYPE, "use GET\n".to_owned());
        response
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => reply(StatusCode::OK, METRICS_TYPE, metrics()),
        "/livez" => verdict(&health.live()),
        "/readyz" => verdict(&health.ready()),
        _ => reply(
            StatusCode::NOT_FOUND,
            PLAIN_TYPE,
            "here are /metrics, /livez and /readyz\n".to_owned(),
        ),
    }
}

fn verdict(problems: &[String]) -> Response<Full<Bytes>> {
    match problems {
        [] => reply(StatusCode::OK, PLAIN_TYPE, "ok\n".to_owned()),
        problems => reply(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN_TYPE,
            problems.join("\n") + "\n",
        ),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str, health: &Health) -> StatusCode {
        let metrics: Render = Arc::new(|| "maglane_up 1\n".to_owned());
        respond(&method, path, health, &metrics).status()
    }

    #[test]
    fn each_path_has_its_status() {
        let health = Health::new(&[]);
        assert_eq!(status(Method::GET, "/metrics", &health), StatusCode::OK);
        assert_eq!(status(Method::GET, "/livez", &health), StatusCode::OK);
        assert_eq!(
            status(Method::GET, "/readyz", &health),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status(Method::GET, "/", &health), StatusCode::NOT_FOUND);
        assert_eq!(
            status(Method::POST, "/metrics", &health),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
