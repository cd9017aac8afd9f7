//! Secrets, transit and configuration.

use crate::{LONG, connect, fields, publish, root};
use keyward_client::{Based, CameFrom, Configuration, Delete, Error, Fallback, Kind};
use keyward_harness::servers;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn a_secret_is_read_written_and_deleted_by_what_is_said() {
    let (client, mount) = (root().await, servers().vault().kv_mount());
    let path = &format!("{mount}/team/app");
    let nothing = BTreeMap::new();
    assert_eq!(client.get(path).await.unwrap_err(), Error::NoSecret { path: path.clone() });
    let notes = BTreeMap::from([("rotation_period_days".to_owned(), "90".to_owned())]);
    let document = fields(&json!({ "password": "one-password", "port": 5432 }));
    assert_eq!(client.set(path, &document, Based::New, &notes).await.unwrap(), 1);
    assert_eq!(client.set(path, &document, Based::New, &nothing).await.unwrap_err(), Error::Changed { path: path.clone() });
    let read = client.get(path).await.unwrap();
    assert_eq!((read.version, &read.notes), (1, &notes));
    assert_eq!(client.field(path, "password").await.unwrap().expose(), "one-password");
    let missing = client.field(path, "port").await.unwrap_err();
    assert!(missing.to_string().contains("its fields are password, port"), "{missing}");
    assert!(!format!("{read:?}").contains("one-password"));

    assert_eq!(client.patch(path, &fields(&json!({ "password": "two-password", "port": null })), 1, &nothing).await.unwrap(), 2);
    assert!(matches!(client.patch(path, &fields(&json!({ "a": 1 })), 1, &nothing).await, Err(Error::Changed { .. })));
    assert_eq!(client.get(path).await.unwrap().fields.names().collect::<Vec<_>>(), ["password"]);
    assert_eq!(client.get_version(path, 1).await.unwrap().field("password").unwrap().expose(), "one-password");

    for name in ["a/b/c", "a/d"] {
        client.set(&format!("{mount}/{name}"), &document, Based::New, &nothing).await.unwrap();
    }
    let all = client.list(&mount, 100).await.unwrap();
    assert_eq!(all.paths, ["a/b/c", "a/d", "team/app"].map(|p| format!("{mount}/{p}")));
    assert!(!client.list(&mount, 2).await.unwrap().complete);
    assert_eq!(client.metadata(path).await.unwrap().current_version, 2);
    assert!(matches!(client.metadata(&format!("{mount}/none")).await, Err(Error::NoSecret { .. })));

    client.delete(path, &Delete::Newest).await.unwrap();
    assert!(matches!(client.get(path).await, Err(Error::Deleted { .. })));
    client.undelete(path, &[2]).await.unwrap();
    assert_eq!(client.get(path).await.unwrap().version, 2);
    client.delete(path, &Delete::Versions(vec![1])).await.unwrap();
    client.undelete(path, &[1]).await.unwrap();
    client.delete(path, &Delete::DestroyForEver(vec![1])).await.unwrap();
    assert!(client.metadata(path).await.unwrap().versions[&1].destroyed);
    assert_eq!(client.get(path).await.unwrap().version, 2, "the newest is still there");
    client.delete(path, &Delete::EverythingForEver).await.unwrap();
    assert!(matches!(client.get(path).await, Err(Error::NoSecret { .. })));
    assert!(matches!(client.get("sys/anything").await, Err(Error::NotVersioned { .. } | Error::Vault(_))));
}

