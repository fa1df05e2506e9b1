//! The admin socket as a file: mode 0600 from its first moment, never two owners, gone with its owner.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::preflight::create_private_dir;

/// Bound and listening. Dropping it removes the file.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl AdminSocket {
    /// Takes the place of a file that a killed instance left; refuses when somebody answers there.
    pub fn bind(path: &Path) -> Result<AdminSocket> {
        let dir = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        create_private_dir(dir)?;
        refuse_owned(path)?;
        // Bound under another name first: between bind and chmod the file has the umask's mode.
        let hidden = dir.join(format!(".maglane-{}.sock", std::process::id()));
        let bind = || {
            let listener = UnixListener::bind(&hidden)?;
            fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
            fs::rename(&hidden, path)?;
            listener.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(listener)
        };
        let listener = bind()
            .inspect_err(|_| drop(fs::remove_file(&hidden)))
            .with_context(|| {
                format!(
                    "--admin-socket {}: cannot be bound; name a path this user may write",
                    path.display()
                )
            })?;
        Ok(AdminSocket {
            path: path.to_owned(),
            listener,
        })
    }

    /// Another handle on the same socket.
    pub fn listener(&self) -> Result<UnixListener> {
        self.listener.try_clone().context("duplicating the admin socket")
    }
}

fn refuse_owned(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("--admin-socket {}: cannot be looked at", path.display()));
        }
    };
    if !kind.is_socket() {
        bail!(
            "--admin-socket {}: exists and is no socket; name another path",
            path.display()
        );
    }
    if UnixStream::connect(path).is_ok() {
        bail!(
            "--admin-socket {}: another instance answers there; stop it, or name another path for this one",
            path.display()
        );
    }
    Ok(())
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_private_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/maglane.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let error = AdminSocket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("another instance answers there"), "{error}");
        drop(socket);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_foreign_one_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maglane.sock");
        drop(UnixListener::bind(&path).unwrap());
        drop(AdminSocket::bind(&path).unwrap());
        fs::write(&path, "notes").unwrap();
        let error = AdminSocket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    }
}
