//! `keyward secret`: everyday access by hand, against the real server and the real database.

use crate::world::{Ended, shop};
use keyward_harness::{Fault, Shop, VaultProxy, servers};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Stdio;

/// Runs a command as a person with a token of their own, with this on standard input. What it prints may hold values.
pub fn by_hand(shop: &Shop<'_>, arguments: &[&str], input: &str) -> Ended {
    fs::write(shop.path("token"), &servers().vault().root_token).unwrap();
    let mut command = shop.command(arguments);
    command.env("VAULT_TOKEN_FILE", shop.path("token"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read; then this is not written either.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

fn ends(shop: &Shop<'_>, arguments: &[&str], input: &str, code: i32, says: &[&str]) -> Ended {
    let ended = by_hand(shop, arguments, input);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    for part in says {
        assert!(ended.out.contains(part) || ended.err.contains(part), "{arguments:?} does not say \"{part}\": {ended:?}");
    }
    ended
}

#[test]
fn a_secret_is_written_read_and_changed_by_hand() {
    let shop = shop();
    let path = &format!("{}/by-hand/app", shop.kv);
    let value = "a-value-brought-by-a-person";
    fs::write(shop.path("admin-password"), "-----BEGIN-----\nof two lines\n").unwrap();
    let file = &format!("key={}", shop.path("admin-password").display());
    ends(&shop, &["secret", "get", path], "", 1, &["there is nothing at", "secret list"]);
    ends(
        &shop,
        &["secret", "put", path, "--field", "password", "--file", file],
        &format!("{value}\n"),
        0,
        &["key, password added", "version 1"],
    );
    assert_eq!(shop.published("by-hand/app").unwrap(), json!({ "password": value, "key": "-----BEGIN-----\nof two lines" }));

    let shown = ends(&shop, &["secret", "get", path], "", 0, &["version 1", "fields: key, password", "Values are not shown; --show"]);
    assert!(!format!("{shown:?}").contains(value), "{shown:?}");
    let shown = ends(&shop, &["secret", "get", path, "--field", "password", "--show"], "", 0, &["secret values follow"]);
    assert_eq!(shown.out, format!("{value}\n"));
    let shown = ends(&shop, &["secret", "get", path, "--output", "json"], "", 0, &[]);
    let read: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&read["fields"], &read["data"], &read["values_shown"]), (&json!(["key", "password"]), &Value::Null, &json!(false)));

    // Twice is unchanged; another content needs the version that it replaces.
    let same = &["secret", "put", path, "--field", "password", "--file", file];
    ends(&shop, same, &format!("{value}\n"), 0, &["unchanged (version 1)"]);
    ends(&shop, &["secret", "put", path, "--field", ""], "x\n", 64, &["--field takes a field's name"]);
    ends(&shop, &["secret", "put", path, "--json", "-"], r#"{"a":{"b":1,"b":2}}"#, 65, &["names a field twice"]);
    ends(&shop, same, "another-value-altogether\n", 1, &["--cas 1 replaces it", "password changed"]);
    ends(&shop, &["secret", "put", path, "--json", "-", "--cas", "0"], r#"{"token":"x"}"#, 75, &["is not at version 0"]);
    ends(
        &shop,
        &["secret", "put", path, "--json", "-", "--cas", "1"],
        r#"{"token":"xyz","n":7}"#,
        0,
        &["n, token added", "key, password removed"],
    );
    assert_eq!(shop.published("by-hand/app").unwrap(), json!({ "token": "xyz", "n": 7 }));

    ends(
        &shop,
        &["secret", "patch", path, "--field", "more", "--remove", "token"],
        "extra\n",
        0,
        &["more added; token removed; n as before"],
    );
    assert_eq!(shop.published("by-hand/app").unwrap(), json!({ "more": "extra", "n": 7 }));
    ends(&shop, &["secret", "patch", path, "--field", "more"], "extra\n", 0, &["unchanged (version 3)"]);
    ends(&shop, &["secret", "patch", path, "--field", "more", "--cas", "2"], "late\n", 75, &["nothing was written"]);

    let history = ends(&shop, &["secret", "history", path], "", 0, &["current, kept"]);
    assert_eq!(history.out.lines().count(), 4, "{history:?}");
    let list = ends(&shop, &["secret", "list", &shop.kv, "--recursive"], "", 0, &["by-hand/app"]);
    assert!(list.out.lines().any(|line| line == path) && list.out.contains("/shop/legacy"), "{list:?}");
    ends(&shop, &["secret", "list", &shop.kv], "", 0, &["by-hand/", "shop/"]);
    ends(&shop, &["secret", "list", &shop.kv, "--recursive", "--limit", "1"], "", 1, &["there is more"]);
    let trap = &format!("{}/data/by-hand/app", shop.kv);
    ends(&shop, &["secret", "get", trap], "", 1, &["did you mean", path]);
    fs::write(shop.path("admin-password"), "too short").unwrap();
}

#[test]
fn a_value_in_the_arguments_is_refused_and_not_repeated() {
    let shop = shop();
    let path = &format!("{}/by-hand/app", shop.kv);
    for arguments in
        [&["secret", "put", path, "password=hunter2-typed"][..], &["secret", "patch", path, "--field", "password=hunter2-typed"]]
    {
        let ended = ends(&shop, arguments, "", 64, &["can be seen by every user"]);
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    }
    ends(&shop, &["secret", "put", path], "", 64, &["there is nothing to write"]);
    ends(&shop, &["secret", "put", path, "--field", "a", "--field", "a"], "", 64, &["named twice"]);
    ends(&shop, &["secret", "put", path, "--field", "a", "--field", "b"], "one\n", 65, &["no line 2 for the field b"]);
    // What is more than a line per field is not cut off in silence.
    let key = "-----BEGIN KEY-----\nhunter2-of-several-lines\n-----END KEY-----\n";
    let long = "hunter2".repeat(10_000);
    for (input, says) in [(key, "--file NAME=FILE"), (long.as_str(), "larger than 65536 bytes")] {
        let ended = ends(&shop, &["secret", "put", path, "--field", "key"], input, 65, &[says]);
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    }
    let ended = ends(&shop, &["supply", "openai", "--alone"], key, 65, &["a value of one line"]);
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    ends(&shop, &["secret", "get", path], "", 1, &["there is nothing at"]);
    let ended = ends(&shop, &["secret", "put", path, "--json", "-"], "hunter2-is-no-json", 65, &["no JSON object"]);
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    ends(&shop, &["secret", "put", path, "--json", "-"], "{\"id\": 123456789012345678}", 65, &["Vault would round"]);
    ends(&shop, &["secret", "put", path, "--json", "nowhere.json"], "", 64, &["cannot read nowhere.json"]);
}

#[test]
fn what_keyward_rotates_is_not_changed_by_accident() {
    let shop = shop();
    let path = &format!("{}/shop/legacy", shop.kv);
    let version = || shop.vault.must("GET", &format!("{}/metadata/shop/legacy", shop.kv), None).unwrap()["data"]["current_version"].clone();
    let before = version();
    ends(
        &shop,
        &["secret", "patch", path, "--field", "password"],
        "a-password-nobody-knows\n",
        1,
        &["rotated by Keyward as legacy", "keyward rotate legacy"],
    );
    let openai = &format!("{}/shop/openai", shop.kv);
    ends(&shop, &["secret", "patch", openai, "--field", "api_key"], "sk-typed\n", 1, &["keyward supply openai"]);
    assert_eq!(version(), before);
    ends(&shop, &["secret", "patch", path, "--field", "note"], "a field of its own\n", 0, &["note added"]);
}

#[test]
fn a_lost_answer_is_looked_for_and_never_written_twice() {
    let shop = shop();
    let proxy = VaultProxy::start(shop.vault).unwrap();
    let path = &format!("{}/by-hand/lost", shop.kv);
    let arguments = ["secret", "put", path, "--field", "token", "--address", &proxy.address];
    proxy.plan(&format!("POST {}/data/by-hand/lost", shop.kv), 0, 0, Fault::AnswerLost);
    ends(&shop, &arguments, "a-token-whose-answer-was-lost\n", 0, &["version 1 now"]);
    assert!(proxy.has_happened());
    ends(&shop, &arguments, "a-token-whose-answer-was-lost\n", 0, &["unchanged (version 1)"]);
}

#[test]
fn an_old_value_is_published_again_only_if_it_still_logs_in() {
    let shop = shop();
    shop.must(&["init", "postgres", "legacy", "shop-database"]).unwrap();
    let path = &format!("{}/shop/legacy", shop.kv);
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    // Version 1 holds the password of before, which the database does not know any more.
    let rotated = shop.published("shop/legacy").unwrap();
    ends(&shop, &["secret", "rollback", path, "--to", "1"], "", 1, &["version 1 does not work any more", "nothing was published"]);
    assert_eq!(shop.published("shop/legacy").unwrap(), rotated);

    // Somebody breaks it by hand; the version of the rotation still works.
    let cas = shop.vault.must("GET", &format!("{}/data/shop/legacy", shop.kv), None).unwrap()["data"]["metadata"]["version"].clone();
    let broken = json!({ "options": { "cas": cas }, "data": { "username": shop.legacy, "password": "typed-by-somebody-else" } });
    shop.vault.must("POST", &format!("{}/data/shop/legacy", shop.kv), Some(broken)).unwrap();
    assert!(shop.consume("shop/legacy").is_err());
    let good = cas.to_string();
    ends(&shop, &["secret", "rollback", path, "--to", &good], "", 0, &["its target accepts version", "password changed"]);
    shop.consume("shop/legacy").unwrap();
    ends(&shop, &["secret", "rollback", path, "--to", &good], "", 0, &["unchanged"]);
    ends(&shop, &["secret", "rollback", path, "--to", "99"], "", 1, &["does not exist"]);
}

#[test]
fn a_rollback_beyond_what_keyward_manages_is_proved_by_a_login_or_said_to_be_unproved() {
    let shop = shop();
    let path = &format!("{}/by-hand/db", shop.kv);
    let good = shop.published("shop/legacy").unwrap();
    let put =
        |cas: &str, document: &Value| ends(&shop, &["secret", "put", path, "--json", "-", "--cas", cas], &document.to_string(), 0, &[]);
    put("0", &good);
    put("1", &json!({ "username": shop.legacy, "password": "of no use to anybody" }));
    let (host, port, ca) = (&shop.postgres.host, shop.postgres.port, shop.postgres.ca_pem_path.display());
    let login = format!("postgresql://{host}:{port}/{}?sslmode=verify-full&sslrootcert={ca}", shop.database);
    ends(&shop, &["secret", "rollback", path, "--to", "1"], "", 1, &["nothing here can try the old value", "--unproved"]);
    ends(&shop, &["secret", "rollback", path, "--to", "1", "--login", &login], "", 0, &["version 1 logs in at", "version 3 now"]);
    ends(&shop, &["secret", "rollback", path, "--to", "2", "--login", &login], "", 1, &["does not work any more"]);
    ends(&shop, &["secret", "rollback", path, "--to", "2", "--unproved"], "", 0, &["version 4 now"]);
}

#[test]
fn no_configuration_is_needed_where_the_environment_says_enough() {
    let shop = shop();
    let vault = servers().vault();
    fs::write(shop.path("token"), &vault.root_token).unwrap();
    let mut command = std::process::Command::new(keyward_harness::keyward_binary());
    command.args(["secret", "list", &shop.kv]).env_clear().env("VAULT_ADDR", &vault.address).env("VAULT_CACERT", &vault.ca_pem_path);
    let ended: Ended = command.env("VAULT_TOKEN_FILE", shop.path("token")).output().unwrap().into();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), format!("{}/shop/\n", shop.kv).as_str()), "{ended:?}");
}
