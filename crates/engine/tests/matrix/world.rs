//! A made world: a KV store with check-and-set, a database with a fence, a static role, and faults at any call.

pub mod leases;
pub mod redis;
pub mod root;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward_engine::kinds::{Laggards, Readers};
use keyward_engine::ports::{
    Acceptance, Clock, Document, FenceAnswer, FenceCall, FencePhase, Postgres, Session, StaticCredential, StaticRole, Vault, WriteFailure,
};
use keyward_engine::{Class, Failure};
use keyward_rotation::Number;
use keyward_secret::{Fields, Secret, Values};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What happens at one call of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the call reaches the world.
    CrashBefore,
    /// The process dies when the world has done it.
    CrashAfter,
    /// The world does it, and the answer is lost.
    LostAnswer,
    /// The world does not do it, and says so.
    Refused,
    /// The world refuses it for good, and says so.
    Denied,
    /// The process stands still before the call, until it is thawed.
    Frozen,
}

/// A role: its password, and its fence (secret, number, phase, rotation).
pub struct Role {
    pub password: String,
    pub fence: Option<(String, Number, u8, String)>,
}

#[derive(Default)]
pub struct State {
    /// Path → versions; `None` is a destroyed one.
    pub kv: BTreeMap<String, Vec<Option<String>>>,
    pub roles: BTreeMap<String, Role>,
    pub static_password: u32,
    /// What an issuer made and has not ended: id → label and value.
    pub issued: BTreeMap<String, (String, String)>,
    /// How many it ever made.
    pub made: u32,
    /// Whether it can list nothing.
    pub blind: bool,
    /// What must hold after every single effect.
    pub watch: Option<fn(&State)>,
    /// A path whose readers see its first version for ever.
    pub stale: Option<String>,
    /// The versions of a key, and the oldest that opens.
    pub versions: u32,
    pub oldest: u64,
    /// The file of a consumer.
    pub file: Option<String>,
    pub calls: usize,
    pub fault: Option<(usize, Fault)>,
    pub seconds: i64,
    pub redis: redis::State,
    /// Who is connected, whoever asks.
    pub sessions: Vec<Session>,
    pub leases: leases::State,
    pub root: root::State,
    /// The database accepts a candidate, and then does not let it in.
    pub refuse_candidates: bool,
    /// From this call on nothing answers: Vault is sealed.
    pub sealed_from: Option<usize>,
    /// So many logins after a change are refused: a replica that is behind.
    pub lag: u32,
    behind: u32,
    /// Every password that the database was given.
    pub applied: Vec<String>,
}

pub struct World {
    pub state: Mutex<State>,
    pub crashed: tokio::sync::Notify,
    pub thawed: tokio::sync::Notify,
}

pub fn record_path(secret: &str) -> String {
    format!("keyward/{secret}")
}

impl World {
    pub fn new() -> Self {
        Self { state: Mutex::default(), crashed: tokio::sync::Notify::new(), thawed: tokio::sync::Notify::new() }
    }

    pub fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    pub fn put_json(&self, path: &str, json: &str) {
        self.with(|s| s.kv.entry(path.into()).or_default().push(Some(json.into())));
    }

    pub fn newest(&self, path: &str) -> serde_json::Value {
        self.with(|s| serde_json::from_str(s.kv[path].last().unwrap().as_ref().unwrap()).unwrap())
    }

