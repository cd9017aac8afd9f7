//! `keyward plan`: a year ahead, and what proving costs, held against what the server's audit log really got.

use jiff::Timestamp;
use keyward_harness::{Shop, Wishes, servers, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);

fn shop(more: &str) -> Shop<'static> {
    let wishes = Wishes { more: more.to_owned(), ..Wishes::default() };
    Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &wishes).unwrap()
}

fn plan(shop: &Shop<'_>, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["plan", "--output", "json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&shop.must(&all).unwrap()).unwrap()
}

#[test]
fn a_year_is_printed_with_every_slot_and_what_keeps_it_from_running() {
    let shop = shop("\n[class.often]\nschedule = \"hourly\"\njitter = \"10m\"\n");
    let sound = fs::read_to_string(&shop.config).unwrap();
    fs::write(
        &shop.config,
        sound.replacen("name = \"webhook-token\"\nclass = \"api-key\"", "name = \"webhook-token\"\nclass = \"often\"", 1),
    )
    .unwrap();
    shop.must(&["pause", "session-signing", "--why", "audit", "--alone"]).unwrap();
    let json = plan(&shop, &["--from", "2027-01-01T00:00:00Z", "--to", "2028-01-01T00:00:00Z"]);
    let slots = json["slots"].as_array().unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let text = |slot: &'_ Value, key: &str| slot[key].as_str().unwrap_or_default().to_owned();
    for slot in slots {
        *counts.entry(slot["secret"].as_str().unwrap()).or_default() += 1;
        match slot["secret"].as_str().unwrap() {
            "openai" => assert_eq!(text(slot, "but"), "if a person supplies a value"),
            "session-signing" => assert_eq!(text(slot, "but"), "if it is resumed: it is paused"),
            _ => assert!(slot["but"].is_null(), "{slot}"),
        }
        assert!(text(slot, "starts") >= text(slot, "at"), "{slot}");
        assert!(text(slot, "at").ends_with('Z') && text(slot, "at").parse::<Timestamp>().is_ok(), "with its zone: {slot}");
    }
    let expected =
        [("legacy", 52), ("openai", 12), ("reporting", 52), ("session-signing", 4), ("shop-database", 52), ("webhook-token", 8760)];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    assert!(slots.windows(2).all(|pair| text(&pair[0], "at") <= text(&pair[1], "at")), "in the order of time");
    let jittered = slots.iter().filter(|slot| slot["secret"] == "webhook-token" && slot["starts"] != slot["at"]).count();
    assert!(jittered > 8_000, "{jittered}");
    assert_eq!(plan(&shop, &["--from", "2027-01-01T00:00:00Z", "--to", "2028-01-01T00:00:00Z"])["slots"], json["slots"], "the same again");
}

#[test]
fn what_the_proofs_cost_is_what_the_audit_log_gets() {
    let shop = shop("");
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let _daemon = shop.serve().unwrap();
    let proofs = || shop.metric("keyward_proofs_total{secret=\"legacy\",class=\"database\",result=\"valid\"}").unwrap_or_default();
    wait_until("some proofs", LONG, || (proofs() >= 3.0).then_some(()));
    let cost = &plan(&shop, &[])["proofs_per_day"];
    let number = |key: &str| cost[key].as_u64().unwrap();
    // Three of the database class every 5 s (record and published; for the static role record and static-creds), and three that are
    // only looked at, hourly.
    assert_eq!((number("proofs"), number("calls")), (3 * 17_280 + 3 * 24, 6 * 17_280 + 6 * 24));
    let said = shop.must(&["plan"]).unwrap();
    assert!(said.contains("The proof watch makes 51912 proofs a day: 103824 calls to Vault, about 259.5 MB"), "{said}");

    // What is read of `legacy` is read by proofs alone; its record by the planner, too, and in the same shape.
    let before = proofs();
    let log = fs::read_to_string(&shop.vault.audit_log).unwrap();
    let of = |path: &str| -> Vec<&str> { log.lines().filter(|line| line.contains(&format!("\"path\":\"{path}\""))).collect() };
    let (published, record) = (of(&format!("{}/data/shop/legacy", shop.kv)), of(&format!("{}/data/legacy", shop.records)));
    let reads =
        |lines: &[&str]| lines.iter().filter(|l| l.contains("\"type\":\"request\"") && l.contains("\"operation\":\"read\"")).count();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let proved = reads(&published) as f64;
    assert!((before - 1.0..=before + 3.0).contains(&proved), "{proved} reads for {before} proofs");
    let lines: Vec<&&str> = published.iter().chain(&record).filter(|l| l.contains("\"operation\":\"read\"")).collect();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let per_call = bytes / (reads(&published) + reads(&record));
    let assumed = usize::try_from(number("audit_bytes") / number("calls")).unwrap();
    assert!((assumed * 2 / 3..=assumed * 3 / 2).contains(&per_call), "{per_call} bytes a call, {assumed} assumed");
}
