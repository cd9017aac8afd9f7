//! `postgres-two-users`: two users take turns, so that there is no moment in which a client can fail.

use super::{fenced, fresh, login_as_read, make_unusable, no_such_step, published_must_work, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, StillUsed, Tended, Trouble, Work};
use crate::ports::{Document, FenceAnswer, FenceCall, FencePhase, Postgres, Session};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_rotation::record::{Later, Record};
use keyward_rotation::table::{POSTGRES_TWO_USERS, Step, Table};
use keyward_rotation::whole_seconds;
use keyward_secret::{Generator, Secret, Source, SystemRandom, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When the old user is made unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireWhen {
    /// After the grace, when it has no session and every reader has read the new one.
    WhenUnused,
    /// After the grace, whoever still uses it.
    AfterGrace,
    /// Not at all: its next turn changes it.
    Never,
}

/// Who has not read the new value yet, as far as the audit log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Laggards {
    /// The log does not reach back far enough, or is not followed: nothing can be said.
    Unknown(String),
    /// These, and no others.
    Known(Vec<String>),
}

/// Tells who still lives on the old value.
#[async_trait]
pub trait Readers: Send + Sync {
    /// Readers of this secret before `since` who have not read it after.
    async fn laggards(&self, secret: &str, since: Timestamp) -> Laggards;
}

/// One secret of this kind.
pub struct PostgresTwoUsers {
    /// The secret's name, which the fence asks for.
    pub secret: String,
    /// The database.
    pub target: Arc<dyn Postgres>,
    /// The two users.
    pub users: [String; 2],
    /// Where consumers read.
    pub path: String,
    /// What they read; one field is the user name and nothing else, one the password.
    pub shape: Shape,
    /// How a password is made.
    pub generator: Generator,
    /// When the old user is made unusable.
    pub retire: RetireWhen,
    /// Not before this long after the finish.
    pub grace: Duration,
    /// Who still reads.
    pub readers: Arc<dyn Readers>,
}

impl PostgresTwoUsers {
    /// The published user, if it is one of the two; `None` before the first rotation.
    fn current(&self, live: &Document) -> Result<Option<&str>, Failure> {
        let Some(published) = self.shape.published("username", live) else { return Ok(None) };
        match self.users.iter().find(|user| *user == published.expose()) {
            Some(user) => Ok(Some(user)),
            None => Err(Failure::lasting(
                Class::Foreign,
                format!(
                    "the user published at {} is neither {} nor {}; publish one of them first",
                    self.path, self.users[0], self.users[1]
                ),
            )),
        }
    }

    /// The user whose turn it is.
    fn idle(&self, live: &Document) -> Result<&str, Failure> {
        let current = self.current(live)?;
        Ok(if current == Some(self.users[0].as_str()) { &self.users[1] } else { &self.users[0] })
    }

    /// The user that a staged rotation is about.
    fn role<'a>(work: &Work<'a>) -> Result<&'a str, Failure> {
        Ok(value(&work.held.new, "username")?.expose())
    }

    fn call<'a>(&'a self, work: &Work<'a>, phase: FencePhase) -> Result<FenceCall<'a>, Failure> {
        Ok(FenceCall { role: Self::role(work)?, secret: &self.secret, number: work.record.number, phase, rotation: &work.attempt.rotation })
    }

    /// Who still uses a role whose successor was published at `published`.
    async fn used(&self, role: &str, published: Timestamp) -> StillUsed {
        let shown = |session: &Session| {
            let from = session.address.as_deref().unwrap_or("a local socket");
            format!("from {from} ({}) at {}", session.application, session.endpoint)
        };
        let sessions = self.target.sessions(role).await.map(|all| all.iter().map(shown).collect());
        StillUsed::ask(role, sessions, self.readers.as_ref(), &self.secret, published).await
    }

    /// When the successor of what is to be retired then was published.
    fn published(&self, not_before: Timestamp) -> Timestamp {
        not_before.saturating_sub(self.grace).unwrap_or(Timestamp::MIN)
    }
}

