//! The step `Stage`: makes a candidate and stores it in the record before anybody else learns of it.

use crate::drive::{Engine, Job, Spec, Went};
use crate::failure::{Class, Failure};
use crate::kind::DraftInput;
use crate::ports::{Document, WriteFailure};
use crate::published::named;
use crate::stored::Held;
use keyward_rotation::record::{Attempt, Phase, Purpose, Record};
use std::collections::BTreeMap;

impl Engine {
    /// The step `Stage`: makes a candidate and stores it, judged from the reading that found the slot due.
    pub(crate) async fn stage(&self, spec: &Spec, job: &mut Job) -> Went {
        match self.attempt(spec, job).await {
            Err(failure) => (failure.event(), Some(failure)),
            Ok((record, held)) => {
                job.base = record.attempt().and_then(|a| a.base);
                self.write(spec, job, record, held).await
            }
        }
    }

    async fn attempt(&self, spec: &Spec, job: &Job) -> Result<(Record, Held), Failure> {
        let mut live = self.live(spec).await?;
        if let (Some(path), 0) = (spec.kind.path(), live.version) {
            live = self.create_empty(path).await?;
        }
        let (now, rotation) = (self.clock.now(), self.fresh_id()?);
        let fences = spec.kind.fences().await?;
        let mut held = Held { old: named(&live, &spec.kind.fields()), ..job.held.duplicate() };
        let mut facts = BTreeMap::new();
        if !job.tends() {
            let (supplied, kept) = (job.ask.supplied.as_ref(), &job.record.kept);
            let input = DraftInput { live: &live, now, random: self.random.as_ref(), supplied, rotation: &rotation, kept };
            let draft = spec.kind.draft(input).await?;
            held = Held { new: draft.new, publish: draft.publish, ..held };
            facts = draft.facts;
        }
        let attempt = Attempt {
            rotation,
            purpose: if job.tends() { Purpose::Tend } else { Purpose::Rotate { slot: job.ask.slot } },
            kind: job.saga.table().kind.to_owned(),
            owner: self.owner.clone(),
            asked_by: job.ask.person.clone().unwrap_or_else(|| "schedule".into()),
            base: spec.kind.path().map(|_| live.version),
            staged_at: now,
            since_version: job.version + 1,
            facts,
        };
        let number = job.record.number.max(fences) + 1;
        Ok((Record { number, phase: Phase::Staged(attempt), ..job.record.clone() }, held))
    }

    /// The path is created without fields, so that publishing can be a PATCH from the first time on.
    async fn create_empty(&self, path: &str) -> Result<Document, Failure> {
        match self.vault.create_empty(path).await {
            Err(WriteFailure::Failed(failure)) => Err(failure.during(&format!("creating {path}"))),
            Ok(_) | Err(WriteFailure::Conflict | WriteFailure::Gone) => self.vault.read(path).await,
        }
    }

    fn fresh_id(&self) -> Result<String, Failure> {
        let mut bytes = [0_u8; 8];
        self.random.fill(&mut bytes).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
        Ok(bytes.iter().fold(String::from("r-"), |text, b| text + &format!("{b:02x}")))
    }
}
