//! A blocking HTTP client that trusts one authority, for the servers' own APIs.
//!
//! Never follows a redirect, never uses a proxy, never retries.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Initialising a Vault takes some ten seconds on an idle machine, and tests share theirs with compilers.
const LIMIT: Duration = Duration::from_mins(2);

/// A client for one base address.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agent: ureq::Agent,
    base: String,
}

impl Http {
    /// Plain HTTP, or HTTPS that trusts the certificates in `ca_pem` and no other.
    pub(crate) fn new(base: &str, ca_pem: Option<&Path>) -> Result<Self> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .allow_non_standard_methods(true)
            .timeout_global(Some(LIMIT));
        if let Some(path) = ca_pem {
            config = config.tls_config(tls(path)?);
        }
        Ok(Self { agent: config.build().into(), base: base.to_owned() })
    }

    /// Sends one request; `path` begins with a slash. The answer's status, and its body as JSON, `Null` where it is empty and a
    /// string where it is no JSON.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<(u16, Value)> {
        let (status, text) = self.text(method, path, headers, body.map(Value::to_string))?;
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Ok((status, value))
    }

    /// The same, with both bodies as they travel.
    pub(crate) fn text(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Result<(u16, String)> {
        let said = || format!("{method} {}{path}", self.base);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            // Vault takes a PATCH of KV data only as a merge patch.
            let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            request = request.header("content-type", kind);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).with_context(said)?),
            None => self.agent.run(request.body(()).with_context(said)?),
        };
        let mut answer = answer.with_context(said)?;
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string().with_context(said)?;
        Ok((answer.status().as_u16(), text))
    }

    /// Sends one request as it is; the whole answer as it would stand on the wire.
    pub(crate) fn raw(&self, method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Result<Vec<u8>> {
        let said = || format!("{method} {}{target}", self.base);
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = if body.is_empty() {
            self.agent.run(request.body(()).with_context(said)?)
        } else {
            self.agent.run(request.body(body).with_context(said)?)
        };
        let mut answer = answer.with_context(said)?;
        let body = answer.body_mut().with_config().limit(256 << 20).read_to_vec().with_context(said)?;
        let mut wire = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", answer.status(), body.len()).into_bytes();
        let kept =
            answer.headers().iter().filter(|(name, _)| !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()));
        for (name, value) in kept {
            wire.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        wire.extend(b"\r\n");
        wire.extend(body);
        Ok(wire)
    }
}

fn tls(ca_pem: &Path) -> Result<TlsConfig> {
    let pem = fs::read(ca_pem).with_context(|| format!("read {}", ca_pem.display()))?;
    let roots = CertificateDer::pem_slice_iter(&pem)
        .map(|der| der.map(|der| Certificate::from_der(&der).to_owned()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("read the certificates in {}", ca_pem.display()))?;
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
