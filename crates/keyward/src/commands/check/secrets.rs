//! Each secret for itself: its record, what is published, and what its kind needs. Several at once, told in the file's order.

use super::report::Finding;
use super::trouble::Trouble;
use super::{postgres, static_role};
use crate::assembly::Managed;
use crate::commands::Alone;
use crate::config::{KindConfig, Manual};
use crate::records;
use jiff::Timestamp;
use keyward_engine::ports::{Document, Vault as _};
use keyward_engine::{Class, Failure};
use keyward_rotation::record::{Phase, Record};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How many secrets are looked at at once.
const AT_ONCE: usize = 8;

/// A secret's name, and its findings once they are there.
pub type Looking = (String, JoinHandle<Vec<Finding>>);

/// Starts looking at every secret. `vault`: whether Vault can be asked.
pub fn start(alone: &Arc<Alone>, vault: bool) -> Vec<Looking> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let look = |name: &str| {
        let (alone, places, name) = (Arc::clone(alone), Arc::clone(&places), name.to_owned());
        let looking = tokio::spawn({
            let name = name.clone();
            async move {
                // The semaphore is never closed.
                let _place = places.acquire().await;
                match alone.live.secrets.get(&name) {
                    Some(managed) => one(&alone, managed, vault).await,
                    None => Vec::new(),
                }
            }
        });
        (name, looking)
    };
    alone.live.config.secrets.iter().map(|secret| look(&secret.name)).collect()
}

async fn one(alone: &Alone, managed: &Managed, vault: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if managed.observes() {
        findings.push(Finding::warning("is only observed (mode = \"observe\"): nothing of it is changed"));
    }
    let live = if vault {
        findings.extend(record(alone, managed).await);
        read(alone, managed, &mut findings).await
    } else {
        findings.push(Finding::unknown("its record and what is published: Vault could not be asked"));
        None
    };
    let something = live.as_ref().is_some_and(|live| published(managed, live, &mut findings));
    if target(alone, managed, vault, live.as_ref(), &mut findings).await
        && let Some(live) = live.filter(|_| something)
    {
        findings.extend(proof(managed, &live).await);
    }
    findings
}

/// The system that must accept the value; whether a proof can be asked of it.
async fn target(alone: &Alone, managed: &Managed, vault: bool, live: Option<&Document>, findings: &mut Vec<Finding>) -> bool {
    match &managed.config.kind {
        KindConfig::PostgresTwoUsers(_) | KindConfig::PostgresPassword(_) => {
            let seen = postgres::look(alone, &managed.config, vault).await;
            findings.extend(seen.findings);
            if let Some(live) = live.filter(|_| seen.admin_is_well) {
                findings.extend(in_use(managed, live).await);
            }
            seen.logins_are_well
        }
        KindConfig::VaultStaticRole(role) => {
            if !vault {
                return false;
            }
            let seen = static_role::look(alone, managed, role).await;
            findings.extend(seen.findings);
            seen.is_well
        }
        KindConfig::Manual(Manual { check: None, .. }) => {
            findings.push(Finding::unknown("nothing can prove a value that a person brings: there is neither verify nor login"));
            false
        }
        // The others have a preflight that says all there is to say.
        _ => match live {
            Some(live) => ready(managed, live, findings).await,
            None => false,
        },
    }
}

/// The rotation's own preflight, as a scheduled one would run it.
async fn ready(managed: &Managed, live: &Document, findings: &mut Vec<Finding>) -> bool {
    match managed.spec.kind.preflight(live, Timestamp::now(), false).await {
        Ok(()) => true,
        Err(failure) => {
            findings.push(Finding::failed("cannot be rotated", &failure));
            false
        }
    }
}

/// The record is only told where it stands in the way.
async fn record(alone: &Alone, managed: &Managed) -> Option<Finding> {
    let name = &managed.spec.name;
    let stored = match records::look(&alone.live.engine, managed).await {
        Ok(stored) => stored,
        // Said by the permissions and by the records' mount.
        Err(Failure { class: Class::Denied | Class::NotFound, .. }) => return None,
        Err(failure) => return Some(Finding::failed("its record", &failure)),
    };
    let record = stored.record?;
    if let Some(diverged) = record.diverged {
        let says = format!("Vault and the target disagree since {}: {}; its schedule is held", diverged.since, diverged.why);
        return Some(Finding::warning(says).is(Trouble::ValueDiverged).cure(format!("keyward reconcile {name}")));
    }
    match record.phase {
        Phase::Stuck { why, since, .. } => Some(
            Finding::warning(format!("its rotation stands still since {since}: {why}"))
                .is(Trouble::RotationStuck)
                .cure(format!("remove the cause, then: keyward resume {name}")),
        ),
        Phase::Paused { by, why, since } => Some(
            Finding::warning(format!("it was paused by {by} at {since}: {why}"))
                .is(Trouble::RotationPaused)
                .cure(format!("keyward resume {name}")),
        ),
        Phase::Idle | Phase::Staged(_) | Phase::Back(_) => None,
    }
}

