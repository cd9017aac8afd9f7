//! The step `Stage`: makes a candidate and stores it in the record before anybody else learns of it.

use crate::drive::{Engine, FOREIGN, Spec, Went};
use crate::failure::{Class, Failure};
use crate::job::Job;
use crate::kind::DraftInput;
use crate::known::is_foreign;
use crate::ports::{Document, WriteFailure};
use crate::published::named;
use crate::reconcile::inherited;
use crate::stored::{Held, Stored};
use keyward_rotation::record::{Attempt, Phase, Record};
use keyward_rotation::saga::Event;
use keyward_secret::Fields;
use std::collections::BTreeMap;

impl Engine {
    /// How often a rotation stages anew because housekeeping wrote the record meanwhile.
    const RESTAGES: u32 = 3;

    /// The step `Stage`: makes a candidate and stores it, judged from the reading that found the slot due.
    pub(crate) async fn stage(&self, spec: &Spec, job: &mut Job) -> Went {
        for _ in 0..Self::RESTAGES {
            let went = self.stage_once(spec, job).await;
            if went.0 != Event::Lost || !self.was_only_tended(spec, job).await {
                return went;
            }
        }
        (Event::Lost, None)
    }

    async fn stage_once(&self, spec: &Spec, job: &mut Job) -> Went {
        match self.attempt(spec, job).await {
            Err(failure) => (failure.event(), Some(failure)),
            Ok((record, held)) => {
                job.base = record.attempt().and_then(|a| a.base);
                job.foreign = record.attempt().is_some_and(|a| a.facts.contains_key(FOREIGN));
                self.write(spec, job, record, held).await
            }
        }
    }

    /// Whether what was written into the record since it was judged leaves the judgement as it was; it is the job's record then.
    async fn was_only_tended(&self, spec: &Spec, job: &mut Job) -> bool {
        let Ok(Stored { version, record: Some(record), .. }) = self.load(&spec.name).await else { return false };
        let same = job.rotates() && record.only_tended_since(&job.record);
        if same {
            (job.grip.version, job.record) = (version, record);
        }
        same
    }

    async fn attempt(&self, spec: &Spec, job: &Job) -> Result<(Record, Held), Failure> {
        let mut live = self.live(spec).await?;
        if let (Some(path), 0) = (spec.kind.path(), live.version) {
            live = self.create_empty(path).await?;
        }
        let (now, rotation) = (self.clock.now(), self.fresh_id()?);
        let fences = spec.kind.fences().await?;
        let names = spec.kind.fields();
        let mut held = Held { old: named(&live, &names), ..job.held.duplicate() };
        let mut facts = BTreeMap::new();
        let mut record = job.record.clone();
        if job.reconciles() {
            record = inherited(spec.kind.as_ref(), job, &live, now);
            let text = "what is published cannot be given to the target as it is";
            let new = spec.kind.current(&live).ok_or_else(|| Failure::lasting(Class::Invalid, text))?;
            held = Held { new, old: Fields::new(), publish: named(&live, &names) };
        } else if job.rotates() {
            let (supplied, kept) = (job.ask.supplied.as_ref(), &job.record.kept);
            let input = DraftInput { live: &live, now, random: self.random.as_ref(), supplied, rotation: &rotation, kept };
            let draft = spec.kind.draft(input).await?;
            held = Held { new: draft.new, publish: draft.publish, ..held };
            facts = draft.facts;
        }
        if !job.tends() && is_foreign(job.record.published.as_ref(), &live, &names) {
            facts.insert(FOREIGN.into(), "what was published had been put there by somebody else".into());
        }
        let attempt = Attempt {
            rotation,
            purpose: job.purpose(),
            kind: job.saga.table().kind.to_owned(),
            owner: self.owner.clone(),
            asked_by: job.ask.person.clone().unwrap_or_else(|| "schedule".into()),
            base: spec.kind.path().map(|_| live.version),
            staged_at: now,
            // A stuck rotation that is given up for this one has left values in older versions, too.
            since_version: job.record.attempt().map_or(job.grip.version + 1, |stuck| stuck.since_version),
            facts,
        };
        let number = job.record.number.max(fences) + 1;
        let undestroyed = self.destroy_former(spec, &job.record).await;
        Ok((Record { number, phase: Phase::Staged(attempt), held: undestroyed, ..record }, held))
    }

    /// The path is created without fields, so that publishing can be a PATCH from the first time on.
    async fn create_empty(&self, path: &str) -> Result<Document, Failure> {
        match self.vault.create_empty(path).await {
            Err(WriteFailure::Failed(failure)) => Err(failure.during(&format!("creating {path}"))),
            Ok(_) | Err(WriteFailure::Conflict | WriteFailure::Gone) => self.vault.read(path).await,
        }
    }

    /// Destroys what the rotation before may have left; what cannot be destroyed now stays named in the record.
    async fn destroy_former(&self, spec: &Spec, record: &Record) -> Option<(u64, u64)> {
        let (first, last) = record.held?;
        self.vault.destroy_record(&spec.name, first, last).await.err().map(|_| (first, last))
    }

    fn fresh_id(&self) -> Result<String, Failure> {
        let mut bytes = [0_u8; 8];
        self.random.fill(&mut bytes).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
        Ok(bytes.iter().fold(String::from("r-"), |text, b| text + &format!("{b:02x}")))
    }
}
