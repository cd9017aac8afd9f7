//! The daemon's policy for all kinds: those that have Vault make what they hand out, acting and watching, and those whose values come from
//! elsewhere.

use crate::init_world::World;
use crate::issued::PROGRAM;
use crate::least::{Calls, Line, Witness, nothing_can_go, printed};
use crate::policy::{ROTATIONS, serve_shortly, set_up};
use crate::provider::{ADMIN, Provider};
use crate::world::LONG;
use crate::world_of_vault::{dynamic_role, let_alter, login};
use keyward_harness::{Fault, RedisServer, VaultProxy, VaultServer, free_port, servers, unique, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    let_alter(admin, &world.database, &mount);
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

/// The policy for the same secrets when they are only watched, and what its daemon and its commands do with it.
fn observing(world: &mut World, vault: &VaultServer) -> (Vec<Line>, Calls) {
    let file = world.path("keyward.toml");
    let acting = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("mode = \"observe\"\n{acting}")).unwrap();
    world.use_token(&vault.root_token);
    let (text, lines) = printed(world, "keyward");
    vault.must("PUT", &format!("sys/policies/acl/{}", world.name), Some(json!({ "policy": text }))).unwrap();
    world.use_token("");
    let witness = Witness::of(vault);
    for arguments in [["check"], ["plan"], ["status"]] {
        let ended = world.run(&arguments);
        assert!(ended.code == Some(0) && !ended.out.contains("! the token may not"), "{arguments:?}: {ended:?}");
    }
    let daemon = serve_shortly(world, vault);
    let calls = wait_until("what a daemon does that watches", LONG, || {
        let calls = witness.calls(&world.name);
        let is_there = |part: &str| calls.iter().any(|(_, path)| path.contains(part));
        ["auth/token/renew-self", "sys/leases/revoke"].iter().all(|part| is_there(part)).then_some(calls)
    });
    drop(daemon);
    fs::write(&file, acting).unwrap();
    (lines, calls)
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
    let witness = Witness::of(vault);
    let rotate_all = |world: &World| {
        for secret in ["lease", "engine", "app", "worker", "seal", "tokens", "reporting", "legacy", "webhook", "orders"] {
            wait_until(secret, LONG, || {
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
    // What cures a login that Vault lost in `rotate-root` is what the other method does always.
    let file = world.path("keyward.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("method = \"rotate-root\"", "method = \"set\"")).unwrap();
    let set = world.run(&["rotate", "engine", "--alone"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    fs::write(&file, text).unwrap();
    // Where the answer was lost, what was made is found among all.
    let call = lines.iter().find_map(|line| line.path.strip_suffix("/worker/secret-id/lookup")).unwrap();
    for (secret, role) in [("app", "backend"), ("worker", "worker")] {
        proxy.plan(&format!("POST {call}/{role}/secret-id"), 0, 0, Fault::AnswerLost);
        wait_until("an answer to be lost", LONG, || {
            world.run(&["rotate", secret, "--alone"]);
            proxy.has_happened().then_some(())
        });
    }
    let check = world.run(&["check"]);
    assert!(["! the", "✗ the"].iter().all(|mark| !check.out.contains(&format!("{mark} token may not"))), "{check:?}");
    // The daemon keeps the lease and its own token alive, ends what the rotations left, and closes the old versions of the key.
    let daemon = serve_shortly(&world, vault);
    let besides = [
        "auth/token/renew-accessor",
        "auth/token/renew-self",
        "auth/token/revoke-accessor",
        "sys/leases/renew",
        "secret-id-accessor/destroy",
        "seal/config",
    ];
    let calls = wait_until("what the daemon does besides", LONG, || {
        let calls = witness.calls(&world.name);
        besides.iter().all(|call| calls.iter().any(|(_, path)| path.ends_with(call))).then_some(calls)
    });
    drop(daemon);
    let observed = observing(&mut world, vault);

    world.use_token(&vault.token(by_hand, Value::Null));
    rotate_all(&world);
    let missing: Vec<&str> =
        hand_lines.iter().map(|line| line.path.as_str()).filter(|path| !lines.iter().any(|line| line.path == *path)).collect();
    assert!(missing.is_empty(), "{missing:?}");

    let token = vault.token(service, Value::Null);
    for line in service_lines {
        let method = if line.capabilities == ["update"] { "POST" } else { "GET" };
        let (status, answer) = vault.api_as(&token, method, &line.path, (method == "POST").then(|| json!({}))).unwrap();
        assert_ne!(status, 403, "{}: {answer}", line.path);
    }
    nothing_can_go(vault, &observed.0, &observed.1);
    nothing_can_go(vault, lines, &calls);
}

/// Adds a secret of each of those kinds. What they log in with stands in a mount of its own.
fn with_all_kinds(world: &World, vault: &VaultServer, provider: &Provider, cache: &RedisServer) {
    let (kv, logins) = (&world.kv, vault.kv_mount());
    let (admin, password) = &world.admin;
    let keeper = unique("keeper");
    for (name, value) in [("database", password.as_str()), ("cache", &keeper), ("provider", ADMIN)] {
        vault.must("POST", &format!("{logins}/data/{name}"), Some(json!({ "data": { "key": value } }))).unwrap();
    }
    cache.cli(&["ACL", "SETUSER", "reader", "on", ">at-first", "~*", "+@read", "+ping", "+@connection"]).unwrap();
    cache.cli(&["ACL", "SETUSER", "keeper", "on", &format!(">{keeper}"), "+@all"]).unwrap();
    cache.cli(&["ACL", "SAVE"]).unwrap();
    let program = world.path("program");
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config/recipes/openai.toml");
    let recipe = fs::read_to_string(recipe).unwrap();
    let key = recipe.lines().find_map(|line| line.strip_prefix("credentials = { admin_key = ")?.strip_suffix(" }")).unwrap();
    let recipe = recipe
        .replace("https://api.openai.com", &provider.address)
        .replace("proj_REPLACE", "proj_test")
        .replace(key, &format!("{{ vault = \"{logins}/provider\", field = \"key\" }}"))
        .replace("secret/integrations/openai", &format!("{kv}/openai"))
        .replace("class = \"api-key\"", "class = \"quick\"");
    let at = login(servers().postgres(), &world.database);
    let as_admin = at.replacen("postgresql://", &format!("postgresql://{admin}@"), 1);
    let (user, redis, redis_ca) = (&world.user, cache.tls_port, cache.ca_pem_path.display());
    let (program, folder) = (program.display(), world.path("").display().to_string());
    let more = format!(
        r#"
[class.quick]
schedule = "weekly"
retire = "after-grace"
grace = "1s"
[[secret]]
name = "turns"
class = "quick"
kind = "postgres-two-users"
path = "{kv}/turns"
users = ["{user}_a", "{user}_b"]
admin = {{ url = "{as_admin}", password = {{ vault = "{logins}/database", field = "key" }} }}
login = {{ url = "{at}" }}
[[secret]]
name = "cache"
class = "quick"
kind = "redis-password"
path = "{kv}/cache"
user = "reader"
nodes = ["rediss://127.0.0.1:{redis}"]
ca_cert = "{redis_ca}"
admin = {{ user = "keeper", password = {{ vault = "{logins}/cache", field = "key" }} }}
[[secret]]
name = "signing"
class = "quick"
kind = "jwt-hmac"
path = "{kv}/signing"
algorithm = "HS256"
token_lifetime = "1s"
[[secret]]
name = "both"
class = "quick"
kind = "random"
path = "{kv}/both"
issuer = "self"
set = {{ token = "{{value}}", before = "{{previous}}" }}
[[secret]]
name = "supplied"
class = "quick"
kind = "manual"
path = "{kv}/supplied"
set = {{ key = "{{value}}" }}
[[secret]]
name = "program"
class = "quick"
kind = "exec"
path = "{kv}/program"
env = ["PATH"]
program = ["{program}", "{folder}"]
set = {{ key = "{{value}}", id = "{{id}}" }}
{recipe}"#
    );
    let file = world.path("keyward.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &more).unwrap();
}

#[test]
fn what_comes_from_elsewhere_is_allowed_for_and_nothing_can_go() {
    let vault = servers().vault();
    let (provider, cache) = (Provider::start(), RedisServer::start().unwrap());
    let mut world = World::on(&vault.address, vault, "");
    with_all_kinds(&world, vault, &provider, &cache);
    set_up(&world);
    let (owner, password) = &world.admin;
    let roles = ["a", "b"].map(|turn| format!("CREATE ROLE \"{}_{turn}\" LOGIN PASSWORD 'at first';", world.user)).concat();
    servers().postgres().psql_as(owner, password, &world.database, &roles).unwrap();
    let (_, lines) = printed(&world, "keyward");
    let witness = Witness::of(vault);
    world.use_token("");
    let others = ["turns", "cache", "signing", "both", "program", "openai"].map(|secret| ["rotate", secret, "--alone"]);
    for arguments in others.iter().map(<[_; 3]>::as_slice).chain(ROTATIONS) {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let supplied = world.with_input(&["supply", "supplied", "--alone"], "brought by a person");
    assert_eq!(supplied.code, Some(0), "{supplied:?}");
    let check = world.run(&["check"]);
    assert!(!check.out.contains("✗") && !check.out.contains("! the token may not"), "{check:?}");
    let mut calls = witness.calls(&world.name);
    // The daemon's own, whatever the kinds are.
    calls.insert(("update".to_owned(), "auth/token/renew-self".to_owned()));
    nothing_can_go(vault, &lines, &calls);
}
