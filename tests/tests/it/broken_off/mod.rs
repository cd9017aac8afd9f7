//! Every command that changes something gets SIGINT before and after each change that it makes. It says what it did, leaves no half file and
//! nothing that nobody holds, and the next run of the same command comes to the same end as one that nobody disturbed.

mod bench;
mod cases;
mod daemon;
mod listed;
mod postgres;
mod server;

use crate::init_world::{World, changes, set_up_through};
use crate::matrix::cells::Dice;
use bench::{Bench, Cell, judge};
use cases::{CASES, Case, Run};
use keyward_harness::{Moment, VaultOptions, VaultProxy, VaultServer, full, say, servers};
use listed::{ELSEWHERE, LOOKING};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lanes that run at once: they mostly wait.
const AT_ONCE: usize = 6;
/// Always the same sample, so that what an ordinary run says depends on the program alone.
const SEED: u64 = 1_795_526_600;

/// A Vault that is set up, with a secret of each kind that the cases need.
fn set_up(vault: &VaultServer) -> World {
    let world = World::on(&vault.address, vault, "");
    let file = world.path("keyward.toml");
    let more = format!(
        "[[secret]]\nname = \"by-person\"\nclass = \"api-key\"\nkind = \"manual\"\npath = \"{}/by-person\"\nset = {{ api_key = \"{{value}}\" }}\n\
         [[secret]]\nname = \"session\"\nclass = \"jwt\"\nkind = \"random\"\npath = \"{}/session\"\nissuer = \"self\"\nset = {{ key = \"{{value}}\" }}\n",
        world.kv, world.kv
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &more).unwrap();
    let (code, done) = world.json(&["init", "--rotate-now", &world.static_role]);
    assert_eq!(code, Some(0), "{done:#}");
    let (admin, password) = &world.admin;
    let user = format!("{}_legacy", world.user);
    let make = format!("CREATE ROLE \"{user}\" LOGIN PASSWORD 'legacy-at-first'");
    servers().postgres().psql_as(admin, password, &world.database, &make).unwrap();
    let document = json!({ "data": { "username": user, "password": "legacy-at-first" } });
    vault.must("POST", &format!("{}/data/legacy", world.kv), Some(document)).unwrap();
    for path in ["webhook", "session", "by-person"] {
        vault.must("POST", &format!("{}/data/{path}", world.kv), Some(json!({ "data": {} }))).unwrap();
    }
    world
}

#[test]
fn whatever_is_broken_off_the_next_run_completes() {
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let world = set_up(&vault);
    let text = fs::read_to_string(world.path("keyward.toml")).unwrap();
    let lanes = CASES.iter().enumerate().fold(BTreeMap::<String, Vec<usize>>::new(), |mut lanes, (number, case)| {
        let lane = if case.lane.is_empty() { format!("case {number}") } else { case.lane.to_owned() };
        lanes.entry(lane).or_default().push(number);
        lanes
    });
    let queue: Mutex<VecDeque<Vec<usize>>> = Mutex::new(lanes.into_values().collect());
    let (done, unreached) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(lane) = { queue.lock().unwrap().pop_front() } {
                    for number in lane {
                        let dir = world.path(&format!("case-{number}"));
                        let bench = Bench::new(&vault, dir, &text, &vault.address, &vault.root_token);
                        let mut ids = (0..).map(|n| format!("{:06}", number * 1000 + n));
                        let (some, missed) = one(&bench, &world, &CASES[number], &mut ids, number);
                        done.fetch_add(some, Ordering::SeqCst);
                        unreached.lock().unwrap().extend(missed);
                    }
                }
            });
        }
    });
    let (done, unreached) = (done.into_inner(), unreached.into_inner().unwrap());
    say(&format!("broken off: {done} times, {} calls not reached {unreached:?}", unreached.len()));
    assert!(unreached.len() * 10 <= done, "what is recorded is not what is done: {unreached:#?}");
}

/// Does one case; how often it was broken off, and which calls were not reached.
fn one(bench: &Bench<'_>, world: &World, case: &Case, ids: &mut impl Iterator<Item = String>, number: usize) -> (usize, Vec<String>) {
    let mut fresh = || Run { bench, world, id: ids.next().unwrap() };
    let typed = |run: &Run<'_>| (case.typed)(run).split(' ').map(str::to_owned).collect::<Vec<_>>();
    // The first one may make what the others find.
    let warm = fresh();
    (case.before)(&warm);
    bench.run(&typed(&warm), case.input);
    let first = fresh();
    (case.before)(&first);
    let (cells, answer) = bench.recorded(&typed(&first), case.input, is_change);
    assert!(answer.pointer(case.says).is_some_and(|said| !said.is_null()), "{}: {} says nothing: {answer:#}", case.name, case.says);
    assert!(!cells.is_empty(), "{}: it changes nothing", case.name);
    let expected = (case.after)(&first);
    let (mut done, mut unreached) = (0, Vec::new());
    for (cell, moment) in chosen(&cells, number) {
        let run = fresh();
        (case.before)(&run);
        if std::env::var("KEYWARD_TEST_CELL").is_ok_and(|text| !case.name.contains(&text)) {
            continue;
        }
        let cell = Cell { call: cell.call.replace(&first.id, &run.id), ..cell };
        let what = format!("{}, {moment:?} {} ({})", typed(&run).join(" "), cell.call, cell.pass);
        let ended = match bench.interrupted(&typed(&run), case.input, &cell, moment) {
            Ok(ended) => ended,
            Err(ended) => {
                unreached.push(format!("{what}: {ended:?}"));
                continue;
            }
        };
        judge(bench, &ended, &what);
        completes(&run, case, &typed(&run), &expected, &format!("{what}: {:?}", ended.err));
        done += 1;
    }
    (done, unreached)
}

