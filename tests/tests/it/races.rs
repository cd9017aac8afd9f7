//! Two daemons and a person at once: each slot of each secret is rotated once, whoever does it.

use crate::world::{LONG, becomes_ready, edit_all, run, use_long_token};
use jiff::{SignedDuration, Timestamp, Unit};
use keyward_harness::{Shop, Wishes, full, say, servers, wait_until};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Nothing here takes longer, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(10);

/// Between two slots.
const SPACE: SignedDuration = SignedDuration::from_mins(2);

/// The schedule before the contest.
const NEVER: &str = "schedule = \"annually\"";

struct Size {
    /// Secrets beside the three of the database.
    tokens: usize,
    slots: i32,
    /// What a person asks for at each slot.
    commands: usize,
}

fn size() -> Size {
    if full() { Size { tokens: 37, slots: 5, commands: 12 } } else { Size { tokens: 17, slots: 1, commands: 5 } }
}

/// Secrets of the database and of nobody's, all on one schedule.
fn shop(tokens: usize) -> Shop<'static> {
    let class = format!("{NEVER}\nretire = \"after-grace\"\ngrace = \"1s\"\nconcurrency = 100\n");
    let tokens: String = (0..tokens)
        .map(|i| {
            format!(
                "\n[[secret]]\nname = \"token-{i}\"\nclass = \"contested\"\nkind = \"random\"\npath = \"KV/shop/token-{i}\"\nissuer = \"self\"\n\
                 set = {{ token = \"{{value}}\" }}\n"
            )
        })
        .collect();
    let wishes =
        Wishes { database_class: class.clone(), more: format!("\n[class.contested]\n{class}{tokens}"), audit: false, ..Wishes::default() };
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &wishes).unwrap();
    edit_all(&shop, "\"KV/shop/", &format!("\"{}/shop/", shop.kv));
    use_long_token(&shop);
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    // What each record was at every moment is what is looked at.
    shop.vault.must("POST", &format!("{}/config", shop.records), Some(json!({ "max_versions": 1000 }))).unwrap();
    shop
}

/// The next minute that leaves two daemons the time to start, and as many more as are wanted.
fn slots(count: i32) -> Vec<Timestamp> {
    let first = (Timestamp::now() + SignedDuration::from_secs(45)).round(Unit::Minute).unwrap();
    (0..count).map(|i| first + SPACE * i).collect()
}

/// A schedule of just these minutes.
fn cron(slots: &[Timestamp]) -> String {
    let minutes: Vec<String> = slots.iter().map(|slot| (slot.as_second() / 60 % 60).to_string()).collect();
    format!("schedule = \"{} * * * *\"", minutes.join(","))
}

/// What became of one secret: the number of each rotation that ended, and the slot that counted as done then.
fn story(shop: &Shop<'_>, secret: &str) -> Vec<(u64, Timestamp)> {
    let (vault, records) = (shop.vault, &shop.records);
    let newest = vault.must("GET", &format!("{records}/metadata/{secret}"), None).unwrap();
    let newest = newest["data"]["current_version"].as_u64().unwrap();
    let mut ended: Vec<(u64, Timestamp)> = Vec::new();
    for version in 1..=newest {
        // Those that held values are destroyed; between any two rotations the record is idle, and stays to be read.
        let (_, read) = vault.api("GET", &format!("{records}/data/{secret}?version={version}"), None).unwrap();
        let Some(record) = read.pointer("/data/data/record").filter(|record| record["phase"]["state"] == "idle") else { continue };
        let (Some(number), Some(slot)) = (record["number"].as_u64(), record["last_slot"].as_str()) else { continue };
        if ended.last().is_none_or(|(last, _)| *last != number) {
            ended.push((number, slot.parse().unwrap()));
        }
    }
    ended
}

/// How many rotations of a daemon ended like this.
fn ended(shop: &Shop<'_>, outcome: &str) -> usize {
    let (_, page) = shop.http("/metrics").unwrap();
    let label = format!("outcome=\"{outcome}\"");
    let lines = page.lines().filter(|line| line.starts_with("keyward_rotations_total{") && line.contains(&label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// A person at each slot, who asks one daemon, the other, or works alone; how many rotations were done alone.
fn person(daemons: [&Shop<'_>; 2], secrets: &[String], slots: &[Timestamp], commands: usize) -> usize {
    let mut alone = 0;
    for (turn, slot) in slots.iter().enumerate() {
        wait_until("the slot", PATIENCE, || (Timestamp::now() >= *slot).then_some(()));
        for (i, secret) in secrets.iter().cycle().skip(turn * commands).take(commands).enumerate() {
            let (shop, arguments): (_, &[&str]) = match i % 3 {
                0 => (daemons[0], &["rotate", secret, "--alone"]),
                1 => (daemons[0], &["rotate", secret]),
                _ => (daemons[1], &["rotate", secret]),
            };
            let ended = run(shop, arguments);
            // Rotated, or in somebody else's hands.
            assert!(matches!(ended.code, Some(0 | 75)), "{arguments:?}: {ended:?}");
            alone += usize::from(ended.code == Some(0) && i % 3 == 0);
        }
    }
    alone
}

#[test]
fn two_daemons_and_a_person_at_once_rotate_each_slot_once() {
    let size = size();
    let a = shop(size.tokens);
    let secrets: Vec<String> = ["shop-database", "legacy", "reporting"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..size.tokens).map(|i| format!("token-{i}")))
        .collect();
    // Each was seen before its first slot.
    let daemon = a.serve().unwrap();
    becomes_ready(&a);
    wait_until("every record", LONG, || secrets.iter().all(|secret| a.record(secret).is_ok()).then_some(()));
    drop(daemon);
    let slots = slots(size.slots);
    edit_all(&a, NEVER, &cron(&slots));
    let b = a.beside().unwrap();
    let _daemons = [a.serve().unwrap(), b.serve().unwrap()];
    [&a, &b].into_iter().for_each(becomes_ready);

    let alone = person([&a, &b], &secrets, &slots, size.commands);
    let last = slots[slots.len() - 1];
    let is_over = |secret: &String| {
        let record = a.record(secret).ok()?;
        let slot: Timestamp = record["last_slot"].as_str()?.parse().ok()?;
        (slot >= last && record.pointer("/phase/state")? == "idle").then_some(())
    };
    for secret in &secrets {
        wait_until(&format!("the last slot of {secret}"), PATIENCE, || is_over(secret));
    }
    let mut total = 0;
    for secret in &secrets {
        let story = story(&a, secret);
        let numbers: Vec<u64> = story.iter().map(|(number, _)| *number).collect();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{secret}: a rotation was begun that did not end well: {story:?}");
        let done: BTreeSet<Timestamp> = story.iter().map(|(_, slot)| *slot).collect();
        assert_eq!(done.len(), story.len(), "{secret}: a slot was rotated twice: {story:?}");
        assert!(slots.iter().all(|slot| done.contains(slot)), "{secret}: a slot was left out: {story:?}");
        total += story.len();
    }
    for path in ["shop/database", "shop/legacy"] {
        a.consume(path).unwrap();
    }
    let (by_a, by_b) = (ended(&a, "rotated"), ended(&b, "rotated"));
    assert_eq!(by_a + by_b + alone, total, "each is somebody's, once");
    let due = secrets.len() * slots.len();
    say(&format!(
        "race: {due} slots, each once; {} more that a person asked for; {by_a} and {by_b} by the daemons, {alone} by commands alone; {} lost to another",
        total - due,
        ended(&a, "lost") + ended(&b, "lost"),
    ));
}
