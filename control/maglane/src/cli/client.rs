//! Asks the running instance over its Unix socket: one JSON line there, one back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use maglane_control::admin::{Request, Response};
use serde::Serialize;

/// Longer than the instance takes for its longest answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// One question, one answer. An answer of `Failed` is an error here.
pub fn ask(socket: &Path, request: &Request) -> Result<Response> {
    let mut stream = UnixStream::connect(socket).with_context(|| {
        let path = socket.display();
        format!(
            "{path}: nobody answers; is `maglane run` up, with this --admin-socket, and are you its user?"
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    let mut answer = String::new();
    let exchange = stream
        .write_all(line.as_bytes())
        .and_then(|()| BufReader::new(stream).read_line(&mut answer));
    exchange.with_context(|| format!("{}: the instance did not answer", socket.display()))?;
    match serde_json::from_str(&answer) {
        Ok(Response::Failed(reason)) => bail!("{reason}"),
        Ok(response) => Ok(response),
        Err(error) => bail!("{}: not an answer of this version: {error}", socket.display()),
    }
}

/// The instance answered another question than the one it was asked.
pub fn mismatch() -> anyhow::Error {
    anyhow::anyhow!("the instance answered something else; is it of the same version? see `maglane version`")
}

/// One document on several lines.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}
