//! TLS: versions 1.2 and 1.3, by a certificate and its key in PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux::file;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::reread::Reread;

/// Chains are short, and so are keys.
const LIMIT: u64 = 1 << 20;

/// Where the certificate with its chain, and its key, are found.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate first, then those that lead to an authority.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("read a file for TLS")]
    File(#[from] file::Error),
    /// A file holds something else.
    #[error("{}: no {what} in it", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why it is none.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of no use.
    #[error("use the certificate {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

/// What turns connections into such with TLS, by the certificate that the files hold by then.
pub(crate) fn acceptor(files: &Files) -> Result<Reread<TlsAcceptor>, Error> {
    let paths = vec![files.certificate.clone(), files.key.clone()];
    let files = files.clone();
    Reread::new("certificate and key of TLS", paths, move |_| read(&files))
}

fn read(files: &Files) -> Result<TlsAcceptor, Error> {
    let pem = |path: &Path, what| {
        let path = path.to_owned();
        move |source| Error::Pem { path, what, source }
    };
    let text = file::read_bounded(&files.certificate, LIMIT)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(pem(&files.certificate, "certificate"))?;
    let text = file::read_bounded(&files.key, LIMIT)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(pem(&files.key, "private key"))?;
    let refuse = |source| Error::Certificate { path: files.certificate.clone(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refuse)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refuse)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
