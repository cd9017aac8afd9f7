//! Makes authorities and certificates. Keys are P-256 and leave this module as [`Secret`] only.

use super::see;
use crate::commands::by_hand::Declined;
use crate::commands::init::files::write_private;
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use keyward_secret::Secret;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

const AUTHORITY: &str = "Keyward's authority for Vault";
/// An authority outlives what it signs by far.
const AUTHORITY_DAYS: i64 = 3650;
/// Valid from a little earlier, so that a clock that is a little off does no harm.
const EARLIER: SignedDuration = SignedDuration::from_hours(1);

/// Who signs.
pub struct Authority {
    /// Its certificate's file.
    pub path: PathBuf,
    /// Its certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server needs.
pub struct Leaf {
    /// Its certificate.
    pub pem: String,
    /// Its key, as PEM.
    pub key: Secret,
}

/// By what a server is reached, as they stand in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// The server's own name, the further ones, and loopback; each once.
    ///
    /// # Errors
    /// One cannot be a host's name.
    pub fn of(name: &str, dns: &[String], ips: &[IpAddr]) -> Result<Self> {
        let loopback = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
        let mut all: Vec<String> = Vec::new();
        for name in std::iter::once(name.to_owned()).chain(dns.iter().cloned()) {
            let label =
                |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let plain = name.strip_prefix("*.").unwrap_or(&name);
            if plain.len() > 253 || !plain.split('.').all(label) || (all.is_empty() && plain != name) {
                return Err(Declined::usage(format!(
                    "{name} cannot be a server's name: letters, digits, - and dots; addresses go by --ip"
                ))
                .into());
            }
            all.push(name);
        }
        for name in ips.iter().map(IpAddr::to_string).chain(loopback) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Ok(Self(all))
    }
}

impl Authority {
    /// A certificate for these names, the first of which is the server's own.
    ///
    /// # Errors
    /// The library's, or that `ca.pem` does not vouch for it: it is of another key, or ends earlier.
    pub fn sign(&self, names: &Names, now: Timestamp, days: u16) -> Result<Leaf> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new(names.0.clone()).context("cannot name the server")?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.0.first().cloned().unwrap_or_default());
        // Nodes of a cluster are clients of each other, too.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, days.into())?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign the certificate")?;
        let leaf = Leaf { pem: certificate.pem(), key: Secret::new(key.serialize_pem().trim_end()) };
        self.vouches(&leaf, names, now).map_err(|why| {
            Declined::data(format!(
                "{} does not vouch for what {} signs: {why}",
                self.path.display(),
                self.path.with_extension("key").display()
            ))
        })?;
        Ok(leaf)
    }

    fn vouches(&self, leaf: &Leaf, names: &Names, now: Timestamp) -> Result<(), String> {
        let (Some(seen), Some(own)) = (see::of_pem(leaf.pem.as_bytes(), now), see::of_pem(self.pem.as_bytes(), now)) else {
            return Err("it holds no certificate".to_owned());
        };
        if own.until < seen.until {
            return Err(format!("it ends at {}, and that would end at {}; say fewer --days", own.until, seen.until));
        }
        see::holds(&seen, &self.pem, names.0.first().map(String::as_str).unwrap_or_default(), now)
    }
}

/// The authority of a folder, and whether it was made just now. Its key is written first: where its certificate stands, its key does.
///
/// # Errors
/// There is half of one, or it cannot be read.
pub fn authority(folder: &Path, now: Timestamp) -> Result<(Authority, bool)> {
    let (path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    if path.exists() {
        let pem = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = fs::read_to_string(&key_path).map(zeroize::Zeroizing::new);
        let text = text.with_context(|| format!("cannot read {}, without which nothing can be signed", key_path.display()))?;
        let key = KeyPair::from_pem(&text).map_err(|_| Declined::data(format!("{} holds no key", key_path.display())))?;
        // What it signs names it by its subject and by its key's digest, which come out the same.
        return Ok((Authority { path, pem, issuer: Issuer::new(params(now)?, key) }, false));
    }
    let key = KeyPair::generate().context("cannot make the authority's key")?;
    let made = params(now)?;
    let pem = made.self_signed(&key).context("cannot sign the authority's certificate")?.pem();
    write_private(&key_path, &Secret::new(key.serialize_pem().trim_end()))?;
    write_private(&path, &Secret::new(pem.trim_end()))?;
    Ok((Authority { path, pem, issuer: Issuer::new(made, key) }, true))
}

fn params(now: Timestamp) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, AUTHORITY_DAYS)?;
    Ok(params)
}

/// To whole seconds; [`rcgen`] takes days, from which the rest is added.
fn valid(params: &mut CertificateParams, now: Timestamp, days: i64) -> Result<()> {
    let (from, until) = (now.checked_sub(EARLIER)?, now.checked_add(SignedDuration::from_hours(24 * days))?);
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let midnight = rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
        midnight + std::time::Duration::from_secs(at.as_second().rem_euclid(86_400).unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(from), day(until));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_signed_that_outlives_its_authority_or_is_of_another() -> Result<()> {
        let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (now, names) = (Timestamp::now(), Names::of("vault-1", &[], &[])?);
        let later = now.checked_add(SignedDuration::from_hours(24))?;
        let (ours, _) = authority(dir.path(), now)?;
        let refused = |signed: Result<Leaf>| signed.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(ours.sign(&names, later, 3649).is_ok());
        assert!(refused(ours.sign(&names, later, 3650)).contains("say fewer --days"));
        authority(other.path(), now)?;
        fs::copy(other.path().join("ca.pem"), dir.path().join("ca.pem"))?;
        assert!(refused(authority(dir.path(), now)?.0.sign(&names, now, 30)).contains("ca.pem does not vouch for what"));
        Ok(())
    }

    #[test]
    fn a_certificate_names_the_server_first_and_loopback_always() {
        let names = Names::of("vault-1.example.com", &["vault".into()], &["192.0.2.1".parse().unwrap_or(Ipv4Addr::LOCALHOST.into())]);
        let expected = ["vault-1.example.com", "vault", "192.0.2.1", "localhost", "127.0.0.1", "::1"];
        assert_eq!(names.map(|n| n.0).ok(), Some(expected.map(str::to_owned).to_vec()));
        for bad in ["", "a b", "../x", "a..b", "*.example.com", "a/b"] {
            assert!(Names::of(bad, &[], &[]).is_err(), "{bad}");
        }
        assert!(Names::of("vault", &["*.example.com".into()], &[]).is_ok());
    }
}
