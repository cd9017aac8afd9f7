use crate::{hides, root};
use keyward_harness::{servers, unique};
use keyward_secret::{Fields, Secret};
use keyward_vault::Kind;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// An AppRole mount with the role `app`.
fn role(settings: serde_json::Value) -> String {
    let (vault, mount) = (servers().vault(), unique("approle"));
    vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    vault.must("POST", &format!("auth/{mount}/role/app"), Some(settings)).unwrap();
    mount
}

fn label(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("keyward".to_owned(), text.to_owned())])
}

#[tokio::test]
async fn a_secret_id_is_made_found_by_its_label_used_and_ended() {
    let client = root();
    let mount = role(json!({ "token_policies": "default", "secret_id_ttl": "1h" }));
    let settings = client.approle(&mount, "app").await.unwrap();
    assert_eq!((settings.bind_secret_id, settings.secret_id_num_uses, settings.secret_id_ttl), (true, 0, Duration::from_hours(1)));
    assert_eq!(client.secret_id_accessors(&mount, "app").await.unwrap(), [""; 0]);
    let made = client.new_secret_id(&mount, "app", &label("r-1")).await.unwrap();
    assert!(!format!("{made:?}").contains(made.secret_id.expose()));
    assert_eq!(client.secret_id_accessors(&mount, "app").await.unwrap(), std::slice::from_ref(&made.accessor));
    let by_accessor = client.secret_id_of_accessor(&mount, "app", &made.accessor).await.unwrap().unwrap();
    assert_eq!(by_accessor.metadata.get("keyward").map(String::as_str), Some("r-1"));
    assert_eq!(client.secret_id_lookup(&mount, "app", &made.secret_id).await.unwrap(), Some(by_accessor));

    let role_id = client.approle_role_id(&mount, "app").await.unwrap();
    let login = client.approle_login(&mount, &role_id, &made.secret_id).await.unwrap();
    client.revoke_other(&login.token).await.unwrap();
    assert_eq!(client.revoke_other(&login.token).await.unwrap_err().kind, Kind::Denied, "it is dead");
    assert!(client.has_token(), "our own lives");

    client.destroy_secret_id(&mount, "app", &made.accessor).await.unwrap();
    client.destroy_secret_id(&mount, "app", &made.accessor).await.unwrap();
    assert_eq!(client.secret_id_of_accessor(&mount, "app", &made.accessor).await.unwrap(), None);
    assert_eq!(client.secret_id_lookup(&mount, "app", &made.secret_id).await.unwrap(), None);
    let error = client.approle_login(&mount, &role_id, &made.secret_id).await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    hides(&error, made.secret_id.expose());
}

#[tokio::test]
async fn a_role_that_is_not_there_is_no_role_without_secret_ids() {
    let mount = role(json!({}));
    assert_eq!(root().approle(&mount, "none").await.unwrap_err().kind, Kind::NotFound);
    assert!(root().new_secret_id(&mount, "none", &label("x")).await.is_err());
    assert!(root().destroy_secret_id(&mount, "none", "x").await.is_err());
}

#[tokio::test]
async fn what_is_wrapped_is_given_out_once() {
    let mut values = Fields::new();
    values.set_text("secret_id", &Secret::new("hunter2-hunter2"));
    let token = root().wrap(&values, Duration::from_mins(5)).await.unwrap();
    let unwrap = || servers().vault().api_as(token.expose(), "POST", "sys/wrapping/unwrap", None).unwrap();
    let (status, answer) = unwrap();
    assert_eq!((status, answer.pointer("/data/secret_id").and_then(|v| v.as_str())), (200, Some("hunter2-hunter2")));
    assert_ne!(unwrap().0, 200);
}
