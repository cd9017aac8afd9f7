//! What somebody else issues: an issuer in the made world, and what must hold of it beside the matrix.

use crate::scenes::{GRACE, PATH, shape};
use crate::world::{Fault, World};
use crate::{engine, settle, settle_once};
use async_trait::async_trait;
use keyward_engine::kinds::{FromIssuer, RetireWhen, TransitKey};
use keyward_engine::ports::{Delivery, Issued, Issuer, Transit, TransitKeyState};
use keyward_engine::{Class, Failure, Kind, Spec, TendReport};
use keyward_rotation::record::Phase;
use keyward_rotation::saga::{End, Stuck};
use keyward_rotation::table::{APPROLE_SECRET_ID, APPROLE_SECRET_ID_FILE, EXEC, HTTP_API_KEY, Table};
use keyward_secret::{Secret, Values};
use std::sync::Arc;

#[async_trait]
impl Issuer for World {
    async fn ready(&self) -> Result<(), Failure> {
        self.call(|_| Ok(())).await
    }
    async fn create(&self, label: &str) -> Result<Issued, Failure> {
        let label = label.to_owned();
        self.call(|s| {
            s.made += 1;
            let (id, value) = (format!("id-{}", s.made), format!("value-{}", s.made));
            s.issued.insert(id.clone(), (label, value.clone()));
            Ok(Issued { id, values: Values::from([("value".into(), Secret::new(value))]) })
        })
        .await
    }
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        self.call(|s| {
            // The consumer of the file has no value to show: its id must be known.
            let good = match (values.get("value"), values.get("id")) {
                (Some(value), _) => s.issued.values().any(|(_, known)| known == value.expose()),
                (None, Some(id)) => s.issued.contains_key(id.expose()),
                (None, None) => false,
            };
            if good && !s.refuse_candidates { Ok(()) } else { Err(Failure::lasting(Class::WrongPassword, "401")) }
        })
        .await
    }
    async fn labelled(&self, label: &str) -> Result<Option<Vec<String>>, Failure> {
        self.call(|s| {
            let ids = s.issued.iter().filter(|(_, (l, _))| l == label).map(|(id, _)| id.clone()).collect();
            Ok((!s.blind).then_some(ids))
        })
        .await
    }
    async fn revoke(&self, id: &str) -> Result<(), Failure> {
        self.call(|s| {
            s.issued.remove(id);
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Delivery for World {
    async fn ready(&self) -> Result<(), Failure> {
        self.call(|_| Ok(())).await
    }
    async fn deliver(&self, value: &Secret) -> Result<(), Failure> {
        self.call(|s| {
            s.file = Some(value.expose().to_owned());
            Ok(())
        })
        .await
    }
    async fn holds(&self, value: &Secret) -> Result<bool, Failure> {
        self.call(|s| Ok(s.file.as_deref() == Some(value.expose()))).await
    }
}

#[async_trait]
impl Transit for World {
    async fn state(&self) -> Result<TransitKeyState, Failure> {
        self.call(|s| Ok(TransitKeyState { latest: u64::from(s.versions), oldest: s.oldest, auto: None })).await
    }
    async fn rotate(&self) -> Result<(), Failure> {
        self.call(|s| {
            s.versions += 1;
            Ok(())
        })
        .await
    }
    async fn probe(&self, version: u64) -> Result<(), Failure> {
        self.call(|s| {
            let good = (s.oldest..=u64::from(s.versions)).contains(&version);
            if good { Ok(()) } else { Err(Failure::lasting(Class::Invalid, "no such version")) }
        })
        .await
    }
    async fn close_before(&self, version: u64) -> Result<(), Failure> {
        self.call(|s| {
            s.oldest = version;
            Ok(())
        })
        .await
    }
}

/// A transit key at version 3, of which two stay readable.
pub fn transit_key(world: &Arc<World>) -> Arc<dyn Kind> {
    world.with(|s| (s.versions, s.oldest) = (3, 1));
    world.put_json(PATH, r#"{"other":{"kept":[1,2]}}"#);
    Arc::new(TransitKey {
        key: world.clone(),
        name: "transit/keys/k".into(),
        keep_versions: Some(2),
        grace: GRACE,
        interval: std::time::Duration::from_mins(1),
    })
}

#[tokio::test]
async fn a_transit_key_gets_one_version_and_older_ones_are_closed_after_the_grace() {
    let (world, spec) = crate::set_up("transit-key");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    assert!(matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Nothing), "the grace is not over");
    world.with(|s| s.seconds += 3601);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_eq!(world.with(|s| (s.versions, s.oldest)), (4, 3));
    assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
}

/// One of these kinds, with a key published that was issued before.
pub fn set_up(kind: &str, world: &Arc<World>) -> Arc<dyn Kind> {
    world.with(|s| {
        s.made = 1;
        s.issued.insert("id-1".into(), ("by hand".into(), "value-1".into()));
    });
    let (table, to_file): (&'static Table, bool) = match kind {
        "http-api-key" => (&HTTP_API_KEY, false),
        "exec" => (&EXEC, false),
        "approle-secret-id" => (&APPROLE_SECRET_ID, false),
        "approle-secret-id to a file" => (&APPROLE_SECRET_ID_FILE, true),
        other => panic!("{other}"),
    };
    let fields: &[(&str, &str)] = if to_file { &[("accessor", "{id}")] } else { &[("key", "{value}"), ("accessor", "{id}")] };
    let json = if to_file {
        world.with(|s| s.file = Some("value-1".into()));
        r#"{"accessor":"id-1","other":{"kept":[1,2]}}"#
    } else {
        r#"{"key":"value-1","accessor":"id-1","other":{"kept":[1,2]}}"#
    };
    world.put_json(PATH, json);
    let delivery: Option<(Arc<dyn Delivery>, String)> = if to_file { Some((world.clone(), "value".into())) } else { None };
    Arc::new(FromIssuer {
        table,
        secret: "s".into(),
        issuer: world.clone(),
        path: PATH.into(),
        shape: shape(fields),
        tries_wrong: true,
        delivery,
        retire: RetireWhen::AfterGrace,
        grace: GRACE,
        readers: world.clone(),
    })
}

/// What is published is alive, and beside it only the old one, whose grace runs.
pub fn check_nothing_left_over(world: &Arc<World>, spec: &Spec, what: &str) {
    if spec.kind.table().kind == "transit-key" {
        // A refused answer, or one that was lost, never makes two.
        assert_eq!(world.with(|s| s.versions), 4, "{what}");
    }
    if ![&HTTP_API_KEY, &EXEC, &APPROLE_SECRET_ID, &APPROLE_SECRET_ID_FILE].contains(&spec.kind.table()) {
        return;
    }
    let live = world.newest(PATH);
    world.with(|s| {
        let id = live["accessor"].as_str().unwrap();
        let read = live["key"].as_str().or(s.file.as_deref()).unwrap();
        assert_eq!(s.issued[id].1, read, "{what}: what consumers read is not what was issued");
        let left: Vec<&String> = s.issued.keys().filter(|other| *other != id && *other != "id-1").collect();
        assert_eq!(left, [""; 0], "{what}: somebody's orphans");
    });
}

#[tokio::test]
async fn the_old_one_is_ended_after_the_grace_and_never_the_current_one() {
    for kind in ["http-api-key", "approle-secret-id to a file"] {
        let (world, spec) = crate::set_up(kind);
        settle(&world, &spec).await;
        let engine = engine(&world, "me");
        assert!(matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Nothing), "the grace is not over");
        world.with(|s| s.seconds += 3601);
        assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
        assert_eq!(world.with(|s| s.issued.keys().cloned().collect::<Vec<_>>()), ["id-2"], "{kind}");
        assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
    }
}

#[tokio::test]
async fn one_that_became_current_again_is_not_ended() {
    let (world, spec) = crate::set_up("http-api-key");
    settle(&world, &spec).await;
    world.put_json(PATH, r#"{"key":"value-1","accessor":"id-1","other":{"kept":[1,2]}}"#);
    world.with(|s| s.seconds += 3601);
    let engine = engine(&world, "me");
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert!(world.with(|s| s.issued.contains_key("id-1")));
}

#[tokio::test]
async fn one_that_is_refused_is_ended_and_the_old_one_stays() {
    let (world, spec) = crate::set_up("exec");
    world.with(|s| s.refuse_candidates = true);
    // By a person: what is published is refused as well.
    let engine = engine(&world, "me");
    let stored = engine.load_or_create("s").await.unwrap();
    let outcome = engine.rotate(&spec, stored, crate::ask(&spec)).await;
    assert_eq!(outcome.end, End::RolledBack, "{:?}", outcome.failure);
    assert_eq!(world.newest(PATH)["key"], "value-1");
    assert_eq!(world.with(|s| s.issued.keys().cloned().collect::<Vec<_>>()), ["id-1"]);
}

/// Cells that may end stuck: an issuer that can list nothing, dead or unheard after it was asked. A person looks and resumes.
#[tokio::test]
async fn an_issuer_that_lists_nothing_is_stuck_where_nobody_can_know_and_a_person_ends_it() {
    let mut stuck = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Refused] {
        for at in 1.. {
            let (world, spec) = crate::set_up("exec");
            world.with(|s| (s.blind, s.fault) = (true, Some((at, fault))));
            tokio::select! { _ = settle(&world, &spec) => {}, () = world.crashed.notified() => {} }
            let reached = world.with(|s| s.calls >= at);
            world.with(|s| s.fault = None);
            settle(&world, &spec).await;
            let what = format!("{fault:?} at call {at}");
            let engine = engine(&world, "me");
            let stored = engine.load("s").await.unwrap();
            if let Phase::Stuck { reason, why, .. } = &stored.record.as_ref().unwrap().phase {
                stuck += 1;
                assert_eq!(*reason, Stuck::UndoFailed, "{what}");
                assert!(why.contains("keyward-s-r-") && why.contains("keyward resume s"), "{what}: {why}");
                // What the person does, who was told so.
                world.with(|s| s.issued.retain(|id, _| id == "id-1"));
                let outcome = engine.resume(&spec, stored).await.unwrap().unwrap();
                assert_eq!(outcome.end, End::RolledBack, "{what}");
                settle(&world, &spec).await;
            }
            crate::check_sound(&world, &spec, &what).await;
            if !reached {
                break;
            }
        }
    }
    assert_eq!(stuck, 6, "the cells that may end stuck: crash around and lost answer of the call, of its note, of its outcome");
}

#[tokio::test]
async fn a_zombie_that_gets_its_key_late_ends_it_itself() {
    let (world, spec) = crate::set_up("http-api-key");
    // Dies right after the issuer was asked, and is taken up by another process meanwhile.
    for at in 1..60 {
        let (world, spec) = crate::set_up("http-api-key");
        world.with(|s| s.fault = Some((at, Fault::CrashAfter)));
        tokio::select! { _ = settle(&world, &spec) => {}, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        if world.with(|s| s.made) == 2 && engine(&world, "me").load("s").await.unwrap().held.new.is_empty() {
            assert_eq!(settle_once(&world, &spec).await.end, End::Rotated);
            assert_eq!(world.with(|s| s.issued.len()), 2, "the orphan was found by its label");
            // A zombie's answer that comes later still is swept when the grace is over.
            let label = world.with(|s| s.issued["id-3"].0.clone());
            world.with(|s| s.issued.insert("id-9".into(), (label, "value-9".into())));
            world.with(|s| s.seconds += 3601);
            let engine = engine(&world, "me");
            while engine.tend(&spec, engine.load("s").await.unwrap()).await.changed() {}
            assert_eq!(world.with(|s| s.issued.keys().cloned().collect::<Vec<_>>()), ["id-3"]);
            return;
        }
    }
    panic!("never found in that state: {:?} {}", world.newest(PATH), spec.name);
}
