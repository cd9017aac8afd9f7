//! Values that others make, and pivots that are no publication.
//!
//! An issuer offers no precondition and no second look at a value. So the record first says that it was asked; whoever goes
//! on after a crash or a lost answer then takes back what that may have made, found by the rotation's label, and asks anew.

use crate::Failure;
use crate::drive::{Engine, Job, Spec, Went, went};
use crate::kind::{ASKED, Draft, Trouble};
use crate::stored::Held;
use keyward_rotation::saga::{Event, Live};
use keyward_rotation::table::Step;

/// The fact that says that what the system made stands in the record.
const ISSUED: &str = "issued";

impl Engine {
    /// The step `Issue`: has the value made, and writes it into the record before anything else is done with it.
    pub(crate) async fn issue(&self, spec: &Spec, job: &mut Job) -> Went {
        let Some(attempt) = job.record.attempt() else { return went(job.work().map(drop).map_err(Trouble::Failed)) };
        if attempt.facts.contains_key(ISSUED) {
            return (Event::Done, None);
        }
        let asked = job.work().map_or(0, |work| work.asked());
        if asked > 0 {
            let recalled = self.recall(spec, job).await;
            if recalled.0 != Event::Done {
                return recalled;
            }
        }
        let mut record = job.record.clone();
        if let Some(attempt) = record.attempt_mut() {
            attempt.facts.insert(ASKED.into(), (asked + 1).to_string());
        }
        let noted = self.write(spec, job, record, job.held.duplicate()).await;
        if noted.0 == Event::Done { self.ask(spec, job).await } else { noted }
    }

    async fn recall(&self, spec: &Spec, job: &mut Job) -> Went {
        let snapshot = job.snapshot();
        let act = async { spec.kind.recall(snapshot.work()?).await };
        match self.beside_heartbeat(spec, job, act).await {
            // Nothing new was asked for, so nothing is unknown: the next try recalls again.
            Ok(recalled) => went(recalled.map_err(|failure| Trouble::Failed(Failure { unknown: false, ..failure }))),
            Err(lost) => lost,
        }
    }

    async fn ask(&self, spec: &Spec, job: &mut Job) -> Went {
        let snapshot = job.snapshot();
        let act = async { spec.kind.issue(snapshot.work()?).await };
        let mut act = std::pin::pin!(act);
        match self.beside_heartbeat(spec, job, act.as_mut()).await {
            Ok(Ok(made)) => {
                let written = self.keep(spec, job, &made).await;
                if written.0 == Event::Lost {
                    spec.kind.disown(&made).await;
                }
                written
            }
            Ok(Err(trouble)) => self.refused(spec, job, trouble).await,
            Err(lost) => {
                // Somebody took over and asks for one of its own. To drop the call here would leave an orphan behind.
                if let Ok(made) = act.await {
                    spec.kind.disown(&made).await;
                }
                lost
            }
        }
    }

    /// Writes what was made into the record.
    async fn keep(&self, spec: &Spec, job: &mut Job, made: &Draft) -> Went {
        let mut record = job.record.clone();
        if let Some(attempt) = record.attempt_mut() {
            attempt.facts.extend(made.facts.clone());
            attempt.facts.insert(ISSUED.into(), self.clock.now().to_string());
        }
        let new = made.new.iter().map(|(name, value)| (name.clone(), value.duplicate())).collect();
        self.write(spec, job, record, Held { new, publish: made.publish.duplicate(), old: job.held.old.duplicate() }).await
    }

    /// What was refused for certain has made nothing, so nothing has to be looked for.
    async fn refused(&self, spec: &Spec, job: &mut Job, trouble: Trouble) -> Went {
        if matches!(&trouble, Trouble::Failed(failure) if !failure.unknown) {
            let mut record = job.record.clone();
            if record.attempt_mut().is_some_and(|attempt| attempt.facts.remove(ASKED).is_some()) {
                let written = self.write(spec, job, record, job.held.duplicate()).await;
                if written.0 == Event::Lost {
                    return written;
                }
            }
        }
        went(Err(trouble))
    }

    /// The step `Announce`. Idempotent: after a crash it is done again, and what is published follows it.
    pub(crate) async fn announce(&self, spec: &Spec, job: &mut Job) -> Went {
        let snapshot = job.snapshot();
        let act = async { spec.kind.announce(snapshot.work()?, self.clock.now()).await };
        match self.beside_heartbeat(spec, job, act).await {
            Ok(Ok(publish)) => {
                let held = Held { publish, ..job.held.duplicate() };
                self.write(spec, job, job.record.clone(), held).await
            }
            Ok(Err(trouble)) => went(Err(trouble)),
            Err(lost) => lost,
        }
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
