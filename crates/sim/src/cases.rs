//! The secrets of a world: what each is, where it stands at the beginning, and the real kind that rotates it.
//!
//! A further kind is a variant here, with what it furnishes and how it is built.

use crate::Millis;
use crate::mutant::Mutant;
use crate::ports::Port;
use crate::world::kv::{Body, Kv, quoted, text};
use crate::world::{Static, World};
use keyward_engine::kinds::{JwtFields, JwtHmac, Manual, PostgresPassword, PostgresTwoUsers, Random, RetireWhen, VaultStaticRole};
use keyward_engine::{Kind, Shape, Spec};
use keyward_rotation::schedule::Policy;
use keyward_secret::{Generator, Template};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a secret of the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Password,
    TwoUsers(RetireWhen),
    StaticRole,
    StaticRoleCopied,
    Random,
    Jwt,
    Manual,
}

/// One secret of the world.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) what: What,
    /// Where consumers read.
    pub(crate) path: Option<String>,
    /// The fields that Keyward may change.
    pub(crate) fields: Vec<String>,
    /// The database roles that it has.
    pub(crate) roles: Vec<String>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) grace: Millis,
}

/// How long verifiers of a key set may take to read it again, and how long a token lives, as parts of the grace.
pub(crate) const fn propagation(grace: Millis) -> Millis {
    grace / 2
}

impl Case {
    pub(crate) fn new(number: usize, what: What, policy: Arc<Policy>, grace: Millis) -> Self {
        let name = format!("secret-{number}");
        let role = |suffix: &str| format!("app{number}{suffix}");
        let (fields, roles): (&[&str], _) = match what {
            What::Password => (&["username", "password", "url"], vec![role("")]),
            What::TwoUsers(_) => (&["username", "password", "url"], vec![role("_a"), role("_b")]),
            What::StaticRole => (&[], vec![role("")]),
            What::StaticRoleCopied => (&["username", "password"], vec![role("")]),
            What::Random => (&["token", "token_before"], Vec::new()),
            What::Jwt => (&["current", "previous", "next"], Vec::new()),
            What::Manual => (&["api_key"], Vec::new()),
        };
        let path = (what != What::StaticRole).then(|| format!("secret/app{number}"));
        Self { name, what, path, fields: fields.iter().map(|f| (*f).to_owned()).collect(), roles, policy, grace }
    }

    fn static_role(&self) -> String {
        format!("database/static-roles/{}", self.name)
    }

    /// What stands in the servers at the beginning: something that works, beside something that is not Keyward's.
    pub(crate) fn furnish(&self, world: &mut World) {
        let old = format!("initial-value-of-{}", self.name);
        world.judge.know(&old);
        for role in &self.roles {
            world.database.create(role, &old);
        }
        let user = self.roles.first().cloned().unwrap_or_default();
        let mut body = Body::from([("other".into(), r#"{"kept":[1,2.5,"é"],"deep":{"n":12345678901234567890}}"#.into())]);
        match self.what {
            What::Password | What::TwoUsers(_) => {
                body.insert("username".into(), quoted(&user));
                body.insert("password".into(), quoted(&old));
                body.insert("url".into(), quoted(&format!("postgresql://{user}:{old}@db/app")));
            }
            What::StaticRole | What::StaticRoleCopied => {
                body.insert("username".into(), quoted(&user));
                body.insert("password".into(), quoted(&old));
                world.statics.insert(self.static_role(), Static { user, password: old, rotations: 0 });
            }
            What::Random => {
                body.insert("token".into(), quoted(&old));
            }
            What::Manual => {
                body.insert("api_key".into(), quoted(&old));
            }
            What::Jwt => {
                let key = format!(r#"{{"alg":"HS256","key":"{old}","kid":"first","not_before":"2026-01-01T00:00:00Z"}}"#);
                body.insert("current".into(), key);
            }
        }
        if let Some(path) = &self.path {
            // An empty store takes the first version.
            let _ = world.published.write(path, Some(0), body);
        }
    }

    /// The real kind over one process's ports.
    pub(crate) fn spec(&self, port: &Port, mutant: Option<Mutant>) -> Spec {
        let ports = Arc::new(port.clone());
        let path = self.path.clone().unwrap_or_default();
        let grace = Duration::from_millis(self.grace);
        let role = |at: usize| self.roles.get(at).cloned().unwrap_or_default();
        let kind: Arc<dyn Kind> = match self.what {
            What::Password => Arc::new(PostgresPassword {
                secret: self.name.clone(),
                target: ports,
                user: role(0),
                path,
                shape: database_shape(),
                generator: Generator::password(),
            }),
            What::TwoUsers(retire) => {
                let retire = if mutant == Some(Mutant::RetireInUse) { RetireWhen::AfterGrace } else { retire };
                let grace = if mutant == Some(Mutant::RetireInUse) { Duration::ZERO } else { grace };
                Arc::new(PostgresTwoUsers {
                    secret: self.name.clone(),
                    target: ports.clone(),
                    users: [role(0), role(1)],
                    path,
                    shape: database_shape(),
                    generator: Generator::password(),
                    retire,
                    grace,
                    readers: ports,
                })
            }
            What::StaticRole | What::StaticRoleCopied => Arc::new(VaultStaticRole {
                vault: ports.clone(),
                role: self.static_role(),
                login: ports,
                copy: self.path.clone().map(|path| (path, shape(&[("username", "{username}"), ("password", "{password}")]))),
                interval: Duration::from_mins(1),
            }),
            What::Random => Arc::new(Random {
                path,
                shape: shape(&[("token", "{value}"), ("token_before", "{previous}")]),
                generator: Generator::password(),
                grace,
            }),
            What::Jwt => Arc::new(JwtHmac {
                path,
                fields: JwtFields { current: "current".into(), previous: "previous".into(), next: "next".into() },
                algorithm: "HS256".into(),
                generator: Generator::password(),
                token_lifetime: grace,
                propagation: Duration::from_millis(propagation(self.grace)),
            }),
            What::Manual => Arc::new(Manual { path, shape: shape(&[("api_key", "{value}")]), verify: Some(ports) }),
        };
        Spec { name: self.name.clone(), kind: mutant.map_or_else(|| kind.clone(), |m| m.around(kind.clone())) }
    }

    /// The login that consumers read, for kinds that have one.
    pub(crate) fn login(&self, published: &Kv) -> Option<(String, String)> {
        let body = published.body(self.path.as_deref().filter(|_| !self.roles.is_empty())?)?;
        Some((text(body, "username")?, text(body, "password")?))
    }
}

fn shape(pairs: &[(&str, &str)]) -> Shape {
    let parsed = pairs.iter().filter_map(|(field, template)| Some(((*field).to_owned(), Template::parse(template).ok()?)));
    Shape(parsed.collect::<BTreeMap<_, _>>())
}

fn database_shape() -> Shape {
    shape(&[("username", "{username}"), ("password", "{password}"), ("url", "postgresql://{username}:{password}@db/app")])
}
