//! What each role of an organisation must be allowed to do with a configuration, as lines of a policy, each with its reason.
//!
//! It never asks Vault. What Keyward itself needs is said once, by `check` (its `needs`); here it is only put in the form of a policy.

use crate::commands::check::needs::{self, Place, policy_path};
use crate::commands::init::wanted::{self, Thing};
use crate::config::{Config, InitRoleKind, KindConfig};
use clap::ValueEnum;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The first line of every policy that Keyward writes, by which it knows its own.
pub const MARK: &str = "# Made by Keyward";

/// The order in which capabilities are written.
const ORDER: [&str; 7] = ["create", "read", "update", "patch", "delete", "list", "sudo"];

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Keyward's daemon
    Keyward,
    /// Services that read the secrets
    Backend,
    /// A person or a job that rotates by hand
    Rotation,
    /// Whoever sets Vault up for Keyward, and looks after tokens and AppRoles
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Keyward, Self::Backend, Self::Rotation, Self::Admin];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyward => "keyward",
            Self::Backend => "backend",
            Self::Rotation => "rotation",
            Self::Admin => "admin",
        }
    }

    /// The policy's name in Vault: Keyward's own is named as its AppRole, the others begin with that.
    pub fn policy(self, config: &Config) -> String {
        let name = &config.init.name;
        if self == Self::Keyward { name.clone() } else { format!("{name}-{}", self.name()) }
    }

    const fn says(self) -> &'static str {
        match self {
            Self::Keyward => "what its daemon may do",
            Self::Backend => "what services that read the secrets may do",
            Self::Rotation => "what a person or a job may do that rotates by hand (keyward rotate --alone, plan, status)",
            Self::Admin => "what whoever runs keyward init, token, approle and policy may do",
        }
    }
}

/// One path of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As in the policy.
    pub path: String,
    /// In [`ORDER`].
    pub capabilities: Vec<&'static str>,
    /// Why, each once.
    pub why: Vec<String>,
}

/// Grants by path.
#[derive(Default)]
struct Lines(BTreeMap<String, Grant>);

impl Lines {
    fn add(&mut self, path: impl Into<String>, capabilities: &[&'static str], why: impl Into<String>) {
        let (path, why) = (path.into(), why.into());
        let grant = self.0.entry(path.clone()).or_insert_with(|| Grant { path, capabilities: Vec::new(), why: Vec::new() });
        grant.capabilities = ORDER.into_iter().filter(|c| grant.capabilities.contains(c) || capabilities.contains(c)).collect();
        if !grant.why.contains(&why) {
            grant.why.push(why);
        }
    }
}

/// What is known of Vault beside the configuration. Empty, everything is taken to be missing yet, so that it may be made.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where the paths are.
    pub places: BTreeMap<String, Place>,
    /// The transit keys that sign (`mount/keys/name`); all others encrypt.
    pub signing: BTreeSet<String>,
}

/// The lines of a role's policy, by path.
pub fn grants(role: Role, config: &Config, known: &Known) -> Vec<Grant> {
    let mut lines = Lines::default();
    match role {
        Role::Keyward => keyward(config, known, &mut lines),
        Role::Backend => backend(config, known, &mut lines),
        Role::Rotation => {
            // What only a daemon does: following the audit logs, and keeping a token of its own alive; and what only its `check` looks at.
            let mut by_hand = config.clone();
            by_hand.audit.evidence = None;
            by_hand.vault.nodes.iter_mut().for_each(|node| node.audit_log = None);
            keyward(&by_hand, known, &mut lines);
            let records = format!("{}/config", config.vault.record_mount);
            for path in ["auth/token/renew-self", "auth/token/revoke-self", "sys/leases/count", &records] {
                lines.0.remove(path);
            }
        }
        Role::Admin => admin(config, &mut lines),
    }
    lines.0.into_values().collect()
}

