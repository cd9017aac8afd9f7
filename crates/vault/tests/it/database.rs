use crate::{root, with_token};
use keyward_harness::{DatabaseMount, servers};
use keyward_vault::{DatabaseRole, Kind, StaticSchedule};
use serde_json::json;
use std::time::Duration;

/// A mount with the static role `app` for a fresh user.
fn mount() -> (DatabaseMount, String) {
    let (vault, postgres) = (servers().vault(), servers().postgres());
    let mount = vault.database_mount(postgres);
    let (user, _) = postgres.fresh_role("app");
    postgres.psql(&format!("GRANT \"{user}\" TO \"{}\" WITH ADMIN OPTION", mount.user)).unwrap();
    vault.static_role(&mount, "app", &user).unwrap();
    (mount, user)
}

#[tokio::test]
async fn a_rotation_changes_what_is_handed_out_and_what_logs_in() {
    let (mount, user) = mount();
    let client = root();
    let DatabaseRole::Static(before) = client.static_role(&mount.path, "app").await.unwrap() else { panic!() };
    assert_eq!((before.username.as_str(), before.db_name.as_str()), (user.as_str(), mount.connection.as_str()));
    assert_eq!(before.schedule, StaticSchedule::Period(Duration::from_hours(8760)));
    let old = client.static_creds(&mount.path, "app").await.unwrap();
    assert_eq!(old.last_vault_rotation, before.last_vault_rotation);
    assert!(!format!("{old:?}").contains(old.password.expose()));

    client.rotate_role(&mount.path, "app").await.unwrap();

    let DatabaseRole::Static(after) = client.static_role(&mount.path, "app").await.unwrap() else { panic!() };
    assert!(after.last_vault_rotation > before.last_vault_rotation);
    let new = client.static_creds(&mount.path, "app").await.unwrap();
    assert_eq!((new.last_vault_rotation, new.username.as_str()), (after.last_vault_rotation, user.as_str()));
    assert!(!new.password.same_as(&old.password));
    let login = |password: &str| servers().postgres().psql_as(&user, password, &mount.database, "SELECT 1");
    assert!(login(new.password.expose()).is_ok());
    assert!(login(old.password.expose()).is_err());
}

#[tokio::test]
async fn what_is_no_static_role_is_told_apart() {
    let (mount, _) = mount();
    let client = root();
    let dynamic = json!({ "db_name": mount.connection, "creation_statements": "SELECT 1" });
    servers().vault().must("POST", &format!("{}/roles/lease", mount.path), Some(dynamic)).unwrap();
    assert_eq!(client.static_role(&mount.path, "lease").await.unwrap(), DatabaseRole::Dynamic);
    assert_eq!(client.static_role(&mount.path, "none").await.unwrap(), DatabaseRole::Missing);
    assert_eq!(client.static_role("nomount", "none").await.unwrap_err().kind, Kind::NotFound);
    for name in ["lease", "none"] {
        assert_eq!(client.rotate_role(&mount.path, name).await.unwrap_err().kind, Kind::NotFound, "{name}");
        assert_eq!(client.static_creds(&mount.path, name).await.unwrap_err().kind, Kind::NotFound, "{name}");
    }
    let policy = format!("path \"{}/static-roles/*\" {{ capabilities = [\"read\"] }}", mount.path);
    let narrow = with_token(&servers().vault().token(&policy, json!(null)));
    assert_eq!(narrow.static_role(&mount.path, "lease").await.unwrap(), DatabaseRole::NotStatic);
    assert_eq!(narrow.static_creds(&mount.path, "app").await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn a_rotation_that_fails_in_the_database_leaves_its_outcome_unknown() {
    let (mount, user) = mount();
    let postgres = servers().postgres();
    postgres.psql(&format!("REVOKE \"{user}\" FROM \"{}\"", mount.user)).unwrap();
    postgres.psql(&format!("ALTER ROLE \"{}\" NOCREATEROLE", mount.user)).unwrap();
    let error = root().rotate_role(&mount.path, "app").await.unwrap_err();
    assert_eq!((error.kind, error.status), (Kind::Internal, Some(500)));
    assert!(error.outcome_unknown() && error.retry());
}
