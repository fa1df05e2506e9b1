//! `cluster`: a Kubernetes API server to play with, until ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use maglane_perf::cluster::{Choice, Cluster, User};

#[derive(Debug, Args)]
pub struct RunCluster {
    /// The in-memory double even where kube-apiserver and etcd are found
    #[arg(long)]
    double: bool,
    /// Where to write the administrator's kubeconfig (a new file in the temporary folder otherwise)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Apply this YAML once it is ready; repeat for more
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Vec<PathBuf>,
}

impl RunCluster {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let choice = if self.double {
            Choice::Double
        } else {
            Choice::Found
        };
        let cluster = Cluster::builder().choice(choice).start()?;
        for file in &self.file {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let made = cluster.client().apply_all("default", &text);
            made.with_context(|| file.display().to_string())?;
        }
        let path = self.kubeconfig.unwrap_or_else(|| {
            let name = format!("maglane-kubeconfig-{}", std::process::id());
            std::env::temp_dir().join(name)
        });
        write_private(&path, &cluster.kubeconfig(&User::admin())?)
            .with_context(|| path.display().to_string())?;
        super::load::runtime()?.block_on(async {
            let stop = super::load::stop_signal()?;
            println!("ready {}", cluster.name());
            println!("export KUBECONFIG={}", path.display());
            super::load::stopped(stop).await;
            anyhow::Ok(())
        })?;
        std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// It holds a key.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
