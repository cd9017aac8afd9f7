//! Key pairs with a JWKS: what must hold after every single effect.

use crate::scenes::{GRACE, PATH};
use crate::world::{Fault, State, World};
use crate::{engine, settle};
use keyward_engine::kinds::{JwtFields, JwtKeypair};
use keyward_engine::{Kind, Spec, TendReport};
use keyward_rotation::saga::End;
use keyward_secret::keypair::{SigningAlgorithm, sign, verifies};
use keyward_secret::{Secret, SystemRandom};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const JWKS: &str = "public/jwks";
const CACHE: Duration = Duration::from_mins(10);
const SKEW: Duration = Duration::from_mins(1);

fn newest(state: &State, path: &str) -> Value {
    serde_json::from_str(state.kv[path].last().unwrap().as_ref().unwrap()).unwrap()
}

/// The JWKS holds every key that KV holds, with the public half of the very key.
fn jwks_holds_all(state: &State) {
    let (live, jwks) = (newest(state, PATH), newest(state, JWKS));
    for field in ["current", "previous", "next"] {
        let Some(kid) = live[field]["kid"].as_str() else { continue };
        let public = jwks["jwks"]["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid);
        let public = public.unwrap_or_else(|| panic!("{field} ({kid}) is not in the JWKS"));
        let signed = sign("EdDSA", &Secret::new(live[field]["key"].as_str().unwrap()), b"m").unwrap();
        assert!(verifies("EdDSA", public, b"m", &signed), "{field}: another key under its name");
    }
}

/// One key is published already, by whoever came before.
pub fn set_up(world: &Arc<World>) -> Arc<dyn Kind> {
    let pair = SigningAlgorithm::EdDsa.generate(&SystemRandom).unwrap();
    let mut jwk = pair.public;
    jwk.insert("kid".into(), json!("1"));
    let current = json!({ "kid": "1", "alg": "EdDSA", "key": pair.private.expose(), "not_before": "2026-01-01T00:00:00Z" });
    world.put_json(PATH, &json!({ "current": current, "other": { "kept": [1, 2] } }).to_string());
    world.put_json(JWKS, &json!({ "jwks": { "keys": [jwk] }, "issuer": "https://shop" }).to_string());
    world.with(|s| s.watch = Some(jwks_holds_all));
    Arc::new(JwtKeypair {
        vault: world.clone(),
        clock: world.clone(),
        path: PATH.into(),
        fields: JwtFields { current: "current".into(), previous: "previous".into(), next: "next".into() },
        jwks_path: JWKS.into(),
        jwks_field: "jwks".into(),
        algorithm: SigningAlgorithm::EdDsa,
        token_lifetime: GRACE,
        cache_lifetime: CACHE,
        skew: SKEW,
    })
}

fn kids(world: &World) -> Vec<String> {
    let keys = world.newest(JWKS)["jwks"]["keys"].as_array().unwrap().clone();
    keys.iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
}

/// Nobody's orphan stands in the JWKS, and what else stands there is untouched.
pub fn check(world: &Arc<World>, spec: &Spec, what: &str) {
    if spec.kind.table().kind != "jwt-keypair" {
        return;
    }
    world.with(|s| jwks_holds_all(s));
    let live = world.newest(PATH);
    let mut published: Vec<&str> = ["current", "previous", "next"].iter().filter_map(|field| live[*field]["kid"].as_str()).collect();
    let mut listed = kids(world);
    published.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, published, "{what}");
    assert_eq!(world.newest(JWKS)["issuer"], "https://shop", "{what}");
}

/// Housekeeping that was rolled back is still to be done: otherwise the next key would never sign, and the previous one stay for ever.
#[tokio::test]
async fn housekeeping_that_was_rolled_back_is_done_later() {
    let mut rolled_back = 0;
    for at in 1..40 {
        let (world, spec) = crate::set_up("jwt-keypair");
        settle(&world, &spec).await;
        let next = world.newest(PATH)["next"]["kid"].clone();
        let engine = engine(&world, "me");
        let stored = engine.load("s").await.unwrap();
        world.with(|s| (s.seconds, s.fault) = (s.seconds + 660, Some((s.calls + at, Fault::Denied))));
        let report = engine.tend(&spec, stored).await;
        world.with(|s| s.fault = None);
        // Other ends are other tests' matter.
        if !matches!(report, TendReport::Published(_, outcome) if outcome.end == End::RolledBack) {
            continue;
        }
        rolled_back += 1;
        for seconds in [0, 5000, 0] {
            world.with(|s| s.seconds += seconds);
            engine.tend(&spec, engine.load("s").await.unwrap()).await;
        }
        assert_eq!(world.newest(PATH)["current"]["kid"], next, "denied at call {at}");
        assert_eq!(kids(&world), [next.as_str().unwrap()], "denied at call {at}");
        assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty(), "denied at call {at}");
    }
    assert!(rolled_back > 0, "no denial was rolled back");
}

#[tokio::test]
async fn a_key_is_in_the_jwks_before_it_can_sign_and_until_its_last_token_is_over() {
    let (world, spec) = crate::set_up("jwt-keypair");
    settle(&world, &spec).await;
    let next = world.newest(PATH)["next"].clone();
    let kid = next["kid"].as_str().unwrap().to_owned();
    let from: jiff::Timestamp = next["not_before"].as_str().unwrap().parse().unwrap();
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    assert!(from >= now + CACHE + SKEW, "it must not sign while verifiers may hold an older JWKS");
    assert_eq!(kids(&world), ["1", kid.as_str()]);
    let engine = engine(&world, "me");
    let tend = async |seconds: i64| {
        world.with(|s| s.seconds += seconds);
        engine.tend(&spec, engine.load("s").await.unwrap()).await.changed()
    };
    assert!(!tend(600).await, "the caches are over, the clocks may differ still");
    assert!(tend(60).await);
    let live = world.newest(PATH);
    assert_eq!((&live["current"]["kid"], &live["previous"]["kid"]), (&json!(kid), &json!("1")));
    assert!(tend(4261).await);
    assert_eq!(world.newest(PATH)["previous"], Value::Null);
    assert_eq!(kids(&world), ["1", kid.as_str()], "it leaves KV first");
    assert!(tend(0).await);
    assert_eq!(kids(&world), [kid.as_str()]);
    check(&world, &spec, "at the end");
    assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
}

#[tokio::test]
async fn a_jwks_that_lags_lets_nothing_be_published() {
    let (world, spec) = crate::set_up("jwt-keypair");
    world.with(|s| s.stale = Some(JWKS.into()));
    let engine = engine(&world, "me");
    let stored = engine.load_or_create("s").await.unwrap();
    let outcome = engine.rotate(&spec, stored, crate::ask(&spec)).await;
    assert_eq!(outcome.end, End::RolledBack, "{:?}", outcome.failure);
    assert!(outcome.failure.unwrap().text.contains("does not show the new key"));
    assert_eq!(world.newest(PATH)["next"], Value::Null);
}

#[tokio::test]
async fn keys_of_others_in_the_jwks_stay() {
    let (world, spec) = crate::set_up("jwt-keypair");
    let mut document = world.newest(JWKS);
    document["jwks"]["keys"].as_array_mut().unwrap().push(json!({ "kid": "theirs", "kty": "RSA" }));
    world.put_json(JWKS, &document.to_string());
    settle(&world, &spec).await;
    assert!(kids(&world).contains(&"theirs".to_owned()));
}
