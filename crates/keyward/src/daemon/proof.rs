//! The proof watch's task: every published credential is proved again at its interval, so that a password changed by hand
//! is seen within minutes and not at the next outage. It also sees a value that somebody else has put there.

use super::rotations::PASSES;
use super::shared::{Live, Shared};
use crate::assembly::Managed;
use crate::metrics::families as f;
use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::{Failure, Noticed, Proof};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// After so many refusals in a row a credential is only tried hourly: some systems lock a user who fails too often.
const REFUSALS: u32 = 3;
const HOURLY: Duration = Duration::from_hours(1);
/// Proofs at once: a database that does not answer must not keep the others waiting.
const AT_ONCE: usize = 8;
/// No proof takes longer: each call in it has a time limit of its own.
const LONGEST: Duration = Duration::from_mins(3);

/// The results in `keyward_proofs_total`.
pub const RESULTS: [&str; 3] = ["valid", "invalid", "unknown"];

#[derive(Default)]
struct Memory {
    next: Option<Instant>,
    refusals: u32,
}

/// What came of one proof.
type Done = (String, Proof, Option<Noticed>);

/// The proof watch. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut memory: HashMap<String, Memory> = HashMap::new();
    let mut running: JoinSet<Done> = JoinSet::new();
    loop {
        let live = shared.live();
        memory.retain(|name, _| live.secrets.contains_key(name));
        for name in shared.to_prove() {
            memory.entry(name).or_default().next = None;
        }
        start_what_is_due(&shared, &live, &mut memory, &mut running);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            Some(done) = running.join_next(), if !running.is_empty() => {
                if let Ok((name, proof, noticed)) = done {
                    let Some(managed) = live.secrets.get(&name) else { continue };
                    plan_next(memory.entry(name).or_default(), managed, &proof);
                    tell(&shared, managed, &proof, noticed);
                }
            }
            () = shared.stopped() => return,
        }
    }
}

fn start_what_is_due(shared: &Shared, live: &Arc<Live>, memory: &mut HashMap<String, Memory>, running: &mut JoinSet<Done>) {
    for (name, managed) in &live.secrets {
        let entry = memory.entry(name.clone()).or_insert_with(|| Memory { next: Some(first(name, managed)), refusals: 0 });
        if shared.is_stopping() || running.len() >= AT_ONCE {
            return;
        }
        if entry.next.is_some_and(|at| at > Instant::now()) {
            continue;
        }
        // Not again until this one has come back; a task that is lost is made up for at the next interval.
        entry.next = Some(Instant::now() + managed.config.proof + LONGEST);
        let (live, managed) = (Arc::clone(live), managed.clone());
        running.spawn(async move {
            let spec = &managed.spec;
            let (proof, noticed) = if managed.observes() { (live.engine.prove(spec).await, None) } else { live.engine.watch(spec).await };
            (spec.name.clone(), proof, noticed)
        });
    }
}

fn plan_next(memory: &mut Memory, managed: &Managed, proof: &Proof) {
    memory.refusals = if matches!(proof, Proof::Invalid(_)) { memory.refusals.saturating_add(1) } else { 0 };
    let seldom = memory.refusals >= REFUSALS || matches!(proof, Proof::NothingToProve);
    let pause = if seldom { HOURLY.max(managed.config.proof) } else { managed.config.proof };
    memory.next = Some(Instant::now() + pause);
}

/// The first proofs are spread over one interval, the same at every start.
fn first(name: &str, managed: &Managed) -> Instant {
    let slot = keyward_rotation::schedule::Slot(Timestamp::UNIX_EPOCH);
    Instant::now() + keyward_rotation::schedule::jitter(name, slot, managed.config.proof.min(Duration::from_mins(1)))
}

fn tell(shared: &Shared, managed: &Managed, proof: &Proof, noticed: Option<Noticed>) {
    let name = managed.spec.name.as_str();
    if let Some(noticed) = noticed {
        tracing::info!(secret = name, ?noticed, "The record learned what the proof showed.");
        shared.forget(name);
        match noticed {
            Noticed::Adopted => shared.alerts.raise(adopted(managed, "It was tried and works, so it is taken for the true one.")),
            Noticed::AdoptedUnproved => {
                let text = "No system can be asked whether it works; it is taken for the true one because it is what consumers read.";
                shared.alerts.raise(adopted(managed, text));
            }
            Noticed::Diverged { .. } | Noticed::Healed => {} // told below, by what the proof says
        }
    }
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
            shared.alerts.raise(invalid(managed, key, failure, matches!(noticed, Some(Noticed::Diverged { foreign: true }))));
            "invalid"
        }
        Proof::Unknown(failure) => {
            tracing::warn!(secret = name, error = %failure, "What is published could not be proved.");
            "unknown"
        }
    };
    shared.metrics.inc(&f::PROOFS, &[labels[0], labels[1], result]);
}

fn invalid(managed: &Managed, key: String, failure: &Failure, foreign: bool) -> Alert {
    let name = &managed.spec.name;
    let cause = if foreign {
        "No rotation was under way; somebody else put this value there."
    } else {
        "No rotation was under way; somebody changed the password or dropped the user, or Vault or the database was restored."
    };
    let next = "Its schedule is held. It is tried again, three times in a row and then hourly; nothing is changed without a person.";
    alert(
        managed,
        key,
        Severity::Critical,
        "what consumers read does not work",
        Account {
            happened: format!("The published value of {name} was tried, and refused: {failure}"),
            now: format!("Consumers that connect now with what they read from Vault fail. {cause}"),
            next: next.into(),
            act: format!(
                "keyward status {name}\nkeyward reconcile {name}    says what is true, and makes the target accept what is published"
            ),
        },
        None,
    )
}

fn adopted(managed: &Managed, why: &str) -> Alert {
    let name = &managed.spec.name;
    let path = managed.config.kind.path().unwrap_or("PATH");
    let act = format!(
        "If that was not meant:\nkeyward secret rollback {path} --to VERSION    publishes an older one, if it still logs in\n\
         keyward rotate {name}    replaces it by a value of Keyward's own"
    );
    alert(
        managed,
        format!("foreign-value/{name}"),
        Severity::Warning,
        "somebody else's value was adopted",
        Account {
            happened: format!("What is published for {name} is not what Keyward published: somebody else put another value there."),
            now: why.into(),
            next: "Its schedule goes on as before; its next rotation replaces it.".into(),
            act,
        },
        Some(PASSES),
    )
}

fn alert(managed: &Managed, key: String, severity: Severity, title: &str, account: Account, passes_after: Option<SignedDuration>) -> Alert {
    let (owner, secret) = (managed.config.owner.clone(), Some(managed.spec.name.clone()));
    Alert { key, severity, title: title.into(), account, owner, secret, at: Timestamp::now(), passes_after }
}
