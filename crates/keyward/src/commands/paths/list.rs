//! Which paths of Vault a configuration names, and what is in each. Pure; no value is among it.

use crate::config::{Config, InitRoleKind, KindConfig, SecretConfig, SecretRef, Via};
use crate::ports::SecretUsage;
use serde::Serialize;
use std::collections::BTreeSet;

/// A path, as Vault's command line takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The path, mount first.
    pub path: String,
    /// What it is, in a sentence.
    pub what: String,
    /// The secret that it belongs to; absent where none does.
    pub secret: Option<String>,
    /// The secret's class.
    pub class: Option<String>,
    /// The secret's kind.
    pub kind: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The fields that are named here, sorted; a document may have others, which Keyward leaves alone.
    pub fields: Vec<String>,
    /// Those of the fields that never rotate.
    pub pinned: Vec<String>,
    /// The command that reads it; absent where nobody but Keyward should.
    pub read_with: Option<String>,
    /// What Keyward itself reads it for; empty where it does not.
    pub keyward: String,
    /// Who reads it for others, as configured.
    pub via: Vec<ForOthers>,
    /// Whether reads of it are counted by the audit log's followers.
    #[serde(skip)]
    pub is_watched: bool,
    /// Its readers by the audit log; absent where reads of it are not counted, or nobody can be asked.
    pub usage: Option<SecretUsage>,
}

/// Somebody who reads a secret for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForOthers {
    /// Its name in the audit log.
    pub name: String,
    /// For how long those others may hold an older value, in seconds; absent where nobody can say.
    pub within_seconds: Option<u64>,
}

/// Every path that the configuration names, sorted.
pub fn entries(config: &Config) -> Vec<Entry> {
    let mut entries: Vec<Entry> = config.secrets.iter().flat_map(of_secret).collect();
    let leased: BTreeSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    entries.extend(config.init.roles.iter().filter_map(|role| {
        let (path, entry) = match &role.kind {
            InitRoleKind::Static { user, .. } => (
                format!("{}/static-creds/{}", role.mount, role.name),
                format!("the password of {user}, which Vault changes at its own pace"),
            ),
            InitRoleKind::Dynamic { .. } => {
                (format!("{}/creds/{}", role.mount, role.name), "a new database user with a lease, for each read of it".to_owned())
            }
        };
        (!leased.contains(&path)).then(|| Entry { fields: user_and_password(), ..read(path, entry) })
    }));
    entries.extend(config.init.transit_keys.iter().filter_map(|(mount, key)| {
        let path = format!("{mount}/keys/{key}");
        (!leased.contains(&path)).then(|| Entry { read_with: None, ..bare(path, "a key that never leaves Vault".to_owned()) })
    }));
    let records = &config.vault.record_mount;
    entries.push(Entry {
        keyward: "to keep its locks, its memory, and new values until they are published".to_owned(),
        ..bare(format!("{records}/*"), "Keyward's records: a key for each secret, and class/NAME; for nobody else to read".to_owned())
    });
    entries.extend(config.secrets.iter().flat_map(references));
    entries.sort_by(|a, b| (&a.path, &a.secret).cmp(&(&b.path, &b.secret)));
    entries
}

fn bare(path: String, what: String) -> Entry {
    Entry {
        path,
        what,
        secret: None,
        class: None,
        kind: None,
        owner: None,
        fields: Vec::new(),
        pinned: Vec::new(),
        read_with: None,
        keyward: String::new(),
        via: Vec::new(),
        is_watched: false,
        usage: None,
    }
}

/// What is read with `vault read`.
fn read(path: String, what: String) -> Entry {
    Entry { read_with: Some(format!("vault read {path}")), ..bare(path, what) }
}

fn user_and_password() -> Vec<String> {
    vec!["password".to_owned(), "username".to_owned()]
}

fn of_secret(secret: &SecretConfig) -> Vec<Entry> {
    let mut entries = Vec::new();
    let whose = |entry: Entry| Entry {
        secret: Some(secret.name.clone()),
        class: Some(secret.class.clone()),
        kind: Some(secret.kind.name().to_owned()),
        owner: secret.owner.clone(),
        via: secret.readers_via.iter().map(for_others).collect(),
        ..entry
    };
    if let Some(path) = secret.kind.path() {
        entries.push(whose(Entry {
            fields: secret.kind.owned_fields().into_iter().map(str::to_owned).collect(),
            pinned: secret.pinned.clone(),
            read_with: Some(format!("vault kv get {path}")),
            keyward: "to prove what is published".to_owned(),
            is_watched: true,
            ..bare(path.to_owned(), "published by Keyward".to_owned())
        }));
    }
    if let Some((path, field)) = secret.kind.public() {
        let entry = bare(path.to_owned(), "published by Keyward, for everybody: what tokens are verified by".to_owned());
        entries.push(whose(Entry { fields: vec![field.to_owned()], read_with: Some(format!("vault kv get {path}")), ..entry }));
    }
    entries.extend(of_engine(&secret.kind).map(whose));
    entries
}

