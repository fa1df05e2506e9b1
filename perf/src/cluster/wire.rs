//! TLS and HTTP/1.1 as every part of a test cluster uses them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ClusterError;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Body = BoxBody<Bytes, BoxError>;

/// A body of known length.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Asks for a client certificate and goes on without one; who bears it is for the caller to say.
pub(super) fn server_config(
    certificate: &str,
    key: &str,
    clients: &str,
) -> Result<ServerConfig, ClusterError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(clients)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate_der(certificate)?], key_der(key)?)?)
}

pub(super) fn client_config(
    authority: &str,
    certificate: &str,
    key: &str,
) -> Result<Arc<ClientConfig>, ClusterError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(vec![certificate_der(certificate)?], key_der(key)?)?;
    Ok(Arc::new(config))
}

/// A new connection, ready for one request at a time.
pub(super) async fn connect(
    server: SocketAddr,
    tls: &Arc<ClientConfig>,
) -> Result<SendRequest<Body>, BoxError> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(ServerName::IpAddress(server.ip().into()), stream)
        .await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender and the last body are gone, or the server closes it.
    tokio::spawn(connection);
    Ok(sender)
}

pub(super) fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, ClusterError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(not_pem)
}

fn key_der(pem: &str) -> Result<PrivateKeyDer<'static>, ClusterError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(not_pem)
}

fn not_pem(error: rustls::pki_types::pem::Error) -> ClusterError {
    rustls::Error::General(error.to_string()).into()
}

fn roots(authority: &str) -> Result<RootCertStore, ClusterError> {
    let mut store = RootCertStore::empty();
    store.add(certificate_der(authority)?)?;
    Ok(store)
}

/// Named here, not installed for the process: a test's own client may choose another.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
