//! What Keyward's token must be allowed to do with a configuration, path by path, and the policy lines that allow it.
//!
//! It never asks Vault: what is needed follows from the configuration and from where its paths are mounted.

use super::report::Finding;
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::config::{Config, KindConfig, Mode, SecretConfig, SecretRef};
use keyward_engine::kinds::RootMethod;
use keyward_vault::Capabilities;
use std::collections::{BTreeMap, BTreeSet};

/// Where a configured KV path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mount, without slashes at its ends.
    pub mount: String,
    /// The path below it.
    pub path: String,
    /// Whether it is known that nothing stands there yet.
    pub is_missing: bool,
    /// Whether Vault would not say where the mount ends, so that the first segment was taken for it.
    pub is_guessed: bool,
}

/// One path of Vault's API and what must be allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// As in a policy: `secret/data/app`.
    pub path: String,
    /// The path to write into the policy: the same, or a pattern where that is harmless.
    pub grant: String,
    /// `create`, `read`, `update`, `patch`, `list`.
    pub capabilities: Vec<&'static str>,
    /// Ends the sentence "… is needed".
    pub why: String,
    /// Whether Keyward goes on without it.
    pub is_optional: bool,
    /// Whether the mount was guessed.
    pub is_guessed: bool,
    /// A path that serves as well: a key that signs need not encrypt.
    pub instead: Option<String>,
}

/// The order in which capabilities are written.
const ORDER: [&str; 5] = ["create", "read", "update", "patch", "list"];

/// The KV paths that a configuration names: what is published, and what it refers to.
pub fn paths(config: &Config) -> BTreeSet<String> {
    let published = config.secrets.iter().flat_map(|s| s.kind.path().into_iter().chain(s.kind.public().map(|(path, _)| path)));
    published.chain(references(config).map(|(path, _)| path)).map(str::to_owned).collect()
}

/// References into Vault, each with what it is for.
fn references(config: &Config) -> impl Iterator<Item = (&str, String)> {
    config.secrets.iter().flat_map(|secret| {
        secret.kind.references().into_iter().filter_map(|(reference, what)| match reference {
            SecretRef::Vault { path, .. } => Some((path.as_str(), format!("for {what} of {}", secret.name))),
            _ => None,
        })
    })
}

/// Everything that the token needs. `places`: where the paths of [`paths`] are; one that is absent (no KV version 2) needs nothing.
pub fn needs(config: &Config, places: &BTreeMap<String, Place>) -> Vec<Need> {
    let mut all = Gathered::default();
    all.add("auth/token/lookup-self", &["read"], "to know how long the token lives");
    all.add("auth/token/renew-self", &["update"], "to keep the token alive");
    all.option("sys/leases/count", &["read"], "to see leases that Vault could not revoke (keyward check)");
    if config.vault.nodes.iter().any(|node| node.audit_log.is_some()) {
        all.option("sys/audit-hash/file", &["update"], "to tell Keyward's own calls in the audit log from others'");
    }
    audit(&mut all, config);
    for secret in &config.secrets {
        record(&mut all, config, secret);
        let mount = &config.vault.record_mount;
        let class = format!("{mount}/data/class/{}", secret.class);
        all.add(&class, &["read"], "to see whether a class is paused").grant = format!("{mount}/data/*");
        if let Some(place) = secret.kind.path().and_then(|path| places.get(path)) {
            published(&mut all, secret, place);
        }
        if let Some(place) = secret.kind.public().and_then(|(path, _)| places.get(path)) {
            let capabilities: &[_] = match (secret.mode, place.is_missing) {
                (Mode::Observe, _) => &["read"],
                (Mode::Act, true) => &["create", "read", "patch"],
                (Mode::Act, false) => &["read", "patch"],
            };
            let why = format!("to publish what {} is verified by", secret.name);
            all.add(&format!("{}/data/{}", place.mount, place.path), capabilities, &why).is_guessed |= place.is_guessed;
        }
        engines(&mut all, secret);
    }
    for (path, why) in references(config) {
        if let Some(place) = places.get(path) {
            let need = all.add(&format!("{}/data/{}", place.mount, place.path), &["read"], &why);
            need.is_guessed |= place.is_guessed;
        }
    }
    all.0.into_values().collect()
}

