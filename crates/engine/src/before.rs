//! What happens before the stage: nothing is changed anywhere, and a failure leaves nothing behind.

use crate::drive::{Engine, Job, Spec};
use crate::failure::{Class, Failure};
use crate::kind::{Trouble, Work};
use crate::ports::Document;
use keyward_rotation::record::{Attempt, Purpose};
use keyward_rotation::table::Step;
use std::collections::BTreeMap;

impl Engine {
    /// The step `Preflight`.
    pub(crate) async fn preflight(&self, spec: &Spec, job: &Job) -> Result<(), Failure> {
        let live = self.live(spec).await?;
        if live.version > 0 && live.fields.is_none() {
            let text = "the published path is deleted; undelete it, or destroy it with `vault kv metadata delete` to begin anew";
            return Err(Failure::lasting(Class::NotFound, text));
        }
        spec.kind.preflight(&live, self.clock.now(), job.ask.person.is_some()).await
    }

    /// A value brought by a person is tried before anything is stored.
    pub(crate) async fn try_supplied(&self, spec: &Spec, job: &Job) -> Result<(), Trouble> {
        let attempt = Attempt {
            rotation: String::new(),
            purpose: Purpose::Tend { what: None, then: Vec::new() },
            kind: job.saga.table().kind.to_owned(),
            owner: self.owner.clone(),
            asked_by: String::new(),
            base: None,
            staged_at: self.clock.now(),
            since_version: 0,
            facts: BTreeMap::new(),
        };
        let work = Work { record: &job.record, attempt: &attempt, held: &job.held };
        spec.kind.act(Step::Verify, work, &Document::default()).await
    }
}