    /// Does `effect` unless a fault says otherwise.
    pub async fn call<T, E: From<Failure>>(&self, effect: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let fault = self.with(|s| {
            s.calls += 1;
            s.fault.filter(|(at, _)| *at == s.calls).map(|(_, fault)| fault)
        });
        if self.with(|s| s.sealed_from.is_some_and(|from| s.calls >= from)) {
            return Err(Failure::passing(Class::Sealed, "sealed by the test").into());
        }
        match fault {
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::Frozen) => {
                self.crashed.notify_one();
                self.thawed.notified().await;
            }
            Some(Fault::Denied) => return Err(Failure::lasting(Class::Denied, "denied by the test").into()),
            Some(Fault::Refused) => return Err(Failure::passing(Class::Unreachable, "refused by the test").into()),
            _ => {}
        }
        let result = self.with(|s| {
            let result = effect(s);
            if let Some(watch) = s.watch {
                watch(s);
            }
            result
        });
        match fault {
            Some(Fault::CrashAfter) => self.die().await,
            Some(Fault::LostAnswer) => Err(Failure::unknown(Class::Timeout, "lost by the test").into()),
            _ => result,
        }
    }

    async fn die<T>(&self) -> T {
        self.crashed.notify_one();
        std::future::pending().await
    }
}

/// Lets a port that answers with [`WriteFailure`] share [`World::call`].
struct Write(WriteFailure);
impl From<Failure> for Write {
    fn from(failure: Failure) -> Self {
        Self(WriteFailure::Failed(failure))
    }
}

fn document(state: &State, path: &str) -> Document {
    let versions = state.kv.get(path).map_or(&[][..], Vec::as_slice);
    let is_stale = state.stale.as_deref() == Some(path);
    let seen = if is_stale { versions.first() } else { versions.last() };
    let fields = seen.and_then(Option::as_ref).map(|text| Fields::parse(&Secret::new(text.as_str())).unwrap());
    Document { version: versions.len() as u64, fields }
}

fn write(state: &mut State, path: &str, cas: u64, text: String) -> Result<u64, Write> {
    let versions = state.kv.entry(path.into()).or_default();
    if versions.len() as u64 != cas {
        return Err(Write(WriteFailure::Conflict));
    }
    versions.push(Some(text));
    Ok(versions.len() as u64)
}

