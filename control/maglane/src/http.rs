//! `/metrics`, `/livez` and `/readyz` over HTTP/1. Bounded: few connections, short headers, short waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use maglane_control::metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::health::Health;
use crate::run::Shared;
use crate::view::{self, Views};

const MOST_CONNECTIONS: usize = 64;
const HEADER_WAIT: Duration = Duration::from_secs(5);
const CONNECTION_WAIT: Duration = Duration::from_secs(60);
const PLAIN_TYPE: &str = "text/plain; charset=utf-8";

/// Answers until the runtime ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, views: Views) -> Infallible {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed; were it, connections would just not be counted.
        let slot = Arc::clone(&slots).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, views) = (Arc::clone(&shared), views.clone());
                tokio::spawn(async move {
                    connection(stream, shared, views).await;
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

async fn connection(stream: TcpStream, shared: Arc<Shared>, views: Views) {
    let respond = move |request: Request<Incoming>| {
        let (shared, views) = (Arc::clone(&shared), views.clone());
        async move {
            match route(request.method(), request.uri().path()) {
                Route::Metrics => metrics(shared, views).await,
                Route::Health(ask) => verdict(&ask(&shared.health)),
                Route::Refused(response) => response,
            }
        }
    };
    converse(stream, respond).await;
}

/// Answers the requests of one connection.
pub async fn converse<F, R>(stream: TcpStream, respond: F)
where
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_WAIT, serving).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "http: a connection ended early"),
    }
}

/// What a request is about.
enum Route {
    Metrics,
    Health(fn(&Health) -> Vec<String>),
    Refused(Response<Full<Bytes>>),
}

fn route(method: &Method, path: &str) -> Route {
    if method != Method::GET && method != Method::HEAD {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TYPE, "use GET\n".to_owned());
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Route::Refused(response);
    }
    match path {
        "/metrics" => Route::Metrics,
        "/livez" => Route::Health(Health::live),
        "/readyz" => Route::Health(Health::ready),
        _ => {
            let text = "here are /metrics, /livez and /readyz\n".to_owned();
            Route::Refused(reply(StatusCode::NOT_FOUND, PLAIN_TYPE, text))
        }
    }
}

/// Made on a thread of its own: a large page must not hold the control loop up.
async fn metrics(shared: Arc<Shared>, views: Views) -> Response<Full<Bytes>> {
    let Some(view) = views.get().await else {
        return verdict(&["the control loop is ending".to_owned()]);
    };
    let page = tokio::task::spawn_blocking(move || metrics::render(view::scrape(&shared, view))).await;
    match page {
        Ok(page) => reply(StatusCode::OK, metrics::CONTENT_TYPE, page),
        Err(error) => reply(
            StatusCode::INTERNAL_SERVER_ERROR,
            PLAIN_TYPE,
            format!("{error}\n"),
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

pub fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        let status = |method: Method, path: &str| match route(&method, path) {
            Route::Metrics => panic!("{path} is the metrics page"),
            Route::Health(ask) => verdict(&ask(&Health::new(&[]))).status(),
            Route::Refused(response) => response.status(),
        };
        assert!(matches!(route(&Method::GET, "/metrics"), Route::Metrics));
        assert_eq!(status(Method::GET, "/livez"), StatusCode::OK);
        assert_eq!(status(Method::HEAD, "/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(Method::GET, "/"), StatusCode::NOT_FOUND);
        assert_eq!(status(Method::POST, "/metrics"), StatusCode::METHOD_NOT_ALLOWED);
    }
}
