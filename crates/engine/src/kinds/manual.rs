//! `manual`: a person brings the value (`keyward supply NAME`); Keyward tries it, stores it, publishes it and proves it.

use super::{no_such_step, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Trouble, Work};
use crate::ports::{Acceptance, Document};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::table::{MANUAL, Step, Table};
use keyward_secret::Values;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One secret of this kind.
pub struct Manual {
    /// Where consumers read.
    pub path: String,
    /// What they read; one field is the value and nothing else.
    pub shape: Shape,
    /// Who says whether a value is good; `None` where nothing can be asked, which `check` says.
    pub verify: Option<Arc<dyn Acceptance>>,
}

impl Manual {
    async fn accepted(&self, values: &Values) -> Result<(), Failure> {
        match &self.verify {
            Some(verify) => verify.accepts(values).await,
            None => Ok(()),
        }
    }

    async fn accepted_as_read(&self, live: &Document) -> Result<(), Failure> {
        let absent = || Failure::lasting(Class::Invalid, "the published secret holds no such value as a text");
        let read = self.shape.published("value", live).ok_or_else(absent)?;
        self.accepted(&Values::from([("value".into(), read)])).await
    }
}

#[async_trait]
impl Kind for Manual {
    fn table(&self) -> &'static Table {
        &MANUAL
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, _live: &Document, _now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        Ok(())
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let supplied =
            input.supplied.ok_or_else(|| Failure::lasting(Class::Invalid, "a person has to bring the value: `keyward supply`"))?;
        let new = Values::from([("value".into(), value(supplied, "value")?.duplicate())]);
        Ok(Draft { publish: self.shape.render(&new)?, new, facts: BTreeMap::new() })
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        self.verify.as_ref()?;
        Some(self.accepted_as_read(live).await)
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Verify => Ok(self.accepted(&work.held.new).await?),
            Step::Confirm => Ok(self.accepted_as_read(live).await?),
            other => Err(no_such_step(other)),
        }
    }
}
