//! One TCP connection: what waits to be written, and a close that lets the last word arrive.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long a closing connection may take to deliver the NOTIFICATION.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    stream: TcpStream,
    outbox: BytesMut,
}

/// What writing achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Some,
    All,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Connection {
            stream,
            outbox: BytesMut::new(),
        }
    }

    pub(super) fn queue(&mut self, bytes: &Bytes) {
        self.outbox.extend_from_slice(bytes);
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Waits until there is something to read, or to write and room for it. Cancel-safe.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let writing = if self.outbox.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.stream.ready(writing).await.map(drop)
    }

    pub(super) fn write(&mut self) -> io::Result<Written> {
        let mut written = Written::Nothing;
        while !self.outbox.is_empty() {
            match self.stream.try_write(&self.outbox) {
                Ok(count) => {
                    self.outbox.advance(count);
                    written = Written::Some;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(written),
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    /// Reads what is there; `None` when nothing is, 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.try_read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Closes after delivering what is queued. Unread input would turn the close into a reset, and a
    /// reset overtakes a NOTIFICATION; so the rest is read and dropped.
    pub(super) fn close(self) -> JoinHandle<()> {
        let Connection {
            mut stream,
            mut outbox,
        } = self;
        tokio::spawn(async move {
            let parting = async {
                stream.write_all_buf(&mut outbox).await?;
                stream.shutdown().await?;
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            // Whether the peer listened is its affair: the connection is closed either way.
            drop(tokio::time::timeout(FAREWELL, parting).await);
        })
    }
}
