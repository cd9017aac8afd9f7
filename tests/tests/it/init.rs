//! `keyward init` and `keyward unseal`: from an empty Vault to one that Keyward can work with, twice, and interrupted anywhere.

use crate::init_world::{World, set_up_through};
use keyward_harness::{Moment, Product, VaultOptions, VaultProxy, VaultServer, full, servers};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

fn state_of(answer: &Value, what: &str) -> String {
    let lines = answer["lines"].as_array().unwrap();
    let line = lines.iter().find(|l| l["what"].as_str().unwrap().starts_with(what));
    line.unwrap_or_else(|| panic!("no line {what} in {answer:#}"))["state"].as_str().unwrap().to_owned()
}

fn states(answer: &Value) -> BTreeSet<&str> {
    answer["lines"].as_array().unwrap().iter().map(|l| l["state"].as_str().unwrap()).collect()
}

#[test]
fn an_empty_vault_becomes_one_that_works_and_a_second_run_changes_nothing() {
    let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let log = vault.audit_log.clone();
    let world = World::on(&vault.address, &vault, &format!("audit_log = \"{}\"", log.display()));
    let shares = world.path("shares");
    let to = shares.to_str().unwrap();

    // Nobody asked for it: nothing happens, and the code says why.
    assert_eq!(world.run(&["init"]).code, Some(3));
    assert_eq!(world.run(&["unseal"]).code, Some(3));
    let (code, dry) = world.json(&["init", "--dry-run"]);
    assert_eq!((code, states(&dry)), (Some(0), BTreeSet::from(["created"])));
    assert_eq!(vault.health().unwrap(), 501, "the dry run initialised it");
    fs::create_dir_all(world.path("tree/.git")).unwrap();
    let inside = world.path("tree/shares");
    let refused = world.run(&["init", "--initialise", "--shares-to", inside.to_str().unwrap()]);
    assert!(refused.error().contains("inside the work tree"), "{refused:?}");

    let (code, first) = world.json(&["init", "--initialise", "--shares-to", to]);
    // OpenBao takes its audit devices from the server's own file only: what to write there is said.
    let (device, ended) = if vault.product == Product::OpenBao { ("by_hand", Some(1)) } else { ("created", Some(0)) };
    assert_eq!(code, ended, "{first:#}");
    assert_eq!(state_of(&first, "initialised"), "created");
    assert_eq!(state_of(&first, "audit device"), device);
    if vault.product == Product::OpenBao {
        vault.add_audit().unwrap();
    }
    assert_eq!(state_of(&first, "static role"), "held");
    assert!(first.to_string().contains("whoever reads it owns Vault"), "the risk is named: {first:#}");
    assert_eq!(fs::metadata(&shares).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&shares).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 6);
    for file in &files {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let value = fs::read_to_string(file).unwrap();
        assert_eq!(value.lines().count(), 1, "{}", file.display());
        assert!(!first.to_string().contains(value.trim()), "the answer shows {}", file.display());
    }

    // They belong to five people, and here lie in one folder.
    let lying = world.json(&["doctor", "--look-in", to]).1.to_string();
    assert!(lying.contains("keys-lying") && lying.contains("holds 5 unseal shares in clear"), "{lying}");
    assert!(lying.contains("root-token holds unseal keys or a root token in clear"), "{lying}");

    // A second run compares everything, and finds it as it was.
    let (code, second) = world.json(&["init", "--shares-to", to]);
    assert_eq!((code, states(&second)), (Some(0), BTreeSet::from(["unchanged", "held"])), "{second:#}");
    // The daemon's own login works with what was written, and what it needs is there.
    let check = world.run(&["check"]);
    assert!(check.out.contains("the login works") && check.out.contains("the token may do what it must"), "{check:?}");
    assert!(!check.out.contains("the token may not update"), "{check:?}");

    // The static role, now that somebody says so; its user had no password, and has one by now.
    let (_, third) = world.json(&["init", "--shares-to", to, "--rotate-now", &world.static_role]);
    assert_eq!(state_of(&third, "static role"), "created", "{third:#}");
    let (_, rotated) = world.json(&["rotate", "reporting", "--alone"]);
    assert_eq!(rotated["outcome"], "rotated", "{rotated:#}");

    // Seal it; two shares of three, then the third by somebody else.
    let root = fs::read_to_string(shares.join("root-token")).unwrap();
    assert!(vault.api_as(root.trim(), "PUT", "sys/seal", None).unwrap().0 < 300);
    keyward_harness::wait_until("the seal", std::time::Duration::from_mins(1), || vault.health().is_ok_and(|h| h == 503).then_some(()));
    assert_eq!(world.run(&["init", "--shares-to", to]).code, Some(2));
    let share = |n: u8| fs::read_to_string(shares.join(format!("share-{n}"))).unwrap();
    let two = world.with_input(&["unseal"], &format!("{}{}{}", share(1), share(1), share(4)));
    assert_eq!(two.code, Some(2), "{two:?}");
    assert!(two.out.contains("vault-1: still sealed, 2 of 3 shares given"), "{two:?}");
    let nonsense = world.with_input(&["unseal"], "bm90IGEgc2hhcmU=\n");
    assert_eq!(nonsense.code, Some(2), "{nonsense:?}");
    let three = world.with_input(&["unseal"], &format!("{}{}{}", share(5), share(2), share(3)));
    assert_eq!(three.code, Some(0), "{three:?}");
    assert!(three.out.contains("vault-1: unsealed"), "{three:?}");
    let again = world.run(&["unseal"]);
    assert!(again.code == Some(0) && again.out.contains("vault-1: unchanged"), "{again:?}");
    for n in 1..=5 {
        let value = share(n);
        assert!(![&two, &three].iter().any(|e| e.out.contains(value.trim()) || e.err.contains(value.trim())), "a share was shown");
    }

    // The root token ends when it is asked to, and its file goes.
    let (code, last) = world.json(&["init", "--shares-to", to, "--revoke-root", "--rotate-now", &world.static_role]);
    assert_eq!((code, state_of(&last, "root token")), (Some(0), "changed".to_owned()), "{last:#}");
    assert!(!shares.join("root-token").exists());
    assert_eq!(vault.api_as(root.trim(), "GET", "auth/token/lookup-self", None).unwrap().0, 403);
}

