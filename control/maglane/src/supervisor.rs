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
    let body = move || supervise(&shared, &stopped, &happens);
    let thread = thread::Builder::new().name("control".to_owned()).spawn(body);
    Ok(Control { stop, thread: thread.context("starting the control thread")? })
}

fn supervise(shared: &Arc<Shared>, stopped: &watch::Receiver<bool>, happens: &Sender<Happening>) {
    let mut pause = FIRST_PAUSE;
    while !*stopped.borrow() {
        let attempt = || control_loop::run(Arc::clone(shared), stopped.clone());
        match catch_unwind(AssertUnwindSafe(attempt)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                // The main thread waits for it as long as the process lives.
                let _ = happens.send(Happening::Control(format!("the control loop gave up: {error:#}")));
                return;
            }
            Err(panic) => {
                tracing::error!("the control loop {}; starting it anew, workers go on", panic_text(&*panic));
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
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
