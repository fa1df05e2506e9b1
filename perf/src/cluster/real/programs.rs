//! Where kube-apiserver and etcd are: `$KUBEBUILDER_ASSETS`, `/usr/local/kubebuilder/bin`, `$PATH`.

use std::path::{Path, PathBuf};

use crate::cluster::ClusterError;

const USUAL: &str = "/usr/local/kubebuilder/bin";

/// The two programs of a real cluster.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct Programs {
    pub apiserver: PathBuf,
    pub etcd: PathBuf,
}

/// # Errors
/// The program that is missing, and where it was looked for.
pub(in crate::cluster) fn find() -> Result<Programs, ClusterError> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = assets
        .into_iter()
        .map(PathBuf::from)
        .chain([PathBuf::from(USUAL)])
        .chain(std::env::split_paths(&path))
        .collect();
    let programs = Programs {
        apiserver: first(&folders, "kube-apiserver")?,
        etcd: first(&folders, "etcd")?,
    };
    first(&folders, "setpriv").map_err(|_| ClusterError::NoGuardian)?;
    Ok(programs)
}

fn first(folders: &[PathBuf], name: &'static str) -> Result<PathBuf, ClusterError> {
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
        .ok_or(ClusterError::NoProgram(name))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_that_has_a_program_wins_and_data_is_no_program() {
        use std::os::unix::fs::PermissionsExt;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let files = folders.each_ref().map(|folder| folder.path().join("etcd"));
        let paths = folders.each_ref().map(|folder| folder.path().to_owned());
        for file in &files {
            std::fs::write(file, "").unwrap();
        }
        assert!(matches!(
            first(&paths, "etcd"),
            Err(ClusterError::NoProgram("etcd"))
        ));
        std::fs::set_permissions(&files[1], std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(first(&paths, "etcd").unwrap(), files[1]);
    }
}
