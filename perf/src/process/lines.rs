//! A child's output, line by line.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines of one pipe, filled by a thread of its own so that the child never blocks on us.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    pub fn follow(pipe: Option<impl std::io::Read + Send + 'static>) -> Self {
        let lines = Self::default();
        let Some(pipe) = pipe else { return lines };
        let writer = lines.clone();
        std::thread::spawn(move || {
            use std::io::BufRead;
            let mut reader = std::io::BufReader::new(pipe);
            let mut raw = Vec::new();
            while reader.read_until(b'\n', &mut raw).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&raw).trim_end().to_owned();
                writer.with(|buffer| buffer.lines.push(text));
                raw.clear();
            }
            writer.with(|buffer| buffer.closed = true);
        });
        lines
    }

    fn with<T>(&self, change: impl FnOnce(&mut Buffer) -> T) -> T {
        let (mutex, changed) = &*self.shared;
        let mut buffer = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut buffer);
        changed.notify_all();
        result
    }

    pub fn snapshot(&self) -> Vec<String> {
        self.with(|buffer| buffer.lines.clone())
    }

    /// Everything up to the end of the pipe; a grandchild that holds it open costs one second.
    pub fn to_end(&self) -> Vec<String> {
        let start = Instant::now();
        while !self.with(|buffer| buffer.closed) && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.snapshot()
    }

    pub fn find(&self, text: &str, ended: bool) -> Option<String> {
        let lines = if ended { self.to_end() } else { self.snapshot() };
        lines.into_iter().find(|line| line.contains(text))
    }

    pub fn wait(&self, limit: Duration) {
        let (mutex, changed) = &*self.shared;
        let buffer = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout(buffer, limit));
    }
}
