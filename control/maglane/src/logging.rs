//! Log lines on standard error. Only the control side logs; a worker counts.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::run::LogArgs;
use crate::cli::values::LogFormat;
use crate::settings::SettingsError;

/// Installs the process's one subscriber.
pub fn install(log: &LogArgs) -> Result<(), SettingsError> {
    let refused = |problem: String| {
        let remedy = "write error, warn, info, debug or trace, or a list as maglane=debug,hyper=warn";
        SettingsError::new("--log-level", &log.log_level, problem, remedy)
    };
    // It logs each failed request; ours is one problem a cluster. Whoever names it in the filter gets it back.
    let filter = EnvFilter::try_new(format!("kube_client=off,{}", log.log_level))
        .map_err(|error| refused(format!("is no filter ({error})")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let installed = match log.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| refused(format!("cannot be installed ({error})")))
}
