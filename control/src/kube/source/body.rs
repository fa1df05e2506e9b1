//! A response body read with a deadline, whole or line by line.

use std::pin::Pin;
use std::time::Duration;

use futures_util::io::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use tokio::time::{Instant, timeout_at};

use crate::kube::failure::{Failure, chain};

/// Nothing in etcd is larger than 1.5 MiB, and no page is larger than this.
const LONGEST: usize = 256 << 20;

/// The body of an answer.
pub(super) struct Body {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    /// The begin of a line whose end has not come.
    rest: Vec<u8>,
}

impl Body {
    /// Sends the request; the answer must begin by then.
    pub async fn open(
        client: &Client,
        request: http::Request<Vec<u8>>,
        limit: Limit,
    ) -> Result<Body, Failure> {
        let reader = limit.on(client.request_stream(request)).await??;
        Ok(Body {
            reader: Box::pin(reader),
            rest: vec![],
        })
    }

    /// All of it, while more comes within `stall`.
    pub async fn whole(mut self, stall: Duration) -> Result<Vec<u8>, Failure> {
        let mut text = vec![];
        loop {
            let chunk = Limit::within(stall).on(self.reader.fill_buf()).await?;
            let chunk = chunk.map_err(broken)?;
            let length = chunk.len();
            if length == 0 {
                return Ok(text);
            }
            if text.len() + length > LONGEST {
                return Err(Failure::Garbled(format!(
                    "the answer is longer than {LONGEST} bytes"
                )));
            }
            text.extend_from_slice(chunk);
            self.reader.consume_unpin(length);
        }
    }

    /// The complete lines that are there, at least one of them unless the body is over. May be dropped while
    /// it waits: nothing is lost.
    pub async fn lines(&mut self, limit: Limit) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let chunk = limit.on(self.reader.fill_buf()).await?.map_err(broken)?;
            let length = chunk.len();
            if length == 0 {
                // A line without end is one that was cut off: it comes again.
                return Ok(None);
            }
            if self.rest.len() + length > LONGEST {
                return Err(Failure::Garbled(format!("a line is longer than {LONGEST} bytes")));
            }
            let end = chunk.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            let (lines, rest) = chunk.split_at(end.unwrap_or(0));
            if lines.is_empty() {
                self.rest.extend_from_slice(rest);
                self.reader.consume_unpin(length);
                continue;
            }
            let mut complete = std::mem::replace(&mut self.rest, rest.to_vec());
            complete.extend_from_slice(lines);
            self.reader.consume_unpin(length);
            return Ok(Some(complete));
        }
    }
}

/// The latest moment for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    from: Instant,
    to: Instant,
}

impl Limit {
    pub fn within(span: Duration) -> Limit {
        let now = Instant::now();
        Limit {
            from: now,
            to: now + span,
        }
    }

    pub async fn on<T>(self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let Ok(answer) = timeout_at(self.to, answer).await else {
            return Err(Failure::TimedOut(self.to - self.from));
        };
        Ok(answer)
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::Unreachable(format!("the answer broke off: {}", chain(&error)))
}
