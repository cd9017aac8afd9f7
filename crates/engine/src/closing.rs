//! What a rotation writes into its record after the stage: the turn, a raised number, the outcome.

use crate::drive::{Engine, Spec, Went};
use crate::failure::{Class, Failure};
use crate::job::Job;
use crate::known::{known, patched};
use crate::recording::Put;
use crate::stored::Held;
use jiff::Timestamp;
use keyward_rotation::record::{Author, Known, Record};
use keyward_rotation::saga::{Event, Stuck, Way};
use std::collections::BTreeMap;

impl Engine {
    /// Somebody edited beside us: the version just read counts from now on, if the record is still ours and unchanged.
    pub(crate) async fn recheck(&self, spec: &Spec, job: &mut Job, way: Way) -> Went {
        match self.load(&spec.name).await {
            Err(failure) => (failure.event(), Some(failure)),
            Ok(stored) if stored.version == job.grip.version && stored.record.as_ref().and_then(Record::way) == Some(way) => {
                job.base = job.seen;
                (Event::Done, None)
            }
            Ok(_) => (Event::Lost, None),
        }
    }

    pub(crate) async fn turn(&self, spec: &Spec, job: &mut Job) -> Went {
        let why = job.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut record = job.record.clone();
        if let Some(attempt) = record.attempt_mut() {
            attempt.facts.insert("failed".into(), why);
        }
        match record.turned() {
            Some(turned) => self.write(spec, job, turned, job.held.duplicate()).await,
            None => illegal("only what is staged can be rolled back"),
        }
    }

    /// Fenced off, though the record is ours: time ran backwards somewhere (a restored Vault). The number goes above the fence.
    pub(crate) async fn lift(&self, spec: &Spec, job: &mut Job) -> Went {
        match spec.kind.fences().await {
            Err(failure) => (failure.event(), Some(failure)),
            Ok(fences) => {
                let number = job.record.number.max(fences) + 1;
                let record = Record { number, ..job.record.clone() };
                self.write(spec, job, record, job.held.duplicate()).await
            }
        }
    }

    pub(crate) async fn finish(&self, spec: &Spec, job: &mut Job) -> Went {
        let now = self.clock.now();
        let later = match job.work() {
            Ok(work) if job.rotates() => spec.kind.later(work, now),
            _ => Vec::new(),
        };
        let notes = Self::notes(spec, job, now);
        let mut record = job.record.clone();
        if let (Ok(work), true) = (job.work(), job.rotates()) {
            record.kept = spec.kind.keeps(work);
        }
        let Some(mut record) = record.finished(job.grip.version, now, later) else {
            return illegal("only what is staged can be finished");
        };
        match self.now_known(spec, job, now) {
            Ok(known) => record.published = known,
            Err(failure) => return (failure.event(), Some(failure)),
        }
        let went = self.write(spec, job, record, Held::default()).await;
        if went.0 == Event::Done {
            self.destroy_held(spec, job).await;
            if let (Some(path), false) = (spec.kind.path(), job.tends()) {
                // For people's eyes only: nothing depends on it, so a failure is no failure of the rotation.
                let _ = self.vault.annotate(path, &notes).await;
            }
        }
        went
    }

    /// What stands on the published path now that the candidate was read back from there.
    fn now_known(&self, spec: &Spec, job: &Job, now: Timestamp) -> Result<Option<Known>, Failure> {
        if spec.kind.path().is_none() {
            return Ok(None);
        }
        let names = spec.kind.fields();
        let fields = patched(&job.held.old, &job.held.publish, &names);
        known(&fields, &names, Author::Keyward, now, self.random.as_ref()).map(Some)
    }

    pub(crate) async fn close(&self, spec: &Spec, job: &mut Job) -> Went {
        let why = job.record.attempt().and_then(|a| a.facts.get("failed")).cloned().unwrap_or_default();
        let Some(record) = job.record.clone().rolled_back(job.grip.version, self.clock.now(), &why) else {
            return illegal("only what is under way can be closed");
        };
        let went = self.write(spec, job, record, Held::default()).await;
        if went.0 == Event::Done {
            self.destroy_held(spec, job).await;
        }
        went
    }

    pub(crate) async fn park(&self, spec: &Spec, job: &mut Job, reason: Stuck) -> Went {
        let why = job.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        match job.record.clone().parked(reason, &why, self.clock.now()) {
            Some(record) => self.write(spec, job, record, job.held.duplicate()).await,
            None => illegal("only what is under way can be parked"),
        }
    }

    /// Writes the record and makes it the job's own.
    pub(crate) async fn write(&self, spec: &Spec, job: &mut Job, record: Record, held: Held) -> Went {
        match self.put_own(&spec.name, &mut job.grip, &record, &held).await {
            Put::Won(_) => {
                job.record = record;
                job.held = held;
                (Event::Done, None)
            }
            Put::Lost => (Event::Lost, None),
            Put::Failed(failure) if failure.again => (failure.event(), Some(failure)),
            Put::Failed(failure) => (Event::Unreachable, Some(failure)),
        }
    }

    /// Destroys the versions of a closed record that held values. What fails here is tried again when the record is next seen.
    ///
    /// Vault destroys by number and checks nothing: after a restore the number may be that of somebody's newest record.
    async fn destroy_held(&self, spec: &Spec, job: &mut Job) {
        if let Some((first, last)) = job.record.held
            && self.is_still_ours(spec, job).await
        {
            let _ = self.vault.destroy_record(&spec.name, first, last).await;
        }
    }

    fn notes(spec: &Spec, job: &Job, now: Timestamp) -> BTreeMap<String, String> {
        let name = &spec.name;
        BTreeMap::from([
            (format!("{name}.rotation"), job.rotation().to_owned()),
            (format!("{name}.number"), job.record.number.to_string()),
            (format!("{name}.rotated_at"), now.to_string()),
        ])
    }
}

fn illegal(text: &str) -> Went {
    (Event::Unreachable, Some(Failure::lasting(Class::Invalid, text)))
}
