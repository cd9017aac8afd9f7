//! The policies that Keyward prints: each is enough for its role, and no line of it can be taken away. Then `policy check` and `policy audit`.
//!
//! What a role needs is what its commands were seen to call, through a proxy. A line that no call needs fails the test; one that is taken away
//! has Vault deny a call that was seen.

use crate::init_world::World;
use crate::world_of_vault::{dynamic_role, login};
use keyward_harness::{Fault, Process, Stop, VaultProxy, VaultServer, free_port, servers, unique, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

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
    // Another Keyward may have the usual port.
    let file = world.path("keyward.toml");
    let http = format!("\n[http]\nlisten = \"127.0.0.1:{}\"\n", free_port().unwrap());
    fs::write(&file, fs::read_to_string(&file).unwrap() + &http).unwrap();
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

/// Secrets of the kinds that have Vault make what they hand out, and one whose administrator's password stands in Vault.
fn with_what_vault_makes(world: &World) {
    let (vault, postgres) = (servers().vault(), servers().postgres());
    let mount = vault.database_mount(postgres);
    let (engine, approle, elsewhere) = (&mount.path, unique("approle"), vault.kv_mount());
    let hashed = json!({ "password_authentication": "scram-sha-256" });
    vault.must("POST", &format!("{engine}/config/{}", mount.connection), Some(hashed)).unwrap();
    dynamic_role(vault, &mount, "orders", "1h", "200h");
    dynamic_role(vault, &mount, "canary", "10s", "20s");
    vault.must("POST", &format!("sys/auth/{approle}"), Some(json!({ "type": "approle" }))).unwrap();
    for role in ["backend", "worker"] {
        vault.must("POST", &format!("auth/{approle}/role/{role}"), Some(json!({ "token_policies": "default" }))).unwrap();
    }
    vault.must("POST", &format!("sys/mounts/{}", world.transit), Some(json!({ "type": "transit" }))).unwrap();
    vault.must("POST", &format!("{}/keys/seal", world.transit), Some(json!({ "type": "ed25519" }))).unwrap();
    let (admin, password) = &world.admin;
    vault.must("POST", &format!("{elsewhere}/data/admin"), Some(json!({ "data": { "password": password } }))).unwrap();
    postgres.psql_in(&world.database, &format!("GRANT SELECT ON pg_authid TO \"{admin}\"")).unwrap();
    if postgres.psql("SHOW server_version_num").unwrap().parse::<u32>().unwrap() >= 160_000 {
        postgres.psql(&format!("GRANT \"{}\" TO \"{admin}\" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", mount.user)).unwrap();
    }
    let (kv, at) = (&world.kv, login(postgres, &mount.database));
    let as_admin = login(postgres, &world.database).replacen("postgresql://", &format!("postgresql://{admin}@"), 1);
    let more = format!(
        r#"
[http]
listen = "127.0.0.1:{port}"
[class.quick]
schedule = "weekly"
retire = "after-grace"
grace = "1s"
[[secret]]
name = "lease"
class = "quick"
kind = "vault-dynamic-lease"
path = "{kv}/lease"
role = "{engine}/roles/orders"
token_role = "{name}-lease"
login = {{ url = "{at}" }}
[[secret]]
name = "engine"
class = "quick"
kind = "vault-root"
connection = "{engine}/config/{connection}"
canary = "{engine}/roles/canary"
method = "rotate-root"
admin = {{ url = "{as_admin}", password = {{ vault = "{elsewhere}/admin", field = "password" }} }}
login = {{ url = "{at}" }}
[[secret]]
name = "app"
class = "quick"
kind = "approle-secret-id"
role = "auth/{approle}/role/backend"
path = "{kv}/app"
wrap = "5m"
[[secret]]
name = "worker"
class = "quick"
kind = "approle-secret-id"
role = "auth/{approle}/role/worker"
path = "{kv}/worker"
[[secret]]
name = "seal"
class = "quick"
kind = "transit-key"
key = "{transit}/keys/seal"
keep_versions = 1
[[secret]]
name = "tokens"
class = "quick"
kind = "jwt-keypair"
algorithm = "ES256"
token_lifetime = "1s"
cache_lifetime = "1s"
skew = "1s"
path = "{kv}/tokens"
jwks = {{ path = "{kv}/tokens-public" }}
"#,
        port = free_port().unwrap(),
        name = world.name,
        connection = mount.connection,
        transit = world.transit
    );
    let file = world.path("keyward.toml");
    let role = format!("role = \"{}/static-roles/{}\"\nlogin", world.database_mount, world.static_role);
    let copied = role.replace("\nlogin", &format!("\npath = \"{kv}/copy\"\nlogin"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&role), "{text}");
    fs::write(&file, text.replace(&role, &copied) + &more).unwrap();
}

#[test]
fn what_vault_itself_makes_is_allowed_for_too_and_no_line_can_go() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let mut world = World::on(&proxy.address, vault, "");
    with_what_vault_makes(&world);
    set_up(&world);
    let printed = ["keyward", "rotation", "backend"].map(|role| printed(&world, role));
    let [(_, lines), (by_hand, hand_lines), (service, service_lines)] = &printed;
    proxy.seen();
    let rotate_all = |world: &World| {
        for secret in ["lease", "engine", "app", "worker", "seal", "tokens", "reporting", "legacy", "webhook", "orders"] {
            wait_until(secret, crate::world::LONG, || {
                let ended = world.run(&["rotate", secret, "--alone"]);
                assert!(matches!(ended.code, Some(0 | 75)), "{secret}: {ended:?}");
                (ended.code == Some(0)).then_some(())
            });
        }
    };
    // Twice: the second time ends what the first one left.
    world.use_token("");
    rotate_all(&world);
    rotate_all(&world);
    // Where the answer was lost, what was made is found among all.
    let call = lines.iter().find_map(|line| line.path.strip_suffix("/worker/secret-id/lookup")).unwrap();
    proxy.plan(&format!("POST {call}/worker/secret-id"), 0, 0, Fault::AnswerLost);
    wait_until("an answer to be lost", crate::world::LONG, || {
        world.run(&["rotate", "worker", "--alone"]);
        proxy.has_happened().then_some(())
    });
    let check = world.run(&["check"]);
    assert!(["! the", "✗ the"].iter().all(|mark| !check.out.contains(&format!("{mark} token may not"))), "{check:?}");
    let mut seen: BTreeSet<String> = proxy.seen().into_iter().collect();
    // The daemon keeps the lease alive, ends what the rotations left, and closes the old versions of the key.
    let mut serve = world.command(&["serve"]);
    serve.stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = Process::start("keyward", serve, Stop::Terminate).unwrap();
    let besides =
        ["auth/token/renew-accessor", "auth/token/revoke-accessor", "sys/leases/renew", "secret-id-accessor/destroy", "seal/config"];
    wait_until("what the daemon does besides", crate::world::LONG, || {
        seen.extend(proxy.seen());
        besides.iter().all(|call| seen.iter().any(|seen| seen.ends_with(call))).then_some(())
    });
    drop(daemon);
    // And what it does at two thirds of an hour.
    seen.insert("POST auth/token/renew-self".to_owned());
    none_can_go(vault, lines, &seen);

    world.use_token(&vault.token(by_hand, Value::Null));
    rotate_all(&world);
    let missing: Vec<&str> =
        hand_lines.iter().map(|line| line.path.as_str()).filter(|path| !lines.iter().any(|line| line.path == *path)).collect();
    assert!(missing.is_empty(), "{missing:?}");

    let token = vault.token(service, Value::Null);
    for line in service_lines {
        let method = if line.stanza.contains("update") { "POST" } else { "GET" };
        let (status, answer) = vault.api_as(&token, method, &line.path, (method == "POST").then(|| json!({}))).unwrap();
        assert_ne!(status, 403, "{}: {answer}", line.path);
    }
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
    assert_eq!(world.run(&[own.as_slice(), &["--to", world.path("secret-id").to_str().unwrap()]].concat()).code, Some(0));
    let kept = world.run(&["approle", "create", &world.name, "--mount", &world.approle, "--policy", "any"]);
    assert!(kept.code == Some(64) && kept.error().contains("Keyward's own role"), "{kept:?}");
    let denied = world.run(&["approle", "create", "another", "--mount", &world.approle, "--policy", "any"]);
    assert!(denied.code == Some(77) && denied.error().contains("making a role needs `create`"), "{denied:?}");
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
