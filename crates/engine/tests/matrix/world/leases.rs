//! Tokens that mint leases, and the database users that live as long as their lease.

use super::World;
use async_trait::async_trait;
use keyward_engine::ports::{ConsumerDatabase, Leased, Leases, Minted, Session, TokenRole};
use keyward_engine::{Class, Failure};
use keyward_secret::{Secret, Values};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub struct State {
    /// Accessor → the users that are leased under its token.
    pub tokens: BTreeMap<String, Vec<String>>,
    /// User → password.
    pub users: BTreeMap<String, String>,
    /// Users who have a session.
    pub connected: Vec<String>,
    pub refuse_candidates: bool,
    made: u32,
}

#[async_trait]
impl Leases for World {
    async fn token_role(&self) -> Result<Option<TokenRole>, Failure> {
        self.call(|_| Ok(Some(TokenRole { orphan: true, renewable: true, period: Some(Duration::from_hours(1)), end: None }))).await
    }
    async fn longest(&self) -> Result<Option<Duration>, Failure> {
        self.call(|_| Ok(Some(Duration::from_hours(100)))).await
    }
    async fn mint(&self, name: &str, notes: &BTreeMap<&str, &str>) -> Result<Minted, Failure> {
        assert!(name == "keyward-s" && notes["keyward_secret"] == "s" && notes["keyward_rotation"].starts_with("r-"));
        self.call(|s| {
            s.leases.made += 1;
            let accessor = format!("accessor-{}", s.leases.made);
            s.leases.tokens.insert(accessor.clone(), Vec::new());
            Ok(Minted { token: Secret::new(format!("token of {accessor}")), accessor })
        })
        .await
    }
    async fn issue(&self, token: &Secret) -> Result<Leased, Failure> {
        let accessor = token.expose().trim_start_matches("token of ").to_owned();
        self.call(|s| {
            s.leases.made += 1;
            let (user, password) = (format!("v-{}", s.leases.made), format!("p-{}", s.leases.made));
            let Some(users) = s.leases.tokens.get_mut(&accessor) else { return Err(Failure::lasting(Class::Denied, "no such token")) };
            users.push(user.clone());
            s.leases.users.insert(user.clone(), password.clone());
            let values = Values::from([("username".into(), Secret::new(user.as_str())), ("password".into(), Secret::new(password))]);
            Ok(Leased { lease: format!("database/creds/app/{user}"), values })
        })
        .await
    }
    async fn renew(&self, accessor: &str, _: Option<&str>) -> Result<Option<Duration>, Failure> {
        self.call(|s| Ok(s.leases.tokens.contains_key(accessor).then(|| Duration::from_mins(30)))).await
    }
    async fn revoke(&self, accessor: &str, _: Option<&str>) -> Result<(), Failure> {
        self.call(|s| {
            for user in s.leases.tokens.remove(accessor).unwrap_or_default() {
                s.leases.users.remove(&user);
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl ConsumerDatabase for World {
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        self.call(|s| {
            let known = s.leases.users.get(user).is_some_and(|p| p == password.expose());
            let barred = s.leases.refuse_candidates && user != "v-old";
            if known && !barred { Ok(()) } else { Err(Failure::lasting(Class::WrongPassword, "wrong")) }
        })
        .await
    }
    async fn sessions(&self, _: &str, _: &Secret, whom: &str) -> Result<Option<Vec<Session>>, Failure> {
        self.call(|s| {
            let session = || Session { endpoint: "db:5432".into(), address: None, application: String::new() };
            let all = s.leases.connected.iter().filter(|user| *user == whom).map(|_| session()).collect();
            Ok(s.leases.users.contains_key(whom).then_some(all))
        })
        .await
    }
}
