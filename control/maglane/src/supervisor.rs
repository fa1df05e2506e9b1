//! Keeps a control loop running: a panic there ends neither the workers nor the process; the loop is started
//! anew, with growing pauses, and reads everything again from its sources.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::control_loop;
use crate::engine::panic_text;
use crate::run::{Happening, Shared};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The running control thread.
pub struct Control {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(shared: Arc<Shared>, happens: Sender<Happening>) -> Result<Control> {
    let (stop, stopped) = watch::channel(false);
    let body = move || {
        let attempt = || control_loop::run(Arc::clone(&shared), stopped.clone());
        if let Err(error) = supervise(attempt, &stopped, FIRST_PAUSE) {
            // The main thread waits for it as long as the process lives.
            let _ = happens.send(Happening::Control(format!("the control loop gave up: {error:#}")));
        }
    };
    let thread = thread::Builder::new().name("control".to_owned()).spawn(body);
    Ok(Control {
        stop,
        thread: thread.context("starting the control thread")?,
    })
}

/// Until an attempt ends without a panic, or the stop is asked for.
fn supervise(
    mut attempt: impl FnMut() -> Result<()>,
    stopped: &watch::Receiver<bool>,
    first_pause: Duration,
) -> Result<()> {
    let mut pause = first_pause;
    while !*stopped.borrow() {
        match catch_unwind(AssertUnwindSafe(&mut attempt)) {
            Ok(outcome) => return outcome,
            Err(panic) => {
                tracing::error!(
                    "the control loop {}; starting it anew, workers go on",
                    panic_text(&*panic)
                );
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    Ok(())
}

impl Control {
    /// Asks the loop to end; true when it did within `limit`.
    pub fn stop(self, limit: Duration) -> bool {
        // Nobody listens when the thread has ended already.
        let _ = self.stop.send(true);
        let start = Instant::now();
        while !self.thread.is_finished() {
            if start.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_starts_the_loop_anew_and_an_error_does_not() {
        let (_stop, stopped) = watch::channel(false);
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            if attempts < 3 {
                panic!("attempt {attempts}")
            } else {
                Err(anyhow::anyhow!("no use"))
            }
        };
        let error = supervise(attempt, &stopped, Duration::from_millis(1)).unwrap_err();
        assert_eq!((error.to_string().as_str(), attempts), ("no use", 3));
    }

    #[test]
    fn nothing_is_started_after_the_stop() {
        let (stop, stopped) = watch::channel(false);
        stop.send(true).unwrap();
        supervise(|| panic!("started"), &stopped, Duration::ZERO).unwrap();
    }
}
