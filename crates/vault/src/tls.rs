//! Whom we trust: a TLS configuration on one crypto provider (ring), with the given CA and no other, else the system's roots.

use crate::{Kind, VaultError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

const ATTEMPTED: &str = "set up TLS for Vault";

/// The configuration for one client. With a CA given, only that CA counts.
pub(crate) fn config(ca_pem: Option<&[u8]>, skip_verify: bool) -> Result<ClientConfig, VaultError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| VaultError::new(Kind::Tls, ATTEMPTED, e.to_string()))?;
    if skip_verify {
        return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth());
    }
    let roots = match ca_pem {
        Some(pem) => given_roots(pem)?,
        None => system_roots(),
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn given_roots(pem: &[u8]) -> Result<RootCertStore, VaultError> {
    let bad = |why: String| VaultError::new(Kind::Tls, ATTEMPTED, format!("the CA file cannot serve: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no PEM certificate".into()));
    }
    Ok(roots)
}

/// The system's own roots. None at all is no error here: a plain loopback address needs none, and a handshake says so itself.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Accepts any certificate; signatures are still checked, so that the peer holds the key of what it shows.
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        for pem in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = config(Some(pem.as_bytes()), false).unwrap_err();
            assert_eq!(error.kind, Kind::Tls, "{pem}");
        }
    }

    #[test]
    fn without_a_ca_the_systems_roots_serve() {
        assert!(config(None, false).is_ok());
    }
}