/// The next run comes to the end that was expected, and says so.
fn completes(run: &Run<'_>, case: &Case, typed: &[String], expected: &Value, what: &str) {
    let (ended, answer) = run.bench.run(typed, case.input);
    let is_said = case.else_ends.is_some_and(|(code, _)| ended.code == Some(code));
    assert!(ended.code == Some(0) || is_said, "{what}: the next run: {ended:?}");
    assert!(!answer.is_null(), "{what}: no JSON: {ended:?}");
    assert_eq!((case.after)(run), *expected, "{what}: {ended:?}");
    assert_eq!(run.bench.half_files(), Vec::<std::path::PathBuf>::new(), "{what}");
}

/// Calls that change something; a snapshot changes the disk.
fn is_change(call: &str) -> bool {
    call.ends_with("sys/storage/raft/snapshot") || !changes(&[call.to_owned()]).is_empty()
}

/// Both moments of every call in a full run, else each moment of one.
fn chosen(cells: &[Cell], number: usize) -> Vec<(Cell, Moment)> {
    if full() {
        return cells.iter().flat_map(|cell| [Moment::Before, Moment::After].map(|moment| (cell.clone(), moment))).collect();
    }
    let mut dice = Dice(SEED + number as u64);
    [Moment::Before, Moment::After].into_iter().filter_map(|moment| Some((dice.one(cells)?.clone(), moment))).collect()
}

/// A command that nobody thought of is in no list.
#[test]
fn every_command_is_broken_off_or_it_is_said_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let vault = servers().vault();
    let bench = Bench::new(vault, dir.path().to_owned(), "", "none", "");
    let broken = CASES.iter().map(|case| case.name).collect::<BTreeSet<_>>();
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name);
    let mut known: Vec<&str> = broken.into_iter().chain(elsewhere).chain(LOOKING).collect();
    known.sort_unstable();
    assert_eq!(listed::commands(&bench), known);
}

/// The part of `init` that asks an open Vault: each run is broken off at the next change, and one that is left alone ends it.
#[test]
fn init_goes_on_wherever_it_is_broken_off() {
    let vault = servers().vault();
    let proxy = VaultProxy::start(vault).unwrap();
    let (whole, writes) = set_up_through(&proxy, vault);
    let world = World::on(&vault.address, vault, "");
    let text = fs::read_to_string(world.path("keyward.toml")).unwrap();
    let bench = Bench::new(vault, world.path("bench"), &text, &vault.address, &vault.root_token);
    let typed = ["init", "--rotate-now", &world.static_role].map(str::to_owned);
    let mut dice = Dice(SEED);
    for call in &writes {
        let cell = Cell { call: whole.as_in(&world, call), pass: 0 };
        for moment in [Moment::Before, Moment::After] {
            if full() || dice.next().is_multiple_of(8) {
                let what = format!("init, {moment:?} {}", cell.call);
                let ended = bench
                    .interrupted(&typed, "", &cell, moment)
                    .unwrap_or_else(|ended| panic!("{what}: it did not come to that: {ended:?}"));
                judge(&bench, &ended, &what);
            }
        }
    }
    let (ended, answer) = bench.run(&typed, "");
    assert!(ended.code == Some(0) && answer["lines"].is_array(), "{ended:?}");
    let (_, again) = bench.run(&typed, "");
    let states: BTreeSet<&str> = again["lines"].as_array().unwrap().iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, BTreeSet::from(["unchanged"]), "{again:#}");
    let ids = vault.must("LIST", &format!("auth/{}/role/{}/secret-id", world.approle, world.name), None).unwrap();
    assert_eq!(ids["data"]["keys"].as_array().unwrap().len(), 1, "a secret id that nobody holds");
    assert!(!world.path("secret-id.intent").exists());
}

/// Nobody but the next command takes it up, and it has to know first that the former one is gone.
#[test]
fn a_rotation_that_was_left_is_taken_up_where_no_daemon_runs() {
    let vault = servers().vault();
    let world = set_up(vault);
    let text = fs::read_to_string(world.path("keyward.toml")).unwrap();
    let bench = Bench::new(vault, world.path("bench"), &text, &vault.address, &vault.root_token);
    let typed = ["rotate", "webhook", "--alone"].map(str::to_owned);
    let (cells, _) = bench.recorded(&typed, "", |call| call.ends_with(&format!("{}/data/webhook", world.kv)) && is_change(call));
    let publish = cells.last().unwrap();
    let ended = bench.left(&typed, publish, Moment::After);
    assert!(ended.code == Some(75) && ended.err.contains("left in the middle, safely"), "{ended:?}");
    let record =
        || vault.must("GET", &format!("{}/data/webhook", world.records), None).unwrap()["data"]["data"]["record"]["phase"]["state"].clone();
    assert_eq!(record(), "staged");
    let (ended, answer) = bench.run(&typed, "");
    assert_eq!((ended.code, answer["outcome"].as_str()), (Some(0), Some("rotated")), "{ended:?}");
    assert!(ended.err.contains("waiting whether that is still at work"), "{ended:?}");
    assert_eq!(record(), "idle");
}
