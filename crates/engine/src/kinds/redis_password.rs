//! `redis-password`: one Redis user, who has the old and the new password at once until nobody needs the old one.
//!
//! Users are not replicated between Redis nodes and vanish with a restart unless they are written down, so every change is made and
//! persisted on every node by itself. Redis offers no precondition, hence no fence: an actor that was frozen right before it added a
//! password, and goes on after others have rolled the rotation back, leaves a password behind whose clear text was destroyed with the
//! record. It opens nothing for anybody, and nobody's login fails by it; `ACL GETUSER` shows it. A frozen removal does no harm: what it
//! removes was replaced for good, since no password is ever made twice.

use super::postgres_two_users::{Readers, RetireWhen};
use super::{fresh, no_such_step, published_must_work, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, StillUsed, Tended, Trouble, Work};
use crate::ports::{Document, Redis, RedisClient};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{REDIS_PASSWORD, Step, Table};
use keyward_secret::{Generator, Secret, Source, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One secret of this kind.
pub struct RedisPassword {
    /// The secret's name, by which its readers are known.
    pub secret: String,
    /// Every node.
    pub target: Arc<dyn Redis>,
    /// The user; `default` too.
    pub user: String,
    /// Where consumers read.
    pub path: String,
    /// What they read; one field is the password and nothing else.
    pub shape: Shape,
    /// How a password is made.
    pub generator: Generator,
    /// When the old password is removed.
    pub retire: RetireWhen,
    /// Not before this long after the finish.
    pub grace: Duration,
    /// Who still reads.
    pub readers: Arc<dyn Readers>,
}

/// The fact that names the password that was published at stage.
const OLD: &str = "old";

impl RedisPassword {
    fn published(&self, live: &Document) -> Option<Secret> {
        self.shape.published("password", live)
    }

    async fn login_as_read(&self, live: &Document) -> Result<(), Failure> {
        let absent = || Failure::lasting(Class::Invalid, "the published secret holds no password as a text");
        self.target.login(&self.user, &self.published(live).ok_or_else(absent)?).await
    }

    /// Who still uses a password whose successor was published at `published`.
    ///
    /// Redis does not say by which password a client came in. One that has been connected since before then came in by the old one.
    async fn used(&self, published: Timestamp, now: Timestamp) -> StillUsed {
        let since = Duration::try_from(now.duration_since(published)).unwrap_or_default();
        let shown = |client: &RedisClient| {
            let name = if client.name.is_empty() { String::new() } else { format!(" ({})", client.name) };
            format!("from {}{name}", client.address)
        };
        let old = |all: Vec<RedisClient>| all.iter().filter(|client| client.age >= since).map(shown).collect();
        let sessions = self.target.clients(&self.user).await.map(old);
        StillUsed::ask(format!("the old password of {}", self.user), sessions, self.readers.as_ref(), &self.secret, published).await
    }
}

#[async_trait]
impl Kind for RedisPassword {
    fn table(&self) -> &'static Table {
        &REDIS_PASSWORD
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, live: &Document, _now: Timestamp, by_person: bool) -> Result<(), Failure> {
        self.target.preflight(&self.user).await?;
        // Where nothing is published yet, a password more does no harm: whatever the user has stays.
        if self.published(live).is_some() {
            published_must_work(self.login_as_read(live).await, by_person)?;
        }
        Ok(())
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        Some(self.login_as_read(live).await)
    }

    fn current(&self, live: &Document) -> Option<Values> {
        Some(Values::from([("username".into(), Secret::new(self.user.as_str())), ("password".into(), self.published(live)?)]))
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let old = self.published(input.live).map(|password| (OLD.to_owned(), self.target.mark(&password)));
        let password = fresh(&self.generator, input.random)?;
        let new = Values::from([("username".into(), Secret::new(self.user.as_str())), ("password".into(), password)]);
        Ok(Draft { publish: self.shape.render(&new)?, new, facts: old.into_iter().collect::<BTreeMap<_, _>>() })
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        let password = value(&work.held.new, "password")?;
        match step {
            Step::Apply => Ok(self.target.add(&self.user, password).await?),
            Step::Verify => Ok(self.target.login(&self.user, password).await?),
            Step::Confirm => Ok(self.login_as_read(live).await?),
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Apply {
            return Err(no_such_step(step));
        }
        let mark = self.target.mark(value(&work.held.new, "password")?);
        Ok(self.target.remove(&self.user, &mark).await?)
    }

    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        let old = work.attempt.facts.get(OLD).filter(|_| self.retire != RetireWhen::Never);
        let revoke = |mark: &String| Later::Revoke {
            what: mark.clone(),
            facts: BTreeMap::new(),
            number: work.record.number,
            not_before: now.saturating_add(self.grace).unwrap_or(Timestamp::MAX),
        };
        old.map(revoke).into_iter().collect()
    }

    fn abandoned(&self, work: Work<'_>) -> Vec<Later> {
        let mark = value(&work.held.new, "password").map(|password| self.target.mark(password));
        let revoke = |what| Later::Revoke { what, facts: BTreeMap::new(), number: work.record.number, not_before: Timestamp::UNIX_EPOCH };
        mark.map(revoke).into_iter().collect()
    }

    async fn still_used(&self, later: &Later, live: &Document, now: Timestamp) -> Result<Option<StillUsed>, Failure> {
        match (later, self.published(live)) {
            (Later::Revoke { what, not_before, .. }, Some(published)) if self.target.mark(&published) != *what => {
                let since = not_before.saturating_sub(self.grace).unwrap_or(Timestamp::MIN);
                Ok(Some(self.used(since, now).await))
            }
            _ => Ok(None),
        }
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        let Later::Revoke { what, not_before, .. } = later else { return Ok(Tended::Done) };
        // The live secret decides, not our memory of it: what is published (again) is never removed, and what replaces the old one must work.
        let published = self.published(live).ok_or_else(|| Failure::lasting(Class::NotFound, "nothing is published any more"))?;
        if self.target.mark(&published) == *what {
            return Ok(Tended::Done);
        }
        self.target.login(&self.user, &published).await.map_err(|f| f.during("what is published now"))?;
        let since = not_before.saturating_sub(self.grace).unwrap_or(Timestamp::MIN);
        let objection = self.used(since, now).await.objection();
        if let Some(why) = objection.as_ref().filter(|_| self.retire != RetireWhen::AfterGrace) {
            return Ok(Tended::NotYet(why.clone()));
        }
        self.target.remove(&self.user, what).await?;
        Ok(objection.map_or(Tended::Done, Tended::DoneInUse))
    }
}
