//! PostgreSQL with its fence, with the mutants that live in how it is asked.

use super::Port;
use crate::mutant::Mutant;
use crate::net::Server;
use crate::world::World;
use crate::world::database::Fence;
use async_trait::async_trait;
use keyward_engine::ports::{Acceptance, FenceAnswer, FenceCall, FencePhase, Postgres, Session};
use keyward_engine::{Class, Failure};
use keyward_rotation::Number;
use keyward_secret::{Secret, Values};

/// A value that no provider would accept.
pub(crate) const UNACCEPTABLE: &str = "no-provider-would-take-this";

#[async_trait]
impl Postgres for Port {
    async fn preflight(&self, roles: &[&str]) -> Result<(), Failure> {
        let roles: Vec<String> = roles.iter().map(|r| (*r).to_owned()).collect();
        let look = move |world: &mut World| match roles.iter().find(|r| world.database.password(r).is_none()) {
            Some(role) => Err(Failure::lasting(Class::NotFound, format!("there is no role {role}"))),
            None => Ok(()),
        };
        self.net.call(Server::Database, || "looks at the roles".into(), look).await
    }

    async fn fence(&self, role: &str) -> Result<Option<Number>, Failure> {
        let name = role.to_owned();
        let look = move |world: &mut World| Ok(world.database.fence(&name).map(|f| f.number));
        self.net.call(Server::Database, || format!("reads the fence of {role}"), look).await
    }

    async fn apply(&self, call: FenceCall<'_>, password: &Secret) -> Result<FenceAnswer, Failure> {
        let role = call.role.to_owned();
        let asked = Fence { secret: call.secret.to_owned(), number: call.number, phase: call.phase, rotation: call.rotation.to_owned() };
        let (password, proc) = (password.expose().to_owned(), self.proc);
        let what = match call.phase {
            FencePhase::Apply => "applies the candidate to",
            FencePhase::Undo => "takes back the password of",
            FencePhase::Retire => "retires",
        };
        let apply = move |world: &mut World| world.apply(&role, asked, &password, proc);
        self.net.call(Server::Database, || format!("{what} {} with number {}", call.role, call.number), apply).await
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        let (user, password) = (user.to_owned(), password.expose().to_owned());
        let what = format!("logs in as {user}");
        let login = move |world: &mut World| {
            let there = world.database.lets_in(&user, &password);
            if there && world.database.replica_lets_in(world.now, &user, &password) {
                world.judge.proved(&password);
                return Ok(());
            }
            let shown = if world.mutant == Some(Mutant::ErrorShowsThePassword) { password.as_str() } else { "a password" };
            Err(Failure::passing(Class::WrongPassword, format!("{user} with {shown} is refused")))
        };
        self.net.call(Server::Database, || what, login).await
    }

    async fn refuses(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        let (user, password) = (user.to_owned(), password.expose().to_owned());
        let what = format!("sees that the old password of {user} is refused");
        let login = move |world: &mut World| {
            if world.database.lets_in(&user, &password) || world.database.replica_lets_in(world.now, &user, &password) {
                return Err(Failure::passing(Class::TrustsAnyone, "it is still let in"));
            }
            Ok(())
        };
        self.net.call(Server::Database, || what, login).await
    }

    async fn reassign(&self, _role: &str, _from: &str, _to: &str) -> Result<(), Failure> {
        Ok(()) // no secret changes its name here
    }

    async fn sessions(&self, user: &str) -> Result<Vec<Session>, Failure> {
        let name = user.to_owned();
        let look = move |world: &mut World| Ok(world.sessions(&name));
        self.net.call(Server::Database, || format!("counts the sessions of {user}"), look).await
    }
}

#[async_trait]
impl Acceptance for Port {
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        if let (Some(user), Some(password)) = (values.get("username"), values.get("password")) {
            return self.login(user.expose(), password).await;
        }
        let value = values.get("value").map_or_else(String::new, |v| v.expose().to_owned());
        let ask = move |world: &mut World| {
            if value == UNACCEPTABLE {
                return Err(Failure::lasting(Class::WrongPassword, "the provider refuses it"));
            }
            world.judge.proved(&value);
            Ok(())
        };
        self.net.call(Server::Database, || "asks the provider".into(), ask).await
    }
}

impl World {
    fn apply(&mut self, role: &str, mut asked: Fence, password: &str, proc: usize) -> Result<FenceAnswer, Failure> {
        let now = self.now;
        match (self.mutant, asked.phase) {
            (Some(Mutant::NoFence), _) => self.database.lift_fence(role),
            (Some(Mutant::UndoWithoutItsPhase), FencePhase::Undo) => asked.phase = FencePhase::Apply,
            (Some(Mutant::UndoWithoutTheFence), FencePhase::Undo) => {
                self.database.set_password(now, role, password);
                return Ok(FenceAnswer::Applied);
            }
            _ => {}
        }
        let phase = asked.phase;
        let answer = self.database.apply(now, role, asked, password);
        let answer = answer.ok_or_else(|| Failure::lasting(Class::NotFound, format!("there is no role {role}")))?;
        if answer == FenceAnswer::Applied {
            self.judged(|judge, world| judge.applied(world, role, phase, proc));
        }
        Ok(answer)
    }
}
