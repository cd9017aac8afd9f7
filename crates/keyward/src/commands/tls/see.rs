//! What a certificate says, whether it holds, and for how long yet: of a file, and of what nodes serve.

use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::output::{self, Output};
use crate::config::Config;
use crate::daemon::watch::Validity;
use crate::session;
use anyhow::{Context, Result};
use jiff::Timestamp;
use keyward_vault::{Client, NodeState};
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its number, in hexadecimal.
    pub serial: String,
    /// The names and addresses in it.
    pub names: Vec<String>,
    /// Not after.
    pub until: Timestamp,
    #[serde(skip)]
    der: Vec<u8>,
    /// Certificates between it and the authority.
    #[serde(skip)]
    between: Vec<CertificateDer<'static>>,
    #[serde(skip)]
    is_ending: bool,
}

/// Reads the first certificate of a PEM file, and the ones behind it that lead to its authority.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn read(path: &Path) -> Result<Seen> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let none = || Declined::data(format!("{} holds no certificate", path.display()));
    of_pem(&pem, Timestamp::now()).ok_or_else(|| none().into())
}

/// What the first certificate of a PEM text says; `None` where there is none.
pub fn of_pem(pem: &[u8], now: Timestamp) -> Option<Seen> {
    let mut all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?.into_iter();
    let first = of(&all.next()?, now)?;
    Some(Seen { between: all.collect(), ..first })
}

/// Whether a certificate is that of a key, both as PEM files; `None` where one of them cannot be read as that.
pub fn belong_together(certificate: &Path, key: &Path) -> Option<bool> {
    let der = CertificateDer::from_pem_slice(&std::fs::read(certificate).ok()?).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let key = KeyPair::from_pem(&Zeroizing::new(std::fs::read_to_string(key).ok()?)).ok()?;
    Some(certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
}

/// What a certificate (DER) says; `None` for what is none.
pub fn of(der: &[u8], now: Timestamp) -> Option<Seen> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = Validity::of(der)?;
    let names =
        certificate.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.iter().filter_map(name).collect());
    let serial = keyward_audit::hex(certificate.tbs_certificate.raw_serial());
    Some(Seen {
        serial,
        names: names.unwrap_or_default(),
        until: validity.until,
        der: der.to_vec(),
        between: Vec::new(),
        is_ending: validity.alarm(now).is_some(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(|b| std::net::IpAddr::from(b).to_string())
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string()))
            .ok(),
        _ => None,
    }
}

/// Whether an authority vouches for it now, under this name.
///
/// # Errors
/// Why not.
pub fn holds(seen: &Seen, authority: &str, name: &str, now: Timestamp) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let root = root.map_err(|_| "the authority's file holds no certificate".to_owned())?;
        roots.add(root).map_err(|e| format!("the authority cannot serve: {e}"))?;
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|e| format!("the authority cannot serve: {e}"))?;
    let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name} is no server's name"))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().max(0).unsigned_abs()));
    verifier
        .verify_server_cert(&CertificateDer::from(seen.der.as_slice()), &seen.between, &name, &[], at)
        .map(drop)
        .map_err(|e| e.to_string())
}

