//! Values that live only while somebody renews them: the present one, the one on its way, and older ones until their grace is over.

use crate::drive::{Engine, Spec};
use crate::failure::Failure;
use keyward_rotation::record::{Later, Record};
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of one round of renewals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// Nothing of this secret needs to be renewed.
    Nothing,
    /// All were renewed; the shortest of them lives for so long.
    Renewed(Duration),
    /// This one could not be renewed any more: it is gone.
    Gone {
        /// What is known of it.
        facts: BTreeMap<String, String>,
        /// Whether it is what consumers read now.
        is_present: bool,
    },
    /// Vault could not be asked; it is tried again.
    Failed(Failure),
}

impl Engine {
    /// Renews whatever of this secret would die without.
    pub async fn keep_alive(&self, spec: &Spec) -> Alive {
        let record = match self.load(&spec.name).await {
            Ok(stored) => stored.record,
            Err(failure) => return Alive::Failed(failure),
        };
        let mut shortest = None;
        let mut gone = None;
        for (facts, is_present) in record.iter().flat_map(leaning_on_us) {
            match spec.kind.renew(facts).await {
                None => {}
                Some(Ok(Some(left))) => shortest = Some(shortest.map_or(left, |least: Duration| least.min(left))),
                // The one that consumers read is what a person must hear of first.
                Some(Ok(None)) if gone.is_none() || is_present => gone = Some(Alive::Gone { facts: facts.clone(), is_present }),
                Some(Ok(None)) => {}
                Some(Err(failure)) => return Alive::Failed(failure),
            }
        }
        gone.or(shortest.map(Alive::Renewed)).unwrap_or(Alive::Nothing)
    }
}

/// What is known of each value, and whether it is the present one.
fn leaning_on_us(record: &Record) -> Vec<(&BTreeMap<String, String>, bool)> {
    let older = record.later.iter().filter_map(|later| match later {
        Later::Revoke { facts, .. } => Some((facts, false)),
        _ => None,
    });
    let under_way = record.attempt().map(|attempt| (&attempt.facts, false));
    std::iter::once((&record.kept, true)).chain(under_way).chain(older).collect()
}
