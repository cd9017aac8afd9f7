//! Vault's database engine: whose login it uses, how long its leases may live, and how many there are.

use super::unasked;
use crate::commands::check::report::Finding;
use crate::commands::check::trouble::Trouble;
use crate::config::{Config, KindConfig, show_duration};
use keyward_vault::{Client, Kind, VaultError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// As whom Vault logs in to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `MOUNT/config/NAME`.
    pub path: String,
    /// The user.
    pub user: String,
}

/// Every mount of the engine that the configuration names, and the connections in them.
pub async fn look(client: &Client, config: &Config, most_leases: usize) -> (Vec<Finding>, Vec<Connection>) {
    let (mut findings, mut all) = (Vec::new(), Vec::new());
    for mount in mounts(config) {
        match connections(client, &mount, config).await {
            Ok((found, connections)) => {
                findings.extend(found);
                all.extend(connections);
            }
            Err(error) => {
                findings.push(unasked(&format!("the connections of {mount}"), &error, &format!("{mount}/config/*"), &["read", "list"]));
            }
        }
        match roles(client, &mount, most_leases).await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                findings.push(unasked(&format!("the dynamic roles of {mount}"), &error, &format!("{mount}/roles/*"), &["read", "list"]));
            }
        }
    }
    (findings, all)
}

fn mounts(config: &Config) -> BTreeSet<String> {
    let secrets = config.secrets.iter().filter_map(|secret| match &secret.kind {
        KindConfig::VaultStaticRole(k) => Some(k.mount.clone()),
        KindConfig::VaultDynamicLease(k) => Some(k.mount.clone()),
        KindConfig::VaultRoot(k) => Some(k.mount.clone()),
        _ => None,
    });
    let init = config.init.connections.iter().map(|c| c.mount.clone()).chain(config.init.roles.iter().map(|r| r.mount.clone()));
    secrets.chain(init).collect()
}

/// Database users that somebody other than Vault's connection logs in as, each with who that is.
fn users(config: &Config) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for secret in &config.secrets {
        if let Some(admin) = secret.kind.admin().and_then(|admin| admin.url.user()) {
            users.insert(admin.to_owned(), format!("the administrator of the secret {}", secret.name));
        }
        // The engine's own login is what such a secret is about.
        if !matches!(secret.kind, KindConfig::VaultRoot(_)) {
            users.extend(secret.kind.users().iter().map(|user| (user.clone(), format!("the services of the secret {}", secret.name))));
        }
    }
    users
}

async fn connections(client: &Client, mount: &str, config: &Config) -> Result<(Vec<Finding>, Vec<Connection>), VaultError> {
    let mut others = users(config);
    for role in client.names_below(&format!("{mount}/static-roles")).await? {
        if let Ok(keyward_vault::DatabaseRole::Static(found)) = client.static_role(mount, &role).await {
            others.insert(found.username, format!("the static role {mount}/static-roles/{role}"));
        }
    }
    let (mut findings, mut all) = (Vec::new(), Vec::new());
    for name in client.names_below(&format!("{mount}/config")).await? {
        let Some(connection) = client.database_connection(mount, &name).await? else { continue };
        let connection = Connection { path: format!("{mount}/config/{name}"), user: connection.username };
        findings.push(own_user(&connection, &others));
        all.push(connection);
    }
    Ok((findings, all))
}

fn own_user(connection: &Connection, others: &BTreeMap<String, String>) -> Finding {
    let Connection { path, user } = connection;
    match others.get(user) {
        Some(who) => Finding::wrong(format!("{path} logs in as {user}, as {who} does: a rotation of one locks the other out"))
            .is(Trouble::EngineUserShared),
        None => Finding::well(format!("{path} has a user that this configuration knows nobody else to have")),
    }
}

async fn roles(client: &Client, mount: &str, most: usize) -> Result<Vec<Finding>, VaultError> {
    let mut findings = Vec::new();
    let names = client.names_below(&format!("{mount}/roles")).await?;
    let limit = if names.is_empty() { Duration::ZERO } else { client.mount_of(mount).await?.max_lease_ttl };
    for name in names {
        let Some(role) = client.dynamic_role(mount, &name).await? else { continue };
        let path = format!("{mount}/roles/{name}");
        findings.extend(capped(&path, role.max_ttl, limit));
        let leases = format!("sys/leases/lookup/{mount}/creds/{name}");
        findings.push(match client.names_below(&leases).await {
            Ok(leases) => piled(&path, leases.len(), most),
            Err(error) if error.kind == Kind::Denied => {
                unasked(&format!("the leases of {path}"), &error, &format!("{leases}/"), &["list", "sudo"])
            }
            Err(error) => return Err(error),
        });
    }
    Ok(findings)
}

fn capped(role: &str, wanted: Option<Duration>, limit: Duration) -> Option<Finding> {
    let wanted = wanted.filter(|wanted| !limit.is_zero() && *wanted > limit)?;
    let says = format!("{role} says max_ttl {}, and its mount allows {}", show_duration(wanted), show_duration(limit));
    Some(Finding::warning(says).is(Trouble::LeaseLimit))
}

fn piled(role: &str, count: usize, most: usize) -> Finding {
    if count > most {
        Finding::warning(format!("{count} leases of {role} are alive, more than {most}")).is(Trouble::LeasePileUp)
    } else {
        Finding::well(format!("{count} leases of {role} are alive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_somebody_else_has_too_is_told() {
        let others = BTreeMap::from([("shop".to_owned(), "the services of the secret db".to_owned())]);
        let by = |user: &str| own_user(&Connection { path: "database/config/pg".into(), user: user.into() }, &others);
        assert_eq!((by("shop").trouble, by("vault").trouble), (Some(Trouble::EngineUserShared), None));
    }

    #[test]
    fn a_role_may_not_promise_more_than_its_mount_and_leases_are_counted() {
        let hours = |n| Duration::from_hours(n);
        assert!(capped("r", Some(hours(24)), hours(1)).is_some());
        assert!(capped("r", Some(hours(1)), hours(1)).is_none() && capped("r", None, hours(1)).is_none());
        assert_eq!(piled("r", 3, 2).trouble, Some(Trouble::LeasePileUp));
        assert_eq!(piled("r", 2, 2).trouble, None);
    }
}