#[async_trait]
impl Vault for World {
    async fn record(&self, secret: &str) -> Result<Document, Failure> {
        self.call(|s| Ok(document(s, &record_path(secret)))).await
    }
    async fn write_record(&self, secret: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure> {
        let text = fields.to_json_text().expose().to_owned();
        self.call(|s| write(s, &record_path(secret), cas, text)).await.map_err(|w: Write| w.0)
    }
    async fn destroy_record(&self, secret: &str, first: u64, last: u64) -> Result<(), Failure> {
        self.call(|s| {
            for version in first..=last {
                s.kv.get_mut(&record_path(secret)).unwrap()[usize::try_from(version).unwrap() - 1] = None;
            }
            Ok(())
        })
        .await
    }
    async fn read(&self, path: &str) -> Result<Document, Failure> {
        self.call(|s| Ok(document(s, path))).await
    }
    async fn create_empty(&self, path: &str) -> Result<u64, WriteFailure> {
        self.call(|s| write(s, path, 0, "{}".into())).await.map_err(|w: Write| w.0)
    }
    async fn patch(&self, path: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure> {
        let patch: serde_json::Map<String, serde_json::Value> = serde_json::from_str(fields.to_json_text().expose()).unwrap();
        self.call(|s| {
            let Some(Some(newest)) = s.kv.get(path).and_then(|v| v.last()) else { return Err(Write(WriteFailure::Gone)) };
            let mut whole: serde_json::Map<String, serde_json::Value> = serde_json::from_str(newest).unwrap();
            for (name, value) in patch {
                if value.is_null() {
                    whole.remove(&name)
                } else {
                    whole.insert(name, value)
                };
            }
            write(s, path, cas, serde_json::Value::from(whole).to_string())
        })
        .await
        .map_err(|w: Write| w.0)
    }
    async fn annotate(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), Failure> {
        self.call(|_| Ok(())).await
    }
    async fn static_role(&self, _: &str) -> Result<StaticRole, Failure> {
        self.call(|s| Ok(StaticRole { username: "app".into(), last_rotation: Some(s.static_password.to_string()), period: None })).await
    }
    async fn static_credential(&self, _: &str) -> Result<StaticCredential, Failure> {
        self.call(|s| {
            let password = format!("static-{}", s.static_password);
            let values = Values::from([("username".into(), Secret::new("app")), ("password".into(), Secret::new(password))]);
            Ok(StaticCredential { values, last_rotation: Some(s.static_password.to_string()) })
        })
        .await
    }
    async fn rotate_static_role(&self, _: &str) -> Result<(), Failure> {
        self.call(|s| {
            s.static_password += 1;
            s.roles.get_mut("app").unwrap().password = format!("static-{}", s.static_password);
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Postgres for World {
    async fn preflight(&self, _: &[&str]) -> Result<(), Failure> {
        self.call(|_| Ok(())).await
    }
    async fn fence(&self, role: &str) -> Result<Option<Number>, Failure> {
        self.call(|s| Ok(s.roles[role].fence.as_ref().map(|f| f.1))).await
    }
    async fn apply(&self, call: FenceCall<'_>, password: &Secret) -> Result<FenceAnswer, Failure> {
        let asked = (call.secret.to_owned(), call.number, call.phase as u8, call.rotation.to_owned());
        self.call(|s| {
            if s.root.refuses_changes {
                return Err(Failure::passing(Class::Timeout, "no answer"));
            }
            let role = s.roles.get_mut(call.role).unwrap();
            let passes = role.fence.as_ref().is_none_or(|f| (asked.1, asked.2) > (f.1, f.2) || asked == *f);
            if !passes {
                return Ok(FenceAnswer::Fenced { number: role.fence.as_ref().unwrap().1 });
            }
            password.expose().clone_into(&mut role.password);
            role.fence = Some(asked);
            s.behind = s.lag;
            s.applied.push(password.expose().to_owned());
            Ok(FenceAnswer::Applied)
        })
        .await
    }
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        self.call(|s| {
            if s.behind > 0 {
                s.behind -= 1;
                return Err(Failure::passing(Class::WrongPassword, "not yet"));
            }
            let role = &s.roles[user];
            let barred = s.refuse_candidates && role.fence.as_ref().is_some_and(|f| f.2 == FencePhase::Apply as u8);
            if role.password == password.expose() && !barred { Ok(()) } else { Err(Failure::lasting(Class::WrongPassword, "wrong")) }
        })
        .await
    }
    async fn refuses(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        self.call(|s| if s.roles[user].password == password.expose() { Err(Failure::lasting(Class::TrustsAnyone, "in")) } else { Ok(()) })
            .await
    }
    async fn reassign(&self, role: &str, from: &str, to: &str) -> Result<(), Failure> {
        self.call(|s| {
            if let Some(fence) = s.roles.get_mut(role).unwrap().fence.as_mut().filter(|f| f.0 == from) {
                to.clone_into(&mut fence.0);
            }
            Ok(())
        })
        .await
    }
    async fn sessions(&self, _: &str) -> Result<Vec<Session>, Failure> {
        self.call(|s| Ok(s.sessions.clone())).await
    }
}

#[async_trait]
impl Acceptance for World {
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        match values.get("username") {
            Some(user) => self.login(user.expose(), &values["password"]).await,
            None => {
                self.call(|_| if values["value"].expose() == "bad" { Err(Failure::lasting(Class::WrongPassword, "401")) } else { Ok(()) })
                    .await
            }
        }
    }
}

#[async_trait]
impl Readers for World {
    async fn laggards(&self, _: &str, _: Timestamp) -> Laggards {
        Laggards::Known(Vec::new())
    }
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.with(|s| s.seconds)).unwrap()
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.with(|s| s.seconds).unsigned_abs())
    }
    /// Short waits pass at once; heartbeats (seconds) never come, since every call here is instant.
    async fn sleep(&self, time: Duration) {
        if time >= Duration::from_mins(1) {
            std::future::pending::<()>().await;
        }
    }
}