#[test]
fn a_server_that_is_not_up_yet_is_waited_for() {
    let mut vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let world = World::on(&vault.address, &vault, "");
    vault.kill().unwrap();
    let gone = world.run(&["init", "--wait", "1"]);
    assert!(gone.code == Some(69) && gone.error().contains("check the address and that the server runs"), "{gone:?}");
    let mut waits = world.command(&["init", "--wait", "120"]).spawn().unwrap();
    let mut said = BufReader::new(waits.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("Waiting for Vault at"));
    vault.restart().unwrap();
    // It came up sealed, and that is what is said.
    assert!(said.next().unwrap().unwrap().contains("is sealed; give its shares to `keyward unseal`"));
    assert_eq!(waits.wait().unwrap().code(), Some(2));
}

#[test]
fn shares_come_to_their_owners_encrypted() {
    let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let world = World::on(&vault.address, &vault, "");
    let key = world.pgp_key();
    let (shares, key_file) = (world.path("shares"), key.to_str().unwrap());
    let few = ["init", "--initialise", "--shares-to", shares.to_str().unwrap(), "--shares", "2", "--threshold", "2"];
    let one_key = [few.as_slice(), &["--pgp-key", key_file]].concat();
    assert!(world.run(&one_key).error().contains("there are 1 --pgp-key for 2 shares"), "each share has an owner");
    let lost = world.path("shares/share-1.pgp");
    assert!(!lost.exists(), "nothing is written for a wish that cannot be");
    // Nobody's key opens them here: so Vault stays sealed, and says what to do.
    let both = [few.as_slice(), &["--pgp-key", key_file, "--pgp-key", key_file]].concat();
    let (code, answer) = world.json(&both);
    assert_eq!(
        (code, state_of(&answer, "initialised"), &answer["changes"]),
        (Some(2), "created".to_owned(), &Value::from(1)),
        "{answer:#}"
    );
    let share = world.decrypt(&fs::read_to_string(&lost).unwrap());
    let other = world.decrypt(&fs::read_to_string(world.path("shares/share-2.pgp")).unwrap());
    let (code, rest) = {
        let open = world
            .with_input(&["init", "--unseal", "--shares-to", shares.to_str().unwrap(), "--output", "json"], &format!("{share}\n{other}\n"));
        (open.code, serde_json::from_str::<Value>(&open.out).unwrap_or_else(|e| panic!("{e}: {open:?}")))
    };
    assert_eq!((code, state_of(&rest, "unsealed")), (Some(0), "changed".to_owned()), "{rest:#}");
}

/// Each run dies at the first change that it makes: right before it, and right after it. The next one goes on.
#[test]
fn whatever_change_it_dies_at_the_next_run_goes_on() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let (whole, writes) = set_up_through(&proxy, vault);
    assert!(writes.len() >= 14, "{writes:?}");

    let world = World::on(&proxy.address, vault, "");
    let role = world.static_role.clone();
    let arguments = ["init", "--rotate-now", role.as_str()];
    for (number, call) in writes.iter().enumerate() {
        let call = whole.as_in(&world, call);
        if number % 6 == 0 || full() {
            assert!(world.dies_at(&proxy, &arguments, &call, Moment::Before), "{call} was not made (before)");
        }
        assert!(world.dies_at(&proxy, &arguments, &call, Moment::After), "{call} was not made");
    }
    let (code, last) = world.json(&arguments);
    assert_eq!(code, Some(0), "{last:#}");
    let (_, again) = world.json(&arguments);
    assert_eq!(states(&again), BTreeSet::from(["unchanged"]), "{again:#}");
    // Nothing was made twice: one secret id, though one died right after it was made.
    let ids = vault.must("LIST", &format!("auth/{}/role/{}/secret-id", world.approle, world.name), None).unwrap();
    assert_eq!(ids["data"]["keys"].as_array().unwrap().len(), 1);
    assert!(world.run(&["check"]).out.contains("the login works"));
}

