//! Rotations by the whole: kill -9 in the middle, two actors at once, nothing shown.

use crate::world::{Ended, edit};
use keyward_harness::{Shop, Signal, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);

fn shop() -> Shop<'static> {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    shop
}

#[test]
fn every_kind_is_rotated_without_a_daemon_too() {
    let shop = shop();
    let password = || shop.published("shop/legacy").unwrap()["password"].as_str().unwrap().to_owned();
    let logs_in = |password: &str| servers().postgres().psql_as(&shop.legacy, password, &shop.database, "SELECT 1").is_ok();
    let before = password();
    assert!(logs_in(&before));
    for name in ["shop-database", "legacy", "reporting", "session-signing", "webhook-token"] {
        let output = shop.run(&["rotate", name, "--alone"]).unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    shop.consume("shop/database").unwrap();
    shop.consume("shop/legacy").unwrap();
    assert!(logs_in(&password()) && !logs_in(&before), "the new password works, and the old one has ended");
    let supplied: Ended = shop.run_with_input(&["supply", "openai", "--alone"], "sk-supplied-in-a-test").unwrap().into();
    assert!(supplied.code == Some(0) && supplied.out.contains("Nothing here can prove that it works"), "{supplied:?}");
    let status = shop.must(&["status", "openai"]).unwrap();
    assert!(status.contains("nothing here can prove it") && status.contains("last proved:        never"), "{status}");
    assert_eq!(shop.published("shop/openai").unwrap()["api_key"], "sk-supplied-in-a-test");
    let log = servers().postgres().log().unwrap();
    assert!(!log.contains(&password()), "PostgreSQL's log shows a password");
}

/// In a timer each run would leave a token behind.
#[test]
fn a_command_gives_the_token_of_its_login_back() {
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
    shop.must(&["init", "postgres", "legacy"]).unwrap();
    let tokens = || vault.must("LIST", "auth/token/accessors", None).unwrap()["data"]["keys"].as_array().unwrap().len();
    let before = tokens();
    for arguments in
        [["rotate", "webhook-token", "--alone"].as_slice(), &["rotate", "legacy", "--dry-run"], &["status"], &["plan"], &["check"]]
    {
        shop.must(arguments).unwrap();
        assert_eq!(tokens(), before, "{arguments:?}");
    }
}

/// Without a daemon nobody else would.
#[test]
fn consumers_are_told_of_a_new_value_where_no_daemon_runs() {
    let shop = shop();
    let told = shop.path("told");
    let tell = format!("echo \"$KEYWARD_SECRET $KEYWARD_NUMBER\" >> '{}'", told.display());
    let webhook = "issuer = \"self\"\n";
    edit(&shop, webhook, &format!("{webhook}notify = [{{ exec = [\"/bin/sh\", \"-c\", {tell:?}] }}, {{ exec = [\"/bin/false\"] }}]\n"));
    let ended: Ended = shop.run(&["rotate", "webhook-token", "--alone"]).unwrap().into();
    // It is proved and published, whoever does not hear of it.
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.error().contains("telling its consumers failed: /bin/false") && ended.err.contains("have them read it again"),
        "{ended:?}"
    );
    let number = shop.record("webhook-token").unwrap()["number"].clone();
    assert_eq!(fs::read_to_string(told).unwrap(), format!("webhook-token {number}\n"));
}

/// The database was changed and the store was not: Vault lost root passwords so (vault#6042), Conjur's rotators can still.
#[test]
fn failure_01_a_daemon_killed_behind_alter_role_finishes_the_same_rotation() {
    let shop = shop();
    let postgres = servers().postgres();
    let verifier = || postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", shop.legacy)).unwrap();
    let staged = || shop.record("legacy").ok()?.pointer("/phase/rotation")?.as_str().map(str::to_owned);
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let before = verifier();
    let role = postgres.psql_hold(&shop.database, &format!("ALTER ROLE \"{}\" CONNECTION LIMIT -1", shop.legacy)).unwrap();
    let mut rotate =
        shop.command(&["rotate", "legacy"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let rotation = wait_until("the stage", LONG, staged);
    let table = postgres.psql_hold(&shop.database, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").unwrap();
    drop(role);
    wait_until("ALTER ROLE", LONG, || (verifier() != before).then_some(()));
    daemon.signal(Signal::KILL).unwrap();
    daemon.wait(LONG).unwrap();
    rotate.wait().unwrap();
    drop(table);
    let _daemon = shop.serve().unwrap();
    wait_until("the end of the rotation", LONG, || {
        (shop.record("legacy").ok()?.pointer("/phase/state") == Some(&Value::from("idle"))).then_some(())
    });
    shop.consume("shop/legacy").unwrap();
    // The note for people is written once the record is closed.
    let noted = wait_until("the note of the rotation", LONG, || {
        let metadata = servers().vault().must("GET", &format!("{}/metadata/shop/legacy", shop.kv), None).ok()?;
        metadata.pointer("/data/custom_metadata/legacy.rotation").and_then(Value::as_str).map(str::to_owned)
    });
    assert_eq!(noted, rotation);
}

/// Two schedulers ran one job: leases that end with the job, or are compared across clocks, let both in (objectstack#14619, codex-lb#1253).
#[test]
fn failure_05_two_actors_at_once_rotate_a_slot_once() {
    let shop = shop();
    // The record exists; then two commands judge the same version of it, and one of them must lose.
    shop.must(&["rotate", "webhook-token", "--alone"]).unwrap();
    let number = |shop: &Shop<'_>| shop.record("webhook-token").unwrap()["number"].as_u64().unwrap();
    let before = number(&shop);
    let quiet = || std::process::Stdio::null();
    let rotate = || shop.command(&["rotate", "webhook-token", "--alone"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    let mut both = [rotate(), rotate()];
    let done = both.iter_mut().filter_map(|child| child.wait().unwrap().success().then_some(1)).sum::<u64>();
    assert!(done >= 1, "at least one of them goes through");
    assert_eq!(number(&shop), before + done, "every success is one number, no more");
}

#[test]
fn a_rotation_that_a_person_asked_for_in_vain_is_told_by_the_status() {
    let shop = shop();
    let _daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" NOLOGIN", shop.legacy)).unwrap();
    assert!(!shop.run(&["rotate", "legacy"]).unwrap().status.success());
    // The board learns of it a moment after the command.
    wait_until("the status to tell of it", LONG, || {
        let status = String::from_utf8(shop.run(&["status", "legacy"]).unwrap().stdout).unwrap();
        (status.contains("its rotation was refused at") && status.contains(&shop.legacy)).then_some(())
    });
}
