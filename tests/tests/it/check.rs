//! `keyward check` on a sound shop, and what it says of each kind. What it says of bad input stands in `bad_input`.

use crate::world::{check_says, edit, run, shop, use_token};
use keyward_harness::{servers, unique, wait_until};
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_sound_configuration_can_work_and_looking_changes_nothing() {
    let shop = shop();
    check_says(&shop, 1, &["keyward init postgres shop-database", "This configuration cannot work yet"]);
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let before = state(&shop);
    let said = check_says(
        &shop,
        0,
        &[
            "This configuration can work",
            "is active",
            "the token may do what it must",
            "holds Keyward's records: KV version 2",
            "the audit log of vault-1",
            "is a static role, for the user",
            "refuses a wrong password",
            "mail to oncall@example.com: answers",
            "they work while Vault is sealed",
            "is free for HTTP",
            "will be made",
            // Of the kinds, what their users should know.
            "is a single user",
            "nothing can prove a value that a person brings",
        ],
    );
    assert!(!said.contains('✗'), "{said}");
    assert_eq!(state(&shop), before, "check changed something");
    assert!(!shop.path("state").exists(), "check made the state folder");
}

/// What is published, what is recorded, and the roles' verifiers.
fn state(shop: &keyward_harness::Shop<'_>) -> (Vec<Value>, Vec<u16>, String) {
    let published = ["shop/database", "shop/legacy", "shop/openai"].map(|path| shop.published(path).unwrap()).to_vec();
    let record = |secret: &str| servers().vault().api("GET", &format!("{}/data/{secret}", shop.records), None).unwrap().0;
    let records = ["shop-database", "legacy", "reporting"].map(record).to_vec();
    let sql = format!(
        "SELECT string_agg(rolpassword, ',' ORDER BY rolname) FROM pg_authid WHERE rolname IN ('{}', '{}', '{}')",
        shop.users[0], shop.users[1], shop.legacy
    );
    (published, records, servers().postgres().psql(&sql).unwrap())
}

#[test]
fn the_answer_for_programs_holds_the_same() {
    let shop = shop();
    let ended = run(&shop, &["check", "--output", "json"]);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["ok"], false);
    let findings = answer["groups"].as_array().unwrap().iter().flat_map(|g| g["findings"].as_array().unwrap());
    let fence = findings.filter(|f| f["mark"] == "wrong").find(|f| f["cure"] == "keyward init postgres legacy");
    assert!(fence.is_some(), "{answer}");
}

#[test]
fn a_dynamic_role_is_no_static_one() {
    let shop = shop();
    let (mount, role) = shop.static_role.split_once("/static-roles/").unwrap();
    let dynamic = unique("dynamic");
    let statements = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let body = json!({ "db_name": "postgres", "creation_statements": [statements], "default_ttl": "1h" });
    servers().vault().must("POST", &format!("{mount}/roles/{dynamic}"), Some(body)).unwrap();
    use_token(&shop, &servers().vault().root_token);
    edit(&shop, &format!("/static-roles/{role}\""), &format!("/static-roles/{dynamic}\""));
    check_says(&shop, 1, &[&format!("{dynamic} is a dynamic role of {mount}"), &format!("vault list {mount}/static-roles")]);
    edit(&shop, &format!("/static-roles/{dynamic}\""), "/static-roles/nobody\"");
    check_says(&shop, 1, &[&format!("there is no static role nobody in {mount}")]);
}

#[test]
fn a_daemon_that_runs_has_its_own_folder_and_port() {
    let shop = shop();
    let _daemon = shop.serve().unwrap();
    wait_until("the daemon", crate::world::LONG, || shop.http("/livez").ok());
    check_says(&shop, 1, &["a daemon runs on this configuration's state folder"]);
}

#[test]
fn a_published_value_that_does_not_log_in_is_seen() {
    let shop = shop();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" PASSWORD 'changed by hand'", shop.legacy)).unwrap();
    check_says(&shop, 1, &[&format!("what is published at {}/shop/legacy is not accepted", shop.kv), "keyward rotate legacy"]);
}

#[test]
fn a_password_that_others_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let shop = shop();
    fs::set_permissions(shop.path("secret-id"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(&shop, &["check"]).out;
    assert!(said.contains("secret-id may be read by others than its owner (mode 644); chmod 600 it"), "{said}");
}
