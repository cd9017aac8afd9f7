//! The policies that Keyward prints: each is enough for its role, and no line of it can be taken away. Then `policy check` and `policy audit`.
//!
//! What a role needs is what its commands were seen to call, through a proxy. A line that no call needs fails the test; one that is taken away
//! has Vault deny a call that was seen.

use crate::init_world::World;
use keyward_harness::{VaultProxy, VaultServer, servers, unique};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

struct Line {
    path: String,
    stanza: String,
}

/// The lines of a role's policy, and its text.
fn printed(world: &World, role: &str) -> (String, Vec<Line>) {
    let (code, answer) = world.json(&["policy", role]);
    assert_eq!(code, Some(0), "{answer:#}");
    let line = |p: &Value| {
        let path = p["path"].as_str().unwrap().to_owned();
        let stanza = format!("path \"{path}\" {{ capabilities = {} }}\n", p["capabilities"]);
        Line { path, stanza }
    };
    (answer[0]["text"].as_str().unwrap().to_owned(), answer[0]["paths"].as_array().unwrap().iter().map(line).collect())
}

/// Vault takes the longest pattern that fits.
fn decides<'l>(lines: &'l [Line], path: &str) -> Option<&'l Line> {
    let fits = |line: &&Line| line.path.strip_suffix('*').map_or(line.path == path, |prefix| path.starts_with(prefix));
    lines.iter().filter(fits).max_by_key(|line| (!line.path.ends_with('*'), line.path.len()))
}

/// Every line was needed by calls, and without it one of them is denied.
fn none_can_go(vault: &VaultServer, lines: &[Line], seen: &BTreeSet<String>) {
    for line in lines {
        let needs_it = |call: &&String| {
            let path = call.split_once(' ').unwrap().1.trim_end_matches('/');
            decides(lines, path).is_some_and(|decides| decides.path == line.path)
        };
        let calls: Vec<&String> = seen.iter().filter(needs_it).collect();
        assert!(!calls.is_empty(), "no call needs {}: {seen:#?}", line.path);
        let rest: String = lines.iter().filter(|other| other.path != line.path).map(|other| other.stanza.as_str()).collect();
        let token = vault.token(&rest, Value::Null);
        let is_denied = |call: &&String| {
            let (method, path) = call.split_once(' ').unwrap();
            let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| json!({}));
            vault.api_as(&token, method, path, body).unwrap().0 == 403
        };
        assert!(calls.iter().any(is_denied), "{calls:?} are allowed without {}", line.path);
    }
}

fn set_up(world: &World) {
    let (code, answer) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!(code, Some(0), "{answer:#}");
    let (owner, password) = &world.admin;
    let role = format!("CREATE ROLE \"{}_legacy\" LOGIN PASSWORD 'at first'", world.user);
    servers().postgres().psql_as(owner, password, &world.database, &role).unwrap();
}

const ROTATIONS: [&[&str]; 6] = [
    &["rotate", "webhook", "--alone"],
    &["rotate", "orders", "--alone"],
    &["rotate", "reporting", "--alone"],
    &["rotate", "legacy", "--alone"],
    &["plan"],
    &["status"],
];

#[test]
fn keywards_own_policy_is_enough_and_no_line_can_go() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let mut world = World::on(&proxy.address, vault, "");
    set_up(&world);
    let (_, lines) = printed(&world, "keyward");
    proxy.seen();
    // Its own login, by AppRole, whose role has nothing but this policy.
    world.use_token("");
    for arguments in ROTATIONS {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let check = world.run(&["check"]);
    assert!(!check.out.contains("✗") && !check.out.contains("! the token may not"), "{check:?}");
    let mut seen: BTreeSet<String> = proxy.seen().into_iter().collect();
    // What the daemon does besides, at two thirds of an hour.
    seen.insert("POST auth/token/renew-self".to_owned());
    none_can_go(vault, &lines, &seen);

    // It fits, both ways; only that what is published now need not be created again.
    world.use_token(&vault.root_token);
    let (code, fits) = world.json(&["policy", "check", "keyward"]);
    assert_eq!((code, fits["ok"].clone()), (Some(0), json!(true)), "{fits:#}");
    let says: Vec<&str> = fits["groups"][1]["findings"].as_array().unwrap().iter().map(|f| f["says"].as_str().unwrap()).collect();
    assert!(says.iter().all(|s| s.contains(" grants create on ")) && says.len() == 2, "{says:?}");
}

#[test]
fn the_policies_for_hands_and_services_are_enough_and_no_line_can_go() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let mut world = World::on(&proxy.address, vault, "");
    set_up(&world);
    let (text, lines) = printed(&world, "rotation");
    world.use_token(&vault.token(&text, Value::Null));
    proxy.seen();
    for arguments in ROTATIONS {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let (code, fits) = world.json(&["policy", "check", "rotation"]);
    assert_eq!(code, Some(0), "{fits:#}");
    // What only `check` looks at.
    assert!(world.run(&["check"]).code.is_some());
    let mut seen: BTreeSet<String> = proxy.seen().into_iter().collect();
    seen.insert(format!("GET {}/config", world.records));
    none_can_go(vault, &lines, &seen);

    world.use_token(&vault.root_token);
    let (text, lines) = printed(&world, "backend");
    let token = vault.token(&text, Value::Null);
    let mut seen = BTreeSet::new();
    for line in &lines {
        let method = if line.stanza.contains("update") { "POST" } else { "GET" };
        let (status, answer) = vault.api_as(&token, method, &line.path, (method == "POST").then(|| json!({}))).unwrap();
        assert_ne!(status, 403, "{}: {answer}", line.path);
        seen.insert(format!("{method} {}", line.path));
    }
    none_can_go(vault, &lines, &seen);
    for (method, path) in [
        ("POST", format!("{}/data/webhook", world.kv)),
        ("GET", format!("{}/data/webhook", world.records)),
        ("LIST", format!("{}/metadata", world.kv)),
    ] {
        assert_eq!(vault.api_as(&token, method, &path, None).unwrap().0, 403, "{method} {path}");
    }
}