/// What a kind does with Vault's other engines and methods.
fn engines(all: &mut Gathered, secret: &SecretConfig) {
    let (name, acts) = (&secret.name, secret.mode == Mode::Act);
    match &secret.kind {
        KindConfig::VaultStaticRole(k) => {
            all.add(&format!("{}/static-roles/{}", k.mount, k.role), &["read"], &format!("to see when {name} was rotated"));
            // Where nobody publishes a copy, this is what consumers read.
            if acts || k.copy.is_none() {
                all.add(&format!("{}/static-creds/{}", k.mount, k.role), &["read"], &format!("to prove {name} by a login"));
            }
            if acts {
                all.add(&format!("{}/rotate-role/{}", k.mount, k.role), &["update"], &format!("to rotate {name}"));
            }
        }
        KindConfig::TransitKey(k) => {
            all.add(&format!("{}/keys/{}", k.mount, k.key), &["read"], &format!("to see the versions of {name}"));
            // Which pair it is, is the key's: one of them is enough, and `check` proves it.
            for (call, other) in [("encrypt", "sign"), ("decrypt", "verify"), ("sign", "encrypt"), ("verify", "decrypt")] {
                let path = |call| format!("{}/{call}/{}", k.mount, k.key);
                let why = format!("to prove {name} (encrypt and decrypt, or sign and verify)");
                all.option(&path(call), &["update"], &why).instead = Some(path(other));
            }
            if acts {
                all.add(&format!("{}/keys/{}/rotate", k.mount, k.key), &["update"], &format!("to rotate {name}"));
                if k.keep_versions.is_some() {
                    all.add(&format!("{}/keys/{}/config", k.mount, k.key), &["update"], &format!("to close old versions of {name}"));
                }
            }
        }
        KindConfig::ApproleSecretId(k) => {
            let role = format!("auth/{}/role/{}", k.mount, k.role);
            all.add(&role, &["read"], &format!("to see the settings of {name}"));
            // One that is published wrapped alone is known here by its accessor only.
            if k.wrap.is_none() || k.file.is_some() {
                all.add(&format!("{role}/secret-id/lookup"), &["update"], &format!("to prove {name}"));
            }
            if acts || k.wrap.is_some() || k.file.is_some() {
                all.add(&format!("{role}/secret-id-accessor/lookup"), &["update"], &format!("to prove {name} and to find its orphans"));
            }
            if acts {
                all.add(&format!("{role}/role-id"), &["read"], &format!("to prove a new {name} by a login"));
                all.add(&format!("{role}/secret-id"), &["update", "list"], &format!("to make a new {name}, and to find its orphans"));
                all.add(&format!("{role}/secret-id-accessor/destroy"), &["update"], &format!("to end the old {name}"));
                if k.wrap.is_some() {
                    all.add("sys/wrapping/wrap", &["update"], &format!("to hand {name} over wrapped"));
                }
            }
        }
        _ => leases(all, secret),
    }
}

/// The canary's path, and the key that signs the evidence.
fn audit(all: &mut Gathered, config: &Config) {
    if config.audit.canary.is_some() && config.vault.nodes.iter().any(|node| node.audit_log.is_some()) {
        let mount = &config.vault.record_mount;
        let need = all.option(&format!("{mount}/data/canary/nonce"), &["read"], "to find a call of its own again in the audit log");
        need.grant = format!("{mount}/data/*");
    }
    if let Some((mount, key)) = config.audit.evidence.as_ref().and_then(|evidence| evidence.key.as_ref()) {
        all.add(&format!("{mount}/sign/{key}"), &["update"], "to sign the evidence over the audit log");
        all.option(&format!("{mount}/verify/{key}"), &["update"], "to verify those signatures");
    }
}

/// The record: the lock and the memory. The mount is Keyward's alone, so a pattern over it is harmless.
fn record(all: &mut Gathered, config: &Config, secret: &SecretConfig) {
    let mount = &config.vault.record_mount;
    let acts = secret.mode == Mode::Act;
    for name in std::iter::once(&secret.name).chain(&secret.renamed_from) {
        let capabilities: &[&str] = if acts { &["create", "read", "update"] } else { &["read"] };
        all.add(&format!("{mount}/data/{name}"), capabilities, "for the records of rotations").grant = format!("{mount}/data/*");
    }
    if acts {
        let need =
            all.add(&format!("{mount}/destroy/{}", secret.name), &["update"], "to destroy the values that a finished rotation leaves");
        need.grant = format!("{mount}/destroy/*");
    }
    all.option(&format!("{mount}/config"), &["read"], "to see that the records never expire");
}

/// What a kind does with leases of the database engine, and with that engine's own login.
fn leases(all: &mut Gathered, secret: &SecretConfig) {
    let (name, acts) = (&secret.name, secret.mode == Mode::Act);
    match &secret.kind {
        KindConfig::VaultDynamicLease(k) => {
            all.add(&format!("{}/roles/{}", k.mount, k.role), &["read"], &format!("to see how long a lease of {name} may live"));
            all.add(
                &format!("auth/token/roles/{}", k.token_role),
                &["read"],
                &format!("to see that the tokens of {name} outlive Keyward's"),
            );
            if acts {
                all.add(&format!("auth/token/create/{}", k.token_role), &["update"], &format!("to make a token for each lease of {name}"));
                for (path, what) in [("auth/token/renew-accessor", "renew"), ("auth/token/revoke-accessor", "revoke")] {
                    all.add(path, &["update"], &format!("to {what} the tokens of leases"));
                }
                for what in ["lookup", "renew", "revoke"] {
                    all.add(&format!("sys/leases/{what}"), &["update"], &format!("to {what} leases"));
                }
            }
        }
        KindConfig::VaultRoot(k) => {
            let connection = format!("{}/config/{}", k.mount, k.connection);
            let capabilities: &[&str] = if acts { &["read", "update"] } else { &["read"] };
            all.add(&connection, capabilities, &format!("to see whose password {name} is, and to give Vault a new one"));
            all.add(&format!("{}/roles/{}", k.mount, k.canary), &["read"], &format!("to see the canary role of {name}"));
            all.add(&format!("{}/creds/{}", k.mount, k.canary), &["read"], &format!("to prove {name} by a canary"));
            all.add("sys/leases/revoke", &["update"], "to revoke leases");
            if acts && k.method == RootMethod::RotateRoot {
                all.add(&format!("{}/rotate-root/{}", k.mount, k.connection), &["update"], &format!("to rotate {name}"));
            }
        }
        _ => {}
    }
}

