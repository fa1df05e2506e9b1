//! Choosing and starting a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::client::Client;
use super::double::Double;
use super::fault::Gate;
use super::front::{Backend, Front, Upstream, Users};
use super::ground::Ground;
use super::pki::Authority;
use super::real::{self, Programs, Real, Trust};
use super::{Access, Cluster, ClusterError, RequestLog, Server, User, wire};
use crate::rig::Namespace;

/// Which server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The real one where it is found, else the double.
    #[default]
    Found,
    Real,
    Double,
}

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct Builder {
    choice: Choice,
    address: IpAddr,
    namespace: Option<Namespace>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            choice: Choice::default(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            namespace: None,
        }
    }
}

impl Builder {
    #[must_use]
    pub fn choice(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// Where it listens, loopback otherwise. The real server's etcd stays on loopback.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Everything runs in this namespace; the address is one of it.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// # Errors
    /// When the chosen server is missing or does not start.
    pub fn start(self) -> Result<Cluster, ClusterError> {
        let cluster = match self.choice {
            Choice::Double => self.double(),
            Choice::Real => self.real(&real::find()?),
            Choice::Found => match real::find() {
                Ok(programs) => self.real(&programs),
                Err(missing) => {
                    eprintln!("cluster: {missing}");
                    self.double()
                }
            },
        }?;
        eprintln!("cluster: {} at {}", cluster.name(), cluster.front.address);
        Ok(cluster)
    }

    fn double(&self) -> Result<Cluster, ClusterError> {
        let ground = Ground::new(self.namespace.as_ref())?;
        let authority = Authority::new("maglane-test")?;
        let double = Arc::new(Double::new());
        let backend = Backend::Double(Arc::clone(&double));
        let front = self.front(&ground, &authority, backend.clone())?;
        let back = self.front(&ground, &authority, backend)?;
        let access = introduce(&authority, [&front, &back], back.address, &User::admin())?;
        Ok(Cluster {
            name: "double".to_owned(),
            server: Server::Double(double),
            front,
            back: Some(back),
            authority,
            admin: Client::new(access, ground.handle().clone())?,
            trouble: Mutex::default(),
            ground,
        })
    }

    fn real(&self, programs: &Programs) -> Result<Cluster, ClusterError> {
        let ground = Ground::new(self.namespace.as_ref())?;
        let (authority, proxies) = (
            Authority::new("maglane-test")?,
            Authority::new("maglane-test-front")?,
        );
        let trust = Trust {
            authority: &authority,
            proxies: &proxies,
        };
        let real = Real::start(&ground, programs, self.address, &trust)?;
        let identity = proxies.client(&User::named(real::PROXY))?;
        let upstream = Upstream {
            server: real.address,
            tls: wire::client_config(&authority.pem, &identity.certificate, &identity.key)?,
        };
        let front = self.front(&ground, &authority, Backend::Real(Arc::new(upstream)))?;
        let access = introduce(&authority, [&front], real.address, &User::admin())?;
        let admin = Client::new(access, ground.handle().clone())?;
        real.wait_ready(&admin)?;
        Ok(Cluster {
            name: format!("kube-apiserver {}", version(&admin)?),
            server: Server::Real(Box::new(real)),
            front,
            back: None,
            authority,
            admin,
            trouble: Mutex::default(),
            ground,
        })
    }

    fn front(
        &self,
        ground: &Ground,
        authority: &Authority,
        backend: Backend,
    ) -> Result<Arc<Front>, ClusterError> {
        let listener = ground.listen(self.address)?;
        let address = listener
            .local_addr()
            .map_err(ClusterError::io("the cluster's address"))?;
        let identity = authority.server(self.address)?;
        let tls = wire::server_config(&identity.certificate, &identity.key, &authority.pem)?;
        let front = Arc::new(Front {
            address,
            tls: Arc::new(tls),
            backend,
            gate: Gate::new(),
            log: RequestLog::default(),
            users: Users::default(),
            in_force: tokio::sync::watch::Sender::new(0),
        });
        let _runtime = ground.handle().enter();
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(ClusterError::io("the cluster's address"))?;
        ground.handle().spawn(Arc::clone(&front).run(listener));
        Ok(front)
    }
}

/// Makes a certificate for a user and tells the doors whose it is.
pub(super) fn introduce<'a>(
    authority: &Authority,
    fronts: impl IntoIterator<Item = &'a Arc<Front>>,
    server: SocketAddr,
    user: &User,
) -> Result<Access, ClusterError> {
    let identity = authority.client(user)?;
    let certificate = wire::certificate_der(&identity.certificate)?;
    for front in fronts {
        front.users.add(&certificate, user.clone());
    }
    Ok(Access {
        server,
        user: user.clone(),
        authority: authority.pem.clone(),
        certificate: identity.certificate,
        key: identity.key,
    })
}

/// `1.36.2`
fn version(admin: &Client) -> Result<String, ClusterError> {
    let version: Value = admin.get("/version")?;
    let text = version["gitVersion"].as_str().unwrap_or("of unknown version");
    Ok(text.trim_start_matches('v').to_owned())
}
