//! One kind each in a fresh world, with something published already.

use crate::world::root::USER;
use crate::world::{Role, World};
use keyward_engine::kinds::{
    JwtFields, JwtHmac, Manual, PostgresPassword, PostgresTwoUsers, Random, RedisPassword, RetireWhen, RootMethod, VaultDynamicLease,
    VaultRoot, VaultStaticRole,
};
use keyward_engine::{Kind, Shape, Spec};
use keyward_secret::{Generator, Template};
use std::sync::Arc;
use std::time::Duration;

pub const PATH: &str = "secret/app";
pub const GRACE: Duration = Duration::from_hours(1);

pub fn shape(pairs: &[(&str, &str)]) -> Shape {
    Shape(pairs.iter().map(|(f, t)| ((*f).to_owned(), Template::parse(t).unwrap())).collect())
}

pub fn database_shape() -> Shape {
    shape(&[("username", "{username}"), ("password", "{password}"), ("url", "postgresql://{username}:{password}@db/app")])
}

/// One kind in a fresh world, with something published already.
pub fn set_up(kind: &str) -> (Arc<World>, Spec) {
    let world = Arc::new(World::new());
    for (role, password) in [("app", "static-0"), ("app_a", "old"), ("app_b", "older")] {
        world.with(|s| s.roles.insert(role.into(), Role { password: password.into(), fence: None }));
    }
    let published = |json: &str| world.put_json(PATH, json);
    let kind: Arc<dyn Kind> = match kind {
        "postgres-password" => {
            published(r#"{"username":"app_a","password":"old","url":"postgresql://app_a:old@db/app","other":{"kept":[1,2]}}"#);
            Arc::new(PostgresPassword {
                secret: "s".into(),
                target: world.clone(),
                user: "app_a".into(),
                path: PATH.into(),
                shape: database_shape(),
                generator: Generator::password(),
            })
        }
        "postgres-two-users" => {
            published(r#"{"username":"app_a","password":"old","url":"postgresql://app_a:old@db/app","other":{"kept":[1,2]}}"#);
            Arc::new(PostgresTwoUsers {
                secret: "s".into(),
                target: world.clone(),
                users: ["app_a".into(), "app_b".into()],
                path: PATH.into(),
                shape: database_shape(),
                generator: Generator::password(),
                retire: RetireWhen::WhenUnused,
                grace: GRACE,
                readers: world.clone(),
            })
        }
        "vault-static-role" | "vault-static-role with a copy" => {
            published(r#"{"username":"app","password":"static-0","other":{"kept":[1,2]}}"#);
            let copy =
                (kind != "vault-static-role").then(|| (PATH.to_owned(), shape(&[("username", "{username}"), ("password", "{password}")])));
            Arc::new(VaultStaticRole {
                vault: world.clone(),
                role: "r".into(),
                login: world.clone(),
                copy,
                interval: Duration::from_mins(1),
            })
        }
        "redis-password" => {
            published(r#"{"password":"old","other":{"kept":[1,2]}}"#);
            for node in &mut world.state.lock().unwrap().redis.nodes {
                node.passwords.insert("old".into());
            }
            Arc::new(RedisPassword {
                secret: "s".into(),
                target: world.clone(),
                user: "app".into(),
                path: PATH.into(),
                shape: shape(&[("password", "{password}")]),
                generator: Generator::password(),
                retire: RetireWhen::WhenUnused,
                grace: GRACE,
                readers: world.clone(),
            })
        }
        "vault-dynamic-lease" => {
            published(r#"{"username":"v-old","password":"old","other":{"kept":[1,2]}}"#);
            world.with(|s| s.leases.users.insert("v-old".into(), "old".into()));
            Arc::new(VaultDynamicLease {
                secret: "s".into(),
                vault: world.clone(),
                target: world.clone(),
                path: PATH.into(),
                shape: shape(&[("username", "{username}"), ("password", "{password}")]),
                needs: Duration::from_hours(50),
                retire: RetireWhen::WhenUnused,
                grace: GRACE,
                readers: world.clone(),
            })
        }
        "vault-root" | "vault-root by rotate-root" => {
            published(r#"{"other":{"kept":[1,2]}}"#);
            world.with(|s| s.roles.insert(USER.into(), Role { password: "first".into(), fence: None }));
            world.with(|s| s.root.vault_has = "first".into());
            Arc::new(VaultRoot {
                secret: "s".into(),
                vault: world.clone(),
                target: world.clone(),
                method: if kind == "vault-root" { RootMethod::Set } else { RootMethod::RotateRoot },
                generator: Generator::password(),
                clock: world.clone(),
            })
        }
        "manual" => {
            published(r#"{"api_key":"old","other":{"kept":[1,2]}}"#);
            Arc::new(Manual { path: PATH.into(), shape: shape(&[("api_key", "{value}")]), verify: Some(world.clone()) })
        }
        "random" => {
            published(r#"{"token":"old","other":{"kept":[1,2]}}"#);
            let shape = shape(&[("token", "{value}"), ("token_before", "{previous}")]);
            Arc::new(Random { path: PATH.into(), shape, generator: Generator::password(), grace: GRACE })
        }
        "jwt-hmac" => {
            published(r#"{"current":{"kid":"1","alg":"HS256","key":"k","not_before":"2026-01-01T00:00:00Z"},"other":{"kept":[1,2]}}"#);
            let fields = JwtFields { current: "current".into(), previous: "previous".into(), next: "next".into() };
            Arc::new(JwtHmac {
                path: PATH.into(),
                fields,
                algorithm: "HS256".into(),
                generator: Generator::password(),
                token_lifetime: GRACE,
                propagation: GRACE / 2,
            })
        }
        "jwt-keypair" => crate::jwt::set_up(&world),
        "transit-key" => crate::issued::transit_key(&world),
        other => crate::issued::set_up(other, &world),
    };
    (world, Spec { name: "s".into(), kind })
}

/// What else must hold for a kind when its rotation is over.
pub fn check_target(world: &World, spec: &Spec, what: &str) {
    match spec.kind.table().kind {
        "vault-dynamic-lease" => world.with(|s| {
            let live: serde_json::Value = serde_json::from_str(s.kv[PATH].last().unwrap().as_ref().unwrap()).unwrap();
            let (user, password) = (live["username"].as_str().unwrap(), live["password"].as_str().unwrap());
            assert_eq!(s.leases.users.get(user).map(String::as_str), Some(password), "{what}: what is published does not log in");
        }),
        "vault-root" | "vault-root by rotate-root" => world.with(|s| {
            assert_eq!(s.root.vault_has, s.roles[USER].password, "{what}: Vault does not get in");
            assert_ne!(s.root.vault_has, "first", "{what}: not rotated");
        }),
        _ => {}
    }
    if spec.kind.table().kind == "redis-password" {
        let live = world.newest(PATH)["password"].as_str().unwrap().to_owned();
        world.with(|s| {
            for node in &s.redis.nodes {
                assert_eq!(node.passwords, node.written, "{what}: not written down");
                assert!(node.passwords.contains(&live), "{what}: what is published does not log in");
                assert!(node.passwords.iter().all(|p| *p == live || p == "old"), "{what}: a candidate was left over");
            }
        });
    }
}

/// Every kind, by the name of its table.
pub const KINDS: &[&str] = &[
    "postgres-password",
    "postgres-two-users",
    "vault-static-role",
    "vault-static-role with a copy",
    "vault-dynamic-lease",
    "vault-root",
    "vault-root by rotate-root",
    "redis-password",
    "manual",
    "random",
    "jwt-hmac",
    "http-api-key",
    "exec",
    "approle-secret-id",
    "approle-secret-id to a file",
    "transit-key",
    "jwt-keypair",
];
