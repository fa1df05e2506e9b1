//! HTTP/1.1 with keep-alive: `/` says who answered, `/bytes/N` sends N bytes, `/healthz` says ok.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::content;

/// A body of known length made of shared chunks.
struct Chunks {
    left: u64,
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Chunks {
    fn text(text: String) -> Self {
        Self {
            left: text.len() as u64,
            chunks: Box::new(std::iter::once(Bytes::from(text))),
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.next();
        self.left -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub async fn run(listener: TcpListener, name: String) -> anyhow::Result<()> {
    loop {
        // A failed accept (a client gone already, descriptors used up) must not end the server.
        let Ok((stream, client)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let name = name.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &name, client);
                async move { Ok::<_, Infallible>(response) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, name: &str, client: SocketAddr) -> Response<Chunks> {
    let (status, kind, body) = match request.uri().path() {
        "/" => {
            let address = client.ip().to_canonical();
            let who = serde_json::json!({
                "backend": name,
                "client": SocketAddr::new(address, client.port()).to_string(),
                "method": request.method().as_str(),
            });
            (
                StatusCode::OK,
                "application/json",
                Chunks::text(format!("{who}\n")),
            )
        }
        "/healthz" => (StatusCode::OK, "text/plain", Chunks::text("ok\n".to_owned())),
        path => match path.strip_prefix("/bytes/").and_then(|n| n.parse::<u64>().ok()) {
            Some(len) => {
                let chunks = Box::new(content::chunks(len));
                (
                    StatusCode::OK,
                    "application/octet-stream",
                    Chunks { left: len, chunks },
                )
            }
            None => {
                let help = "try /, /bytes/N or /healthz\n".to_owned();
                (StatusCode::NOT_FOUND, "text/plain", Chunks::text(help))
            }
        },
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("x-backend", name);
    response
        .body(body)
        .unwrap_or_else(|_| Response::new(Chunks::text(String::new())))
}
