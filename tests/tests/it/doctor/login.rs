//! Troubles of tokens, logins and rights.

use super::{ALWAYS, Found, POLICY, Small, shared};
use keyward_harness::{unique, wait_until};
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_sound_login_has_no_trouble_and_each_unsound_token_its_own() {
    let vault = shared();
    let small = Small::new();
    let sound = small.doctor();
    assert_eq!(sound.ids.iter().map(String::as_str).collect::<Vec<_>>(), ALWAYS, "{:#}", sound.answer);
    sound.has(&["alerts-unset", "audit-log-unset", "daemon-down", "records-missing"]);
    for (extra, id) in [
        (json!({ "period": "1h", "num_uses": 50 }), "token-uses"),
        (json!({ "ttl": "1h", "renewable": false }), "token-not-renewable"),
        (json!({ "period": "1h", "explicit_max_ttl": "2h" }), "token-hard-limit"),
        (json!({ "ttl": "1h" }), "token-without-period"),
    ] {
        small.token(&vault.token(POLICY, extra));
        small.doctor().has(&[id]);
    }
    small.token(&vault.root_token);
    small.doctor().has(&["token-root"]);

    // A token that cannot ask.
    small.token(&vault.token("path \"auth/token/lookup-self\" { capabilities = [\"read\"] }", json!({ "period": "1h" })));
    small.doctor().has(&["right-unknown"]);

    // A token that ran out.
    let short = vault.token(POLICY, json!({ "ttl": "1s", "explicit_max_ttl": "1s" }));
    let is_dead = || (vault.api_as(&short, "GET", "auth/token/lookup-self", None).unwrap().0 == 403).then_some(());
    wait_until("the end of the token", crate::world::LONG, is_dead);
    small.token(&short);
    let dead = small.doctor().has(&["token-dead"]);
    assert_eq!(dead.code, Some(77));
    fs::remove_file(small.path("token")).unwrap();
    small.doctor().has(&["token-unreadable"]);
}

#[test]
fn ids_of_an_approle_that_are_refused() {
    let vault = shared();
    let small = Small::new();
    let mount = unique("approle");
    vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    vault.must("POST", &format!("auth/{mount}/role/keyward"), Some(json!({ "token_period": "1h" }))).unwrap();
    let id = vault.must("GET", &format!("auth/{mount}/role/keyward/role-id"), None).unwrap();
    fs::write(small.path("role-id"), id["data"]["role_id"].as_str().unwrap()).unwrap();
    small.token("of another role");
    let (role, secret) = (small.path("role-id"), small.path("token"));
    let ids = format!("role_id = {{ file = \"{}\" }}, secret_id = {{ file = \"{}\" }}", role.display(), secret.display());
    small.configure_with(&vault.address, &vault.ca_pem_path, &format!("auth = {{ approle = {{ mount = \"{mount}\", {ids} }} }}"), "");
    small.doctor().has(&["login-refused"]);
}

#[test]
fn a_wrong_policy_is_told_with_what_is_wrong_with_it() {
    let vault = shared();
    let small = Small::new();
    let (kv, records) = (vault.kv_mount(), vault.kv_mount());
    vault.must("POST", &format!("{kv}/data/app/hook"), Some(json!({ "data": { "token": "a-value-that-is-long" } }))).unwrap();
    let secret = format!(
        "record_mount = \"{records}\"\n[[secret]]\nname = \"hook\"\nclass = \"api-key\"\nkind = \"random\"\npath = \"{kv}/app/hook\"\n\
         issuer = \"self\"\nset = {{ token = \"{{value}}\" }}\n"
    );
    small.configure(&vault.address, &vault.ca_pem_path, &secret);
    let own = format!("path \"{records}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n");
    let wrong = format!(
        "{POLICY}{own}path \"{kv}/app/hook\" {{ capabilities = [\"read\", \"patch\"] }}\npath \"{kv}/*/hook\" {{ capabilities = [\"read\"] }}\n"
    );
    let absent = unique("backend-policy");
    let policy = unique("backend");
    vault.must("PUT", &format!("sys/policies/acl/{policy}"), Some(json!({ "policy": wrong }))).unwrap();
    let body = json!({ "policies": [policy, absent], "period": "1h", "no_default_policy": true });
    let token = vault.must("POST", "auth/token/create-orphan", Some(body)).unwrap();
    small.token(token["auth"]["client_token"].as_str().unwrap());
    let found =
        small.doctor_as(&vault.root_token).has(&["right-missing", "data-prefix-missing", "policy-glob", "policy-absent", "personal-root"]);
    assert_eq!(found.code, Some(77));
    let found = found.says(&format!("path \\\"{kv}/data/app/hook\\\"")).says(&absent).has_not(&["records-missing"]);
    assert!(!found.answer.to_string().contains("a-value-that-is-long"));

    // The same without the mistakes, and with nobody else's token.
    let right = format!("{POLICY}{own}path \"{kv}/data/app/hook\" {{ capabilities = [\"read\", \"patch\"] }}\n");
    small.token(&vault.token(&right, json!({ "period": "1h" })));
    let found: Found = small.doctor();
    assert!(!found.ids.contains("data-prefix-missing") && !found.ids.contains("policy-glob"), "{:#}", found.answer);
    let unknown = |f: &&Value| f["mark"] == "unknown" && f["says"].as_str().unwrap().contains("the policies of Keyward's token");
    let groups = found.answer["groups"].as_array().unwrap();
    assert!(groups.iter().flat_map(|g| g["findings"].as_array().unwrap()).any(|f| unknown(&f)), "what may not be seen is said");
}
