//! The lease watch's task: what dies without renewal (a lease, and the token that minted it) is renewed while anybody needs it.
//!
//! It renews at a third of what is left, so that two failures in a row cost nothing; what is gone, or about to go, reaches a person.

use super::shared::Shared;
use crate::assembly::Managed;
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::Alive;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at a secret of which nothing has to be renewed yet: a rotation may have made something since.
const IDLE: Duration = Duration::from_secs(10);
/// No lease is renewed more seldom, however long it lives.
const SELDOM: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_secs(1);
/// Before the next try when Vault could not be asked.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Memory {
    next: Option<Instant>,
    /// When the shortest-lived ends, unless it is renewed.
    ends: Option<Instant>,
}

/// The lease watch. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut memory: HashMap<String, Memory> = HashMap::new();
    loop {
        let live = shared.live();
        memory.retain(|name, _| live.secrets.contains_key(name));
        for (name, managed) in live.secrets.iter().filter(|(_, managed)| managed.spec.kind.needs_renewal() && !managed.observes()) {
            let entry = memory.entry(name.clone()).or_default();
            if shared.is_stopping() || entry.next.is_some_and(|at| at > Instant::now()) {
                continue;
            }
            let alive = live.engine.keep_alive(&managed.spec).await;
            let pause = entry.note(&alive, Instant::now());
            tell(&shared, managed, &alive, entry.ends.map(|ends| ends.saturating_duration_since(Instant::now())));
            entry.next = Some(Instant::now() + pause);
        }
        tokio::select! {
            () = tokio::time::sleep(OFTEN) => {}
            () = shared.stopped() => return,
        }
    }
}

impl Memory {
    /// Remembers what came of a round; the pause before the next.
    fn note(&mut self, alive: &Alive, now: Instant) -> Duration {
        match alive {
            Alive::Nothing | Alive::Gone { .. } => {
                self.ends = None;
                IDLE
            }
            Alive::Renewed(left) => {
                self.ends = now.checked_add(*left);
                // What a rotation makes meanwhile lives as long at least, so it may wait for the next round.
                (*left / 3).clamp(OFTEN, SELDOM)
            }
            Alive::Failed(_) => RETRY,
        }
    }
}

fn tell(shared: &Shared, managed: &Managed, alive: &Alive, left: Option<Duration>) {
    let name = managed.spec.name.as_str();
    let [gone, dying] = ["gone", "dying"].map(|what| format!("lease-{what}/{name}"));
    match alive {
        Alive::Nothing | Alive::Renewed(_) => {
            shared.alerts.resolve(gone, format!("what is published for {name} is leased again"));
            shared.alerts.resolve(dying, format!("the lease of {name} was renewed"));
        }
        Alive::Gone { is_present: true, facts } => {
            let user = facts.get("user").map_or("its user", String::as_str);
            shared.alerts.raise(is_gone(managed, gone, user));
        }
        Alive::Gone { facts, .. } => {
            tracing::warn!(secret = name, lease = facts.get("lease"), "An older lease ended before its grace was over.");
        }
        Alive::Failed(failure) => {
            tracing::warn!(secret = name, error = %failure, "A lease could not be renewed; it is tried again.");
            if let Some(left) = left {
                shared.alerts.raise(is_dying(managed, dying, &failure.to_string(), left));
            }
        }
    }
}

fn alert(managed: &Managed, key: String, severity: Severity, title: &str, account: Account) -> Alert {
    let (owner, secret) = (managed.config.owner.clone(), Some(managed.spec.name.clone()));
    Alert { key, severity, title: title.to_owned(), account, owner, secret, at: Timestamp::now(), passes_after: None }
}

fn is_gone(managed: &Managed, key: String, user: &str) -> Alert {
    let name = &managed.spec.name;
    let account = Account {
        happened: format!("The lease of {name}, or the token that minted it, is gone: it was revoked, or nobody renewed it in time."),
        now: format!("Vault drops {user}, and consumers that connect with what they read fail."),
        next: "Nothing by itself before the next slot.".into(),
        act: format!("keyward rotate {name}    leases and publishes another one"),
    };
    alert(managed, key, Severity::Critical, "what consumers read is no longer leased", account)
}

fn is_dying(managed: &Managed, key: String, failure: &str, left: Duration) -> Alert {
    let name = &managed.spec.name;
    let account = Account {
        happened: format!("The lease of {name} could not be renewed: {failure}"),
        now: format!("What is published works for {} s more, unless it is renewed before.", left.as_secs()),
        next: format!("It is tried again every {} s.", RETRY.as_secs()),
        act: "keyward check    says what Keyward lacks".into(),
    };
    alert(managed, key, Severity::Warning, "a lease is not renewed", account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_engine::{Class, Failure};

    #[test]
    fn a_lease_is_renewed_long_before_its_end() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert_eq!(memory.note(&Alive::Renewed(Duration::from_secs(9)), now), Duration::from_secs(3));
        assert_eq!(memory.ends, Some(now + Duration::from_secs(9)));
        assert_eq!(memory.note(&Alive::Failed(Failure::passing(Class::Sealed, "sealed")), now), RETRY);
        assert_eq!(memory.ends, Some(now + Duration::from_secs(9)), "a failure renews nothing");
        assert_eq!(memory.note(&Alive::Renewed(Duration::from_hours(999)), now), SELDOM);
        assert_eq!(memory.note(&Alive::Renewed(Duration::ZERO), now), OFTEN);
        assert_eq!((memory.note(&Alive::Nothing, now), memory.ends), (IDLE, None));
    }
}
