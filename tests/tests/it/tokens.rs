//! `keyward token` and `keyward approle`: made, handed over without being seen, looked up, renewed, ended.

use crate::init_world::World;
use crate::world::Ended;
use keyward_harness::{VaultOptions, VaultServer, servers, unique};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn world_with_policy() -> (World, String) {
    let vault = servers().vault();
    let policy = unique("service");
    vault
        .must("PUT", &format!("sys/policies/acl/{policy}"), Some(json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" })))
        .unwrap();
    (World::on(&vault.address, vault, ""), policy)
}

#[test]
fn a_service_gets_a_periodic_orphan_that_nobody_saw() {
    let vault = servers().vault();
    let (world, policy) = world_with_policy();
    let (code, made) = world.json(&["token", "create", "--policy", &policy, "--used-every", "7d"]);
    assert_eq!(code, Some(0), "{made:#}");
    let warnings = made["warnings"].to_string();
    for part in ["you work with a root token", "dies 1d after it was last renewed", "used every 7d only, it is dead by the second time"] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
    let unwrapped = vault.api_as(made["wrapping_token"].as_str().unwrap(), "POST", "sys/wrapping/unwrap", None).unwrap().1;
    let token = unwrapped["auth"]["client_token"].as_str().unwrap();
    let info = vault.api_as(&vault.root_token, "POST", "auth/token/lookup", Some(json!({ "token": token }))).unwrap().1;
    assert_eq!((info["data"]["period"].clone(), info["data"]["orphan"].clone()), (json!(86_400), json!(true)), "{info:#}");
    assert_eq!(info["data"]["policies"], json!([policy]), "no default policy");

    // By standard input, and never shown.
    let shown = world.with_input(&["token", "lookup", "--stdin", "--output", "json"], token);
    let answer: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(answer["accessor"], info["data"]["accessor"]);
    assert!(!format!("{shown:?}").contains(token));
    let renewed = world.with_input(&["token", "renew", "--stdin"], token);
    assert!(
        renewed.code == Some(0) && renewed.out.contains("was renewed") && renewed.out.contains("dies 1d after the last time"),
        "{renewed:?}"
    );
    let listed = world.run(&["token", "list", "--within", "2d"]);
    let accessor = answer["accessor"].as_str().unwrap();
    assert!(
        listed.code == Some(1)
            && listed.out.contains("Root tokens")
            && listed.out.contains(&format!("keyward token renew --accessor {accessor}")),
        "{listed:?}"
    );
    let ended = world.run(&["token", "revoke", "--accessor", accessor]);
    assert!(ended.code == Some(0) && ended.out.contains("token revoked"), "{ended:?}");
    // A dead token is told from a refusal, and cannot be brought back.
    let dead = world.with_input(&["token", "renew", "--stdin"], token);
    assert!(dead.code == Some(1) && dead.error().contains("cannot be renewed"), "{dead:?}");
    let again = world.run(&["token", "revoke", "--accessor", accessor]);
    assert!(again.code == Some(0) && again.out.contains("dead already"), "{again:?}");
}

const ROOT: &str = "you work with a root token";
const DEAD: &str = "dead by the second time";

/// The warnings of an answer, as one text.
fn warned((code, answer): (Option<i32>, Value)) -> String {
    assert_eq!(code, Some(0), "{answer:#}");
    answer["warnings"].to_string()
}

#[test]
fn who_works_as_root_is_told_and_who_would_find_a_dead_token_too() {
    let vault = servers().vault();
    let (mut world, policy) = world_with_policy();
    let (mount, role, seldom) = (unique("approle"), unique("cron"), unique("seldom"));
    vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    let body = json!({ "allowed_policies": [policy], "orphan": true, "token_period": "72h" });
    vault.must("POST", &format!("auth/token/roles/{seldom}"), Some(body)).unwrap();
    let create = |world: &World, more: &[&str]| {
        let typed = ["approle", "create", &role, "--mount", &mount, "--policy", &policy];
        warned(world.json(&[typed.as_slice(), more].concat()))
    };
    let token = |world: &World, more: &[&str]| warned(world.json(&[["token", "create"].as_slice(), more].concat()));
    // A weekly run with what lives for three days, in each of the ways to make that.
    for (more, dies) in [
        (vec!["--policy", &policy, "--period", "72h"], "dies 3d after it was last renewed"),
        (vec!["--policy", &policy, "--ttl", "72h"], "dies 3d after it was made"),
        (vec!["--role", &seldom], "dies 3d after it was last renewed"),
    ] {
        let said = token(&world, &[more.as_slice(), &["--used-every", "7d"]].concat());
        assert!(said.contains(DEAD) && said.contains(dies) && said.contains(ROOT), "{more:?}: {said}");
        assert!(!token(&world, &[more.as_slice(), &["--used-every", "1d"]].concat()).contains(DEAD), "{more:?}");
    }
    let said = create(&world, &["--secret-id-ttl", "72h", "--used-every", "7d"]);
    for part in [ROOT, DEAD, "a token of this role dies 1d after it was last renewed", "a secret id of this role dies 3d after it was made"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let said = warned(world.json(&["approle", "rotate", &role, "--mount", &mount]));
    assert!(said.contains(ROOT) && said.contains("a secret id of this role dies 3d"), "{said}");

    // Whoever works with less is not told of root.
    let less = format!(
        "path \"auth/token/create-orphan\" {{ capabilities = [\"update\", \"sudo\"] }}\npath \"auth/token/create\" {{ capabilities = [\"update\", \"sudo\"] }}\n\
         path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}\n\
         path \"auth/{mount}/role/*\" {{ capabilities = [\"create\", \"read\", \"update\", \"list\"] }}"
    );
    world.use_token(&vault.token(&less, Value::Null));
    for said in
        [token(&world, &["--policy", &policy]), create(&world, &[]), warned(world.json(&["approle", "rotate", &role, "--mount", &mount]))]
    {
        assert!(!said.contains(ROOT) && said.contains("dies 1d after it was last renewed"), "{said}");
    }
}

/// Vault writes a token, then its lease; whoever looks at the token in between has Vault end it.
#[test]
fn a_list_of_all_tokens_ends_none_that_is_just_being_made() {
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let world = World::on(&vault.address, &vault, "");
    let is_over = AtomicBool::new(false);
    let (made, dead) = std::thread::scope(|scope| {
        let make = || {
            let (mut made, mut dead) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let body = json!({ "policies": ["default"], "ttl": "1h", "no_parent": true });
                let accessor = vault.must("POST", "auth/token/create", Some(body)).unwrap()["auth"]["accessor"].clone();
                let ended = vault.api("POST", "auth/token/revoke-accessor", Some(json!({ "accessor": accessor })));
                made += 1;
                dead += usize::from(!ended.is_ok_and(|(status, _)| status < 300));
            }
            (made, dead)
        };
        let makers = [(); 2].map(|()| scope.spawn(make));
        let began = Instant::now();
        // It says that a root token is alive: this very one.
        assert_eq!(world.run(&["token", "list"]).code, Some(1));
        assert!(began.elapsed() >= Duration::from_secs(2), "it did not wait until what it looks at is whole");
        is_over.store(true, Ordering::Relaxed);
        makers.map(|maker| maker.join().unwrap()).into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    assert!(made > 0 && dead == 0, "{dead} of {made} tokens were ended");
}

#[test]
fn no_root_token_is_made_and_none_by_accident() {
    let (world, policy) = world_with_policy();
    for (more, says) in [(vec!["--policy", "root"], "no root token is made here"), (vec![], "say what it may do")] {
        let ended = world.run(&[["token", "create"].as_slice(), &more].concat());
        assert!(ended.code == Some(64) && ended.error().contains(says), "{ended:?}");
    }
    fs::create_dir_all(world.path("tree/.git")).unwrap();
    let inside = world.path("tree/token");
    assert!(
        world.run(&["token", "create", "--policy", &policy, "--to", inside.to_str().unwrap()]).error().contains("inside the work tree")
    );
    // As `/dev/stdout` is one.
    std::os::unix::fs::symlink("/proc/self/fd/1", world.path("link")).unwrap();
    let ended = world.run(&["token", "create", "--policy", &policy, "--to", "link"]);
    assert!(ended.code == Some(64) && ended.error().contains("no ordinary file") && world.path("link").is_symlink(), "{ended:?}");
    let (file, child) = (world.path("token"), ["token", "create", "--child", "--policy", &policy, "--to"]);
    let (code, made) = world.json(&[child.as_slice(), &[file.to_str().unwrap()]].concat());
    assert_eq!(code, Some(0), "{made:#}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(made["wrapping_token"].is_null() && !made.to_string().contains(fs::read_to_string(&file).unwrap().trim()));
    let info = world.json(&["token", "lookup", "--file", file.to_str().unwrap()]).1;
    assert_eq!((info["orphan"].clone(), info["accessor"].clone()), (json!(false), made["accessor"].clone()));
    // Who names the policy `default` gets it, and who names none that there is hears it.
    let (code, made) =
        world.json(&["token", "create", "--policy", "default", "--policy", "no-such-policy", "--to", file.to_str().unwrap()]);
    assert!(code == Some(0) && made["warnings"].to_string().contains("there is no policy no-such-policy"), "{made:#}");
    let info = world.json(&["token", "lookup", "--file", file.to_str().unwrap()]).1;
    assert_eq!(info["policies"], json!(["default", "no-such-policy"]), "{info:#}");
    let wrapping = world.json(&["token", "create", "--policy", &policy]).1;
    assert!(!wrapping["wrapping_token"].is_null() && !world.run(&["token", "list"]).out.contains("response-wrapping"));
    let ended = world.run(&["token", "renew", "--self"]);
    assert!(ended.code == Some(1) && ended.error().contains("never ends"), "{ended:?}");
    // A bare name is a file in the current folder.
    let (code, made) = world.json(&["token", "create", "--policy", &policy, "--to", "bare-token"]);
    assert_eq!(code, Some(0), "{made:#}");
    assert_eq!(world.json(&["token", "lookup", "--file", "bare-token"]).1["accessor"], made["accessor"]);
}

#[test]
fn a_role_is_made_once_and_gets_another_secret_id_that_logs_in() {
    let vault = servers().vault();
    let (world, policy) = world_with_policy();
    let (mount, role) = (unique("approle"), unique("billing"));
    vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    let (first, second) = (world.path("secret-id-1"), world.path("secret-id-2"));
    let from = ["--bound-cidr", "127.0.0.1", "--bound-cidr", "::1/128"];
    let create =
        [["approle", "create", &role, "--mount", &mount, "--policy", &policy, "--to", first.to_str().unwrap()].as_slice(), &from].concat();
    let (code, made) = world.json(&create);
    assert_eq!(
        (code, made["state"].clone(), made["secret_id"]["proved_by_login"].clone()),
        (Some(0), json!("created"), json!(true)),
        "{made:#}"
    );
    let again = world.json(&create).1;
    assert_eq!((again["state"].clone(), again["secret_id"].clone()), (json!("unchanged"), Value::Null), "{again:#}");
    let login = |file: &std::path::Path| {
        let body = json!({ "role_id": made["role_id"], "secret_id": fs::read_to_string(file).unwrap().trim() });
        vault.api_as("", "POST", &format!("auth/{mount}/login"), Some(body)).unwrap()
    };
    let (status, answer) = login(&first);
    assert_eq!(
        (status, answer["auth"]["lease_duration"].clone(), answer["auth"]["policies"].clone()),
        (200, json!(86_400), json!([policy]))
    );
    let rotate = |more: &[&str]| world.json(&[["approle", "rotate", role.as_str(), "--mount", mount.as_str()].as_slice(), more].concat()).1;
    let beside = rotate(&["--to", second.to_str().unwrap()]);
    assert_eq!(beside["still_valid"], json!([made["secret_id"]["accessor"]]), "{beside:#}");
    assert_eq!((login(&first).0, login(&second).0), (200, 200));
    let last = rotate(&["--end-old"]);
    assert_eq!(last["ended"].as_array().unwrap().len(), 2, "{last:#}");
    assert!(login(&first).0 >= 400 && login(&second).0 >= 400);
    let unwrapped = vault.api_as(last["secret_id"]["wrapping_token"].as_str().unwrap(), "POST", "sys/wrapping/unwrap", None).unwrap();
    assert_eq!(unwrapped.0, 200);
    // What was made is said, whatever fails then; and a secret id that nobody could try is not left.
    let elsewhere = unique("elsewhere");
    let bound =
        ["approle", "create", &elsewhere, "--mount", &mount, "--policy", &policy, "--bound-cidr", "192.0.2.0/24", "--to", "secret-id-3"];
    let ended = world.run(&bound);
    assert!(ended.code == Some(77) && ended.err.contains("created: auth/") && ended.error().contains("--wrap"), "{ended:?}");
    assert_eq!(vault.api("LIST", &format!("auth/{mount}/role/{elsewhere}/secret-id"), None).unwrap().0, 404);
    let ended = world.run(&["approle", "create", &role, "--mount", &mount, "--policy", "root"]);
    assert!(ended.error().contains("cannot have the policy root"), "{ended:?}");
}

#[test]
fn ones_own_token_is_ended_and_a_second_time_it_is_said_to_be_dead() {
    let (world, policy) = world_with_policy();
    let file = world.path("own");
    let made = world.json(&["token", "create", "--policy", &policy, "--policy", "default", "--to", file.to_str().unwrap()]);
    assert_eq!(made.0, Some(0), "{:#}", made.1);
    let own = |arguments: &[&str]| {
        let mut command = world.command(&[arguments, &["--output", "json"]].concat());
        let ended: Ended = command.env("VAULT_TOKEN", fs::read_to_string(&file).unwrap().trim()).output().unwrap().into();
        let answer = serde_json::from_str(&ended.out).unwrap_or(Value::Null);
        (ended, answer)
    };
    let (ended, found) = own(&["token", "lookup", "--self"]);
    assert_eq!((ended.code, &found["policies"]), (Some(0), &json!(["default", policy])), "what was asked for by name: {ended:?}");
    let (ended, renewed) = own(&["token", "renew", "--self"]);
    assert_eq!((ended.code, &renewed["accessor"]), (Some(0), &made.1["accessor"]), "{ended:?}");
    let (ended, revoked) = own(&["token", "revoke", "--self"]);
    assert_eq!(
        (ended.code, &revoked["changed"], &revoked["accessor"]),
        (Some(0), &json!("token revoked"), &made.1["accessor"]),
        "{ended:?}"
    );
    // Whoever has only a dead token cannot log in to hear more than that.
    let (ended, _) = own(&["token", "revoke", "--self"]);
    assert!(ended.code == Some(77) && ended.error().contains("invalid token"), "{ended:?}");
}