#[test]
fn the_administrators_policy_sets_up_and_no_line_can_go() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let mut world = World::on(&proxy.address, vault, "");
    let (text, lines) = printed(&world, "admin");
    // Its own policy stands already: nobody may write what he has himself.
    vault.must("PUT", &format!("sys/policies/acl/{}-admin", world.name), Some(json!({ "policy": text }))).unwrap();
    world.use_token(&vault.token(&text, Value::Null));
    proxy.seen();
    let (code, answer) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!(code, Some(0), "{answer:#}");
    let services = format!("{}-services", world.name);
    let file = world.path("service-token");
    let (code, made) = world.json(&[
        "token",
        "create",
        "--role",
        &services,
        "--policy",
        &format!("{}-backend", world.name),
        "--to",
        file.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{made:#}");
    let accessor = made["accessor"].as_str().unwrap();
    for arguments in [
        ["token", "lookup", "--file", file.to_str().unwrap()],
        ["token", "lookup", "--accessor", accessor],
        ["token", "renew", "--accessor", accessor],
        ["token", "revoke", "--accessor", accessor],
    ] {
        let ended = world.run(&arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    assert!(world.run(&["token", "list"]).out.contains("Root tokens"));
    assert_eq!(world.run(&["approle", "rotate", &world.name, "--mount", &world.approle, "--end-old"]).code, Some(0));
    assert_eq!(world.json(&["policy", "check", "admin"]).0, Some(0));
    let log = vault.audit_log.to_str().unwrap();
    assert!(world.run(&["policy", "audit", "--audit-log", log]).code.is_some());
    let mut seen: BTreeSet<String> = proxy.seen().into_iter().collect();
    seen.insert(format!("POST auth/{}/role/{}/secret-id-accessor/lookup", world.approle, world.name));
    seen.insert(format!("GET auth/{}/role/{}", world.approle, world.name));
    none_can_go(vault, &lines, &seen);
}

#[test]
fn a_token_that_has_too_little_or_too_much_is_told() {
    let vault = servers().vault();
    let world = World::on(&vault.address, vault, "");
    let (text, lines) = printed(&world, "backend");
    let without: String = lines.iter().skip(1).map(|line| line.stanza.as_str()).collect();
    let more = "path \"secret/*\" { capabilities = [\"read\", \"delete\"] }\n";
    let file = world.path("checked-token");
    let check = |policy: &str| {
        fs::write(&file, vault.token(policy, Value::Null)).unwrap();
        world.run(&["policy", "check", "backend", "--token-file", file.to_str().unwrap()])
    };
    let fits = check(&format!("{text}path \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}\n"));
    assert!(fits.code == Some(0) && fits.out.contains("The token fits its role"), "{fits:?}");
    let wrong = check(&format!("{without}{more}path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}\npath \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}\n").replace(&lines[1].stanza, ""));
    assert_eq!(wrong.code, Some(77), "{wrong:?}");
    assert!(wrong.out.contains(&format!("may not update {}", lines[1].path)), "{wrong:?}");
    assert!(wrong.out.contains("read, delete on secret/*, which the role does not need"), "{wrong:?}");
}

#[test]
fn wide_endless_and_unused_rights_are_named() {
    let vault = servers().vault();
    let world = World::on(&vault.address, vault, "");
    let (wide, idle) = (unique("wide"), unique("idle"));
    let put = |name: &str, policy: &str| vault.must("PUT", &format!("sys/policies/acl/{name}"), Some(json!({ "policy": policy }))).unwrap();
    put(&wide, "path \"*\" { capabilities = [\"update\", \"sudo\"] }");
    put(&idle, "path \"sys/mounts\" { capabilities = [\"read\"] }\npath \"idle/*\" { capabilities = [\"read\", \"delete\"] }\n");
    let token = vault.must("POST", "auth/token/create", Some(json!({ "policies": [idle] }))).unwrap();
    vault.api_as(token["auth"]["client_token"].as_str().unwrap(), "GET", "sys/mounts", None).unwrap();
    let ended = world.run(&["policy", "audit", "--audit-log", vault.audit_log.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        format!("✗ {wide}: update, sudo on *: whoever has it can give itself everything"),
        format!("! {idle}: a wildcard, read, delete on idle/*"),
        "a root token".to_owned(),
        format!("? {idle}: read, delete on idle/*"),
        "the logs do not reach back 90 days".to_owned(),
    ] {
        assert!(ended.out.contains(&part), "{part} is not in {}", ended.out);
    }
    assert!(!ended.out.contains(&format!("{idle}: read on sys/mounts")), "{}", ended.out);
}
