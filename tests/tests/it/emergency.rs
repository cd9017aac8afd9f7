//! `rotate --class` and `--all`: named beforehand, asked for, in order, one by one.

use crate::world::{mail, run};
use keyward_harness::{Shop, SmtpServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::process::Output;
use std::time::Duration;

fn shop() -> Shop<'static> {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    shop
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The JSON that a command printed, and what came of each secret in order.
fn ended(output: &Output) -> (Value, Vec<(String, String)>) {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let ended = json["ended"].as_array().unwrap().iter().map(|one| (word(one, "secret"), word(one, "outcome"))).collect();
    (json, ended)
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn without_a_terminal_it_names_what_it_would_do_and_does_nothing() {
    let shop = shop();
    let before = shop.published("shop/legacy").unwrap();
    let output = shop.run(&["rotate", "--class", "database", "--now"]).unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    for expected in ["1. shop-database", "2. legacy", "3. reporting", "clients that connect during the change fail", "--yes"] {
        assert!(said.contains(expected), "{expected} is not in: {said}");
    }
    let output = shop.run(&["rotate", "--all", "--now", "--dry-run"]).unwrap();
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("keyward supply openai"), "{}", text(&output.stderr));
    assert_eq!(shop.published("shop/legacy").unwrap(), before);
    let output = shop.run(&["rotate", "--class", "databse", "--now", "--yes"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no class \"databse\"; there are api-key, database, jwt, root"));
}

#[test]
fn a_whole_class_is_rotated_by_the_daemon_in_the_order_of_after() {
    let shop = shop();
    let sound = fs::read_to_string(&shop.config).unwrap();
    fs::write(&shop.config, sound.replace("owner = \"shop\"", "owner = \"shop\"\nafter = [\"reporting\"]")).unwrap();
    let _daemon = shop.serve().unwrap();
    wait_until("readiness", Duration::from_secs(40), || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let output = shop.run(&["rotate", "--class", "database", "--now", "--yes", "--output", "json"]).unwrap();
    let (json, ended) = ended(&output);
    assert_eq!(ended, pairs(&[("reporting", "rotated"), ("shop-database", "rotated"), ("legacy", "rotated")]), "{json}");
    assert!(output.status.success());
    assert!(json["ended"].as_array().unwrap().iter().all(|one| one["rotation"].as_str().unwrap().starts_with("r-")));
    shop.consume("shop/database").unwrap();
    shop.consume("shop/legacy").unwrap();
    assert!(shop.metric("keyward_rotations_total{secret=\"legacy\",class=\"database\",outcome=\"rotated\"}").is_some_and(|n| n >= 1.0));
}

#[test]
fn it_stops_at_the_first_failure_unless_told_otherwise_and_ends_with_one() {
    let shop = shop();
    // Long enough that the second command finds the first one's rotation within its grace.
    let sound = fs::read_to_string(&shop.config).unwrap();
    let patient = sound.replacen("grace = \"1s\"\nretire_deadline = \"10s\"", "grace = \"1h\"\nretire_deadline = \"2h\"", 1);
    assert_ne!(sound, patient);
    fs::write(&shop.config, patient).unwrap();
    let postgres = servers().postgres();
    postgres.psql(&format!("ALTER ROLE \"{}\" NOLOGIN", shop.legacy)).unwrap();
    let output = shop.run(&["rotate", "--class", "database", "--now", "--yes", "--output", "json", "--alone"]).unwrap();
    let (json, tried) = ended(&output);
    assert_eq!(output.status.code(), Some(1), "{json}");
    assert_eq!(tried, pairs(&[("shop-database", "rotated"), ("legacy", "refused")]), "{json}");
    assert_eq!(json["not_tried"], json!(["reporting"]));
    let output = shop.run(&["rotate", "--all", "--now", "--yes", "--keep-going", "--alone"]).unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3 of 5 rotated and proved") && said.contains("legacy: refused"), "{said}");
    assert!(said.contains("shop-database: deferred"), "who still holds the login of before the first command may use it: {said}");
    assert!(said.contains("left out: openai"), "{said}");
    assert!(text(&output.stderr).contains("[5/5]"), "progress is shown: {}", text(&output.stderr));
}

#[test]
fn what_is_refused_out_of_turn_is_told_as_a_thing_that_happened() {
    let smtp = SmtpServer::start().unwrap();
    let shop = Shop::open(servers().vault(), servers().postgres(), &smtp, &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let _daemon = shop.serve().unwrap();
    // Before long the user whose turn it is has its grace.
    let codes: Vec<_> = (0..3).map(|_| shop.run(&["rotate", "shop-database"]).unwrap().status.code()).collect();
    assert_eq!(codes.last(), Some(&Some(75)), "{codes:?}");
    let said = run(&shop, &["status", "shop-database"]).out;
    assert!(said.contains("nothing more of that, which was out of turn; not due yet") && !said.contains("tried again"), "{said}");
    mail(&smtp, &["WARNING shop-database: rotation deferred", "Nothing by itself: it was asked for out of turn"]);
}
