//! The session: renewed while that goes, had anew where it ends.

use crate::{connect, settings, until};
use keyward_client::{Client, Login, Secret, Source};
use keyward_harness::{servers, unique};
use serde_json::json;
use std::time::{Duration, Instant};

/// An AppRole that may read `MOUNT/data/app`, whose tokens live `ttl` and at most `max_ttl`; its login.
fn approle(mount: &str, ttl: &str, max_ttl: &str) -> Login {
    approle_with(&format!("path \"{mount}/data/app\" {{ capabilities = [\"read\"] }}"), ttl, max_ttl)
}

/// An AppRole with these rules beside what a session needs.
pub fn approle_with(rules: &str, ttl: &str, max_ttl: &str) -> Login {
    let vault = servers().vault();
    let (auth, policy) = (unique("approle"), unique("policy"));
    vault.must("POST", &format!("sys/auth/{auth}"), Some(json!({ "type": "approle" }))).unwrap();
    let rules = format!(
        "{rules}
         path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}
         path \"auth/token/renew-self\" {{ capabilities = [\"update\"] }}"
    );
    vault.must("PUT", &format!("sys/policies/acl/{policy}"), Some(json!({ "policy": rules }))).unwrap();
    let role = json!({ "token_policies": [policy], "token_no_default_policy": true, "token_ttl": ttl, "token_max_ttl": max_ttl });
    vault.must("POST", &format!("auth/{auth}/role/app"), Some(role)).unwrap();
    let text = |answer: serde_json::Value, pointer: &str| answer.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let role_id = text(vault.must("GET", &format!("auth/{auth}/role/app/role-id"), None).unwrap(), "/data/role_id");
    let secret_id = text(vault.must("POST", &format!("auth/{auth}/role/app/secret-id"), Some(json!({}))).unwrap(), "/data/secret_id");
    Login::AppRole { mount: auth, role_id, secret_id: Source::Value(Secret::new(secret_id)) }
}

fn app() -> String {
    let mount = servers().vault().kv_mount();
    crate::publish(&format!("{mount}/data/app"), &json!({ "key": "value" }));
    mount
}

#[tokio::test]
async fn a_session_outlives_the_longest_life_of_its_token() {
    let mount = app();
    let client = Client::connect(settings(approle(&mount, "2s", "4s"))).await.unwrap();
    let began = Instant::now();
    // Every read of three lives works, none of them waits for a login.
    while began.elapsed() < Duration::from_secs(9) {
        client.get(&format!("{mount}/app")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let session = client.session();
    assert!(session.trouble.is_none() && session.ends.is_some_and(|ends| ends > Instant::now()), "{session:?}");
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_by_the_next_call() {
    let (mount, vault) = (app(), servers().vault());
    let login = approle(&mount, "1h", "2h");
    let Login::AppRole { mount: auth, .. } = &login else { unreachable!() };
    let auth = auth.clone();
    let client = Client::connect(settings(login)).await.unwrap();
    client.get(&format!("{mount}/app")).await.unwrap();
    vault.must("POST", &format!("sys/leases/revoke-prefix/auth/{auth}/login"), Some(json!({}))).unwrap();
    client.get(&format!("{mount}/app")).await.unwrap();
    // Of many calls at once one logs in, and none of them fails.
    vault.must("POST", &format!("sys/leases/revoke-prefix/auth/{auth}/login"), Some(json!({}))).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, path) = (client.clone(), format!("{mount}/app"));
        calls.spawn(async move { client.get(&path).await.map(drop) });
    }
    assert_eq!(calls.join_all().await, vec![Ok(()); 20]);
    // What the policy forbids is no reason to log in: it stays forbidden.
    let logins = || {
        let (log, path) = (std::fs::read_to_string(&vault.audit_log).unwrap(), format!("\"path\":\"auth/{auth}/login\""));
        log.lines().filter(|line| line.contains("\"type\":\"response\"") && line.contains(&path)).count()
    };
    assert_eq!(logins(), 3);
    for _ in 0..5 {
        assert!(client.get(&format!("{mount}/other")).await.is_err());
    }
    assert_eq!(logins(), 3);
}

#[tokio::test]
async fn a_token_in_a_file_may_be_replaced_while_the_service_runs() {
    let (mount, vault) = (app(), servers().vault());
    let make = || {
        let rules = format!(
            "path \"{mount}/data/app\" {{ capabilities = [\"read\"] }} path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}"
        );
        vault.token(&rules, json!({ "ttl": "1h" }))
    };
    let file = keyward_harness::run_folder().unwrap().join(unique("token"));
    let first = make();
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let client = Client::connect(settings(Login::Token(Source::File(file.clone())))).await.unwrap();
    std::fs::write(&file, make()).unwrap();
    vault.must("POST", "auth/token/revoke", Some(json!({ "token": first }))).unwrap();
    client.get(&format!("{mount}/app")).await.unwrap();
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_says_so() {
    let vault = servers().vault();
    let token =
        vault.token("path \"auth/token/lookup-self\" { capabilities = [\"read\"] }", json!({ "ttl": "2s", "explicit_max_ttl": "2s" }));
    let client = connect(&token).await;
    assert!(client.session().trouble.is_none());
    until("the end of the session to be told", async || client.session().trouble.is_some()).await;
}
