//! The store on a real file.

use super::*;
use crate::audit::KEEP_FINDINGS;
use crate::rotation::MAX_EVENTS_PER_ROTATION;
use crate::trail::Trail;
use jiff::SignedDuration;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    (folder, path)
}

async fn open(path: &Path) -> Sqlite {
    let opened = Sqlite::open(path, at(0)).await.unwrap();
    assert_eq!(opened.moved_aside, None);
    opened.store
}

fn rotation(id: &str, secret: &str, number: u64, finished: Option<i64>) -> Rotation {
    Rotation {
        id: id.to_owned(),
        secret: secret.to_owned(),
        class: "database".to_owned(),
        kind: "postgres-two-users".to_owned(),
        slot: Some(at(-60)),
        number,
        started: at(0),
        finished: finished.map(at),
        outcome: if finished.is_some() { "done" } else { "running" }.to_owned(),
        success: finished.is_some(),
        failed_step: None,
        failure_class: None,
        text: None,
        asked_by: Some("operator uid 1000".to_owned()),
    }
}

fn finding(rule: &str, seconds: i64) -> Finding {
    let text = format!("{rule} seen");
    Finding { node: "vault-0".to_owned(), rule: rule.to_owned(), severity: "critical".to_owned(), at: at(seconds), text }
}

fn commit(checkpoint: &str) -> AuditCommit {
    AuditCommit {
        node: "vault-0".to_owned(),
        checkpoint_json: checkpoint.to_owned(),
        counters_json: format!("{{\"lines\":{checkpoint}}}"),
        metrics_json: "{}".to_owned(),
        usage_json: None,
        findings: Vec::new(),
        alerts: None,
        trail: Trail::default(),
        at: at(0),
    }
}

fn alerts(book: &str) -> AlertState {
    AlertState { book_json: book.to_owned(), outbox_json: "[]".to_owned(), saved: at(1) }
}

#[tokio::test]
async fn a_rotation_is_written_when_it_starts_and_again_when_it_ends() {
    let (_folder, path) = place();
    let store = open(&path).await;
    store.record_rotation(rotation("r1", "backend", 7, None)).await.unwrap();
    assert_eq!(store.last_successes().await.unwrap(), []);
    let ended = rotation("r1", "backend", 7, Some(5));
    store.record_rotation(ended.clone()).await.unwrap();
    store.record_rotation(ended.clone()).await.unwrap();
    assert_eq!(store.rotations(10).await.unwrap(), [ended]);
    let success = LastSuccess { secret: "backend".to_owned(), rotation: "r1".to_owned(), number: 7, finished: at(5) };
    assert_eq!(store.last_successes().await.unwrap(), std::slice::from_ref(&success));
    let failed = Rotation { success: false, outcome: "rolled back".to_owned(), ..rotation("r2", "backend", 8, Some(9)) };
    store.record_rotation(failed.clone()).await.unwrap();
    store.record_rotation(rotation("r3", "other", 1, Some(8))).await.unwrap();
    assert_eq!(store.rotations_of("backend", 1).await.unwrap(), [failed]);
    assert_eq!(store.last_successes().await.unwrap()[0], success, "a failure leaves the last success");
}

#[tokio::test]
async fn the_oldest_rotations_go_but_the_last_success_stays() {
    let (_folder, path) = place();
    let store = open(&path).await;
    store.record_rotation(rotation("root-1", "root", 1, Some(0))).await.unwrap();
    for number in 1..=9 {
        store.record_rotation(rotation(&format!("r{number}"), "busy", number, Some(1))).await.unwrap();
    }
    let aged = |db: &mut Connection| {
        let transaction = db.transaction()?;
        history::age_rotations(&transaction, 3, 2)?;
        transaction.commit()
    };
    store.call("aging", aged).await.unwrap();
    let kept: Vec<String> = store.rotations(10).await.unwrap().into_iter().map(|rotation| rotation.id).collect();
    assert_eq!(kept, ["r9", "r8", "r7"]);
    let names: Vec<String> = store.last_successes().await.unwrap().into_iter().map(|success| success.secret).collect();
    assert_eq!(names, ["busy", "root"]);
    let fewer = |db: &mut Connection| {
        let transaction = db.transaction()?;
        history::age_rotations(&transaction, 3, 1)?;
        transaction.commit()
    };
    store.call("aging", fewer).await.unwrap();
    assert_eq!(store.last_successes().await.unwrap().len(), 1, "the longest ago goes first");
    assert_eq!(store.last_successes().await.unwrap()[0].secret, "busy");
}

