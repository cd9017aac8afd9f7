//! The commands that need a Vault of their own: its first initialisation, its shares, and its restore.

use super::bench::{Bench, Cell, judge};
use crate::backup::Desk;
use crate::init_world::World;
use crate::world::{Ended, LONG, interrupt};
use keyward_harness::{Moment, VaultOptions, VaultServer, full, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn cell(call: &str, pass: usize) -> Cell {
    Cell { call: call.to_owned(), pass }
}

/// A server that was never initialised, and `init` as it is typed there every time.
fn empty() -> (VaultServer, World, Vec<String>) {
    let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let world = World::on(&vault.address, &vault, "");
    let typed = words(&format!("init --initialise --shares-to {} --rotate-now {}", world.path("shares").display(), world.static_role));
    (vault, world, typed)
}

fn bench<'v>(vault: &'v VaultServer, world: &World) -> Bench<'v> {
    let text = fs::read_to_string(world.path("keyward.toml")).unwrap();
    Bench::new(vault, world.path("bench"), &text, &vault.address, "")
}

fn state(answer: &Value, what: &str) -> String {
    let line = answer["lines"].as_array().unwrap().iter().find(|line| line["what"] == what);
    line.unwrap_or_else(|| panic!("no line {what} in {answer:#}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn vault_is_set_up_whatever_is_broken_off() {
    let (vault, world, typed) = empty();
    let mut bench = bench(&vault, &world);
    let shares = world.path("shares");
    let at = |call: &str, pass, moment| {
        let what = format!("init, {moment:?} {call} ({pass})");
        let ended = bench
            .interrupted(&typed, "", &cell(call, pass), moment)
            .unwrap_or_else(|ended| panic!("{what}: it did not come to that: {ended:?}"));
        judge(&bench, &ended, &what);
        ended
    };
    let ended = at("POST sys/init", 0, Moment::Before);
    assert!(ended.err.contains("Vault was not initialised"), "{ended:?}");
    assert_eq!((vault.health().unwrap(), fs::read_dir(&shares).unwrap().count()), (501, 0), "nothing was done, and no blank file is left");
    at("POST sys/unseal", 1, Moment::After);
    let places = if full() { vec![(0, Moment::Before), (0, Moment::After), (1, Moment::Before)] } else { vec![(0, Moment::Before)] };
    for (pass, moment) in places {
        at("POST sys/unseal", pass, moment);
    }
    let (ended, answer) = bench.run(&typed, "");
    // OpenBao leaves the audit device to its own file; here none is configured.
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((state(&answer, "initialised"), state(&answer, "unsealed")), ("unchanged".to_owned(), "changed".to_owned()), "{answer:#}");
    let (_, again) = bench.run(&typed, "");
    assert_eq!(again["changes"], 0, "{again:#}");
    let root = fs::read_to_string(shares.join("root-token")).unwrap().trim().to_owned();
    bench.token.clone_from(&root);
    unseal(&bench, &root, &shares);
    restore(&bench, &root);
}

/// Sealed again, and opened by people one of whom changes her mind.
fn unseal(bench: &Bench<'_>, root: &str, shares: &Path) {
    let input: String = (1..=3).map(|n| fs::read_to_string(shares.join(format!("share-{n}"))).unwrap()).collect();
    let some = [(1, Moment::Before), (2, Moment::After)];
    let all = (0..3).flat_map(|pass| [(pass, Moment::Before), (pass, Moment::After)]).collect::<Vec<_>>();
    for (pass, moment) in if full() { all } else { some.to_vec() } {
        assert!(bench.vault.api_as(root, "PUT", "sys/seal", None).unwrap().0 < 300);
        wait_until("the seal", LONG, || bench.vault.health().is_ok_and(|status| status == 503).then_some(()));
        let what = format!("unseal, {moment:?} share {pass}");
        let ended = bench.interrupted(&words("unseal"), &input, &cell("POST sys/unseal", pass), moment).unwrap();
        judge(bench, &ended, &what);
        let (ended, answer) = bench.run(&words("unseal"), &input);
        assert_eq!(ended.code, Some(0), "{what}: {ended:?}");
        let state = answer["nodes"][0]["state"].as_str().unwrap();
        // The last share was given, and its answer not seen.
        assert!(state == "unsealed" || (pass == 2 && state == "unchanged"), "{what}: {answer:#}");
        wait_until("the leader", LONG, || bench.vault.health().is_ok_and(|status| status == 200).then_some(()));
    }
}

fn restore(bench: &Bench<'_>, root: &str) {
    let snapshot = bench.dir.join("snapshot").display().to_string();
    let (ended, _) = bench.run(&words(&format!("backup --to {snapshot}")), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let typed = words(&format!("restore {snapshot} --yes"));
    for moment in [Moment::Before, Moment::After] {
        let later = json!({ "policy": "path \"later\" { capabilities = [\"read\"] }" });
        let policy = || bench.vault.api_as(root, "GET", "sys/policies/acl/later", None).ok().map(|(status, _)| status);
        assert!(bench.vault.api_as(root, "PUT", "sys/policies/acl/later", Some(later)).unwrap().0 < 300);
        let what = format!("restore, {moment:?}");
        let ended = bench.interrupted(&typed, "", &cell("POST sys/storage/raft/snapshot", 0), moment).unwrap();
        judge(bench, &ended, &what);
        if moment == Moment::Before {
            assert_eq!(policy(), Some(200), "nothing was restored");
        }
        wait_until("Vault", LONG, || bench.vault.health().is_ok_and(|status| status == 200).then_some(()));
        let (ended, answer) = bench.run(&typed, "");
        assert_eq!((ended.code, answer["state"].as_str()), (Some(0), Some("restored")), "{what}: {ended:?}");
        wait_until("what was then", LONG, || (policy() == Some(404)).then_some(()));
    }
}

/// What no next run can complete, and what it says: there is one such thing.
#[test]
fn shares_whose_answer_was_lost_are_said_to_be_lost() {
    let (vault, world, typed) = empty();
    let bench = bench(&vault, &world);
    let ended = bench.interrupted(&typed, "", &cell("POST sys/init", 0), Moment::After).unwrap();
    judge(&bench, &ended, "init, After POST sys/init");
    assert!(ended.err.contains("its answer with the shares was lost; nobody has them"), "{ended:?}");
    let (again, _) = bench.run(&typed, "");
    assert!(again.code == Some(1) && again.err.contains("they never came; nobody has them"), "{again:?}");
    assert!(again.err.contains("clear its storage"), "it says what to do: {again:?}");
}

/// The program that tells the server hangs, and somebody loses patience.
#[test]
fn a_renewal_that_is_broken_off_puts_the_old_pair_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tls");
    let desk = Desk::new("https://127.0.0.1:1", &folder.join("ca.pem"), "", "");
    let at = folder.display().to_string();
    let issued = desk.must(&["tls", "issue", "vault-1", "--folder", &at]);
    assert!(issued["authority"]["created"] == true && issued["serial"].is_string(), "{issued:#}");
    let read = || ["vault-1.pem", "vault-1.key"].map(|name| fs::read(folder.join(name)).unwrap());
    let (before, flag) = (read(), dir.path().join("was-told"));
    // It hangs the first time only.
    let tell = format!("[ -e {0} ] || {{ touch {0}; exec sleep 600; }}", flag.display());
    let child = desk.command(&["tls", "renew", "vault-1", "--folder", &at, "--", "/bin/sh", "-c", &tell]).spawn().unwrap();
    wait_until("the program", LONG, || flag.exists().then_some(()));
    assert!(read() != before, "the new pair is in its place");
    interrupt(child.id());
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert!(ended.code == Some(75) && ended.err.contains("the old pair stands again"), "{ended:?}");
    assert!(read() == before, "another pair stands there");
    let left = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    assert_eq!(left.len(), 4, "{left:?}");
}
