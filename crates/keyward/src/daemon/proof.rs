//! The proof watch's task: every published credential is proved again at its interval, so that a password changed by hand
//! is seen within minutes and not at the next outage.

use super::shared::Shared;
use crate::assembly::Managed;
use crate::metrics::families as f;
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::{Failure, Proof};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After so many refusals in a row a credential is only tried hourly: some systems lock a user who fails too often.
const REFUSALS: u32 = 3;
const HOURLY: Duration = Duration::from_hours(1);

/// The results in `keyward_proofs_total`.
pub const RESULTS: [&str; 3] = ["valid", "invalid", "unknown"];

#[derive(Default)]
struct Memory {
    next: Option<Instant>,
    refusals: u32,
}

/// The proof watch. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut memory: HashMap<String, Memory> = HashMap::new();
    loop {
        let live = shared.live();
        memory.retain(|name, _| live.secrets.contains_key(name));
        for (name, managed) in &live.secrets {
            let entry = memory.entry(name.clone()).or_insert_with(|| Memory { next: Some(first(name, managed)), refusals: 0 });
            if shared.is_stopping() || entry.next.is_some_and(|at| at > Instant::now()) {
                continue;
            }
            let proof = live.engine.prove(&managed.spec).await;
            entry.refusals = if matches!(proof, Proof::Invalid(_)) { entry.refusals.saturating_add(1) } else { 0 };
            tell(&shared, managed, &proof);
            let pause = if entry.refusals >= REFUSALS { HOURLY.max(managed.config.proof) } else { managed.config.proof };
            entry.next = Some(Instant::now() + pause);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shared.stopped() => return,
        }
    }
}

/// The first proofs are spread over one interval, the same at every start.
fn first(name: &str, managed: &Managed) -> Instant {
    let slot = keyward_rotation::schedule::Slot(Timestamp::UNIX_EPOCH);
    Instant::now() + keyward_rotation::schedule::jitter(name, slot, managed.config.proof.min(Duration::from_mins(1)))
}

fn tell(shared: &Shared, managed: &Managed, proof: &Proof) {
    let name = managed.spec.name.as_str();
    let labels = [name, managed.config.class.as_str()];
    let key = format!("credential-invalid/{name}");
    let result = match proof {
        Proof::NothingToProve | Proof::Moving => return,
        Proof::Valid => {
            shared.metrics.set(&f::CREDENTIAL_VALID, &labels, 1.0);
            shared.alerts.resolve(key, format!("what is published for {name} works again"));
            "valid"
        }
        Proof::Invalid(failure) => {
            shared.metrics.set(&f::CREDENTIAL_VALID, &labels, 0.0);
            shared.alerts.raise(invalid(managed, key, failure));
            "invalid"
        }
        Proof::Unknown(failure) => {
            tracing::warn!(secret = name, error = %failure, "What is published could not be proved.");
            "unknown"
        }
    };
    shared.metrics.inc(&f::PROOFS, &[labels[0], labels[1], result]);
}

fn invalid(managed: &Managed, key: String, failure: &Failure) -> Alert {
    let name = &managed.spec.name;
    Alert {
        key,
        severity: Severity::Critical,
        title: "what consumers read does not work".into(),
        account: Account {
            happened: format!("The published value of {name} was tried, and refused: {failure}"),
            now: "Consumers that connect now with what they read from Vault fail. No rotation was under way; somebody else changed \
                  the password, or the database was restored."
                .into(),
            next: "It is tried again, three times in a row and then hourly. Nothing is changed without a person.".into(),
            act: format!("keyward status {name}\nkeyward rotate {name}    replaces it by a new value that works"),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    }
}
