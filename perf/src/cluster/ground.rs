//! The threads of a cluster. They live in its namespace, and so do the sockets and processes they make.
//!
//! Child processes die with the thread that started them (PR_SET_PDEATHSIG): these threads last as long as
//! the cluster, and end with the process whatever ends it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle, Runtime};

use super::ClusterError;
use crate::process::Guard;
use crate::rig::Namespace;

const THREADS: usize = 2;

/// A runtime in a namespace.
#[derive(Debug)]
pub(super) struct Ground {
    /// Taken when the cluster is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Ground {
    pub fn new(namespace: Option<&Namespace>) -> Result<Self, ClusterError> {
        let build = || {
            let mut builder = Builder::new_multi_thread();
            builder
                .worker_threads(THREADS)
                .thread_name("cluster")
                .enable_all();
            builder.build().map_err(ClusterError::io("the cluster's threads"))
        };
        // Threads are born in the namespace of the one that makes them.
        let runtime = match namespace {
            Some(namespace) => namespace.inside(build)??,
            None => build()?,
        };
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` on a thread of the cluster and waits for it.
    pub fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ClusterError> {
        let (told, hear) = mpsc::channel();
        self.handle.spawn(async move {
            let _ = told.send(work());
        });
        hear.recv().map_err(|_| ClusterError::Gone)
    }

    /// A listening socket on any free port.
    pub fn listen(&self, address: IpAddr) -> Result<TcpListener, ClusterError> {
        self.inside(move || {
            let listener = TcpListener::bind((address, 0))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?
        .map_err(ClusterError::io(format!("a free port at {address}")))
    }

    /// Ports that were free a moment ago.
    pub fn free_ports<const N: usize>(&self, address: IpAddr) -> Result<[SocketAddr; N], ClusterError> {
        let mut held = Vec::with_capacity(N);
        let mut free = [SocketAddr::new(address, 0); N];
        for port in &mut free {
            let listener = self.listen(address)?;
            *port = listener.local_addr().map_err(ClusterError::io("a free port"))?;
            held.push(listener);
        }
        Ok(free)
    }

    /// Starts a program that ends with the cluster.
    pub fn spawn(&self, label: &'static str, program: &Command) -> Result<Guard, ClusterError> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program.get_program())
            .args(program.get_args());
        Ok(self.inside(move || Guard::spawn(label, command))??)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Not a plain drop: that would panic within an async test.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
