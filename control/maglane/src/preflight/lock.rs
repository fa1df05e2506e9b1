//! One Maglane an interface (FAILURES P8): an flock on a file named after the network namespace and the
//! interface. The kernel lets go of it when the process dies, however it dies; the file holds the owner's pid.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Held for as long as the process serves the interface. Dropping it removes the file.
#[derive(Debug)]
pub struct InterfaceLock {
    path: PathBuf,
    _file: File,
}

/// Locks every interface, or says who holds one.
pub fn acquire(dir: &Path, interfaces: &[String]) -> Result<Vec<InterfaceLock>> {
    create_private_dir(dir)?;
    let namespace = fs::metadata("/proc/self/ns/net")
        .map(|m| m.ino())
        .unwrap_or_default();
    interfaces
        .iter()
        .map(|name| lock(dir.join(format!("{namespace}-{name}.lock")), name))
        .collect()
}

/// Creates a directory only its owner may enter; one that exists is left as it is.
pub fn create_private_dir(dir: &Path) -> Result<()> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.with_context(|| {
        format!(
            "{}: cannot be created; name a directory this user may write",
            dir.display()
        )
    })
}

fn lock(path: PathBuf, interface: &str) -> Result<InterfaceLock> {
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{}: cannot be opened; see --lock-dir", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "--interface {interface}: already served by Maglane, {}; stop that instance first",
                owner(&mut file)
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{}: cannot be locked", path.display()));
            }
        }
        // The owner before us removes its file: what we locked may no longer be what the path names.
        if still_named(&file, &path) {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            return Ok(InterfaceLock { path, _file: file });
        }
    }
}

fn still_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(named)) => ours.ino() == named.ino() && ours.dev() == named.dev(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn owner(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut pid));
    match (read, pid.trim()) {
        (Ok(_), pid) if !pid.is_empty() => format!("pid {pid}"),
        (Ok(_) | Err(_), _) => "whose pid is not known".to_owned(),
    }
}

impl Drop for InterfaceLock {
    fn drop(&mut self) {
        // Still locked here, so nobody else can own the path yet.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_is_refused_with_the_first_s_pid() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("locks");
        let names = ["a".to_owned(), "b".to_owned()];
        let held = acquire(&dir, &names).unwrap();
        let error = acquire(&dir, &names[1..]).unwrap_err().to_string();
        assert!(
            error.contains("--interface b") && error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(held);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "lock files are removed");
        acquire(&dir, &names).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_left_by_a_killed_process_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let namespace = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let path = dir.path().join(format!("{namespace}-a.lock"));
        fs::write(&path, "4194304").unwrap();
        let held = acquire(dir.path(), &["a".to_owned()]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(held);
    }
}
