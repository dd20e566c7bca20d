//! TLS, where no proxy does it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::fault::{Fault, Kind};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not PEM, or there is nothing in it.
    #[error("cannot read {what} of {}: {why}", .path.display())]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the certificate and the key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

impl Fault for TlsError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
    fn next(&self) -> Option<String> {
        Some("mcp.tls of the host spec names a certificate and its key, both as PEM".into())
    }
}

/// What accepts connections with the certificate and the key of a directory.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let wrong = |what, path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| TlsError::File { what, path, why: error.to_string() }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong("the certificates", certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(wrong("the key", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// An error of a handshake, of which nobody but the other side needs to know.
pub fn handshake_failed(error: &io::Error) {
    tracing::debug!("a connection did not come to TLS: {error}");
}
