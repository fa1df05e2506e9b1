//! The least HTTP/1.1 client that can keep a connection: one request at a time, answers with a length.

use std::io::ErrorKind;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::Target;
use super::report::Failure;

/// Longest answer header accepted, bytes.
const MAX_HEAD: usize = 8 * 1024;

/// One answer: who gave it and how long its body was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub backend: String,
    pub body: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    limit: Duration,
}

impl Connection {
    /// # Errors
    /// [`Failure::Connect`] when refused, reset or not answered in time.
    pub async fn open(target: &Target, index: usize) -> Result<Self, Failure> {
        let socket = socket(target, index).map_err(|error| Failure::Connect(error.kind()))?;
        let connecting = socket.connect(target.address);
        match timeout(target.timeout, connecting).await {
            Ok(Ok(stream)) => Ok(Self {
                stream,
                buffer: vec![0; MAX_HEAD],
                limit: target.timeout,
            }),
            Ok(Err(error)) => Err(Failure::Connect(error.kind())),
            Err(_) => Err(Failure::Connect(ErrorKind::TimedOut)),
        }
    }

    /// Asks for `path` and reads the whole answer.
    ///
    /// # Errors
    /// How it failed.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let limit = self.limit;
        timeout(limit, self.exchange(path))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&mut self, path: &str) -> Result<Answer, Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: maglane\r\n\r\n");
        self.stream
            .write_all(request.as_bytes())
            .await
            .map_err(|_| Failure::Reset)?;
        let mut filled = 0;
        let (head, backend, body) = loop {
            let read = self
                .stream
                .read(&mut self.buffer[filled..])
                .await
                .map_err(|_| Failure::Reset)?;
            if read == 0 {
                return Err(if filled == MAX_HEAD {
                    Failure::Garbled
                } else {
                    Failure::Reset
                });
            }
            filled += read;
            if let Some(parsed) = parse_head(&self.buffer[..filled]) {
                break parsed?;
            }
        };
        let mut left = (head as u64 + body).saturating_sub(filled as u64);
        while left > 0 {
            let take = left.min(MAX_HEAD as u64) as usize;
            let read = self
                .stream
                .read(&mut self.buffer[..take])
                .await
                .map_err(|_| Failure::Reset)?;
            if read == 0 {
                return Err(Failure::Reset);
            }
            left -= read as u64;
        }
        Ok(Answer { backend, body })
    }
}

fn socket(target: &Target, index: usize) -> std::io::Result<TcpSocket> {
    let socket = Socket::new(
        Domain::for_address(target.address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = target.source(index) {
        socket.bind(&source.into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

type Head = (usize, String, u64);

/// `None` while the head is incomplete; then its length, the backend's name and the body's length.
fn parse_head(bytes: &[u8]) -> Option<Result<Head, Failure>> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let parsed = std::str::from_utf8(&bytes[..end]).ok().and_then(|text| {
        let mut lines = text.split("\r\n");
        lines.next()?.strip_prefix("HTTP/1.1 200")?;
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let find = |name: &str| {
            headers
                .iter()
                .find(|(k, _)| k.eq_ignore_ascii_case(name))
                .map(|(_, v)| *v)
        };
        Some((
            end,
            find("x-backend")?.to_owned(),
            find("content-length")?.parse().ok()?,
        ))
    });
    Some(parsed.ok_or(Failure::Garbled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let head = b"HTTP/1.1 200 OK\r\nX-Backend: b3\r\ncontent-length: 12\r\n\r\nhello";
        for cut in 0..head.len() - 5 {
            assert!(parse_head(&head[..cut]).is_none());
        }
        assert_eq!(parse_head(head), Some(Ok((head.len() - 5, "b3".to_owned(), 12))));
    }

    #[test]
    fn anything_but_a_named_200_is_garbled() {
        assert_eq!(
            parse_head(b"HTTP/1.1 503 no\r\n\r\n"),
            Some(Err(Failure::Garbled))
        );
        assert_eq!(
            parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"),
            Some(Err(Failure::Garbled))
        );
    }
}
