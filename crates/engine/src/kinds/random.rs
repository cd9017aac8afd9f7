//! `random`: a value that all sides read from Vault. The old one may stay beside it for the grace.

use super::{fresh, no_such_step};
use crate::failure::Failure;
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::Document;
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{RANDOM, Step, Table};
use keyward_secret::{Fields, Generator, Secret, Source, Values};
use std::collections::BTreeMap;
use std::time::Duration;

/// One secret of this kind.
pub struct Random {
    /// Where consumers read.
    pub path: String,
    /// What they read: `{value}`, and `{previous}` where the old value stays for a while.
    pub shape: Shape,
    /// How a value is made.
    pub generator: Generator,
    /// How long the old value stays.
    pub grace: Duration,
}

#[async_trait]
impl Kind for Random {
    fn table(&self) -> &'static Table {
        &RANDOM
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
        let previous = self.shape.published("value", input.live);
        let is_first = previous.is_none();
        let new = Values::from([
            ("value".into(), fresh(&self.generator, input.random)?),
            ("previous".into(), previous.unwrap_or_else(|| Secret::new(""))),
        ]);
        let mut publish = self.shape.render(&new)?;
        if let (true, Some(field)) = (is_first, self.shape.field_of("previous")) {
            publish.set_json(field, Secret::new("null"));
        }
        Ok(Draft { publish, new, facts: BTreeMap::new() })
    }

    async fn act(&self, step: Step, _work: Work<'_>, _live: &Document) -> Result<(), Trouble> {
        // That the published fields are the candidate was seen by the engine: more cannot be proved of a value that no system checks.
        if step == Step::Confirm { Ok(()) } else { Err(no_such_step(step)) }
    }

    fn later(&self, _work: Work<'_>, now: Timestamp) -> Vec<Later> {
        if self.shape.field_of("previous").is_none() {
            return Vec::new();
        }
        vec![Later::Prune { not_before: now.saturating_add(self.grace).unwrap_or(Timestamp::MAX) }]
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, _now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        let field = self.shape.field_of("previous").filter(|field| live.fields.as_ref().is_some_and(|f| f.json(field).is_some()));
        match (later, field) {
            (Later::Prune { .. }, Some(field)) => {
                let mut fields = Fields::new();
                fields.set_json(field, Secret::new("null"));
                Ok(Tended::Publish(fields, Vec::new()))
            }
            _ => Ok(Tended::Done),
        }
    }
}
