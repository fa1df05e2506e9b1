//! A cluster's files: a folder that goes with it, or with the next cluster when its process was killed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::ClusterError;

const PREFIX: &str = "maglane-cluster-";

static COUNT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub fn new() -> Result<Self, ClusterError> {
        sweep(&std::env::temp_dir());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        create_private(&folder)?;
        Ok(Self { folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, ClusterError> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(ClusterError::io(path.display().to_string()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Keys are in there.
fn create_private(folder: &Path) -> Result<(), ClusterError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(ClusterError::io(folder.display().to_string()))
}

/// Removes the folders of processes that are no more.
fn sweep(place: &Path) {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_are_swept_and_others_stay() {
        let place = tempfile::tempdir().unwrap();
        // Above the largest pid that Linux gives.
        let (dead, own, foreign) = (
            place.path().join(format!("{PREFIX}4194305-0")),
            place.path().join(format!("{PREFIX}{}-0", std::process::id())),
            place.path().join("somebody-1"),
        );
        for folder in [&dead, &own, &foreign] {
            std::fs::create_dir(folder).unwrap();
        }
        sweep(place.path());
        assert_eq!(
            [&dead, &own, &foreign].map(|folder| folder.exists()),
            [false, true, true]
        );
    }
}
