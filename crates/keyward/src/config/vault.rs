//! `[vault]`: the server, how to log in, its nodes, and what the `VAULT_*` variables add. It never contacts anything.
//!
//! The variables mean what they mean to Vault's own tools and fill what the file leaves out. One that contradicts the file is an error
//! unless `--address` decides: equal to the file's address, the file wins every contradiction; else the variables win.
//! So an exported variable never points a rotation at the wrong cluster.

use super::Environment;
use super::address::{is_exposed, server_address};
use super::duration;
use super::problem::Problems;
use super::reference::{SecretRef, absolute_path};
use super::section::Section;
use keyward_tail::Format;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use url::Url;

/// Where the records of the secrets stand, unless the file says otherwise.
pub const DEFAULT_RECORD_MOUNT: &str = "keyward";

/// The Vault (or OpenBao) whose secrets are kept.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// Scheme, host and port. From `address`, `VAULT_ADDR` or `--address`; there is no default.
    pub address: Url,
    /// The namespace all requests go to. From `namespace` or `VAULT_NAMESPACE`; default none.
    pub namespace: Option<String>,
    /// A PEM file of issuers to trust instead of the system's. From `ca_cert` or `VAULT_CACERT`.
    pub ca_cert: Option<PathBuf>,
    /// Whether the server's certificate goes unchecked. From `skip_verify` or `VAULT_SKIP_VERIFY`; needs `insecure`. Default false.
    pub skip_verify: bool,
    /// Whether plain HTTP beyond loopback and an unchecked certificate are allowed. Default false.
    pub insecure: bool,
    /// How the daemon logs in; `None` when the file names no way, which serves one-shot commands only.
    pub auth: Option<Auth>,
    /// A person's own token, for one-shot commands alone: `VAULT_TOKEN`, else the file of `VAULT_TOKEN_FILE`, else `~/.vault-token` (which need not exist).
    pub personal_token: Option<SecretRef>,
    /// The mount of Keyward's own records, a KV version 2 of its own. `record_mount`; default `keyward`.
    pub record_mount: String,
    /// Nothing is staged while this machine's clock is further from Vault's. `clock_skew_limit`; default one minute, at least 5 seconds.
    pub clock_skew_limit: Duration,
    /// The nodes that are watched, each for itself. `[[vault.node]]`; default none.
    pub nodes: Vec<NodeConfig>,
}

/// Slots are told by the minute; Vault tells its time in whole seconds.
const CLOCK_SKEW_LIMIT: Duration = Duration::from_mins(1);
const LEAST_CLOCK_SKEW_LIMIT: Duration = Duration::from_secs(5);

/// How the daemon proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A token made by somebody else.
    Token(SecretRef),
    /// An AppRole login.
    AppRole {
        /// Where the auth method is mounted; default `approle`.
        mount: String,
        /// The role's id.
        role_id: SecretRef,
        /// The secret id.
        secret_id: SecretRef,
    },
}

/// A server's address as it is shown and asked: without a slash at its end.
pub fn plain_address(url: &Url) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name in metrics and alerts.
    pub name: String,
    /// Its own address, not the load balancer's.
    pub url: Url,
    /// Its audit log, if this daemon can read it.
    pub audit_log: Option<PathBuf>,
    /// How lines stand in it: `audit_format` is `plain` (the default), `cri` (Kubernetes) or `docker` (its json-file driver).
    pub audit_format: Format,
}

/// What stands in the file, each with its place.
#[derive(Default)]
struct Written {
    address: Option<Spanned<Url>>,
    namespace: Option<Spanned<String>>,
    ca_cert: Option<Spanned<PathBuf>>,
    skip_verify: Option<Spanned<bool>>,
    insecure: bool,
}

/// The end of an error's sentence.
const NO_ADDRESS: &str = "set it, VAULT_ADDR or --address to the server, such as \"https://vault.example.com:8200\"";

