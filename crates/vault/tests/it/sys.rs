use crate::{root, with_token};
use keyward_harness::{servers, unique};
use keyward_vault::Kind;
use serde_json::json;

#[tokio::test]
async fn a_mount_is_found_from_any_path_below_it() {
    let server = servers().vault();
    let (v2, v1) = (server.kv_mount(), unique("kv/nested"));
    server.must("POST", &format!("sys/mounts/{v1}"), Some(json!({ "type": "kv", "options": { "version": "1" } }))).unwrap();
    let found = root().mount_of(&format!("{v2}/team/app é")).await.unwrap();
    assert_eq!((found.path, found.kind.as_str(), found.version), (format!("{v2}/"), "kv", Some(2)));
    let found = root().mount_of(&format!("{v1}/x")).await.unwrap();
    assert_eq!((found.path, found.version), (format!("{v1}/"), Some(1)));
    let token = server.token(&format!("path \"{v2}/data/mine\" {{ capabilities = [\"read\"] }}"), json!(null));
    assert_eq!(with_token(&token).mount_of(&format!("{v2}/mine")).await.unwrap().version, Some(2));
    assert_eq!(with_token(&token).mount_of(&format!("{v1}/x")).await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn mounts_are_listed_as_far_as_the_token_may_see() {
    let server = servers().vault();
    let (mine, other) = (server.kv_mount(), server.kv_mount());
    let all = root().mounts().await.unwrap();
    assert!(all.complete);
    assert_eq!(all.types.get(&format!("{other}/")).map(String::as_str), Some("kv"));
    assert_eq!(all.types.get("auth/token/").map(String::as_str), Some("token"));
    let token = server.token(&format!("path \"{mine}/data/x\" {{ capabilities = [\"read\"] }}"), json!(null));
    let some = with_token(&token).mounts().await.unwrap();
    assert!(!some.complete && some.types.contains_key(&format!("{mine}/")) && !some.types.contains_key(&format!("{other}/")));
}

#[tokio::test]
async fn audit_devices_are_known_or_denied() {
    let server = servers().vault();
    let devices = root().audit_devices().await.unwrap();
    let file = devices.iter().find(|d| d.path == "file/").unwrap();
    assert_eq!((file.kind.as_str(), file.file_path.as_deref(), file.raw), ("file", server.audit_log.to_str(), false));
    let without_sudo = server.token(r#"path "sys/audit" { capabilities = ["read"] }"#, json!(null));
    assert_eq!(with_token(&without_sudo).audit_devices().await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn irrevocable_leases_are_counted_or_denied() {
    root().irrevocable_leases().await.unwrap();
    let nothing = servers().vault().token(r#"path "other" { capabilities = ["read"] }"#, json!(null));
    assert_eq!(with_token(&nothing).irrevocable_leases().await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn our_own_accessor_is_found_in_the_log_by_its_hash() {
    let server = servers().vault();
    let policy = r#"path "sys/audit-hash/file" { capabilities = ["update"] } path "auth/token/lookup-self" { capabilities = ["read"] }"#;
    let token = server.token(policy, json!(null));
    let client = with_token(&token);
    let own = client.lookup_self().await.unwrap();
    assert_eq!(own.entity_id, "", "a token made by hand belongs to nobody");
    let hash = client.audit_hash("file/", &own.accessor).await.unwrap();
    // The look-up above was logged before it was answered.
    let log = std::fs::read_to_string(&server.audit_log).unwrap();
    let looked =
        log.lines().filter(|line| line.contains("auth/token/lookup-self")).any(|line| line.contains(&format!("\"accessor\":\"{hash}\"")));
    assert!(looked, "{hash}");
    let nothing = server.token(r#"path "other" { capabilities = ["read"] }"#, json!(null));
    assert_eq!(with_token(&nothing).audit_hash("file", "x").await.unwrap_err().kind, Kind::Denied);
}
