//! Conditions of things that are configured no more. Nobody looks at those things any longer, so nobody would ever resolve them.

use crate::config::Config;
use crate::daemon::reach;
use crate::daemon::watch::{Condition, NO_ACTIVE, node_names};

/// Conditions of a secret, by the first part of the key.
const OF_SECRETS: [&str; 8] = [
    "rotation-failed",
    "rotation-stuck",
    "rotation-deferred",
    "supply-due",
    "overdue",
    "retire-waits",
    "credential-invalid",
    "notify-failed",
];

/// Whether a condition belongs to a node or a secret that the configuration does not name.
pub fn is_stale(key: &str, config: &Config) -> bool {
    if key == NO_ACTIVE {
        return config.vault.nodes.is_empty();
    }
    if let Some(name) = reach::name_in(key) {
        return !reach::names(config).iter().any(|n| n == name);
    }
    let Some((condition, subject)) = key.split_once('/') else { return false };
    if Condition::ALL.iter().any(|c| c.name() == condition) {
        return !node_names(&config.vault).contains(subject);
    }
    OF_SECRETS.contains(&condition) && config.secret(subject).is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn what_is_configured_or_unknown_stays() {
        let text = r#"
            [vault]
            address = "https://vault.example.com:8200"
            [[vault.node]]
            name = "vault-1"
            url = "https://vault-1.example.com:8200"
            [[secret]]
            name = "a"
            class = "api-key"
            kind = "manual"
            path = "secret/a"
            set = { key = "{value}" }
        "#;
        let config = Config::parse(text, "test.toml", &Environment::empty()).unwrap();
        for key in ["vault-sealed/vault-1", "overdue/a", "token", "alerts-overflow/book", "root-token-used/anything", NO_ACTIVE] {
            assert!(!is_stale(key, &config), "{key}");
        }
        for key in [
            "vault-sealed/vault-2",
            "vault-unreachable/vault",
            "overdue/b",
            "rotation-stuck/b",
            "credential-invalid/b",
            "out-of-reach/alerts by mail",
            "out-of-reach/database keeper@db:5432/shop",
        ] {
            assert!(is_stale(key, &config), "{key}");
        }
    }
}
