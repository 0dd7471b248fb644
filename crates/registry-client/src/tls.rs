//! How hosts prove who they are: the system's certificates, and those that a registry's configuration adds.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};
use crate::hosts::Tls;

/// Where distributions keep the certificates they trust, the first that is there counts.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// No bundle of certificates is larger.
const LIMIT: u64 = 16 << 20;

/// The system's certificates; `file` replaces them (`SSL_CERT_FILE`).
pub(crate) fn system_roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = match file {
        Some(file) => Some(linux::file::read_bounded(file, LIMIT)?),
        None => SYSTEM.iter().find_map(|path| linux::file::read_bounded(Path::new(path), LIMIT).ok()),
    };
    // Some of a system's may be in forms that are not supported; whom they would prove cannot be verified then.
    let certificates = CertificateDer::pem_slice_iter(found.as_deref().unwrap_or_default()).flatten();
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

/// What to talk TLS with, for one host.
pub(crate) fn config(roots: &RootCertStore, tls: &Tls) -> Result<Arc<ClientConfig>> {
    let mut roots = roots.clone();
    for path in &tls.ca {
        let certificates = certificates(path)?;
        for certificate in certificates {
            roots.add(certificate).map_err(|error| refuse(path, error.to_string()))?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(Path::new("TLS"), error.to_string()))?;
    let builder = match tls.skip_verify {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
        false => builder.with_root_certificates(roots),
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key_path = key.as_ref().unwrap_or(certificate);
            let key = PrivateKeyDer::from_pem_slice(&linux::file::read_bounded(key_path, LIMIT)?)
                .map_err(|_| refuse(key_path, "it holds no private key in PEM"))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|error| refuse(certificate, error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = linux::file::read_bounded(path, LIMIT)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(refuse(path, "it holds no certificate in PEM")),
    }
}

fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::Configuration { path: path.display().to_string(), reason: reason.into() }
}

/// Believes whoever answers, as a registry that is named insecure wants it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
