//! Tells consumers that there is a new value: the ways that `notify` of a secret names, whoever rotated it.

use crate::assembly::Managed;
use keyward_engine::Outcome;
use keyward_rotation::saga::End;
use keyward_targets::notify::Published;
use std::time::Duration;

/// How long telling one consumer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Tells all of them of a rotation that ended well; of any other there is nothing to tell, and `None`. Else the reasons of those who could
/// not be told. A failure never rolls back: the value is proved.
pub async fn tell(managed: &Managed, outcome: &Outcome) -> Option<Vec<String>> {
    if outcome.end != End::Rotated {
        return None;
    }
    let published = Published { secret: managed.spec.name.clone(), rotation: outcome.rotation.clone(), number: outcome.number };
    let mut failures = Vec::new();
    for way in &managed.config.notify {
        if let Err(error) = way.tell(&published, LIMIT).await {
            failures.push(error.to_string());
        }
    }
    Some(failures)
}