#[tokio::test]
async fn events_are_kept_in_order_and_bounded() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let event =
        |number: i64| RotationEvent { rotation: "r1".to_owned(), step: "apply".to_owned(), event: "x".repeat(5_000), at: at(number) };
    for number in 0..MAX_EVENTS_PER_ROTATION + 3 {
        store.record_event(event(number)).await.unwrap();
    }
    let events = store.events_of("r1").await.unwrap();
    assert_eq!(events.len(), usize::try_from(MAX_EVENTS_PER_ROTATION).unwrap());
    assert_eq!((events[0].at, events[0].event.len()), (at(3), crate::MAX_TEXT));
    assert_eq!(store.events_of("r2").await.unwrap(), []);
    let aged = |db: &mut Connection| {
        let transaction = db.transaction()?;
        history::age_events(&transaction, "r1", MAX_EVENTS_PER_ROTATION, 5)?;
        transaction.commit()
    };
    store.call("aging", aged).await.unwrap();
    assert_eq!(store.events_of("r1").await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_checkpoint_moves_together_with_what_it_caused() {
    let (_folder, path) = place();
    let store = open(&path).await;
    assert_eq!(store.load_audit("vault-0").await.unwrap(), None);
    let first = AuditCommit { usage_json: Some("{\"u\":1}".to_owned()), ..commit("1") };
    store.commit_audit(first).await.unwrap();
    let second = AuditCommit { findings: vec![finding("a", 1), finding("b", 2)], alerts: Some(alerts("{\"b\":2}")), ..commit("2") };
    store.commit_audit(second).await.unwrap();
    let state = store.load_audit("vault-0").await.unwrap().unwrap();
    assert_eq!((state.checkpoint_json.as_str(), state.counters_json.as_str()), ("2", "{\"lines\":2}"));
    assert_eq!(state.usage_json.as_deref(), Some("{\"u\":1}"), "left as it was");
    assert_eq!(store.findings(10).await.unwrap(), [finding("b", 2), finding("a", 1)]);
    assert_eq!(store.load_alerts().await.unwrap(), Some(alerts("{\"b\":2}")));
    store.forget_audit("vault-0").await.unwrap();
    assert_eq!(store.load_audit("vault-0").await.unwrap(), None);
    assert_eq!(store.findings(10).await.unwrap().len(), 2);
}

/// The last part of the commit is made to fail; the first part must not stand.
#[tokio::test]
async fn a_commit_that_fails_half_way_leaves_the_checkpoint_where_it_was() {
    let (_folder, path) = place();
    let store = open(&path).await;
    store.commit_audit(commit("1")).await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON alert_state BEGIN SELECT RAISE(ABORT, 'refused'); END";
    store.call("preparing", |db| db.execute_batch(refuse)).await.unwrap();
    let whole = AuditCommit { findings: vec![finding("a", 1)], alerts: Some(alerts("{}")), ..commit("2") };
    let error = store.commit_audit(whole).await.expect_err("refused");
    assert!(matches!(error, StoreError::Database { what: "moving an audit checkpoint", .. }), "{error:?}");
    assert_eq!(store.load_audit("vault-0").await.unwrap().unwrap().checkpoint_json, "1");
    assert_eq!(store.findings(10).await.unwrap(), []);
}

#[tokio::test]
async fn findings_are_bounded_in_number_and_age_and_nodes_in_number() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let old = -KEEP_FINDINGS.as_secs() - 1;
    let findings = vec![finding("old", old), finding("a", 1), finding("b", 2), finding("c", 3)];
    store.commit_audit(AuditCommit { findings, ..commit("1") }).await.unwrap();
    store.commit_audit(AuditCommit { node: "gone".to_owned(), at: at(-10), ..commit("1") }).await.unwrap();
    let rules = |found: Vec<Finding>| found.into_iter().map(|finding| finding.rule).collect::<Vec<_>>();
    assert_eq!(rules(store.findings(10).await.unwrap()), ["c", "b", "a"]);
    let aged = |db: &mut Connection| {
        let transaction = db.transaction()?;
        alerts::age_findings(&transaction, at(0), 2)?;
        alerts::age_nodes(&transaction, 1)?;
        transaction.commit()
    };
    store.call("aging", aged).await.unwrap();
    assert_eq!(rules(store.findings(10).await.unwrap()), ["c", "b"]);
    assert_eq!(store.load_audit("gone").await.unwrap(), None, "committed longest ago");
    assert!(store.load_audit("vault-0").await.unwrap().is_some());
}

#[tokio::test]
async fn small_values_are_kept_under_names() {
    let (_folder, path) = place();
    let store = open(&path).await;
    assert_eq!(store.meta("a").await.unwrap(), None);
    store.set_meta("a", "1").await.unwrap();
    store.set_meta("a", "2").await.unwrap();
    assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("2"));
}