/// What consumers read: only named fields are changed, so `patch` and never `update`.
fn published(all: &mut Gathered, secret: &SecretConfig, place: &Place) {
    let name = &secret.name;
    let data = format!("{}/data/{}", place.mount, place.path);
    let (capabilities, why): (&[&str], _) = match (secret.mode, place.is_missing) {
        (Mode::Observe, _) => (&["read"], format!("to watch {name}")),
        (Mode::Act, true) => (&["create", "read", "patch"], format!("to publish {name}, whose path does not exist yet")),
        (Mode::Act, false) => (&["read", "patch"], format!("to publish {name}")),
    };
    all.add(&data, capabilities, &why).is_guessed |= place.is_guessed;
    if secret.mode == Mode::Act {
        let metadata = format!("{}/metadata/{}", place.mount, place.path);
        all.option(&metadata, &["patch"], &format!("to note number and time of the rotation of {name} for people")).is_guessed |=
            place.is_guessed;
    }
}

/// Needs by path: what two secrets need of one path is one need.
#[derive(Default)]
struct Gathered(BTreeMap<String, Need>);

impl Gathered {
    fn add(&mut self, path: &str, capabilities: &[&'static str], why: &str) -> &mut Need {
        let need = self.0.entry(path.to_owned()).or_insert_with(|| Need {
            path: path.to_owned(),
            grant: path.to_owned(),
            capabilities: Vec::new(),
            why: why.to_owned(),
            is_optional: false,
            is_guessed: false,
            instead: None,
        });
        need.capabilities = ORDER.into_iter().filter(|c| need.capabilities.contains(c) || capabilities.contains(c)).collect();
        if !need.why.contains(why) {
            need.why = format!("{}, and {why}", need.why);
        }
        need
    }

    fn option(&mut self, path: &str, capabilities: &[&'static str], why: &str) -> &mut Need {
        let need = self.add(path, capabilities, why);
        need.is_optional = true;
        need
    }
}

/// What the token lacks, each with the policy line that grants it; a line is said once for all paths that it serves.
pub fn judge(needs: &[Need], capabilities: &Capabilities) -> Vec<Finding> {
    let mut lacking: BTreeMap<&str, Vec<(&Need, Vec<&str>)>> = BTreeMap::new();
    for need in needs {
        let allows = |c: &str| capabilities.allows(&need.path, c) || need.instead.as_ref().is_some_and(|path| capabilities.allows(path, c));
        let missing: Vec<&str> = need.capabilities.iter().copied().filter(|c| !allows(c)).collect();
        if !missing.is_empty() {
            lacking.entry(&need.grant).or_default().push((need, missing));
        }
    }
    let mut findings: Vec<Finding> = lacking.values().map(|needs| denied(needs)).collect();
    let granted = needs.len() - lacking.values().map(Vec::len).sum::<usize>();
    if granted > 0 {
        let paths = if granted == 1 { "path" } else { "paths" };
        findings.insert(0, Finding::well(format!("the token may do what it must at {granted} {paths}")));
    }
    findings
}

fn denied(needs: &[(&Need, Vec<&str>)]) -> Finding {
    let missing: Vec<&str> = ORDER.into_iter().filter(|c| needs.iter().any(|(_, missing)| missing.contains(c))).collect();
    let all: Vec<&str> = ORDER.into_iter().filter(|c| needs.iter().any(|(need, _)| need.capabilities.contains(c))).collect();
    let (first, _) = needs[0];
    let place = if needs.len() == 1 { first.path.as_str() } else { first.grant.as_str() };
    let mut says = format!("the token may not {} {place}: needed {}", missing.join(", "), first.why);
    if first.is_guessed {
        says.push_str("; or nothing is mounted there, which Vault does not tell apart");
    }
    let finding = if first.is_optional { Finding::warning(says) } else { Finding::wrong(says) };
    finding.is(Trouble::RightMissing).cure(policy_line(&first.grant, &all)).means(Exit::Denied)
}

/// A policy's line that grants these capabilities at a path.
pub fn policy_line(path: &str, capabilities: &[&str]) -> String {
    let quoted: Vec<String> = capabilities.iter().map(|c| format!("\"{c}\"")).collect();
    format!("path \"{}\" {{ capabilities = [{}] }}", policy_path(path), quoted.join(", "))
}

/// A path as it stands in a policy: in HCL a quote and a backslash inside a text are escaped, and `${` begins a template.
pub fn policy_path(path: &str) -> String {
    path.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${")
}

#[cfg(test)]
mod tests;
