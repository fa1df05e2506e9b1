//! stub
use crate::run::Shared;
use anyhow::Result;
use std::sync::Arc;
use tokio::sync::watch;
pub fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Result<()> {
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let metrics = shared.metrics.try_clone()?;
    rt.block_on(async {
        let l = tokio::net::TcpListener::from_std(metrics)?;
        tokio::spawn(crate::http::serve(l, shared.health.clone(), Arc::new(|| "x\n".to_owned())));
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            tokio::select! { _ = tick.tick() => shared.health.control_beat(), _ = stopped.changed() => return Ok(()) }
        }
    })
}
