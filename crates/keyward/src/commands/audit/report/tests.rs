#![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

use super::*;
use keyward_store::{AuditCommit, Finding, Sqlite, Store, Trail};

const HOSTILE: &str = "<script>alert('x')</script>\"&";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A store with one of everything, by somebody who chose his names with care.
async fn store(folder: &Path) -> Config {
    let text = format!(
        "state_dir = \"{0}\"\n[vault]\naddress = \"https://vault:8200\"\n[[vault.node]]\nname = \"vault-1\"\nurl = \"https://vault:8200\"\n\
         [[secret]]\nname = \"app\"\nclass = \"jwt\"\nkind = \"random\"\nissuer = \"self\"\npath = \"secret/app\"\nset = {{ token = \"{{value}}\" }}\n",
        folder.display()
    );
    let config = Config::parse(&text, "k.toml", &crate::config::Environment::empty()).unwrap();
    let store = Sqlite::open(&config.store, at("2026-06-01T00:00:00Z")).await.unwrap().store;
    let day = at("2026-05-03T00:00:00Z");
    let calls = |day, result: &str, count| keyward_store::Calls {
        day,
        operation: "read".into(),
        mount: HOSTILE.into(),
        result: result.into(),
        count,
    };
    let finding = |at, severity: &str| Finding {
        node: "vault-1".into(),
        rule: "mass-read".into(),
        severity: severity.into(),
        at,
        text: format!("somebody reads many secrets: read {HOSTILE}"),
    };
    let reader =
        serde_json::json!({ "identity": HOSTILE, "name": HOSTILE, "address": "10.0.0.1", "first_read": day, "last_read": day, "reads": 7 });
    let usage = serde_json::json!({
        "usage": { "format": "1", "secrets": [{ "secret": "app", "since": day, "readers": [reader] }], "forgotten": 0 },
        "watched": { "app": { "paths": "secret/app", "since": day } },
    });
    let trail = Trail {
        sightings: vec![keyward_store::Sighting { identity: HOSTILE.into(), address: "10.0.0.1".into(), first: day, last: day }],
        gaps: vec![keyward_store::Gap { node: "vault-1".into(), at: day, text: format!("{HOSTILE} was compressed") }],
        calls: vec![calls(day, "ok", 30), calls(day, "denied", 10), calls(at("2026-04-01T00:00:00Z"), "ok", 99)],
        ..Trail::default()
    };
    let findings = vec![finding(day, "warning"), finding(day, "critical"), finding(at("2026-04-30T23:59:59Z"), "critical")];
    let commit =
        AuditCommit { node: "vault-1".into(), findings, trail, usage_json: Some(usage.to_string()), at: day, ..AuditCommit::default() };
    store.commit_audit(commit).await.unwrap();
    store.close().await.unwrap();
    config
}

#[tokio::test]
async fn a_period_is_told_whole_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = store(folder.path()).await;
    let period = (at("2026-05-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    let page = gather::page(&config, period, at("2026-06-02T00:00:00Z")).await.unwrap();
    let totals = &page.totals;
    assert_eq!((totals.calls, totals.denied, totals.critical, totals.warning), (40, 10, 1, 1));
    assert_eq!(
        (page.findings.len(), page.gaps.len(), page.secrets[0].readers.len(), page.identities.len(), page.days.len()),
        (2, 1, 1, 1, 1)
    );
    assert_eq!((page.days[0].height, page.days[0].denied_height), (100, 25));
    let text = text::page(&page);
    for part in [
        "40 calls, 10 of them refused",
        "1 critical, 1 warnings",
        "the only value there was",
        "was compressed",
        "10.0.0.1",
        "never by Keyward",
        "What no audit log shows",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[tokio::test]
async fn names_from_the_log_stay_text_in_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = store(folder.path()).await;
    let file = folder.path().join("report.html");
    let report = Report { from: Some(at("2026-05-01T00:00:00Z")), to: Some(at("2026-06-01T00:00:00Z")), html: Some(file.clone()) };
    assert_eq!(run(report, &config, Output::Text).await.unwrap(), Exit::Ok);
    let html = std::fs::read_to_string(&file).unwrap();
    assert!(!html.contains("<script") && html.matches("&#60;script&#62;").count() >= 5, "{html}");
    assert!(html.contains("default-src 'none'"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let nowhere = Report { from: None, to: None, html: Some(folder.path().join("no/such/folder.html")) };
    assert!(run(nowhere, &config, Output::Text).await.is_err());
}

#[tokio::test]
async fn an_empty_period_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = store(folder.path()).await;
    let report = Report { from: Some(at("2026-05-02T00:00:00Z")), to: Some(at("2026-05-01T00:00:00Z")), html: None };
    assert_eq!(run(report, &config, Output::Text).await.unwrap(), Exit::Usage);
}

#[test]
fn numbers_are_grouped_by_three() {
    let page = Page::default();
    let html = Html { r: &page };
    let shown: Vec<String> = [7_u64, 999, 1_000, 1_262_725].iter().map(|number| html.grouped(*number).replace('\u{202f}', " ")).collect();
    assert_eq!(shown, ["7", "999", "1 000", "1 262 725"]);
}