#[async_trait]
impl Kind for PostgresTwoUsers {
    fn table(&self) -> &'static Table {
        &POSTGRES_TWO_USERS
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, live: &Document, _now: Timestamp, by_person: bool) -> Result<(), Failure> {
        self.target.preflight(&[&self.users[0], &self.users[1]]).await?;
        if self.current(live)?.is_some() {
            published_must_work(login_as_read(self.target.as_ref(), &self.shape, live, None).await, by_person)?;
        }
        Ok(())
    }

    async fn gate(&self, live: &Document, record: &Record, now: Timestamp) -> Result<(), Failure> {
        let idle = self.idle(live)?;
        // Its password is about to change, which ends it for everybody who still holds the old one: what speaks against retiring
        // it speaks against that as well. Sessions alone do not tell: a consumer that connects now and then has none at this moment.
        let entries = record.later.iter().filter(|l| matches!(l, Later::Retire { role, .. } if role == idle));
        if let Some(entry) = entries.max_by_key(|l| l.not_before()) {
            if entry.not_before() > now {
                let until = whole_seconds(entry.not_before());
                let text = format!("the idle user {idle} is in its grace until {until}: readers of the old value may still hold it");
                return Err(Failure::lasting(Class::InUse, text));
            }
            // What cannot be seen holds up the retiring, which a deadline tells of. It must not hold up the next rotation once
            // the grace is over: where no audit log is followed there would never be a second one.
            let seen = self.used(idle, self.published(entry.not_before())).await.seen();
            if let Some(why) = seen.filter(|_| self.retire != RetireWhen::AfterGrace) {
                return Err(Failure::lasting(Class::InUse, format!("the idle user {idle} is still in use: {why}")));
            }
        }
        let sessions = self.target.sessions(idle).await?;
        let Some(first) = sessions.first() else { return Ok(()) };
        let from = first.address.as_deref().unwrap_or("a local socket");
        let text = format!("the idle user {idle} is still in use: {} session(s), one from {from} ({})", sessions.len(), first.application);
        Err(Failure::lasting(Class::InUse, text))
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        Some(login_as_read(self.target.as_ref(), &self.shape, live, None).await)
    }

    fn current(&self, live: &Document) -> Option<Values> {
        let user = self.shape.published("username", live).filter(|user| self.users.iter().any(|known| known == user.expose()))?;
        Some(Values::from([("username".into(), user), ("password".into(), self.shape.published("password", live)?)]))
    }

    async fn fences(&self) -> Result<Number, Failure> {
        let first = self.target.fence(&self.users[0]).await?;
        let second = self.target.fence(&self.users[1]).await?;
        Ok(first.max(second).unwrap_or(0))
    }

    async fn renamed(&self, from: &str) -> Result<(), Failure> {
        for user in &self.users {
            self.target.reassign(user, from, &self.secret).await?;
        }
        Ok(())
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let user = self.idle(input.live)?;
        let other = self.current(input.live)?.unwrap_or_default();
        let new = Values::from([("username".into(), Secret::new(user)), ("password".into(), fresh(&self.generator, input.random)?)]);
        let facts = BTreeMap::from([("role".into(), user.to_owned()), ("other".into(), other.to_owned())]);
        Ok(Draft { publish: self.shape.render(&new)?, new, facts })
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        let role = Self::role(&work)?;
        let password = value(&work.held.new, "password")?;
        match step {
            Step::Apply => fenced(self.target.apply(self.call(&work, FencePhase::Apply)?, password).await?, role),
            Step::Verify => Ok(self.target.login(role, password).await?),
            Step::Confirm => Ok(login_as_read(self.target.as_ref(), &self.shape, live, None).await?),
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Apply {
            return Err(no_such_step(step));
        }
        let answer = make_unusable(self.target.as_ref(), self.call(&work, FencePhase::Undo)?, &SystemRandom).await?;
        fenced(answer, Self::role(&work)?)
    }

    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        let other = work.attempt.facts.get("other").filter(|other| !other.is_empty());
        match other {
            Some(role) if self.retire != RetireWhen::Never => vec![Later::Retire {
                role: role.clone(),
                number: work.record.number,
                rotation: work.attempt.rotation.clone(),
                not_before: now.saturating_add(self.grace).unwrap_or(Timestamp::MAX),
            }],
            _ => Vec::new(),
        }
    }

    fn abandoned(&self, work: Work<'_>) -> Vec<Later> {
        let role = work.attempt.facts.get("role");
        let retire = |role: &String| Later::Retire {
            role: role.clone(),
            number: work.record.number,
            rotation: work.attempt.rotation.clone(),
            not_before: Timestamp::UNIX_EPOCH, // nobody ever read it: there is no grace
        };
        role.map(retire).into_iter().collect()
    }

    async fn still_used(&self, later: &Later, live: &Document, _now: Timestamp) -> Result<Option<StillUsed>, Failure> {
        match later {
            Later::Retire { role, not_before, .. } if self.current(live)? != Some(role.as_str()) => {
                Ok(Some(self.used(role, self.published(*not_before)).await))
            }
            _ => Ok(None),
        }
    }

    async fn tend(&self, secret: &str, later: &Later, live: &Document, _now: Timestamp, random: &dyn Source) -> Result<Tended, Failure> {
        let Later::Retire { role, number, rotation, not_before } = later else { return Ok(Tended::Done) };
        // The live secret decides, not our memory of it: a role that became current again is never touched.
        if self.current(live)? == Some(role.as_str()) {
            return Ok(Tended::Done);
        }
        let objection = self.used(role, self.published(*not_before)).await.objection();
        if let Some(why) = objection.as_ref().filter(|_| self.retire != RetireWhen::AfterGrace) {
            return Ok(Tended::NotYet(why.clone()));
        }
        let call = FenceCall { role, secret, number: *number, phase: FencePhase::Retire, rotation };
        match make_unusable(self.target.as_ref(), call, random).await? {
            // After the grace it is made unusable whoever uses it; but that somebody may is told.
            FenceAnswer::Applied => Ok(objection.map_or(Tended::Done, Tended::DoneInUse)),
            // Fenced off: a later rotation has the role in hand, and this entry is history.
            FenceAnswer::Fenced { .. } => Ok(Tended::Done),
            FenceAnswer::Foreign { secret } => {
                Err(Failure::lasting(Class::Foreign, format!("the role {role} belongs to the secret {secret} now")))
            }
        }
    }
}