fn keyward(config: &Config, known: &Known, lines: &mut Lines) {
    for need in needs::needs(config, &known.places) {
        if !is_other_use(&need.path, config, known) {
            lines.add(need.grant, &need.capabilities, need.why);
        }
    }
    lines.add("sys/capabilities-self", &["update"], "to say what the token may not do (keyward check)");
    if matches!(config.vault.auth, Some(crate::config::Auth::AppRole { .. })) {
        lines.add("auth/token/revoke-self", &["update"], "to give the token of a login back (keyward check)");
    }
}

/// A transit key either encrypts or signs; what is needed for the other use is not granted.
fn is_other_use(path: &str, config: &Config, known: &Known) -> bool {
    config.secrets.iter().any(|secret| {
        let KindConfig::TransitKey(k) = &secret.kind else { return false };
        let uses: [&str; 2] =
            if known.signing.contains(&format!("{}/keys/{}", k.mount, k.key)) { ["encrypt", "decrypt"] } else { ["sign", "verify"] };
        uses.iter().any(|other| *path == format!("{}/{other}/{}", k.mount, k.key))
    })
}

fn backend(config: &Config, known: &Known, lines: &mut Lines) {
    lines.add("auth/token/lookup-self", &["read"], "to know how long the token lives");
    lines.add("auth/token/renew-self", &["update"], "to keep the token alive");
    let mut leased = BTreeSet::new();
    let mut transit: BTreeMap<(String, String), String> = BTreeMap::new();
    for secret in &config.secrets {
        let name = &secret.name;
        match &secret.kind {
            // Read by whoever delivers it, not by every service.
            KindConfig::ApproleSecretId(_) => continue,
            KindConfig::VaultStaticRole(k) if k.copy.is_none() => {
                lines.add(format!("{}/static-creds/{}", k.mount, k.role), &["read"], format!("to read {name}"));
            }
            KindConfig::VaultDynamicLease(k) => drop(leased.insert((k.mount.clone(), k.role.clone()))),
            KindConfig::VaultRoot(k) => drop(leased.insert((k.mount.clone(), k.canary.clone()))),
            KindConfig::TransitKey(k) => drop(transit.insert((k.mount.clone(), k.key.clone()), name.clone())),
            _ => {}
        }
        for path in secret.kind.path().into_iter().chain(secret.kind.public().map(|(path, _)| path)) {
            let (mount, below) = place(known, path);
            lines.add(format!("{mount}/data/{below}"), &["read"], format!("to read {name}"));
        }
    }
    for (mount, key) in &config.init.transit_keys {
        transit.entry((mount.clone(), key.clone())).or_insert_with(|| format!("{mount}/keys/{key}"));
    }
    for ((mount, key), name) in transit {
        let signs = known.signing.contains(&format!("{mount}/keys/{key}"));
        for (call, what) in if signs { [("sign", "sign"), ("verify", "verify")] } else { [("encrypt", "encrypt"), ("decrypt", "decrypt")] }
        {
            lines.add(format!("{mount}/{call}/{key}"), &["update"], format!("to {what} with {name}"));
        }
    }
    for role in &config.init.roles {
        let key = (role.mount.clone(), role.name.clone());
        if matches!(role.kind, InitRoleKind::Dynamic { .. }) && !leased.contains(&key) {
            lines.add(format!("{}/creds/{}", role.mount, role.name), &["read"], format!("to get a database user of {}", role.name));
            lines.add("sys/leases/renew", &["update"], "to keep such a user for as long as it is used");
        }
    }
}

/// Where a KV path is: known, or with its first segment as the mount.
pub fn place<'a>(known: &'a Known, path: &'a str) -> (&'a str, &'a str) {
    known.places.get(path).map_or_else(|| path.split_once('/').unwrap_or((path, "")), |place| (&place.mount, &place.path))
}