/// A crash is imitated by copying the files as they lie on the disk while the store is open, and opening the copy.
#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let (folder, path) = place();
    let store = open(&path).await;
    for number in 1..=20 {
        store.record_rotation(rotation(&format!("r{number}"), "backend", number, Some(1))).await.unwrap();
    }
    store.save_alerts(alerts("{\"kept\":true}")).await.unwrap();
    let crashed = folder.path().join("crashed.db");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(folder.path().join("keyward.db-wal"), folder.path().join("crashed.db-wal")).unwrap();
    let after = open(&crashed).await;
    assert_eq!(after.rotations(100).await.unwrap().len(), 20);
    assert_eq!(after.load_alerts().await.unwrap(), Some(alerts("{\"kept\":true}")));
    drop(store);
}

#[tokio::test]
async fn two_handles_and_a_reader_beside_see_the_same() {
    let (_folder, path) = place();
    assert!(matches!(Sqlite::open_read_only(&path).await, Err(StoreError::Missing { .. })));
    let store = open(&path).await;
    let clone = store.clone();
    let many = (1..=30).map(|number| {
        let handle = if number % 2 == 0 { store.clone() } else { clone.clone() };
        tokio::spawn(async move { handle.record_rotation(rotation(&format!("r{number}"), "backend", number, Some(1))).await })
    });
    for task in many.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let reader = Sqlite::open_read_only(&path).await.unwrap();
    assert_eq!(reader.rotations(100).await.unwrap().len(), 30);
    store.set_meta("later", "yes").await.unwrap();
    assert_eq!(reader.meta("later").await.unwrap().as_deref(), Some("yes"));
    assert!(matches!(reader.set_meta("x", "y").await, Err(StoreError::Database { .. })), "a reader writes nothing");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (folder, path) = place();
    let store = open(&path).await;
    let other = store.clone();
    store.set_meta("a", "1").await.unwrap();
    store.close().await.unwrap();
    assert!(!folder.path().join("keyward.db-wal").exists(), "folded into the file");
    assert!(matches!(other.meta("a").await, Err(StoreError::Closed { what: "reading a kept value" })));
    assert_eq!(open(&path).await.meta("a").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let (folder, path) = place();
    std::fs::write(&path, []).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).await;
    store.set_meta("a", "1").await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn commits_reach_the_disk_before_they_are_answered() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let settings = |db: &mut Connection| {
        let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        Ok((mode, synchronous))
    };
    assert_eq!(store.call("asking", settings).await.unwrap(), ("wal".to_owned(), 2));
}