#[tokio::test]
async fn notes_that_may_not_be_written_do_not_hide_that_the_secret_was() {
    let (vault, mount) = (servers().vault(), servers().vault().kv_mount());
    let rules = format!(
        "path \"{mount}/data/app\" {{ capabilities = [\"create\", \"update\"] }} path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}"
    );
    let client = connect(&vault.token(&rules, json!(null))).await;
    let (path, document) = (format!("{mount}/app"), fields(&json!({ "key": "a-value" })));
    let notes = BTreeMap::from([("owner".to_owned(), "payments".to_owned())]);
    let error = client.set(&path, &document, Based::New, &notes).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unnoted { version: 1, why, .. } if matches!(**why, Error::Vault(ref e) if e.kind == Kind::Denied)),
        "{error}"
    );
    assert!(error.to_string().starts_with(&format!("version 1 of {path} was written, and its notes were not: ")), "{error}");
    assert_eq!(root().await.get(&path).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_watched_secret_tells_of_its_next_version() {
    let (client, mount) = (root().await, servers().vault().kv_mount());
    publish(&format!("{mount}/data/app"), &json!({ "key": "first-key" }));
    let mut live = client.watch(&format!("{mount}/app"), Duration::from_millis(200)).await.unwrap();
    assert_eq!(live.current().field("key").unwrap().expose(), "first-key");
    publish(&format!("{mount}/data/app"), &json!({ "key": "second-key" }));
    let second = tokio::time::timeout(LONG, live.changed()).await.unwrap().unwrap();
    assert_eq!((second.version, second.field("key").unwrap().expose()), (2, "second-key"));

    // At an interval that nobody lives to see, a look is asked for; one that was given up on ends nothing.
    let patient = client.watch(&format!("{mount}/app"), Duration::from_hours(99)).await.unwrap();
    publish(&format!("{mount}/data/app"), &json!({ "key": "third-key" }));
    assert_eq!(patient.current().version, 2);
    let _ = tokio::time::timeout(Duration::ZERO, patient.refresh()).await;
    assert_eq!(patient.refresh().await.unwrap().version, 3);
    // Deleted: the last value stays, and the look says why.
    servers().vault().must("DELETE", &format!("{mount}/data/app"), None).unwrap();
    assert!(matches!(patient.refresh().await, Err(Error::Deleted { .. })));
    assert_eq!(patient.current().version, 3);
    // Numbers that come again, as after a restore of Vault, are not taken for what they were.
    servers().vault().must("DELETE", &format!("{mount}/metadata/app"), None).unwrap();
    for key in ["first-again", "second-again", "third-again"] {
        publish(&format!("{mount}/data/app"), &json!({ "key": key }));
    }
    let again = patient.refresh().await.unwrap();
    assert_eq!((again.version, again.field("key").unwrap().expose()), (3, "third-again"));
    let other = patient.clone();
    patient.close().await;
    assert_eq!(other.refresh().await.unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn bytes_are_encrypted_and_decrypted_across_a_new_version_of_the_key() {
    let (client, vault) = (root().await, servers().vault());
    let mount = keyward_harness::unique("transit");
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "transit" }))).unwrap();
    vault.must("POST", &format!("{mount}/keys/pii"), Some(json!({}))).unwrap();
    let secret: Vec<u8> = (0..=255).collect();
    let old = client.encrypt(&mount, "pii", &secret).await.unwrap();
    vault.must("POST", &format!("{mount}/keys/pii/rotate"), Some(json!({}))).unwrap();
    let new = client.encrypt(&mount, "pii", &secret).await.unwrap();
    assert!(old.starts_with("vault:v1:") && new.starts_with("vault:v2:"));
    for ciphertext in [old, new] {
        assert_eq!(*client.decrypt(&mount, "pii", &ciphertext).await.unwrap(), secret);
    }
    assert!(client.decrypt(&mount, "pii", "vault:v1:bm8=").await.is_err());
    assert!(client.encrypt(&mount, "another-key", b"x").await.is_ok(), "Vault makes a key where the policy lets it");
}

#[tokio::test]
async fn a_setting_says_where_it_came_from() {
    let (vault, mount) = (servers().vault(), servers().vault().kv_mount());
    publish(&format!("{mount}/data/db"), &json!({ "url": "postgres://from-vault" }));
    let rules =
        format!("path \"{mount}/data/db\" {{ capabilities = [\"read\"] }} path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}");
    let token = vault.token(&rules, json!(null));
    let variables = BTreeMap::from(
        [
            ("VAULT_ENABLED", "true"),
            ("VAULT_ADDR", &vault.address),
            ("VAULT_CACERT", &vault.ca_pem_path.display().to_string()),
            ("VAULT_TOKEN", &token),
            ("DATABASE_URL", "postgres://from-the-environment"),
            ("OPENAI_API_KEY", "key-from-the-environment"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let open = Configuration::from_variables(variables.clone(), Fallback::Environment).await.unwrap();
    let path = format!("{mount}/db");
    let setting = open.get("DATABASE_URL", &path, "url").await.unwrap();
    assert_eq!(setting.value.expose(), "postgres://from-vault");
    assert_eq!(setting.from, CameFrom::Vault { path: path.clone(), version: 1 });
    // A rotation is seen by the next read.
    publish(&format!("{mount}/data/db"), &json!({ "url": "postgres://rotated" }));
    assert_eq!(open.get("DATABASE_URL", &path, "url").await.unwrap().value.expose(), "postgres://rotated");
    let setting = open.get("OPENAI_API_KEY", &format!("{mount}/openai"), "api_key").await.unwrap();
    assert_eq!(setting.value.expose(), "key-from-the-environment");
    assert!(matches!(setting.from, CameFrom::Environment { why } if why.contains("permission denied")));
    let strict = Configuration::from_variables(variables, Fallback::Never).await.unwrap();
    assert!(strict.get("OPENAI_API_KEY", &format!("{mount}/openai"), "api_key").await.is_err());
}
