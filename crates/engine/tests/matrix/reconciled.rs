//! `keyward reconcile` at every call of a port, with every fault: it ends as the target accepting what is published, whoever goes on.

use super::engine;
use crate::scenes::{PATH, set_up};
use crate::world::{Fault, World, record_path};
use keyward_engine::{Cure, Proof, Spec};
use keyward_rotation::record::{Observation, Phase};
use std::sync::Arc;
use std::time::Duration;

/// Rotated once; then the target is as a backup held it.
async fn restored(kind: &str) -> (Arc<World>, Spec) {
    let (world, spec) = set_up(kind);
    super::settle(&world, &spec).await;
    let user = world.newest(PATH)["username"].as_str().unwrap().to_owned();
    world.with(|s| {
        let role = s.roles.get_mut(&user).unwrap();
        role.password = "what a backup held".into();
        role.fence = None;
        s.calls = 0;
    });
    (world, spec)
}

/// What a daemon and a person do until nothing is left to do: take up what is under way, else reconcile.
async fn mend(world: &Arc<World>, spec: &Spec) {
    let engine = engine(world, "me");
    for _ in 0..6 {
        let Ok(stored) = engine.load(&spec.name).await else { continue };
        if stored.record.as_ref().is_some_and(|r| r.way().is_some()) {
            if engine.may_take_over(&stored, &mut Observation::default()) {
                Box::pin(engine.take_over(spec, stored)).await;
            }
            continue;
        }
        match engine.examine(spec).await {
            Ok(truth) if truth.cure == Cure::Nothing => return,
            Ok(truth) => drop(Box::pin(engine.reconcile(spec, truth, "alice")).await),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_reconciliation_survives_every_fault_at_every_call() {
    for kind in ["postgres-password", "postgres-two-users"] {
        let (world, spec) = restored(kind).await;
        Box::pin(mend(&world, &spec)).await;
        let calls = world.with(|s| s.calls);
        assert!(calls > 15, "{kind}: {calls}");
        for at in 1..=calls {
            for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Refused] {
                let what = format!("{kind}: {fault:?} at call {at}");
                let (world, spec) = restored(kind).await;
                let published = world.newest(PATH);
                world.with(|s| s.fault = Some((at, fault)));
                // A crash ends the process at the call; whoever comes next finds the record.
                tokio::select! {
                    () = mend(&world, &spec) => {}
                    () = world.crashed.notified() => {}
                    () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{what}: it hangs"),
                }
                world.with(|s| s.fault = None);
                Box::pin(mend(&world, &spec)).await;
                let engine = engine(&world, "check");
                let proof = engine.prove(&spec).await;
                assert!(matches!(proof, Proof::Valid), "{what}: {proof:?}");
                assert_eq!(world.newest(PATH), published, "{what}: nothing is published");
                let record = engine.load("s").await.unwrap().record.unwrap();
                assert_eq!((&record.phase, &record.diverged), (&Phase::Idle, &None), "{what}");
                engine.sweep(&spec, &engine.load("s").await.unwrap()).await.unwrap();
                let versions = world.with(|s| s.kv[&record_path("s")].clone());
                assert!(versions.iter().flatten().all(|text| !text.contains("\"new\"")), "{what}: a version still holds values");
            }
        }
    }
}
