//! What Keyward's own calls look like in the log, so that they count neither as use nor as a stranger's. Never a token.

use crate::config::Config;
use keyward_audit::Own;
use keyward_store::{Sqlite, Store};
use keyward_vault::{Client, TokenInfo};
use serde::{Deserialize, Serialize};

/// How many hashed accessors of earlier tokens are remembered: the log may be read long after a token was replaced.
const REMEMBERED: usize = 64;
/// The device that is asked where the token may not list them: the name under which `vault audit enable file` enables one.
const USUAL_DEVICE: &str = "file/";

/// The marks of Keyward's own calls, oldest first; kept with the place in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    accessors: Vec<String>,
    entity_ids: Vec<String>,
    display_names: Vec<String>,
}

impl Marks {
    /// What `token`, whose accessor the audit devices write as `hashes`, is to be told by. The accessor itself is among the marks, for
    /// devices that do not hash it.
    fn of(token: &TokenInfo, hashes: Vec<String>) -> Self {
        // A token made from another one carries its maker's entity; only a login's entity is Keyward's own.
        let logged_in = token.path.starts_with("auth/") && !token.path.starts_with("auth/token/");
        let exact = !hashes.is_empty();
        let only = |text: &String, really: bool| (really && !text.is_empty()).then(|| text.clone()).into_iter().collect::<Vec<String>>();
        Self {
            accessors: hashes.into_iter().chain(only(&token.accessor, true)).collect(),
            entity_ids: only(&token.entity_id, logged_in || !exact),
            // `approle` or `root` alone are everybody's name; `token-NAME` was given.
            display_names: only(&token.display_name, !exact && token.entity_id.is_empty() && token.display_name.starts_with("token-")),
        }
    }

    /// The marks with those of a newer token: accessors add up, the rest is replaced.
    pub fn join(&mut self, newer: Self) {
        self.accessors.retain(|accessor| !newer.accessors.contains(accessor));
        self.accessors.extend(newer.accessors);
        let excess = self.accessors.len().saturating_sub(REMEMBERED);
        self.accessors.drain(..excess);
        self.entity_ids = newer.entity_ids;
        self.display_names = newer.display_names;
    }

    /// As the rules and the usage ask.
    pub fn own(&self) -> Own {
        let set = |texts: &[String]| texts.iter().cloned().collect();
        Own { accessors: set(&self.accessors), entity_ids: set(&self.entity_ids), display_names: set(&self.display_names) }
    }
}

/// The marks of the token that `client` uses, which is `token`.
pub async fn marks(client: &Client, token: &TokenInfo) -> Marks {
    let devices = match client.audit_devices().await {
        Ok(devices) => devices.into_iter().map(|device| device.path).collect(),
        Err(_) => vec![USUAL_DEVICE.to_owned()],
    };
    let mut hashes = Vec::new();
    for device in devices {
        match client.audit_hash(&device, &token.accessor).await {
            Ok(hash) => hashes.push(hash),
            Err(error) => tracing::debug!(device, %error, "Our accessor's hash is not known for this device."),
        }
    }
    let marks = Marks::of(token, hashes);
    if marks.accessors.len() < 2 && marks.entity_ids.is_empty() && marks.display_names.is_empty() {
        tracing::warn!(
            "Keyward cannot tell its own calls in the audit log from others': grant it `update` on sys/audit-hash/file (or whatever the device is called)."
        );
    }
    marks
}

/// What the local store remembers of Keyward's own calls; nothing where it cannot be read.
pub async fn known_marks(config: &Config) -> Own {
    let mut all = Marks::default();
    if let Ok(store) = Sqlite::open_read_only(&config.store).await {
        for node in &config.vault.nodes {
            let state = store.load_audit(&node.name).await.ok().flatten();
            if let Some(marks) = state.and_then(|state| serde_json::from_str(&state.counters_json).ok()) {
                all.join(marks);
            }
        }
    }
    all.own()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn token(path: &str, entity: &str, name: &str) -> TokenInfo {
        TokenInfo {
            ttl: Duration::ZERO,
            creation_ttl: Duration::ZERO,
            expire_time: None,
            renewable: false,
            period: None,
            explicit_max_ttl: None,
            policies: vec![],
            accessor: "plain".into(),
            display_name: name.into(),
            entity_id: entity.into(),
            orphan: true,
            token_type: "service".into(),
            num_uses: 0,
            path: path.into(),
            meta: std::collections::BTreeMap::new(),
        }
    }

    fn marks(token: &TokenInfo, hashes: &[&str]) -> [usize; 3] {
        let own = Marks::of(token, hashes.iter().map(|h| (*h).to_owned()).collect()).own();
        [own.accessors.len(), own.entity_ids.len(), own.display_names.len()]
    }

    #[test]
    fn the_exact_mark_is_preferred_and_a_makers_entity_is_not_ours() {
        let (login, made) = ("auth/approle/login", "auth/token/create");
        assert_eq!(marks(&token(login, "e", "approle"), &["h"]), [2, 1, 0]);
        assert_eq!(marks(&token(made, "person", "token-keyward"), &["h"]), [2, 0, 0]);
        assert_eq!(marks(&token(made, "person", "token-keyward"), &[]), [1, 1, 0]);
        assert_eq!(marks(&token(made, "", "token-keyward"), &[]), [1, 0, 1]);
        assert_eq!(marks(&token(made, "", "root"), &[]), [1, 0, 0], "everybody's name is no mark");
    }

    #[test]
    fn earlier_accessors_are_remembered_up_to_a_bound() {
        let mut all = Marks::default();
        for i in 0..REMEMBERED + 5 {
            all.join(Marks { accessors: vec![i.to_string()], entity_ids: vec![format!("e{i}")], display_names: vec![] });
            all.join(Marks { accessors: vec![i.to_string()], ..all.clone() });
        }
        let own = all.own();
        assert_eq!(own.accessors.len(), REMEMBERED);
        assert!(own.accessors.contains("68") && !own.accessors.contains("4"));
        assert_eq!(own.entity_ids.len(), 1);
    }
}
