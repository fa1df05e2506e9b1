//! Ends a worker's sleep from another thread: an eventfd (eventfd(2)) that is polled with the worker's sockets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys;

/// A clone wakes the same worker.
#[derive(Clone, Debug)]
pub struct Waker(Arc<File>);

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        Ok(Waker(Arc::new(File::from(sys::socket::event()?))))
    }

    /// The worker's present or next sleep ends at once.
    pub fn wake(&self) {
        // Only a counter that is full refuses, and then the worker wakes anyway.
        let _ = (&*self.0).write(&1_u64.to_ne_bytes());
    }

    /// Awake now: the next sleep may be a long one.
    pub(crate) fn heard(&self) {
        // Nobody having called is no error.
        let _ = (&*self.0).read(&mut [0; 8]);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