/// Checks a file.
///
/// # Errors
/// It, or the authority's, cannot be read.
pub fn file(path: &Path, ca: &Path, out: Output) -> Result<Exit> {
    let seen = read(path)?;
    let authority = std::fs::read_to_string(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let now = Timestamp::now();
    // The first name is the server's own; the others are alternatives of the same certificate.
    let failure = match seen.names.first() {
        Some(name) => holds(&seen, &authority, name, now).err(),
        None => Some("it names no server".to_owned()),
    };
    Ok(say(&[Line { what: path.display().to_string(), seen: Some(seen), failure, is_away: false }], now, out))
}

/// Checks what the nodes serve.
///
/// # Errors
/// The configured authority cannot serve.
pub async fn nodes(config: &Config, out: Output) -> Result<Exit> {
    let client = session::client(&config.vault)?;
    let mut nodes: Vec<(String, String)> = config.vault.nodes.iter().map(|n| (n.name.clone(), n.url.to_string())).collect();
    if nodes.is_empty() {
        nodes.push(("vault".to_owned(), client.address().to_owned()));
    }
    let mut lines = Vec::new();
    for (name, url) in nodes {
        lines.push(node(&client, name, &url).await);
    }
    Ok(say(&lines, Timestamp::now(), out))
}

/// The client's own TLS looks at chain and name at every call, so an answer is a proof of both.
async fn node(client: &Client, what: String, url: &str) -> Line {
    let health = client.health(url).await;
    let seen = health.certificate.as_deref().and_then(|der| of(der, Timestamp::now()));
    match health.state {
        NodeState::Unreachable { why, kind } => Line { what, seen, failure: Some(why), is_away: kind != keyward_vault::Kind::Tls },
        _ if seen.is_none() => Line { what, seen, failure: Some("it serves no TLS".to_owned()), is_away: false },
        _ => Line { what, seen, failure: None, is_away: false },
    }
}

/// What was found of one of them.
struct Line {
    what: String,
    seen: Option<Seen>,
    failure: Option<String>,
    is_away: bool,
}

fn say(lines: &[Line], now: Timestamp, out: Output) -> Exit {
    let days = |seen: &Seen| seen.until.duration_since(now).as_hours().div_euclid(24);
    let is_ending = |line: &Line| line.seen.as_ref().is_some_and(|seen| seen.is_ending);
    if out == Output::Json {
        let all = lines.iter().map(|line| {
            serde_json::json!({
                "what": line.what, "ok": line.failure.is_none() && !is_ending(line), "failure": line.failure,
                "certificate": line.seen, "days_left": line.seen.as_ref().map(days)
            })
        });
        output::json(&all.collect::<Vec<_>>());
    } else {
        for line in lines {
            let told =
                line.seen.as_ref().map(|s| format!("{}, serial {}, {}", left(days(s)), s.serial, s.names.join(", "))).unwrap_or_default();
            match &line.failure {
                Some(why) => output::line(&format!("✗ {}: {why} {told}", line.what)),
                None if is_ending(line) => output::line(&format!("✗ {}: it ends soon: {told}", line.what)),
                None => output::line(&format!("✓ {}: {told}", line.what)),
            }
        }
    }
    if lines.iter().any(|line| line.is_away) {
        Exit::Unavailable
    } else if lines.iter().any(|line| line.failure.is_some() || is_ending(line)) {
        Exit::Failed
    } else {
        Exit::Ok
    }
}

/// Days, of which none are left of a certificate that has expired.
fn left(days: i64) -> String {
    match days {
        ..=-2 => format!("expired {} days ago", -1 - days),
        -1 => "expired within the last day".to_owned(),
        1 => "1 day left".to_owned(),
        _ => format!("{days} days left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};

    #[test]
    fn days_are_told_in_words() {
        let told = [-3, -1, 0, 1, 90].map(left);
        assert_eq!(told, ["expired 2 days ago", "expired within the last day", "0 days left", "1 day left", "90 days left"]);
    }

    /// An authority, another below it, and a server's certificate from that one.
    fn chain() -> Result<[String; 3], rcgen::Error> {
        let params = |name: &str, is_ca: IsCa| {
            let mut params = CertificateParams::new([name.to_owned()])?;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = is_ca;
            Ok::<_, rcgen::Error>(params)
        };
        let ca = |name: &str| params(name, IsCa::Ca(BasicConstraints::Unconstrained));
        let keys = [KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?];
        let [root_key, middle_key, leaf_key] = &keys;
        let root = ca("root")?.self_signed(root_key)?;
        let middle = ca("middle")?.signed_by(middle_key, &Issuer::new(ca("root")?, root_key))?;
        let leaf = params("vault", IsCa::NoCa)?.signed_by(leaf_key, &Issuer::new(ca("middle")?, middle_key))?;
        Ok([root.pem(), middle.pem(), leaf.pem()])
    }

    #[test]
    fn a_chain_in_one_file_leads_to_its_authority() {
        let [root, middle, leaf] = chain().unwrap_or_else(|e| panic!("{e}"));
        let now = Timestamp::now();
        let holds = |text: &str| of_pem(text.as_bytes(), now).map(|seen| holds(&seen, &root, "vault", now).is_ok());
        assert_eq!(holds(&format!("{leaf}{middle}")), Some(true));
        assert_eq!(holds(&leaf), Some(false));
        assert_eq!(holds("no certificate"), None);
    }
}
