//! TLS client settings: which certificates are trusted, by `sslmode` for PostgreSQL and always in full for HTTP.
//!
//! It never falls back to less: a file that cannot be read is an error. The crypto provider is named here (ring), so that
//! nothing depends on what the process installed as its default.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How much of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nothing but that the server holds the certificate's key: keeps listeners out, not impostors.
    Anyone,
    /// The chain, not the name.
    Authority,
    /// The chain and the name.
    AuthorityAndName,
}

/// Why no settings can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the certificate file {path} cannot be read as PEM: {why}")]
    File { path: String, why: String },
    #[error("{0} holds no certificate that can be used")]
    Empty(String),
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
}

/// Client settings. `roots` names a PEM file of the only authorities trusted; `None` means the system's own.
pub(crate) fn client_config(trust: Trust, roots: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    if trust == Trust::AuthorityAndName {
        return Ok(builder.with_root_certificates(root_store(roots)?).with_no_client_auth());
    }
    let roots = if trust == Trust::Authority { Some(root_store(roots)?) } else { None };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(NoName { roots, provider })).with_no_client_auth())
}

/// Whether TLS is among an error's causes. Asked for its source, an `io::Error` skips what it wraps, hence the look inside.
pub(crate) fn is_at_fault(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.is::<rustls::Error>() {
            return true;
        }
        cause = match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => e.source(),
        };
    }
    false
}

fn root_store(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = file {
        let shown = path.display().to_string();
        let fail = |why: &dyn std::fmt::Display| TlsError::File { path: path.display().to_string(), why: why.to_string() };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| fail(&e))? {
            store.add(certificate.map_err(|e| fail(&e))?).map_err(|e| fail(&e))?;
        }
        if store.is_empty() { Err(TlsError::Empty(shown)) } else { Ok(store) }
    } else {
        // What the system lists but we cannot parse is left out, as every other TLS client does.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() { Err(TlsError::Empty("the system's certificate store".into())) } else { Ok(store) }
    }
}

/// libpq's `require` (no roots) and `verify-ca` (roots): the name in the certificate does not matter.
#[derive(Debug)]
struct NoName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_found_below_any_number_of_wrappings() {
        let wrapped = |e| io::Error::other(io::Error::other(e));
        assert!(is_at_fault(&wrapped(rustls::Error::HandshakeNotComplete)));
        assert!(!is_at_fault(&io::Error::other(io::Error::other("refused"))));
    }
}
