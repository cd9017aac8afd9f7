//! Database credentials that change by themselves.

use crate::sessions::approle_with;
use crate::{LONG, connect, root, settings, until};
use keyward_client::{Client, DatabaseCredential};
use keyward_harness::{DatabaseMount, servers};
use serde_json::json;
use std::time::{Duration, Instant};

/// A database with the dynamic role `app`, whose leases live so long and at most so long.
fn leased(ttl: &str, max_ttl: &str) -> DatabaseMount {
    let mount = servers().vault().database_mount(servers().postgres());
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({ "db_name": mount.connection, "creation_statements": create, "default_ttl": ttl, "max_ttl": max_ttl });
    servers().vault().must("POST", &format!("{}/roles/app", mount.path), Some(role)).unwrap();
    mount
}

fn logs_in(mount: &DatabaseMount, credential: &DatabaseCredential) -> bool {
    servers().postgres().psql_as(&credential.username, credential.password.expose(), &mount.database, "SELECT 1").is_ok()
}

fn exists(user: &str) -> bool {
    servers().postgres().psql(&format!("SELECT 1 FROM pg_roles WHERE rolname = '{user}'")).unwrap() == "1"
}

#[tokio::test]
async fn leased_credentials_are_renewed_and_replaced_before_they_end() {
    // Long enough for a machine that is busy with other tests to see the overlap.
    let mount = leased("9s", "18s");
    let client = root().await;
    let mut live = client.dynamic_credentials(&mount.path, "app").await.unwrap();
    let first = live.current();
    assert!(logs_in(&mount, &first) && !format!("{first:?}").contains(first.password.expose()));
    let url = first.url("postgresql://{username}:{password}@db/app").unwrap();
    assert!(url.expose().starts_with(&format!("postgresql://{}:", first.username)));
    // Renewed past its first end, then replaced before its last one: at each moment what is current logs in.
    let began = Instant::now();
    let second = tokio::time::timeout(LONG, live.changed()).await.unwrap().unwrap();
    assert!(began.elapsed() > Duration::from_secs(9), "it was renewed at least once");
    assert!(exists(&first.username), "the one of before still works while its own lease lasts");
    assert!(second.number == 2 && second.username != first.username && logs_in(&mount, &second));
    until("the end of the first user", async || !exists(&first.username)).await;
    assert!(logs_in(&mount, &live.current()));

    let third = live.refresh().await.unwrap();
    assert!(third.number >= 3 && logs_in(&mount, &third));
    live.close().await;
    assert!(!exists(&third.username), "its leases end with the handle that is closed");
}

#[tokio::test]
async fn a_lease_that_somebody_revoked_is_replaced_when_a_login_is_refused() {
    let (mount, vault) = (leased("1h", "2h"), servers().vault());
    let client = root().await;
    let live = client.dynamic_credentials(&mount.path, "app").await.unwrap();
    vault.must("POST", &format!("sys/leases/revoke-prefix/{}/creds/app", mount.path), Some(json!({}))).unwrap();
    assert!(!logs_in(&mount, &live.current()));
    let fresh = live.refresh().await.unwrap();
    assert!(logs_in(&mount, &fresh));
    live.close().await;
}

/// Vault ends with a token what was leased by it, however long the lease.
#[tokio::test]
async fn a_lease_that_ends_with_its_token_is_replaced_as_soon_as_the_session_has_another() {
    let mount = leased("1h", "2h");
    let rules = format!(
        "path \"{}/creds/app\" {{ capabilities = [\"read\"] }}\npath \"sys/leases/renew\" {{ capabilities = [\"update\"] }}",
        mount.path
    );
    let client = Client::connect(settings(approle_with(&rules, "6s", "12s"))).await.unwrap();
    let mut live = client.dynamic_credentials(&mount.path, "app").await.unwrap();
    let first = live.current();
    let second = tokio::time::timeout(LONG, live.changed()).await.unwrap().unwrap();
    assert!(second.number == 2 && logs_in(&mount, &second));
    until("the end of the first user", async || !exists(&first.username)).await;
    assert!(logs_in(&mount, &live.current()), "what is current works when the first token and its user are gone");
}

#[tokio::test]
async fn who_may_not_renew_a_lease_gets_another_one() {
    let mount = leased("3s", "1h");
    let rules = format!(
        "path \"{}/creds/app\" {{ capabilities = [\"read\"] }}\npath \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}",
        mount.path
    );
    let client = connect(&servers().vault().token(&rules, json!({ "ttl": "1h" }))).await;
    let mut live = client.dynamic_credentials(&mount.path, "app").await.unwrap();
    for number in 2..4 {
        let next = tokio::time::timeout(LONG, live.changed()).await.unwrap().unwrap();
        assert!(next.number == number && logs_in(&mount, &next));
    }
}

#[tokio::test]
async fn a_rotation_of_a_static_role_is_noticed() {
    let (vault, postgres) = (servers().vault(), servers().postgres());
    let mount = vault.database_mount(postgres);
    let (user, _) = postgres.fresh_role("app");
    postgres.psql(&format!("GRANT \"{user}\" TO \"{}\" WITH ADMIN OPTION", mount.user)).unwrap();
    vault.static_role(&mount, "app", &user).unwrap();
    let client = root().await;
    let mut live = client.static_credentials(&mount.path, "app", Duration::from_millis(200)).await.unwrap();
    let before = live.current();
    vault.must("POST", &format!("{}/rotate-role/app", mount.path), Some(json!({}))).unwrap();
    let after = tokio::time::timeout(LONG, live.changed()).await.unwrap().unwrap();
    assert!(after.rotated > before.rotated && after.username == user);
    let login = |password: &str| postgres.psql_as(&user, password, &mount.database, "SELECT 1").is_ok();
    assert!(login(after.password.expose()) && !login(before.password.expose()));
    // With an interval that is too long, a refused login asks.
    let patient = client.static_credentials(&mount.path, "app", Duration::from_hours(9)).await.unwrap();
    vault.must("POST", &format!("{}/rotate-role/app", mount.path), Some(json!({}))).unwrap();
    assert!(!login(patient.current().password.expose()));
    assert!(login(patient.refresh().await.unwrap().password.expose()));
}
