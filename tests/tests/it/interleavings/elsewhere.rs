//! Where it is not Keyward that is frozen: a token that dies, a Vault that is killed, verifiers that lag, a database that lets anybody in.

use super::LONG;
use crate::issued;
use crate::lease;
use crate::world::{becomes_ready, is_raised, is_resolved, run};
use crate::world_of_vault::{Engine, exists, serve};
use keyward_harness::{Moment, PostgresProxy, PostgresServer, Shop, VaultOptions, VaultProxy, VaultServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn a_lease_outlives_keyward_s_own_token_and_the_death_of_its_minting_token_is_told() {
    let engine = Engine::with_roles("1h", "200h");
    let (shop, vault) = (lease::shop(&engine), servers().vault());
    shop.must(&["rotate", "orders", "--alone"]).unwrap();
    let (user, password) = lease::published(&shop);
    // Everything that Keyward itself ever logged in for is revoked, and whatever was leased by that.
    let mount = std::fs::read_to_string(shop.path("approle-mount")).unwrap();
    vault.must("PUT", &format!("sys/leases/revoke-prefix/auth/{mount}/login"), Some(json!({ "sync": true }))).unwrap();
    engine.logs_in(&user, &password).unwrap();
    let accessor = shop.record("orders").unwrap()["kept"]["accessor"].as_str().unwrap().to_owned();
    vault.must("POST", "auth/token/revoke-accessor", Some(json!({ "accessor": accessor }))).unwrap();
    wait_until("Vault to drop its user", LONG, || (!exists(&user)).then_some(()));
    let _daemon = serve(&shop);
    is_raised(&shop, "lease-gone/orders");
    shop.rotate("orders").unwrap();
    let (successor, password) = lease::published(&shop);
    assert_ne!(successor, user);
    engine.logs_in(&successor, &password).unwrap();
    is_resolved(&shop, "lease-gone/orders");
}

/// The same with a root password, which Vault by itself loses for good, stands with the kind.
#[test]
fn a_vault_killed_between_the_database_s_commit_and_its_own_write_in_rotate_role_hands_out_what_works() {
    let (vault, postgres) = (VaultServer::start(&VaultOptions::default()).unwrap(), servers().postgres());
    let shop = Shop::open(&vault, postgres, servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
    let proxy = PostgresProxy::start(postgres).unwrap();
    let (mount, _) = shop.static_role.split_once("/static-roles/").unwrap();
    let connection = vault.must("GET", &format!("{mount}/config/postgres"), None).unwrap();
    let direct = connection["data"]["connection_details"]["connection_url"].as_str().unwrap().to_owned();
    let (login, rest) = direct.split_once('@').unwrap();
    let database = rest.split(['/', '?']).nth(1).unwrap();
    let through = format!("{login}@127.0.0.1:{}/{database}?sslmode=disable", proxy.port);
    vault.must("POST", &format!("{mount}/config/postgres"), Some(json!({ "connection_url": through }))).unwrap();
    let verifier = || postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", shop.reporting)).unwrap();
    let works = || -> Option<()> {
        let read = vault.must("GET", &shop.static_role.replacen("/static-roles/", "/static-creds/", 1), None).ok()?;
        let text = |name: &str| read["data"][name].as_str().unwrap_or_default().to_owned();
        postgres.psql_as(&text("username"), &text("password"), &shop.database, "SELECT 1").ok().map(drop)
    };
    let daemon = serve(&shop);
    let before = verifier();
    assert!(works().is_some());
    proxy.at_next_commit(vault.killer());
    let output = shop.run(&["rotate", "reporting"]).unwrap();
    assert!(!output.status.success(), "Vault died under it");
    assert!(proxy.was_triggered() && verifier() != before, "the database has committed");
    vault.relaunch().unwrap();
    vault.unseal().unwrap();
    wait_until("the end of the rotation", LONG, || (shop.record("reporting").ok()?.pointer("/phase/state")? == "idle").then_some(()));
    assert!(shop.record("reporting").unwrap()["last_slot"].is_string(), "it counts as rotated");
    works().expect("what Vault hands out does not log in");
    drop(daemon);
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[test]
fn a_jwks_that_lags_is_waited_for_before_its_key_is_published_and_before_it_may_sign() {
    const CACHE_AND_SKEW: u64 = 3;
    let secret = |shop: &Shop<'_>| {
        format!(
            "\n[[secret]]\nname = \"tokens\"\nclass = \"quick\"\nkind = \"jwt-keypair\"\nalgorithm = \"EdDSA\"\ntoken_lifetime = \"1s\"\n\
             cache_lifetime = \"2s\"\nskew = \"1s\"\npath = \"{kv}/own/tokens\"\njwks = {{ path = \"{kv}/own/tokens-public\" }}\n",
            kv = shop.kv
        )
    };
    let shop = issued::shop(secret, "");
    let proxy = VaultProxy::start(shop.vault).unwrap();
    shop.speaks_through(&proxy).unwrap();
    let call = format!("PATCH {}/data/own/tokens-public", shop.kv);
    let keys = |field: &str| shop.published("own/tokens").unwrap()[field].clone();
    let asked = || {
        let mut command = shop.command(&["rotate", "tokens", "--alone"]);
        std::thread::spawn(move || command.output().unwrap())
    };

    // The JWKS is not written yet: nothing is published.
    let jwks = proxy.hold(&call, 0, Moment::Before);
    let command = asked();
    jwks.has_come();
    assert_eq!(keys("current"), Value::Null, "a key is published that no verifier can know");
    jwks.release();
    assert!(command.join().unwrap().status.success());
    assert!(keys("current")["kid"].is_string());

    // It is written, and that is not known yet: what verifiers may keep counts from when it is.
    let jwks = proxy.hold(&call, 0, Moment::After);
    let command = asked();
    jwks.has_come();
    assert_eq!(keys("next"), Value::Null);
    let written = now();
    wait_until("some time", LONG, || (now() > written + Duration::from_secs(2)).then_some(()));
    let known = now().as_secs();
    jwks.release();
    assert!(command.join().unwrap().status.success());
    let next = keys("next");
    let sql = format!("SELECT floor(extract(epoch FROM '{}'::timestamptz))", next["not_before"].as_str().unwrap());
    let not_before: u64 = servers().postgres().psql(&sql).unwrap().parse().unwrap();
    assert!(not_before >= known + CACHE_AND_SKEW, "{next}: it may sign before every verifier has it, known at {known}");
    let public = shop.published("own/tokens-public").unwrap();
    for kid in [&keys("current")["kid"], &next["kid"]] {
        assert!(public["jwks"]["keys"].as_array().unwrap().iter().any(|jwk| jwk["kid"] == *kid), "the JWKS lacks {kid}");
    }
}

#[test]
fn under_a_trust_line_that_lets_any_password_in_nothing_is_rotated() {
    let postgres = PostgresServer::start().unwrap();
    let shop = Shop::open(servers().vault(), &postgres, servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
    shop.must(&["init", "postgres", "legacy"]).unwrap();
    let rules = |first: &str| format!("{first}host all all 127.0.0.1/32 scram-sha-256\n");
    postgres.set_hba(&rules(&format!("host all \"{}\" 127.0.0.1/32 trust\n", shop.legacy))).unwrap();
    wait_until("the new rules", LONG, || postgres.psql_as(&shop.legacy, "any", &shop.database, "SELECT 1").ok());
    let verifier = || postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", shop.legacy)).unwrap();
    let before = (shop.published("shop/legacy").unwrap(), verifier());
    let _daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let ended = run(&shop, &["rotate", "legacy"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("with any password (trust or peer in pg_hba.conf)"), "{ended:?}");
    assert_eq!((shop.published("shop/legacy").unwrap(), verifier()), before, "nothing was changed");
    assert_eq!(shop.record("legacy").unwrap()["phase"]["state"], "idle");
    is_raised(&shop, "rotation-failed/legacy");
    postgres.set_hba(&rules("")).unwrap();
    wait_until("the old rules", LONG, || postgres.psql_as(&shop.legacy, "any", &shop.database, "SELECT 1").is_err().then_some(()));
    shop.rotate("legacy").unwrap();
    shop.consume("shop/legacy").unwrap();
    assert_ne!(verifier(), before.1);
}