/// A mount that is not there yet ends where `[init]` says, not behind its first part.
#[test]
fn a_mount_of_several_parts_is_made_as_a_whole() {
    let vault = servers().vault();
    let mut world = World::on(&vault.address, vault, "");
    let (file, kv) = (world.path("keyward.toml"), &world.kv);
    let text = fs::read_to_string(&file).unwrap();
    let deep = text
        .replace(&format!("path = \"{kv}/"), &format!("path = \"{kv}/of/team/"))
        .replace("[init]\n", &format!("[init]\nkv = [\"{kv}/of\"]\n"));
    fs::write(&file, deep).unwrap();
    let (code, first) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!((code, state_of(&first, &format!("mount {kv}/of/"))), (Some(0), "created".to_owned()), "{first:#}");
    assert_eq!(states(&world.json(&["init"]).1), BTreeSet::from(["unchanged"]));
    // What was granted is enough.
    world.use_token("");
    let ended = world.run(&["rotate", "webhook", "--alone"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn what_somebody_else_made_is_not_touched() {
    let vault = servers().vault();
    let world = World::on(&vault.address, vault, "");
    let policy = |name: &str| format!("sys/policies/acl/{name}");
    let foreign = "path \"secret/*\" {\n  capabilities = [\"read\"]\n}\n";
    vault.must("PUT", &policy(&world.name), Some(serde_json::json!({ "policy": foreign }))).unwrap();
    vault
        .must("POST", &format!("sys/mounts/{}", world.kv), Some(serde_json::json!({ "type": "kv", "options": { "version": "1" } })))
        .unwrap();
    servers().postgres().psql(&format!("CREATE ROLE \"{}\" LOGIN PASSWORD 'of an application'", world.engine_user)).unwrap();
    let (code, answer) = world.json(&["init", "--revoke-root"]);
    assert_eq!(code, Some(1), "{answer:#}");
    assert_eq!(state_of(&answer, "root token"), "not_tried", "what is left needs it");
    assert_eq!(state_of(&answer, &format!("policy {}", world.name)), "refused");
    assert_eq!(state_of(&answer, &format!("mount {}/", world.kv)), "refused");
    assert_eq!(state_of(&answer, &format!("database user {}", world.engine_user)), "refused");
    let kept = vault.must("GET", &policy(&world.name), None).unwrap();
    assert_eq!(kept["data"]["policy"], foreign);
    servers().postgres().psql_as(&world.engine_user, "of an application", &world.database, "SELECT 1").unwrap();
}

#[test]
fn dynamic_users_may_do_what_was_said_and_leave_nothing_behind() {
    let vault = servers().vault();
    let world = World::on(&vault.address, vault, "");
    let (owner, password) = &world.admin;
    let as_owner = |sql: &str| servers().postgres().psql_as(owner, password, &world.database, sql).unwrap();
    as_owner("CREATE TABLE orders (id serial, what text)");
    let (code, answer) = world.json(&["init"]);
    assert_eq!(code, Some(0), "{answer:#}");
    // A table that comes later is covered too.
    as_owner("CREATE TABLE later (id serial)");
    let creds = vault.must("GET", &format!("{}/creds/{}", world.database_mount, world.dynamic_role), None).unwrap();
    let text = |pointer: &str| creds.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let (user, password, lease) = (text("/data/username"), text("/data/password"), text("/lease_id"));
    let sql = |statement: &str| servers().postgres().psql_as(&user, &password, &world.database, statement);
    for allowed in [
        "INSERT INTO orders (what) VALUES ('x')",
        "SELECT * FROM later",
        "UPDATE orders SET what = 'y'",
        "INSERT INTO later DEFAULT VALUES",
    ] {
        sql(allowed).unwrap_or_else(|e| panic!("{allowed}: {e}"));
    }
    assert!(sql("CREATE TABLE mine (id int)").is_err() && sql("DROP TABLE orders").is_err());
    vault.must("PUT", "sys/leases/revoke", Some(serde_json::json!({ "lease_id": lease, "sync": true }))).unwrap();
    assert_eq!(servers().postgres().psql(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{user}'")).unwrap(), "0");
}
