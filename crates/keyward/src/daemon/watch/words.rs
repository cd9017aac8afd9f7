//! What a person is told of Vault's nodes: what happened, what is true now, what happens next, what to do.

use super::judge::{Condition, NO_ACTIVE, Place, Seen};
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_vault::NodeState;

/// Where nobody leads, there is no cluster to join: what was there is lost, or was never there.
const RESTORE: &str =
    "Do not initialise it yet. See that it looks at the right folder and that its volume is there. If its data is lost, the way back is
docs/runbooks/corruption.md; which backups there are:
keyward backup list";

/// A condition of a node. `led`: some watched node is active.
pub fn of_node(condition: Condition, place: Place<'_>, seen: &Seen, severity: Severity, led: bool, now: Timestamp) -> Alert {
    let name = place.name;
    let (title, happened, act) = match condition {
        Condition::Sealed => ("Vault is sealed", format!("The Vault node {name} is sealed."), unseal(place)),
        Condition::Unreachable => ("Vault does not answer", unreachable(place, seen), look(place)),
        Condition::Uninitialised if led => {
            ("Vault is not initialised", uninitialised(name), format!("See that {name} joined its cluster:\n{}", look(place)))
        }
        Condition::Uninitialised => ("Vault is not initialised", uninitialised(name), RESTORE.to_owned()),
        Condition::Removed => ("a node was removed from its cluster", removed(name), join_anew(name)),
        Condition::ClockSkew => {
            ("clocks differ", skewed(name, seen), format!("See that time synchronisation runs here and on {name}:\nchronyc tracking"))
        }
        Condition::Certificate | Condition::AuditDisk => ("the certificate ends soon", ending(name, seen, now), renew(name)),
    };
    let (is, next) = match condition {
        Condition::ClockSkew => {
            ("Everything works. Times in the audit log and remaining lives of tokens may be misjudged.", "It is compared at every look.")
        }
        Condition::Certificate | Condition::AuditDisk => (
            "Everything works until then; after that no client can connect.",
            "Nothing by itself: Keyward does not renew Vault's certificates.",
        ),
        _ if led => ("Another node is active: clients are served, and rotations go on.", "It is asked every few seconds."),
        _ => (
            "No watched node is active: nothing can be read from Vault. Credentials that consumers hold go on working.",
            "It is asked every few seconds. Rotations wait, and go on by themselves once a node is active.",
        ),
    };
    let account = Account { happened, now: is.to_owned(), next: next.to_owned(), act };
    alert(condition.key(name), severity, title, account, name, now)
}

/// The disk with a node's audit log.
pub fn of_disk(place: Place<'_>, log: &str, free: f64, severity: Severity, now: Timestamp) -> Alert {
    let name = place.name;
    let account = Account {
        happened: format!("Only {:.1} % of the disk with the audit log of {name} ({log}) are free.", free * 100.0),
        now: "Vault works. When it cannot write to any of its audit devices, it refuses every request.".to_owned(),
        next: "It is measured every half minute.".to_owned(),
        act: format!("Move rotated audit logs away, or enlarge the disk:\ndf -h {log}"),
    };
    alert(Condition::AuditDisk.key(name), severity, "the disk with the audit log is almost full", account, name, now)
}

/// Unsealed nodes, and none leads.
pub fn no_active(now: Timestamp) -> Alert {
    let account = Account {
        happened:
            "Vault's nodes are unsealed, but none of those that are watched is active: no leader was elected, or it is not among them."
                .to_owned(),
        now: "Nothing can be read from Vault. Credentials that consumers hold go on working.".to_owned(),
        next: "The nodes are asked every few seconds. Rotations wait, and go on by themselves once a node is active.".to_owned(),
        act: "See whether a majority of the cluster's nodes is up and unsealed:\nvault operator raft list-peers\nkeyward status".to_owned(),
    };
    alert(NO_ACTIVE.to_owned(), Severity::Critical, "no node is active", account, "vault", now)
}

fn alert(key: String, severity: Severity, title: &str, account: Account, subject: &str, now: Timestamp) -> Alert {
    Alert { key, severity, title: title.to_owned(), account, owner: None, secret: Some(subject.to_owned()), at: now, passes_after: None }
}

fn unseal(place: Place<'_>) -> String {
    format!(
        "See in its server log why it was sealed, then unseal it with the threshold of keys:\nvault operator unseal -address={}",
        place.url
    )
}

fn look(place: Place<'_>) -> String {
    format!("vault status -address={}", place.url)
}

fn renew(name: &str) -> String {
    format!("Renew the certificate of {name}, then have Vault read it:\nsystemctl reload vault")
}

fn unreachable(place: Place<'_>, seen: &Seen) -> String {
    let why = if let NodeState::Unreachable { why, .. } = &seen.state { why.as_str() } else { "" };
    format!("The Vault node {} ({}) does not answer: {why}", place.name, place.url)
}

fn uninitialised(name: &str) -> String {
    format!("The Vault node {name} says that it was never initialised: it has no data, or has lost it.")
}

fn removed(name: &str) -> String {
    format!("The Vault node {name} was removed from its cluster and has sealed itself. No share opens it any more.")
}

fn join_anew(name: &str) -> String {
    format!(
        "If that was meant, take {name} out of [[vault.node]] and reload Keyward. If not: stop it, empty its storage folder (the other nodes have \
         the data), start it, and unseal it when it has joined:\nvault operator raft list-peers\nkeyward unseal --node {name}"
    )
}

fn skewed(name: &str, seen: &Seen) -> String {
    let skew = seen.skew.unwrap_or_default();
    let which = if skew > 0.0 { "ahead of" } else { "behind" };
    format!("This machine's clock is {:.0} s {which} that of {name}.", skew.abs())
}

fn ending(name: &str, seen: &Seen, now: Timestamp) -> String {
    seen.certificate.map_or_else(String::new, |validity| {
        format!("The TLS certificate of {name} is valid until {}: {}.", validity.until, validity.left_words(now))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_without_data_is_one_to_restore_where_nobody_leads_and_one_to_join_else() {
        let (place, seen) = (
            Place { name: "vault-1", url: "https://vault-1:8200" },
            Seen { state: NodeState::Uninitialised, skew: None, certificate: None },
        );
        let act = |led| of_node(Condition::Uninitialised, place, &seen, Severity::Critical, led, Timestamp::UNIX_EPOCH).account.act;
        assert!(act(false).contains("Do not initialise it yet") && act(false).contains("\nkeyward backup list"), "{}", act(false));
        assert!(act(true).contains("joined its cluster") && !act(true).contains("backup"), "{}", act(true));
    }
}
