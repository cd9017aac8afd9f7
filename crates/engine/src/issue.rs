//! Values that others make, and pivots that are no publication.

use crate::drive::{Engine, Job, Spec, Went, went};
use crate::kind::Trouble;
use crate::stored::Held;
use keyward_rotation::saga::{Event, Live};
use keyward_rotation::table::Step;

/// The fact that says that what the system made stands in the record.
const ISSUED: &str = "issued";

impl Engine {
    /// The step `Issue`: has the value made, and writes it into the record before anything else is done with it.
    pub(crate) async fn issue(&self, spec: &Spec, job: &mut Job) -> Went {
        let snapshot = job.snapshot();
        if snapshot.record.attempt().is_some_and(|attempt| attempt.facts.contains_key(ISSUED)) {
            return (Event::Done, None);
        }
        let act = async {
            match snapshot.work() {
                Ok(work) => spec.kind.issue(work).await,
                Err(failure) => Err(Trouble::Failed(failure)),
            }
        };
        let draft = match self.beside_heartbeat(spec, job, act).await {
            Err(lost) => return lost,
            Ok(Err(trouble)) => return went(Err(trouble)),
            Ok(Ok(draft)) => draft,
        };
        let mut record = job.record.clone();
        if let Some(attempt) = record.attempt_mut() {
            attempt.facts.extend(draft.facts);
            attempt.facts.insert(ISSUED.into(), self.clock.now().to_string());
        }
        let held = Held { new: draft.new, publish: draft.publish, old: job.held.old.duplicate() };
        self.write(spec, job, record, held).await
    }

    /// The race of a kind whose pivot is no publication.
    pub(crate) async fn bar(&self, spec: &Spec, job: &Job, pivot: Step) -> Went {
        let barred = match job.work() {
            Ok(work) => spec.kind.bar(pivot, work).await,
            Err(failure) => Err(failure),
        };
        match barred {
            Ok(true) => (Event::Done, None),
            Ok(false) => (Event::Live(Live::Candidate), None),
            // Whatever is unknown of it: barring once more does no harm.
            Err(failure) => (Event::Failed { again: failure.again || failure.unknown }, Some(failure)),
        }
    }
}
