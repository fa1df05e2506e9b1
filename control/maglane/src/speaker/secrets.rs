//! Where TCP MD5 keys come from. A key that cannot be had is an error of its peer: no session runs without one that
//! was asked for.

use std::path::PathBuf;

use maglane_bgp::driver::Password;
use maglane_control::announce::PasswordSource;
use maglane_control::kube::{Access, password};
use maglane_control::manifest;
use maglane_control::model::ObjectName;
use tokio::sync::OnceCell;

use crate::cli::values::Kubeconfig;
use crate::kubernetes::origin;
use crate::settings::Settings;

pub struct Secrets {
    kubeconfig: Option<Kubeconfig>,
    /// Where Secrets of the own cluster are looked for.
    namespace: String,
    manifests: Option<PathBuf>,
    /// Opened where first needed, in the speaker's own runtime.
    access: OnceCell<Access>,
}

impl Secrets {
    pub fn new(settings: &Settings) -> Secrets {
        Secrets {
            kubeconfig: settings.kubernetes.own.clone(),
            namespace: settings.kubernetes.namespace.clone(),
            manifests: settings.manifests.clone(),
            access: OnceCell::new(),
        }
    }

    /// The key of a BgpPeer, or why there is none.
    pub async fn reveal(&self, peer: &ObjectName, source: &PasswordSource) -> Result<Password, String> {
        let text = match source {
            PasswordSource::Inline { text, generation: _ } => text
                .reveal()
                .map(str::to_owned)
                .ok_or("its password is not known until the object has been read again")?,
            PasswordSource::Secret { name } if peer.cluster.is_manifests() => self.of_manifests(name)?,
            PasswordSource::Secret { name } => self.of_cluster(name).await?,
        };
        Password::new(&text).map_err(|error| error.to_string())
    }

    fn of_manifests(&self, name: &str) -> Result<String, String> {
        let dir = self
            .manifests
            .as_deref()
            .ok_or("no manifests are read any more")?;
        manifest::password(dir, name)
    }

    async fn of_cluster(&self, name: &str) -> Result<String, String> {
        let own = self
            .kubeconfig
            .as_ref()
            .ok_or("no cluster is followed: give --kubeconfig")?;
        let open = || async { Access::open(origin(own)).await.map_err(|error| error.to_string()) };
        let access = self.access.get_or_try_init(open).await?;
        password(access, &self.namespace, name).await
    }
}