#[tokio::test]
async fn a_newer_format_is_refused_by_its_number_and_left_alone() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = std::fs::read(&path).unwrap();
    for error in [Sqlite::open(&path, at(0)).await.map(drop), Sqlite::open_read_only(&path).await.map(drop)] {
        assert!(matches!(error, Err(StoreError::NewerFormat { found: 99, known: 2, .. })), "{error:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn somebody_elses_database_is_refused_and_left_alone() {
    let (_folder, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(matches!(Sqlite::open(&path, at(0)).await, Err(StoreError::Foreign { .. })));
    assert!(path.exists());
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_with_its_log_and_a_new_one_started() {
    let (folder, path) = place();
    std::fs::write(&path, "this was a database once, before the disk went bad".repeat(100)).unwrap();
    std::fs::write(folder.path().join("keyward.db-wal"), "log").unwrap();
    let opened = Sqlite::open(&path, at(0)).await.unwrap();
    let aside = opened.moved_aside.unwrap();
    assert_eq!(aside, folder.path().join("keyward.db.corrupt-20270115T080000Z"));
    assert!(std::fs::read_to_string(&aside).unwrap().starts_with("this was"));
    assert!(folder.path().join("keyward.db.corrupt-20270115T080000Z-wal").exists());
    opened.store.set_meta("a", "1").await.unwrap();
    opened.store.close().await.unwrap();
    std::fs::write(&path, "damaged again".repeat(500)).unwrap();
    let second = Sqlite::open(&path, at(0)).await.unwrap().moved_aside.unwrap();
    assert_eq!(second, folder.path().join("keyward.db.corrupt-20270115T080000Z-2"), "the first is not overwritten");
}

/// Damage inside a file whose head is sound: only the check of its pages finds it.
#[tokio::test]
async fn damage_beyond_the_head_is_found_too() {
    let (_folder, path) = place();
    let store = open(&path).await;
    for number in 1..=200 {
        store.record_rotation(rotation(&format!("r{number}"), "backend", number, Some(1))).await.unwrap();
    }
    store.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(2) {
        page[..64].fill(0xa5);
    }
    std::fs::write(&path, bytes).unwrap();
    let opened = Sqlite::open(&path, at(0)).await.unwrap();
    assert!(opened.moved_aside.is_some());
    assert_eq!(opened.store.rotations(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let shrink = |db: &mut Connection| {
        let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    };
    store.call("shrinking", shrink).await.unwrap();
    let error = store.set_meta("big", &"x".repeat(1_000_000)).await.expect_err("full");
    assert!(matches!(error, StoreError::DiskFull { what: "keeping a value", .. }), "{error:?}");
    assert_eq!(store.meta("big").await.unwrap(), None);
    store.set_meta("a", "1").await.unwrap();
}

/// A thread that is held up must not hold up its callers for ever, nor do what nobody waits for any more.
#[tokio::test]
async fn a_call_ends_within_its_limit() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let hasty = Sqlite { worker: store.worker.clone().with_limit(Duration::from_millis(50)) };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocker = store.clone();
    let (started, running) = tokio::sync::oneshot::channel();
    let blocked = tokio::spawn(async move {
        let block = move |_: &mut Connection| {
            let _ = started.send(());
            let _ = held.recv();
            Ok(())
        };
        blocker.call("blocking", block).await
    });
    running.await.unwrap();
    let error = hasty.set_meta("late", "1").await.expect_err("held up");
    assert!(matches!(error, StoreError::TimedOut { what: "keeping a value", .. }), "{error:?}");
    release.send(()).unwrap();
    blocked.await.unwrap().unwrap();
    assert_eq!(store.meta("late").await.unwrap(), None, "nobody waited for it any more");
}

#[tokio::test]
async fn keeping_findings_is_longer_than_a_year() {
    assert!(KEEP_FINDINGS > SignedDuration::from_hours(366 * 24), "an annual review must find the whole year");
}

#[tokio::test]
async fn a_store_of_the_first_format_is_brought_up_to_date_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(super::schema::SCRIPTS[0]).unwrap();
    old.pragma_update(None, "application_id", super::schema::APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("INSERT INTO audit_node VALUES ('vault-0', 'c', '{}', '{}', NULL, 0)", []).unwrap();
    drop(old);
    let store = Sqlite::open(&path, at(0)).await.unwrap().store;
    let state = store.load_audit("vault-0").await.unwrap().unwrap();
    assert_eq!((state.checkpoint_json.as_str(), state.chain_json), ("c", None));
}

#[tokio::test]
async fn the_trail_is_kept_with_the_place_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db"), at(0)).await.unwrap().store;
    let segment = |first: u64| Segment {
        first,
        file: u64::MAX,
        offset: 7,
        from: at(1),
        to: at(2),
        before: vec![1; 32],
        after: vec![2; 32],
        marks: vec![3; 8],
    };
    let calls = |count| Calls { day: at(0), operation: "read".into(), mount: "secret/".into(), result: "ok".into(), count };
    let sighting = |last: i64| Sighting { identity: "app".into(), address: "10.0.0.1".into(), first: at(1), last: at(last) };
    let gap = Gap { node: "vault-0".into(), at: at(5), text: "a file is gone".into() };
    let trail = Trail {
        chain_json: Some("{}".into()),
        segments: vec![segment(1), segment(3)],
        sightings: vec![sighting(1)],
        gaps: vec![gap.clone()],
        calls: vec![calls(2)],
    };
    store.commit_audit(AuditCommit { trail, ..commit("1") }).await.unwrap();
    let trail = Trail { sightings: vec![sighting(90)], calls: vec![calls(3)], ..Trail::default() };
    store.commit_audit(AuditCommit { trail, ..commit("2") }).await.unwrap();
    assert_eq!(store.load_audit("vault-0").await.unwrap().unwrap().chain_json.as_deref(), Some("{}"), "what is not given stays");
    assert_eq!(store.segments("vault-0", 0).await.unwrap(), [segment(1), segment(3)]);
    assert_eq!(store.segments("vault-0", 1).await.unwrap(), [segment(3)]);
    assert_eq!(store.sightings("vault-0").await.unwrap(), [sighting(90)]);
    assert_eq!(store.gaps_between(at(5), at(6)).await.unwrap(), [gap]);
    assert_eq!(store.gaps_between(at(0), at(5)).await.unwrap(), []);
    assert_eq!(store.calls_between(at(0), at(1)).await.unwrap(), [calls(5)]);
    assert_eq!(store.audit_nodes().await.unwrap(), ["vault-0"]);
    let seal =
        Seal { node: "vault-0".into(), lines: 4, chain: "00".into(), at: at(9), key: "transit/k".into(), signature: "vault:v1:x".into() };
    store.record_seal(seal.clone()).await.unwrap();
    assert_eq!(store.seals("vault-0").await.unwrap(), [seal]);
}
