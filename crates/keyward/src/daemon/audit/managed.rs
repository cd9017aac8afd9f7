//! Which paths of the log belong to which configured secret. Never a secret's value.

use crate::config::KindConfig;
use crate::daemon::shared::Live;
use keyward_audit::ManagedPaths;
use std::collections::BTreeMap;

/// Configured KV paths as mount and path below it, as far as Vault has said.
pub type Splits = BTreeMap<String, (String, String)>;

/// What the configuration wants watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace's path with a slash at its end, or empty.
    pub namespace: String,
    secrets: BTreeMap<String, Places>,
}

/// Where one secret can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    kv: Option<String>,
    static_role: Option<(String, String)>,
}

impl Wanted {
    /// What this configuration wants.
    pub fn of(live: &Live) -> Self {
        let places = |kind: &KindConfig| Places {
            kv: kind.path().map(str::to_owned),
            static_role: if let KindConfig::VaultStaticRole(k) = kind { Some((k.mount.clone(), k.role.clone())) } else { None },
        };
        let secrets = live.secrets.iter().map(|(name, managed)| (name.clone(), places(&managed.config.kind))).collect();
        Self { namespace: live.config.vault.namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default(), secrets }
    }

    /// The KV paths whose mount has to be asked for.
    pub fn kv_paths(&self) -> impl Iterator<Item = &str> {
        self.secrets.values().filter_map(|places| places.kv.as_deref())
    }

    /// Whether a secret is among them.
    pub fn has(&self, secret: &str) -> bool {
        self.secrets.contains_key(secret)
    }

    /// The paths as the log names them, and for each secret all of whose places are known, where those are.
    pub fn paths(&self, splits: &Splits) -> (ManagedPaths, BTreeMap<String, String>) {
        let (mut paths, mut watched) = (ManagedPaths::default(), BTreeMap::new());
        for (secret, places) in &self.secrets {
            let mut at = Vec::new();
            if let Some((mount, role)) = &places.static_role {
                paths.add_static_role(secret, &format!("{}{mount}", self.namespace), role);
                at.push(format!("{}{mount}/static-creds/{role}", self.namespace));
            }
            if let Some(kv) = &places.kv {
                let Some((mount, key)) = splits.get(kv) else { continue };
                paths.add_kv2(secret, &format!("{}{mount}", self.namespace), key);
                at.push(format!("{}{mount}/data/{key}", self.namespace));
            }
            if !at.is_empty() {
                watched.insert(secret.clone(), at.join(" "));
            }
        }
        (paths, watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_watched_once_all_its_places_are_known() {
        let kv = Places { kv: Some("team/kv/app".into()), static_role: None };
        let copied = Places { kv: Some("team/kv/copy".into()), static_role: Some(("database".into(), "legacy".into())) };
        let secrets = BTreeMap::from([("app".to_owned(), kv), ("legacy".to_owned(), copied)]);
        let wanted = Wanted { namespace: "ns/".into(), secrets };
        assert!(wanted.paths(&Splits::new()).1.is_empty());
        let mut splits = Splits::from([("team/kv/app".into(), ("team/kv".into(), "app".into()))]);
        assert_eq!(wanted.paths(&splits).1, BTreeMap::from([("app".into(), "ns/team/kv/data/app".into())]));
        splits.insert("team/kv/copy".into(), ("team/kv".into(), "copy".into()));
        let watched = wanted.paths(&splits).1;
        assert_eq!(watched.get("legacy").map(String::as_str), Some("ns/database/static-creds/legacy ns/team/kv/data/copy"));
    }
}