/// What a kind has in Vault's other engines.
fn of_engine(kind: &KindConfig) -> Option<Entry> {
    let creds = |mount: &str, role: &str, what: &str| Entry {
        fields: user_and_password(),
        ..read(format!("{mount}/creds/{role}"), what.to_owned())
    };
    Some(match kind {
        KindConfig::VaultStaticRole(k) => Entry {
            fields: user_and_password(),
            keyward: "to prove it by a login".to_owned(),
            is_watched: true,
            ..read(
                format!("{}/static-creds/{}", k.mount, k.role),
                "handed out by Vault's database engine; Keyward has it rotated".to_owned(),
            )
        },
        KindConfig::VaultDynamicLease(k) => Entry {
            keyward: "to get the user that it publishes".to_owned(),
            ..creds(&k.mount, &k.role, "a new database user with a lease, for each read of it")
        },
        KindConfig::VaultRoot(k) => Entry {
            keyward: "to prove the engine's own login".to_owned(),
            ..creds(&k.mount, &k.canary, "a user that may log in and no more")
        },
        KindConfig::TransitKey(k) => Entry {
            keyward: "to rotate it, and to prove that it works".to_owned(),
            ..bare(format!("{}/keys/{}", k.mount, k.key), "a key that never leaves Vault".to_owned())
        },
        KindConfig::ApproleSecretId(k) => Entry {
            keyward: "to make a new secret id, and to end the old one".to_owned(),
            ..bare(format!("auth/{}/role/{}", k.mount, k.role), "the AppRole whose secret id is rotated".to_owned())
        },
        _ => return None,
    })
}

/// What Keyward logs in with itself, where that stands in Vault.
fn references(secret: &SecretConfig) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (reference, what) in secret.kind.references() {
        let SecretRef::Vault { path, field } = reference else { continue };
        entries.push(Entry {
            secret: Some(secret.name.clone()),
            fields: vec![field.clone()],
            read_with: Some(format!("vault kv get {path}")),
            keyward: format!("as {what} of {}", secret.name),
            ..bare(path.clone(), "put there by a person".to_owned())
        });
    }
    entries
}

fn for_others(via: &Via) -> ForOthers {
    ForOthers { name: via.name.clone(), within_seconds: via.within.map(|within| within.as_secs()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

    use super::*;
    use crate::config::Environment;

    /// The example names every kind, so every path that there can be is in it.
    #[test]
    fn every_path_of_the_example_is_listed_with_its_fields() {
        let example = include_str!("../../../../../config/keyward.toml");
        let config = Config::parse(example, "keyward.toml", &Environment::default()).unwrap();
        let entries = entries(&config);
        let of =
            |path: &str| entries.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("{path} is not listed: {entries:#?}"));
        let database = of("secret/backend/database");
        assert_eq!(database.fields, ["password", "url", "username"]);
        assert_eq!((database.secret.as_deref(), database.owner.as_deref()), (Some("backend-database"), Some("payments")));
        assert_eq!(database.read_with.as_deref(), Some("vault kv get secret/backend/database"));
        let reporting = of("database/static-creds/reporting");
        assert_eq!((reporting.secret.as_deref(), reporting.is_watched), (Some("reporting"), true));
        assert!(of("database/creds/orders").what.contains("new database user"));
        assert!(of("keyward/*").read_with.is_none());
        let key = entries.iter().find(|entry| entry.kind.as_deref() == Some("transit-key")).unwrap();
        assert!(key.fields.is_empty() && key.read_with.is_none(), "{key:?}");
        for secret in &config.secrets {
            let has_its_own = entries.iter().any(|entry| entry.secret.as_deref() == Some(&secret.name));
            assert!(has_its_own, "{} has no path", secret.name);
        }
        let mut once: Vec<_> = entries.iter().map(|entry| (&entry.path, &entry.secret, &entry.fields)).collect();
        let all = once.len();
        once.dedup();
        assert_eq!(once.len(), all, "something is listed twice");
    }
}
