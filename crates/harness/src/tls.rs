//! A certificate authority made on the spot, and the one server certificate that all servers of a run share.
//!
//! Never touches the system's trust store.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use crate::run::Run;

/// Valid from yesterday, so that a clock that is a little off does no harm, for a year.
const VALID_DAYS: i64 = 365;

/// Paths of PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) ca_pem: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub(crate) server_pem: PathBuf,
    pub(crate) server_key: PathBuf,
}

/// The run's files, made on first use.
pub(crate) fn tls(run: &Run) -> Result<&'static Tls> {
    static TLS: OnceLock<Result<Tls, String>> = OnceLock::new();
    TLS.get_or_init(|| make(run).map_err(|e| format!("{e:#}"))).as_ref().map_err(|e| anyhow!("{e}"))
}

/// Writes an authority nobody trusts, for tests of what happens then; returns the path of its certificate.
pub fn foreign_ca(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("foreign-ca.pem");
    fs::write(&path, authority("Somebody else's test authority")?.pem()).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn make(run: &Run) -> Result<Tls> {
    let dir = run.folder("tls")?;
    let tls = Tls { ca_pem: dir.join("ca.pem"), server_pem: dir.join("server.pem"), server_key: dir.join("server.key") };
    let ca = authority("Keyward test authority")?;
    let key = KeyPair::generate().context("make the server's key")?;
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).context("name the server")?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params)?;
    let server = params.signed_by(&key, &ca).context("sign the server's certificate")?;
    fs::write(&tls.ca_pem, ca.pem()).context("write the authority's certificate")?;
    fs::write(&tls.server_pem, server.pem()).context("write the server's certificate")?;
    write_private(&tls.server_key, key.serialize_pem().as_bytes())?;
    Ok(tls)
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params)?;
    let key = KeyPair::generate().context("make the authority's key")?;
    CertifiedIssuer::self_signed(params, key).context("sign the authority's certificate")
}

fn valid(params: &mut CertificateParams) -> Result<()> {
    let today = jiff::Zoned::now().date();
    let day = |d: jiff::civil::Date| rcgen::date_time_ymd(d.year().into(), d.month().unsigned_abs(), d.day().unsigned_abs());
    params.not_before = day(today.yesterday().context("yesterday")?);
    params.not_after = day(today.checked_add(jiff::Span::new().days(VALID_DAYS)).context("a year from now")?);
    Ok(())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content)).with_context(|| format!("write {}", path.display()))
}