/// The document that consumers read; `None` where it cannot be read. A secret without a path has an empty one.
async fn read(alone: &Alone, managed: &Managed, findings: &mut Vec<Finding>) -> Option<Document> {
    let Some(path) = managed.spec.kind.path() else { return Some(Document::default()) };
    match alone.live.vault.read(path).await {
        Ok(live) => Some(live),
        // Said by the permissions and by the mounts.
        Err(Failure { class: Class::Denied | Class::Invalid, .. }) => None,
        Err(failure) => {
            findings.push(Finding::failed(&format!("reading {path}"), &failure));
            None
        }
    }
}

/// Whether there is something to prove.
fn published(managed: &Managed, live: &Document, findings: &mut Vec<Finding>) -> bool {
    let Some(path) = managed.spec.kind.path() else { return true };
    let fields = managed.spec.kind.fields();
    match &live.fields {
        None if live.version > 0 => {
            let says = format!("{path} was deleted (its last version is {}); a rotation does not let it rise again", live.version);
            findings
                .push(Finding::wrong(says).is(Trouble::SecretDeleted).cure(format!("vault kv undelete -versions={} {path}", live.version)));
            false
        }
        Some(found) if found.names().any(|n| fields.iter().any(|f| f == n)) => true,
        _ => {
            findings.push(first(&managed.config.kind, &managed.spec.name, path));
            false
        }
    }
}

/// Nothing is published yet: who does it first depends on the kind.
fn first(kind: &KindConfig, name: &str, path: &str) -> Finding {
    let nothing = format!("nothing is published at {path} yet");
    match kind {
        KindConfig::PostgresPassword(_) => Finding::warning(format!("{nothing}; the first rotation is a person's"))
            .is(Trouble::NothingPublished)
            .cure(format!("keyward rotate {name}")),
        KindConfig::Manual(_) => Finding::warning(format!("{nothing}; the first value is a person's"))
            .is(Trouble::NothingPublished)
            .cure(format!("keyward supply {name}")),
        _ => Finding::well(format!("{nothing}; the first rotation publishes it")),
    }
}

/// Whether the next rotation would have to wait for somebody, or meets a user that is none of ours.
async fn in_use(managed: &Managed, live: &Document) -> Option<Finding> {
    // As if nothing were left to be done about older values: that the grace is not over is no fault, the next slot comes after it.
    let now = Timestamp::now();
    match managed.spec.kind.gate(live, &Record::first_seen(&managed.spec.name, now), now).await {
        Ok(()) => None,
        Err(failure) if failure.class == Class::InUse => Some(
            Finding::warning(format!("a rotation would wait: {}", failure.text))
                .cure("have that client read the current value and connect anew"),
        ),
        Err(failure) => Some(Finding::failed("the idle user", &failure)),
    }
}

/// Whether what consumers read now works now.
async fn proof(managed: &Managed, live: &Document) -> Option<Finding> {
    let what = match managed.spec.kind.path() {
        Some(path) => format!("what is published at {path}"),
        None => "what Vault hands out".to_owned(),
    };
    Some(match managed.spec.kind.prove(live).await? {
        Ok(()) => Finding::well(format!("{what} is accepted")),
        Err(failure) => {
            let finding = Finding::failed(&format!("{what} is not accepted"), &failure);
            let finding = if managed.config.kind.logins().is_empty() {
                finding
            } else {
                Finding { trouble: postgres::trouble(failure.class), ..finding }
            };
            let by_person = matches!(managed.config.kind, KindConfig::Manual(_));
            let word = if by_person { "supply" } else { "rotate" };
            if failure.class == Class::WrongPassword { finding.cure(format!("keyward {word} {}", managed.spec.name)) } else { finding }
        }
    })
}