/// Reads `[vault]`, which may be absent when the environment says enough.
pub(super) fn read(section: Option<Section<'_>>, environment: &Environment, problems: &Problems<'_>) -> Option<VaultConfig> {
    let mut written = Written::default();
    let (mut auth, mut record_mount, mut nodes) = (None, None, Vec::new());
    let mut clock_skew_limit = CLOCK_SKEW_LIMIT;
    let address_elsewhere = environment.address.is_some() || environment.get("VAULT_ADDR").is_some();
    let (there_is_a_section, mut span) = (section.is_some(), 0..0);
    if let Some(mut section) = section {
        span = section.span().clone();
        written.address = section.parsed("address", server_address);
        written.namespace = section.parsed("namespace", |text| Ok(text.trim_matches('/').to_owned()));
        written.ca_cert = section.parsed("ca_cert", absolute_path);
        written.skip_verify = section.flag("skip_verify");
        written.insecure = section.flag("insecure").is_some_and(Spanned::into_inner);
        auth = section.inline("auth").and_then(read_auth);
        record_mount = section.parsed("record_mount", mount);
        clock_skew_limit = section.parsed("clock_skew_limit", skew_limit).map_or(CLOCK_SKEW_LIMIT, Spanned::into_inner);
        nodes = read_nodes(section.sections("node", "[[vault.node]]"));
        let required: &[_] = if address_elsewhere { &[] } else { &[("address", NO_ADDRESS)] };
        section.finish(required);
    }
    let merged = Merge { environment, problems, file_wins: file_wins(&written, environment) };
    let Some(address) = merged.address(written.address.as_ref()) else {
        if !there_is_a_section && !address_elsewhere {
            problems.anywhere(format!("\"address\" is missing in [vault]; {NO_ADDRESS}"));
        }
        return None;
    };
    let config = VaultConfig {
        namespace: merged.pick(written.namespace.as_ref(), "namespace", "VAULT_NAMESPACE", |text| Ok(text.trim_matches('/').to_owned())),
        ca_cert: merged.pick(written.ca_cert.as_ref(), "ca_cert", "VAULT_CACERT", |text| Ok(PathBuf::from(text))),
        skip_verify: merged.pick(written.skip_verify.as_ref(), "skip_verify", "VAULT_SKIP_VERIFY", go_bool).unwrap_or(false),
        insecure: written.insecure,
        auth,
        personal_token: personal_token(environment),
        clock_skew_limit,
        record_mount: record_mount.map_or_else(|| DEFAULT_RECORD_MOUNT.to_owned(), Spanned::into_inner),
        nodes,
        address,
    };
    guard(&config, &written, &span, problems);
    Some(config)
}

/// Refuses what exposes tokens and secrets to the network, unless somebody said so.
fn guard(config: &VaultConfig, written: &Written, span: &Range<usize>, problems: &Problems<'_>) {
    let exposed = is_exposed(&config.address) || config.nodes.iter().any(|n| is_exposed(&n.url));
    let place = |spanned: Option<Range<usize>>| spanned.unwrap_or_else(|| span.clone());
    if !config.insecure && is_exposed(&config.address) {
        let what = "the address is plain http beyond loopback: every secret would cross the network in clear; use https, or say insecure = true in [vault]";
        problems.at(&place(written.address.as_ref().map(Spanned::span)), what);
    } else if !config.insecure && exposed {
        problems.at(span, "the url of a [[vault.node]] is plain http beyond loopback; use https, or say insecure = true in [vault]");
    }
    if !config.insecure && config.skip_verify {
        let what = "skip_verify (or VAULT_SKIP_VERIFY) leaves the server's certificate unchecked; set ca_cert instead, or say insecure = true in [vault]";
        problems.at(&place(written.skip_verify.as_ref().map(Spanned::span)), what);
    }
    if config.insecure && (exposed || config.skip_verify) {
        problems.warn(Some(span), "insecure = true is in use: tokens and secrets are exposed to whoever is on the network");
    } else if config.insecure {
        problems.warn(Some(span), "insecure = true is set but nothing needs it; remove it");
    }
}

/// With `--address` equal to the file's, the file decides; with any other, the environment.
fn file_wins(written: &Written, environment: &Environment) -> Option<bool> {
    let said = server_address(environment.address.as_deref()?).ok();
    Some(said.is_some() && said.as_ref() == written.address.as_ref().map(Spanned::get_ref))
}

struct Merge<'a> {
    environment: &'a Environment,
    problems: &'a Problems<'a>,
    /// Who wins a contradiction; `None` when nobody was told to.
    file_wins: Option<bool>,
}

