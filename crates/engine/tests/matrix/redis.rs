//! What is Redis's own: a node that refuses the candidate, and the old password's end.

use crate::scenes::{PATH, set_up};
use crate::{check_sound, engine, settle, settle_one_rotation};
use keyward_engine::TendReport;
use keyward_rotation::saga::End;
use std::time::Duration;

#[tokio::test]
async fn a_node_that_refuses_the_new_password_is_rolled_back_without_a_trace() {
    let (world, spec) = set_up("redis-password");
    world.with(|s| s.redis.refuse_candidates = true);
    let outcome = settle_one_rotation(&world, &spec).await;
    assert_eq!(outcome.end, End::RolledBack, "{:?}", outcome.failure);
    world.with(|s| {
        for node in &s.redis.nodes {
            assert_eq!(node.passwords.iter().collect::<Vec<_>>(), ["old"]);
            assert_eq!(node.written, node.passwords);
        }
    });
    world.with(|s| s.redis.refuse_candidates = false);
    settle(&world, &spec).await;
    check_sound(&world, &spec, "after the second try").await;
}

#[tokio::test]
async fn the_old_password_is_removed_when_nobody_came_in_by_it_any_more() {
    let (world, spec) = set_up("redis-password");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    let tend = async || engine.tend(&spec, engine.load("s").await.unwrap()).await;
    assert!(matches!(tend().await, TendReport::Nothing), "the grace is not over");
    world.with(|s| {
        s.seconds += 3601;
        s.redis.clients = vec![Duration::from_secs(10), Duration::from_secs(4000)];
    });
    let TendReport::NotYet(_, why) = tend().await else { panic!("a client is older than what is published") };
    assert!(why.contains("the old password of app still has 1 session(s)") && why.contains("10.0.0.1:5 (web)"), "{why}");
    world.with(|s| s.redis.clients.truncate(1));
    assert!(matches!(tend().await, TendReport::Done(_)));
    let live = world.newest(PATH)["password"].as_str().unwrap().to_owned();
    world.with(|s| {
        for node in &s.redis.nodes {
            assert_eq!(node.written.iter().collect::<Vec<_>>(), [&live]);
        }
    });
    assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
    check_sound(&world, &spec, "after the removal").await;
}

#[tokio::test]
async fn a_password_that_is_published_again_is_never_removed() {
    let (world, spec) = set_up("redis-password");
    settle(&world, &spec).await;
    world.put_json(PATH, r#"{"password":"old","other":{"kept":[1,2]}}"#);
    world.with(|s| s.seconds += 3601);
    let engine = engine(&world, "me");
    assert!(matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Done(_)));
    world.with(|s| assert!(s.redis.nodes.iter().all(|node| node.passwords.contains("old"))));
}
