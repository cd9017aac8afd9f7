use crate::{fields, hides, root, text, with_token};
use keyward_harness::{servers, unique};
use keyward_secret::{Fields, Secret};
use keyward_vault::Kind;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_path_that_never_existed_is_version_0_and_is_created_once() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    let unknown = client.kv_read(&mount, "a/b").await.unwrap();
    assert!(unknown.version == 0 && unknown.fields.is_none() && !unknown.deleted);
    assert_eq!(client.kv_write(&mount, "a/b", 0, &Fields::new()).await.unwrap(), 1);
    let created = client.kv_read(&format!("{mount}/"), "a/b").await.unwrap();
    assert!(created.version == 1 && created.fields.is_some_and(|f| f.is_empty()) && created.created_time.is_some());
    assert_eq!(client.kv_write(&mount, "a/b", 0, &Fields::new()).await.unwrap_err().kind, Kind::Conflict);
}

#[tokio::test]
async fn only_the_version_that_was_read_can_be_written() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    let secret = "hunter2-of-the-conflict";
    assert_eq!(client.kv_write(&mount, "app", 0, &fields(&[("password", secret)])).await.unwrap(), 1);
    assert_eq!(client.kv_write(&mount, "app", 1, &fields(&[("password", secret), ("user", "u")])).await.unwrap(), 2);
    let late = client.kv_write(&mount, "app", 1, &fields(&[("password", secret)])).await.unwrap_err();
    assert_eq!((late.kind, late.status, late.retry(), late.outcome_unknown()), (Kind::Conflict, Some(400), false, false));
    assert_eq!(late.attempted, format!("POST {mount}/data/app"));
    hides(&late, secret);
    hides(&late, &servers().vault().root_token);
    let old = client.kv_read_version(&mount, "app", 1).await.unwrap();
    assert_eq!((old.version, text(old.fields.as_ref(), "user")), (1, None));
    assert_eq!(client.kv_read_version(&mount, "app", 9).await.unwrap().version, 0);
    assert_eq!(client.kv_read_version(&mount, "app", 0).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn a_patch_touches_the_named_fields_alone() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    let body = json!({ "data": { "password": "one", "old": "x", "n": 1.5, "nested": { "b": [1, null], "a": "é" } } });
    servers().vault().must("POST", &format!("{mount}/data/app"), Some(body)).unwrap();
    let mut change = fields(&[("password", "two \"quoted\" \u{1F511}")]);
    change.set_json("old", Secret::new("null"));
    assert_eq!(client.kv_patch(&mount, "app", 1, &change).await.unwrap(), 2);
    let now = client.kv_read(&mount, "app").await.unwrap().fields.unwrap();
    assert_eq!(now.names().collect::<Vec<_>>(), ["n", "nested", "password"]);
    assert_eq!(now.text("password").unwrap().expose(), "two \"quoted\" \u{1F511}");
    assert_eq!(now.json("nested").unwrap().expose(), r#"{"a":"é","b":[1,null]}"#);
    assert_eq!(now.json("n").unwrap().expose(), "1.5");
}

#[tokio::test]
async fn an_empty_patch_refuses_every_older_writer() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    client.kv_write(&mount, "app", 0, &fields(&[("password", "one")])).await.unwrap();
    assert_eq!(client.kv_patch(&mount, "app", 1, &Fields::new()).await.unwrap(), 2);
    let frozen = client.kv_patch(&mount, "app", 1, &fields(&[("password", "stale")])).await.unwrap_err();
    assert_eq!(frozen.kind, Kind::Conflict);
    assert_eq!(text(client.kv_read(&mount, "app").await.unwrap().fields.as_ref(), "password").as_deref(), Some("one"));
    assert_eq!(client.kv_patch(&mount, "app", 0, &Fields::new()).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn a_deleted_document_does_not_rise_by_a_patch() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    client.kv_write(&mount, "app", 0, &fields(&[("password", "one")])).await.unwrap();
    servers().vault().must("DELETE", &format!("{mount}/data/app"), None).unwrap();
    let deleted = client.kv_read(&mount, "app").await.unwrap();
    assert!(deleted.version == 1 && deleted.deleted && deleted.fields.is_none());
    assert_eq!(client.kv_patch(&mount, "app", 1, &Fields::new()).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(client.kv_patch(&mount, "never", 1, &Fields::new()).await.unwrap_err().kind, Kind::NotFound);
    // A later version, other than the deleted one, is a conflict even here.
    assert_eq!(client.kv_patch(&mount, "app", 7, &Fields::new()).await.unwrap_err().kind, Kind::Conflict);
}

#[tokio::test]
async fn destroyed_versions_are_gone_and_their_numbers_stay() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    for cas in 0..3 {
        client.kv_write(&mount, "app", cas, &fields(&[("password", "x")])).await.unwrap();
    }
    client.kv_destroy(&mount, "app", &[1, 2, 99]).await.unwrap();
    client.kv_destroy(&mount, "app", &[1]).await.unwrap();
    client.kv_destroy(&mount, "app", &[]).await.unwrap();
    let metadata = client.kv_metadata(&mount, "app").await.unwrap();
    let destroyed: Vec<_> = metadata.versions.iter().map(|(number, v)| (*number, v.destroyed)).collect();
    assert_eq!((metadata.current_version, destroyed), (3, vec![(1, true), (2, true), (3, false)]));
    let gone = client.kv_read_version(&mount, "app", 1).await.unwrap();
    assert!(gone.version == 1 && gone.deleted);
    assert_eq!(client.kv_metadata(&mount, "never").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn custom_metadata_is_merged() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    client.kv_write(&mount, "app", 0, &Fields::new()).await.unwrap();
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    client.kv_patch_custom_metadata(&mount, "app", &map("owner", "team")).await.unwrap();
    client.kv_patch_custom_metadata(&mount, "app", &map("app.rotation", "r1")).await.unwrap();
    let expected = BTreeMap::from([("owner".to_owned(), "team".to_owned()), ("app.rotation".to_owned(), "r1".to_owned())]);
    assert_eq!(client.kv_read(&mount, "app").await.unwrap().custom_metadata, expected);
    assert_eq!(client.kv_metadata(&mount, "app").await.unwrap().custom_metadata, expected);
    assert_eq!(client.kv_patch_custom_metadata(&mount, "never", &map("a", "b")).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn names_of_any_characters_reach_the_same_document_as_by_hand() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    let names = [
        "with space",
        "été/日本",
        "100%",
        "%2e%2e",
        "a%2Fb",
        "a#b",
        "a?version=1",
        "a&b=c;d",
        "a+b",
        "q\"uote",
        "back\\slash",
        "~{[|^`]}",
        "..a",
        "a:b@c",
    ];
    for name in names {
        assert_eq!(client.kv_write(&mount, name, 0, &fields(&[("name", name)])).await.unwrap(), 1, "{name}");
        let read = client.kv_read(&mount, name).await.unwrap();
        assert_eq!(text(read.fields.as_ref(), "name").as_deref(), Some(name));
    }
    // What Vault itself lists is what was meant, not an encoding of it.
    let listed = servers().vault().must("LIST", &format!("{mount}/metadata"), None).unwrap();
    let mut listed: Vec<_> = listed["data"]["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> = names.map(|n| n.split_once('/').map_or(n.to_owned(), |(folder, _)| format!("{folder}/"))).into();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn names_that_would_mean_another_path_are_refused_before_anything_is_sent() {
    let client = root();
    for bad in ["a/../b", ".", "a//b", "/a", "a/", "", "a\nb"] {
        let error = client.kv_read("secret", bad).await.unwrap_err();
        assert_eq!((error.kind, error.status), (Kind::Invalid, None), "{bad:?}");
    }
    assert_eq!(client.kv_read("../sys", "a").await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn what_is_not_allowed_or_not_mounted_is_told_apart_from_what_is_absent() {
    let mount = servers().vault().kv_mount();
    let policy = format!("path \"{mount}/data/mine\" {{ capabilities = [\"read\"] }}");
    let client = with_token(&servers().vault().token(&policy, json!(null)));
    assert_eq!(client.kv_read(&mount, "mine").await.unwrap().version, 0);
    let denied = client.kv_read(&mount, "theirs").await.unwrap_err();
    assert_eq!((denied.kind, denied.status, denied.retry()), (Kind::Denied, Some(403), false));
    assert_eq!(client.kv_write(&mount, "mine", 0, &Fields::new()).await.unwrap_err().kind, Kind::Denied);
    assert_eq!(root().kv_read(&unique("nomount"), "x").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_mounts_settings_are_read() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    let plain = client.kv_config(&mount).await.unwrap();
    assert_eq!((plain.max_versions, plain.delete_version_after, plain.cas_required), (0, None, false));
    let body = json!({ "max_versions": 5, "delete_version_after": "3h25m19s", "cas_required": true });
    servers().vault().must("POST", &format!("{mount}/config"), Some(body)).unwrap();
    let set = client.kv_config(&mount).await.unwrap();
    assert_eq!((set.max_versions, set.delete_version_after.unwrap().as_secs(), set.cas_required), (5, 12319, true));
}