impl Merge<'_> {
    fn address(&self, written: Option<&Spanned<Url>>) -> Option<Url> {
        let Some(said) = self.environment.address.as_deref() else {
            return self.pick(written, "address", "VAULT_ADDR", server_address);
        };
        server_address(said).map_err(|what| self.problems.anywhere(format!("--address {what}"))).ok()
    }

    /// The file's value, the variable's, or an error when they differ and nobody decided.
    fn pick<T: Clone + PartialEq>(
        &self,
        written: Option<&Spanned<T>>,
        key: &str,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = self.environment.get(variable) else { return written.map(|w| w.get_ref().clone()) };
        let value = match parse(text) {
            Ok(value) => value,
            Err(what) => {
                self.problems.anywhere(format!("the environment variable {variable} {what}"));
                return None;
            }
        };
        match (written, self.file_wins) {
            (None, _) | (Some(_), Some(false)) => Some(value),
            (Some(written), Some(true)) => Some(written.get_ref().clone()),
            (Some(written), None) => {
                if *written.get_ref() != value {
                    let what = "the environment variable VARIABLE contradicts \"KEY\" in [vault]; unset it, or say with --address which server is meant";
                    self.problems.at(&written.span(), what.replace("VARIABLE", variable).replace("KEY", key));
                }
                Some(value)
            }
        }
    }
}

fn personal_token(environment: &Environment) -> Option<SecretRef> {
    if environment.get("VAULT_TOKEN").is_some() {
        return Some(SecretRef::Env("VAULT_TOKEN".to_owned()));
    }
    let home = || environment.get("HOME").map(|home| PathBuf::from(home).join(".vault-token"));
    environment.get("VAULT_TOKEN_FILE").map(PathBuf::from).or_else(home).map(SecretRef::File)
}

/// What Go's `strconv.ParseBool` takes, which is what Vault's own tools use.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn mount(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let plain =
        !path.is_empty() && path.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    if plain { Ok(path.to_owned()) } else { Err("must be a mount's path: letters, digits, - _ . and single slashes".to_owned()) }
}

fn skew_limit(text: &str) -> Result<Duration, String> {
    let limit = duration::parse(text)?;
    if limit < LEAST_CLOCK_SKEW_LIMIT { Err("must be at least 5s: Vault tells its time in whole seconds".to_owned()) } else { Ok(limit) }
}

fn read_auth(mut section: Section<'_>) -> Option<Auth> {
    const OPENS_VAULT: &str = "opens Vault, so it cannot be kept in Vault; use file or env";
    let token = section.local_reference("token", OPENS_VAULT);
    let approle = section.inline("approle").and_then(|mut section| {
        let at = section.parsed("mount", mount).map_or_else(|| "approle".to_owned(), Spanned::into_inner);
        let role_id = section.local_reference("role_id", OPENS_VAULT);
        let secret_id = section.local_reference("secret_id", OPENS_VAULT);
        section.finish(&[
            ("role_id", "say where the role id is, such as { file = \"/run/secrets/role-id\" }"),
            ("secret_id", "say where the secret id is, such as { file = \"/run/secrets/secret-id\" }"),
        ]);
        Some(Auth::AppRole { mount: at, role_id: role_id?, secret_id: secret_id? })
    });
    if section.has_taken("token") == section.has_taken("approle") {
        section.problems().at(section.span(), format!("{} must say either token or approle", section.label()));
    }
    section.finish(&[]);
    approle.or_else(|| token.map(Auth::Token))
}

fn read_nodes(sections: Vec<Section<'_>>) -> Vec<NodeConfig> {
    let mut nodes: Vec<NodeConfig> = Vec::new();
    for mut section in sections {
        let name = section.parsed("name", super::secret::name);
        let url = section.parsed("url", server_address);
        let audit_log = section.parsed("audit_log", absolute_path);
        let audit_format = section.choice("audit_format", &[("plain", Format::Plain), ("cri", Format::Cri), ("docker", Format::Docker)]);
        let problems = section.problems();
        section.finish(&[("name", "give the node a name for metrics and alerts"), ("url", "give the node's own address")]);
        let (Some(name), Some(url)) = (name, url) else { continue };
        if nodes.iter().any(|n| n.name == *name.get_ref()) {
            problems.at(&name.span(), format!("two [[vault.node]] are named \"{}\"; give each its own name", name.get_ref()));
        }
        if let Some(log) = audit_log.as_ref().filter(|log| nodes.iter().any(|n| n.audit_log.as_ref() == Some(log.get_ref()))) {
            problems.at(&log.span(), "two [[vault.node]] have the same audit_log; every line would count twice".to_owned());
        }
        if let (Some(format), None) = (&audit_format, &audit_log) {
            problems.at(&format.span(), "audit_format is set without an audit_log; name the file, or remove it".to_owned());
        }
        nodes.push(NodeConfig {
            name: name.into_inner(),
            url: url.into_inner(),
            audit_log: audit_log.map(Spanned::into_inner),
            audit_format: audit_format.map(Spanned::into_inner).unwrap_or_default(),
        });
    }
    nodes
}
