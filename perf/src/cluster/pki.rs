//! Throw-away certificates: a cluster's authority, its servers' and its users' identities. ECDSA P-256.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{ClusterError, User};

/// Signs the certificates of one purpose; only its certificate ever reaches a disk.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub certificate: String,
    pub key: String,
}

/// The key pair that signs service account tokens.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub private: String,
    pub public: String,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self, ClusterError> {
        let mut params = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// A server that answers at `address` and at localhost.
    pub fn server(&self, address: IpAddr) -> Result<Identity, ClusterError> {
        let mut params = subject("kube-apiserver", None);
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        for name in ["localhost", "kubernetes.default.svc"] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate as Kubernetes reads it: the common name is the user, the organisation the group.
    pub fn client(&self, user: &User) -> Result<Identity, ClusterError> {
        let params = subject(&user.name, user.group.as_deref());
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, ClusterError> {
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl SigningKey {
    pub fn new() -> Result<Self, ClusterError> {
        let key = KeyPair::generate()?;
        Ok(Self {
            private: key.serialize_pem(),
            public: key.public_key_pem(),
        })
    }
}

fn subject(name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    params
}
