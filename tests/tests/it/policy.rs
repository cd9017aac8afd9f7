//! The policies that Keyward prints: each is enough for its role, and no line of it can be taken away. Then `policy check` and `policy audit`.
//!
//! What a role needs is what its commands were seen to do in Vault's audit log. A capability that no call needs fails the test; one that is taken
//! away has Vault deny a call that was seen.

use crate::init_world::World;
use crate::least::{Calls, Line, Witness, nothing_can_go, printed};
use crate::world::LONG;
use keyward_harness::{Fault, Process, Stop, VaultOptions, VaultProxy, VaultServer, free_port, servers, unique, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;

pub fn set_up(world: &World) {
    let (code, answer) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!(code, Some(0), "{answer:#}");
    let (owner, password) = &world.admin;
    let role = format!("CREATE ROLE \"{}_legacy\" LOGIN PASSWORD 'at first'", world.user);
    servers().postgres().psql_as(owner, password, &world.database, &role).unwrap();
}

/// Has the audit log read as the daemon can: with a chain that is signed, and canaries.
fn with_evidence(world: &World) {
    let file = world.path("keyward.toml");
    let audit = format!("[audit]\ncanary = \"1s\"\n[audit.evidence]\nsign = \"{}/keyward-audit\"\nsign_every = \"1s\"\n", world.transit);
    fs::write(&file, fs::read_to_string(&file).unwrap() + &audit).unwrap();
}

/// The daemon, with a token that lives for a few seconds.
pub fn serve_shortly(world: &World, vault: &VaultServer) -> Process {
    let role = format!("auth/{}/role/{}", world.approle, world.name);
    vault.must("POST", &role, Some(json!({ "token_period": "5s" }))).unwrap();
    let mut serve = world.command(&["serve"]);
    serve.stdout(Stdio::null()).stderr(Stdio::null());
    Process::start("keyward", serve, Stop::Terminate).unwrap()
}

pub const ROTATIONS: [&[&str]; 6] = [
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
    let log = vault.audit_log.to_str().unwrap();
    let mut world = World::on(&vault.address, vault, &format!("audit_log = \"{log}\""));
    with_evidence(&world);
    set_up(&world);
    // Another Keyward may have the usual port.
    let file = world.path("keyward.toml");
    let http = format!("\n[http]\nlisten = \"127.0.0.1:{}\"\n", free_port().unwrap());
    fs::write(&file, fs::read_to_string(&file).unwrap() + &http).unwrap();
    let (_, lines) = printed(&world, "keyward");
    let witness = Witness::of(vault);
    // Its own login, by AppRole, whose role has nothing but this policy.
    world.use_token("");
    for arguments in ROTATIONS {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let check = world.run(&["check"]);
    assert!(!check.out.contains("✗") && !check.out.contains("! the token may not"), "{check:?}");
    // The daemon looks for its canaries in the audit log, signs what it saw, and keeps its own token, which lives for a few seconds from now on.
    let daemon = serve_shortly(&world, vault);
    let besides = ["sys/audit-hash/file", "sign/keyward-audit", "auth/token/renew-self"];
    wait_until("what the daemon does besides", LONG, || {
        let calls = witness.calls(&world.name);
        let has_flown = calls.iter().any(|(_, path)| path.contains("/data/canary/"));
        (has_flown && besides.iter().all(|call| calls.iter().any(|(_, path)| path.ends_with(call)))).then_some(())
    });
    let is_signed = || world.run(&["audit", "evidence"]).out.contains("\"signature\":\"vault:v1:").then_some(());
    wait_until("a signature that is kept", LONG, is_signed);
    drop(daemon);
    let (_, verified) = world.json(&["audit", "verify", log]);
    let seals = &verified["seals"];
    assert!(seals["signed"].as_u64() > Some(0) && seals["signed"] == seals["confirmed"], "{verified:#}");
    let calls = witness.calls(&world.name);

    // It fits, both ways; only that what is published now need not be created again.
    world.use_token(&vault.root_token);
    let (code, fits) = world.json(&["policy", "check", "keyward"]);
    assert_eq!((code, fits["ok"].clone()), (Some(0), json!(true)), "{fits:#}");
    let says: Vec<&str> = fits["groups"][1]["findings"].as_array().unwrap().iter().map(|f| f["says"].as_str().unwrap()).collect();
    assert!(says.iter().all(|s| s.contains(" grants create on ")) && says.len() == 2, "{says:?}");
    nothing_can_go(vault, &lines, &calls);
}

#[test]
fn the_policies_for_hands_and_services_are_enough_and_no_line_can_go() {
    let vault = servers().vault();
    let mut world = World::on(&vault.address, vault, &format!("audit_log = \"{}\"", vault.audit_log.display()));
    with_evidence(&world);
    set_up(&world);
    let (text, lines) = printed(&world, "rotation");
    let witness = Witness::of(vault);
    let token = vault.token(&text, Value::Null);
    world.use_token(&token);
    for arguments in ROTATIONS {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let (code, fits) = world.json(&["policy", "check", "rotation"]);
    assert_eq!(code, Some(0), "{fits:#}");
    let calls = witness.calls_of(vault, &token);

    world.use_token(&vault.root_token);
    let (text, service_lines) = printed(&world, "backend");
    let token = vault.token(&text, Value::Null);
    let mut read = Calls::new();
    for line in &service_lines {
        let method = if line.capabilities == ["update"] { "POST" } else { "GET" };
        let (status, answer) = vault.api_as(&token, method, &line.path, (method == "POST").then(|| json!({}))).unwrap();
        assert_ne!(status, 403, "{}: {answer}", line.path);
        read.insert((line.capabilities[0].clone(), line.path.clone()));
    }
    nothing_can_go(vault, &service_lines, &read);
    for (method, path) in [
        ("POST", format!("{}/data/webhook", world.kv)),
        ("GET", format!("{}/data/webhook", world.records)),
        ("LIST", format!("{}/metadata", world.kv)),
    ] {
        assert_eq!(vault.api_as(&token, method, &path, None).unwrap().0, 403, "{method} {path}");
    }
    nothing_can_go(vault, &lines, &calls);
}

/// Changes what `init` made, thing by thing.
fn drift(world: &World, vault: &VaultServer) {
    let World { name, approle, database_mount: database, static_role, dynamic_role, user, .. } = world;
    for (path, body) in [
        (format!("auth/{approle}/role/{name}"), json!({ "token_period": "17m" })),
        (format!("auth/token/roles/{name}-services"), json!({ "token_period": "17m" })),
        (format!("{database}/config/postgres"), json!({ "allowed_roles": "*", "verify_connection": false })),
        (format!("{database}/static-roles/{static_role}"), json!({ "db_name": "postgres", "username": user, "rotation_period": "17h" })),
        (format!("{database}/roles/{dynamic_role}"), json!({ "db_name": "postgres", "default_ttl": "17m" })),
    ] {
        vault.must("POST", &path, Some(body)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    for role in ["", "-backend", "-rotation"] {
        let path = format!("sys/policies/acl/{name}{role}");
        let text = vault.must("GET", &path, None).unwrap()["data"]["policy"].as_str().unwrap().replace("read", "list");
        vault.must("POST", &path, Some(json!({ "policy": text }))).unwrap();
    }
}

#[test]
fn the_administrators_policy_sets_up_and_no_line_can_go() {
    let server = VaultServer::start(&VaultOptions { initialise: true, audit: false }).unwrap();
    let vault = &server;
    let witness = Witness::beside(vault);
    let proxy = VaultProxy::start(vault).unwrap();
    let mut world = World::on(&proxy.address, vault, &format!("audit_log = \"{}\"", vault.audit_log.display()));
    with_evidence(&world);
    let (text, lines) = printed(&world, "admin");
    // Its own policy stands already: nobody may write what he has himself.
    vault.must("PUT", &format!("sys/policies/acl/{}-admin", world.name), Some(json!({ "policy": text }))).unwrap();
    let own_token = vault.token(&text, Value::Null);
    world.use_token(&own_token);
    let (code, answer) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!(code, Some(0), "{answer:#}");
    // What somebody changed since is set up again.
    drift(&world, vault);
    let (code, answer) = world.json(&["init"]);
    assert_eq!(code, Some(0), "{answer:#}");
    let services = format!("{}-services", world.name);
    let file = world.path("service-token");
    let alone = world.run(&["token", "create", "--policy", &format!("{}-backend", world.name)]);
    assert!(alone.code == Some(77) && alone.error().contains(&format!("say --role {services}")), "{alone:?}");
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
    assert_eq!(world.run(&["token", "renew", "--self"]).code, Some(0));
    assert!(world.run(&["token", "list"]).out.contains("Root tokens"));
    let own = ["approle", "rotate", &world.name, "--mount", &world.approle, "--end-old"];
    let locked_out = world.run(&own);
    assert!(locked_out.code == Some(64) && locked_out.error().contains("its daemon would be locked out: say --to"), "{locked_out:?}");
    let secret_id = world.path("secret-id");
    let rotate = [own.as_slice(), &["--to", secret_id.to_str().unwrap()]].concat();
    // Where the answer was lost, what was made is found among all.
    proxy.plan(&format!("POST auth/{}/role/{}/secret-id", world.approle, world.name), 0, 0, Fault::AnswerLost);
    let lost = world.run(&rotate);
    assert!(lost.code != Some(0) && proxy.has_happened(), "{lost:?}");
    assert_eq!(world.run(&rotate).code, Some(0));
    let kept = world.run(&["approle", "create", &world.name, "--mount", &world.approle, "--policy", "any"]);
    assert!(kept.code == Some(64) && kept.error().contains("Keyward's own role"), "{kept:?}");
    let denied = world.run(&["approle", "create", "another", "--mount", &world.approle, "--policy", "any"]);
    assert!(denied.code == Some(77) && denied.error().contains("making a role needs `create`"), "{denied:?}");
    assert_eq!(world.json(&["policy", "check", "admin"]).0, Some(0));
    let log = vault.audit_log.to_str().unwrap();
    assert!(world.run(&["policy", "audit", "--audit-log", log]).code.is_some());
    nothing_can_go(vault, &lines, &witness.calls_of(vault, &own_token));
}

#[test]
fn a_token_that_has_too_little_or_too_much_is_told() {
    let vault = servers().vault();
    let world = World::on(&vault.address, vault, "");
    let (text, lines) = printed(&world, "backend");
    let without: String = lines.iter().skip(1).map(Line::stanza).collect();
    let more = "path \"secret/*\" { capabilities = [\"read\", \"delete\"] }\n";
    let file = world.path("checked-token");
    let check = |policy: &str| {
        fs::write(&file, vault.token(policy, Value::Null)).unwrap();
        world.run(&["policy", "check", "backend", "--token-file", file.to_str().unwrap()])
    };
    let fits = check(&format!("{text}path \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}\n"));
    assert!(fits.code == Some(0) && fits.out.contains("The token fits its role"), "{fits:?}");
    let wrong = check(&format!("{without}{more}path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}\npath \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}\n").replace(&lines[1].stanza(), ""));
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
    put(
        &idle,
        "path \"sys/mounts\" { capabilities = [\"read\"] }\npath \"sys/policies/acl\" { capabilities = [\"list\"] }\npath \"idle/*\" { capabilities = [\"read\", \"delete\"] }\n",
    );
    let token = vault.must("POST", "auth/token/create", Some(json!({ "policies": [idle] }))).unwrap();
    for (method, path) in [("GET", "sys/mounts"), ("LIST", "sys/policies/acl")] {
        assert_eq!(vault.api_as(token["auth"]["client_token"].as_str().unwrap(), method, path, None).unwrap().0, 200);
    }
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
    for used in ["read on sys/mounts", "list on sys/policies/acl"] {
        assert!(!ended.out.contains(&format!("{idle}: {used}")), "{}", ended.out);
    }
}