/// What setting up reads and writes, thing by thing, and what looking after tokens and AppRoles takes.
fn admin(config: &Config, lines: &mut Lines) {
    for item in wanted::things(config, &BTreeMap::new(), &BTreeSet::new()) {
        let why = format!("to set up {}", item.name);
        match &item.thing {
            Thing::Mount { is_auth: true, path, .. } => {
                lines.add("sys/auth", &["read"], "to see which login methods there are");
                lines.add(format!("sys/auth/{path}"), &["update", "sudo"], why);
            }
            Thing::Mount { path, is_kv, .. } => {
                lines.add("sys/mounts", &["read"], "to see which engines there are");
                lines.add(format!("sys/mounts/{path}"), &["update"], why.clone());
                if *is_kv {
                    lines.add(format!("{path}/config"), &["read"], format!("{why}, and wait for it"));
                }
            }
            Thing::Audit { device, .. } => {
                lines.add("sys/audit", &["read", "sudo"], "to see which audit devices there are");
                lines.add(format!("sys/audit/{device}"), &["update", "sudo"], why);
            }
            Thing::Policy { name, .. } => lines.add(format!("sys/policies/acl/{name}"), &["read", "update"], why),
            Thing::Object { path, has_create, .. } => {
                lines.add(path.clone(), if *has_create { &["create", "read", "update"] } else { &["read", "update"] }, why);
            }
            Thing::Connection { path, .. } => lines.add(path.clone(), &["create", "read", "update"], why),
            Thing::Login { mount, role, .. } => {
                let role = format!("auth/{mount}/role/{role}");
                lines.add(format!("{role}/role-id"), &["read"], "to hand Keyward its role id");
                approle(lines, &role);
            }
            Thing::EngineUser { .. } | Thing::Rights { .. } | Thing::Fence { .. } => {}
        }
    }
    for secret in &config.secrets {
        if let KindConfig::ApproleSecretId(k) = &secret.kind {
            approle(lines, &format!("auth/{}/role/{}", k.mount, k.role));
        }
    }
    lines.add("auth/token/lookup-self", &["read"], "to see whose token it is");
    lines.add("auth/token/renew-self", &["update"], "to keep the administrator's own token alive");
    lines.add("auth/token/lookup", &["update"], "to see whose a token in a file is (keyward token lookup)");
    lines.add("auth/token/accessors", &["list", "sudo"], "to list all tokens by their accessors");
    for (what, why) in [
        ("lookup", "to see whose token an accessor is"),
        ("renew", "to renew a token by its accessor"),
        ("revoke", "to end a token by its accessor"),
    ] {
        lines.add(format!("auth/token/{what}-accessor"), &["update"], why);
    }
    lines.add(format!("auth/token/create/{}", wanted::services(config)), &["update"], "to make tokens for services");
    lines.add("sys/policies/acl", &["list"], "to look through all policies (keyward policy audit)");
    lines.add("sys/policies/acl/*", &["read"], "to look through all policies (keyward policy audit)");
    lines.add("sys/capabilities-self", &["update"], "to compare a token with its policy (keyward policy check)");
}

fn approle(lines: &mut Lines, role: &str) {
    lines.add(role, &["read"], "to see an AppRole's settings");
    lines.add(format!("{role}/secret-id"), &["update", "list"], "to make secret ids, and to find them");
    for what in ["lookup", "destroy"] {
        lines.add(
            format!("{role}/secret-id-accessor/{what}"),
            &["update"],
            format!("to {} secret ids", if what == "lookup" { "see" } else { "end" }),
        );
    }
}

/// The policy's text. `paths` of it in order, a reason over each.
pub fn text(role: Role, grants: &[Grant]) -> String {
    let mut text = format!("{MARK}: {}.\n", role.says());
    for grant in grants {
        let capabilities: Vec<String> = grant.capabilities.iter().map(|c| format!("\"{c}\"")).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n# {}\npath \"{}\" {{\n  capabilities = [{}]\n}}\n",
            reason(&grant.why),
            policy_path(&grant.path),
            capabilities.join(", ")
        );
    }
    text
}

/// Many reasons of one kind are shortened: a policy has a size limit, and nobody reads a hundred names.
fn reason(why: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = why.iter().take(SHOWN).map(String::as_str).collect();
    let more = why.len().saturating_sub(SHOWN);
    if more == 0 { shown.join("; ") } else { format!("{}; and {more} more", shown.join("; ")) }
}

#[cfg(test)]
mod tests;
