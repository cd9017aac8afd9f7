//! `postgres-password`: one user, whose password consumers read from KV version 2.
//!
//! Consumers that connect between Apply and Publish fail: that is the price of a single user, and why two are recommended.

use super::{fenced, fresh, login_as_read, no_such_step, published_must_work, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Trouble, Work};
use crate::ports::{Document, FenceCall, FencePhase, Postgres};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_rotation::table::{POSTGRES_PASSWORD, Step, Table};
use keyward_secret::{Fields, Generator, Secret, Values};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One secret of this kind.
pub struct PostgresPassword {
    /// The secret's name, which the fence asks for.
    pub secret: String,
    /// The database.
    pub target: Arc<dyn Postgres>,
    /// The user.
    pub user: String,
    /// Where consumers read.
    pub path: String,
    /// What they read; one field is the password and nothing else.
    pub shape: Shape,
    /// How a password is made.
    pub generator: Generator,
}

impl PostgresPassword {
    fn call<'a>(&'a self, work: &Work<'a>, phase: FencePhase) -> FenceCall<'a> {
        FenceCall { role: &self.user, secret: &self.secret, number: work.record.number, phase, rotation: &work.attempt.rotation }
    }

    /// The password as it was published at stage.
    fn old_password(&self, old: &Fields) -> Option<Secret> {
        old.text(self.shape.field_of("password")?)
    }

    async fn confirm(&self, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        login_as_read(self.target.as_ref(), &self.shape, live, Some(&self.user)).await?;
        if let Some(old) = self.old_password(&work.held.old) {
            self.target.refuses(&self.user, &old).await.map_err(|f| f.during("the old password"))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Kind for PostgresPassword {
    fn table(&self) -> &'static Table {
        &POSTGRES_PASSWORD
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, live: &Document, _now: Timestamp, by_person: bool) -> Result<(), Failure> {
        self.target.preflight(&[&self.user]).await?;
        // Without an old password that is known there is nothing to go back to, and nobody to lock out.
        if self.shape.published("password", live).is_some() {
            published_must_work(login_as_read(self.target.as_ref(), &self.shape, live, Some(&self.user)).await, by_person)?;
        } else if !by_person {
            let text =
                format!("nothing is published at {} yet; the first rotation is a person's: `keyward rotate {}`", self.path, self.secret);
            return Err(Failure::lasting(Class::NotFound, text));
        }
        Ok(())
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        Some(login_as_read(self.target.as_ref(), &self.shape, live, Some(&self.user)).await)
    }

    fn current(&self, live: &Document) -> Option<Values> {
        let password = self.shape.published("password", live)?;
        Some(Values::from([("username".into(), Secret::new(self.user.as_str())), ("password".into(), password)]))
    }

    async fn fences(&self) -> Result<Number, Failure> {
        Ok(self.target.fence(&self.user).await?.unwrap_or(0))
    }

    async fn renamed(&self, from: &str) -> Result<(), Failure> {
        self.target.reassign(&self.user, from, &self.secret).await
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let password = fresh(&self.generator, input.random)?;
        let new = Values::from([("username".into(), Secret::new(self.user.as_str())), ("password".into(), password)]);
        Ok(Draft { publish: self.shape.render(&new)?, new, facts: BTreeMap::new() })
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        let password = value(&work.held.new, "password")?;
        match step {
            Step::Apply => fenced(self.target.apply(self.call(&work, FencePhase::Apply), password).await?, &self.user),
            Step::Verify => Ok(self.target.login(&self.user, password).await?),
            Step::Confirm => self.confirm(work, live).await,
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Apply {
            return Err(no_such_step(step));
        }
        // Nobody may read the old verifier: the old password itself makes a fresh one. Where none was published, the candidate
        // is made worthless by one that nobody keeps.
        let old = match self.old_password(&work.held.old) {
            Some(old) => old,
            None => fresh(&Generator::password(), &keyward_secret::SystemRandom)?,
        };
        fenced(self.target.apply(self.call(&work, FencePhase::Undo), &old).await?, &self.user)
    }
}
