//! Leases, and tokens that are made to mint them, on a real server with a real database.

use crate::{root, with_token};
use keyward_harness::{DatabaseMount, servers, unique, wait_until};
use keyward_secret::Secret;
use keyward_vault::{Kind, Minting};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(1);

/// A mount with the dynamic role `app`, and a token role whose tokens may lease from it.
fn mount() -> (DatabaseMount, String) {
    let (vault, postgres) = (servers().vault(), servers().postgres());
    let mount = vault.database_mount(postgres);
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({ "db_name": mount.connection, "creation_statements": create, "default_ttl": "1h", "max_ttl": "40h" });
    vault.must("POST", &format!("{}/roles/app", mount.path), Some(role)).unwrap();
    let name = unique("minting");
    let policy = format!("path \"{}/creds/app\" {{ capabilities = [\"read\"] }}", mount.path);
    vault.must("PUT", &format!("sys/policies/acl/{name}"), Some(json!({ "policy": policy }))).unwrap();
    let role =
        json!({ "orphan": true, "renewable": true, "token_period": "2h", "allowed_policies": [name], "token_no_default_policy": true });
    vault.must("POST", &format!("auth/token/roles/{name}"), Some(role)).unwrap();
    (mount, name)
}

fn exists(user: &str) -> bool {
    servers().postgres().psql(&format!("SELECT 1 FROM pg_roles WHERE rolname = '{user}'")).unwrap() == "1"
}

#[tokio::test]
async fn a_lease_lives_and_dies_with_the_token_that_minted_it() {
    let (mount, role) = mount();
    let policy = format!(
        "path \"auth/token/create/{role}\" {{ capabilities = [\"update\"] }}
         path \"auth/token/roles/{role}\" {{ capabilities = [\"read\"] }}
         path \"auth/token/lookup-accessor\" {{ capabilities = [\"update\"] }}
         path \"auth/token/renew-accessor\" {{ capabilities = [\"update\"] }}
         path \"auth/token/revoke-accessor\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/lookup\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/renew\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}
         path \"{}/roles/app\" {{ capabilities = [\"read\"] }}",
        mount.path
    );
    let client = with_token(&servers().vault().token(&policy, json!(null)));
    let found = client.token_role(&role).await.unwrap().unwrap();
    assert!(found.orphan && found.renewable && found.explicit_max_ttl.is_none(), "{found:?}");
    assert_eq!((found.period, found.allowed_policies.as_slice()), (Some(Duration::from_hours(2)), std::slice::from_ref(&role)));
    assert_eq!(client.token_role("no-such-role").await.unwrap_err().kind, Kind::Denied);
    assert!(root().token_role(&unique("none")).await.unwrap().is_none());
    let dynamic = client.dynamic_role(&mount.path, "app").await.unwrap().unwrap();
    assert_eq!((dynamic.default_ttl, dynamic.max_ttl), (Some(Duration::from_hours(1)), Some(Duration::from_hours(40))));
    assert!(root().dynamic_role(&mount.path, "none").await.unwrap().is_none());
    assert_eq!(client.mount_of(&mount.path).await.unwrap().max_lease_ttl, Duration::from_hours(768));

    let minting =
        Minting { role: &role, display_name: "keyward-orders", meta: BTreeMap::from([("keyward_secret", "orders")]), num_uses: 0 };
    let minted = client.mint_token(&minting).await.unwrap();
    let token = client.lookup_accessor(&minted.accessor).await.unwrap().unwrap();
    assert!(token.orphan && token.renewable && token.display_name == "token-keyward-orders", "{token:?}");
    let lease = client.issue_lease(&mount.path, "app", Some(&minted.token)).await.unwrap();
    let second = client.issue_lease(&mount.path, "app", Some(&minted.token)).await.unwrap();
    assert!(!format!("{lease:?}").contains(lease.password.expose()));
    assert!(servers().postgres().psql_as(&lease.username, lease.password.expose(), &mount.database, "SELECT 1").is_ok());
    assert!(client.lease(&lease.id).await.unwrap().unwrap().renewable);
    let left = client.renew_lease(&lease.id, Duration::from_hours(2)).await.unwrap().unwrap();
    assert!(left > Duration::from_mins(100) && left <= Duration::from_hours(2), "{left:?}");
    assert!(client.renew_accessor(&minted.accessor).await.unwrap().is_some_and(|renewed| renewed.ttl > Duration::from_mins(100)));

    client.revoke_lease(&lease.id).await.unwrap();
    assert!(!exists(&lease.username) && exists(&second.username));
    client.revoke_accessor(&minted.accessor).await.unwrap();
    wait_until("the end of the second user", LONG, || (!exists(&second.username)).then_some(()));
    for gone in [&lease, &second] {
        wait_until("the end of the lease", LONG, || {
            let answer = servers().vault().api("PUT", "sys/leases/lookup", Some(json!({ "lease_id": gone.id })));
            (answer.unwrap().0 == 400).then_some(())
        });
        assert_eq!(client.lease(&gone.id).await.unwrap(), None);
        assert_eq!(client.renew_lease(&gone.id, Duration::from_hours(1)).await.unwrap(), None);
        client.revoke_lease(&gone.id).await.unwrap();
    }
    assert!(client.lookup_accessor(&minted.accessor).await.unwrap().is_none());
    assert!(client.renew_accessor(&minted.accessor).await.unwrap().is_none());
    client.revoke_accessor(&minted.accessor).await.unwrap();
    let refused = client.issue_lease(&mount.path, "app", Some(&minted.token)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Denied);
}

#[tokio::test]
async fn a_connection_s_password_is_tried_before_it_is_kept() {
    let (mount, _) = mount();
    let client = root();
    let connection = client.database_connection(&mount.path, &mount.connection).await.unwrap().unwrap();
    assert_eq!((connection.username.as_str(), connection.plugin.as_str()), (mount.user.as_str(), "postgresql-database-plugin"));
    assert!(client.database_connection(&mount.path, "none").await.unwrap().is_none());
    let wrong = Secret::new(unique("wrong"));
    let error = client.set_connection_password(&mount.path, &mount.connection, &wrong).await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid, "{error}");
    crate::hides(&error, wrong.expose());
    let lease = client.issue_lease(&mount.path, "app", None).await.unwrap();
    client.revoke_lease(&lease.id).await.unwrap();
    let new = Secret::new(unique("new"));
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" PASSWORD '{}'", mount.user, new.expose())).unwrap();
    client.set_connection_password(&mount.path, &mount.connection, &new).await.unwrap();
    let lease = client.issue_lease(&mount.path, "app", None).await.unwrap();
    client.revoke_lease(&lease.id).await.unwrap();
    client.rotate_root(&mount.path, &mount.connection).await.unwrap();
    assert!(servers().postgres().psql_as(&mount.user, new.expose(), &mount.database, "SELECT 1").is_err());
    let lease = client.issue_lease(&mount.path, "app", None).await.unwrap();
    client.revoke_lease(&lease.id).await.unwrap();
}
