//! The proof watch: does what consumers read still work? A refusal counts only if nothing was under way around it.

use crate::drive::{Engine, Spec};
use crate::failure::{Class, Failure};
use keyward_rotation::record::Record;

/// What one look came to.
#[derive(Debug)]
pub enum Proof {
    /// No system can be asked, or nothing is published yet.
    NothingToProve,
    /// A rotation was under way before or after, or the published version changed: nothing can be concluded.
    Moving,
    /// Accepted.
    Valid,
    /// Refused: what consumers read does not work.
    Invalid(Failure),
    /// The system could not be asked.
    Unknown(Failure),
}

impl Engine {
    /// Proves once what is published now.
    pub async fn prove(&self, spec: &Spec) -> Proof {
        let Ok(before) = self.load(&spec.name).await else { return Proof::Moving };
        if before.record.as_ref().and_then(Record::way).is_some() {
            return Proof::Moving;
        }
        let live = match self.live(spec).await {
            Ok(live) => live,
            Err(failure) => return Proof::Unknown(failure),
        };
        if spec.kind.path().is_some() && live.fields.as_ref().is_none_or(keyward_secret::Fields::is_empty) {
            return Proof::NothingToProve;
        }
        match spec.kind.prove(&live).await {
            None => Proof::NothingToProve,
            Some(Ok(())) => Proof::Valid,
            Some(Err(failure)) if says_nothing_of_the_credential(failure.class) => Proof::Unknown(failure),
            Some(Err(failure)) => self.confirm_refusal(spec, before.version, live.version, failure).await,
        }
    }

    async fn confirm_refusal(&self, spec: &Spec, record: u64, published: u64, failure: Failure) -> Proof {
        let (after, live) = (self.load(&spec.name).await, self.live(spec).await);
        match (after, live) {
            (Ok(after), Ok(live)) if after.version == record && live.version == published => Proof::Invalid(failure),
            _ => Proof::Moving,
        }
    }
}

fn says_nothing_of_the_credential(class: Class) -> bool {
    matches!(class, Class::Unreachable | Class::Timeout | Class::Sealed | Class::Denied | Class::Tls)
}
