//! Tells people of records that cannot be read although Vault answers and Keyward is logged in: a policy, a mount, a format not ours.
//! A Vault that is away or sealed, and a token that is dead, are told by those who watch them.

use super::shared::Shared;
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::{Class, Failure};

/// Key of the condition.
const UNREADABLE: &str = "records-unreadable";
/// More names than this are not listed.
const LISTED: usize = 10;

/// Says that the condition holds, or that it is over. `unread`: the secrets whose record could not be read, each with why.
pub fn tell(shared: &Shared, unread: &[(&str, &Failure)]) {
    let mut lasting: Vec<&(&str, &Failure)> = unread.iter().filter(|(_, failure)| is_told(failure.class)).collect();
    lasting.sort_by_key(|(name, _)| *name);
    match lasting.first() {
        Some((_, first)) if shared.board.is_logged_in() => {
            let names: Vec<&str> = lasting.iter().map(|(name, _)| *name).collect();
            shared.alerts.raise(unreadable(&names, first, Timestamp::now()));
        }
        // Without a login nothing is known.
        Some(_) => {}
        None if unread.is_empty() => shared.alerts.resolve(UNREADABLE, "every record can be read"),
        None => {}
    }
}

fn is_told(class: Class) -> bool {
    !matches!(class, Class::Unreachable | Class::Timeout | Class::Sealed | Class::Tls)
}

fn unreadable(names: &[&str], first: &Failure, now: Timestamp) -> Alert {
    let more = names.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let listed = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ") + &more;
    let account = Account {
        happened: format!("Vault answers, but the records of these secrets cannot be read: {listed}. The first: {first}"),
        now: "They are not rotated, and nobody knows whether they are due. What is published is not changed.".to_owned(),
        next: "The records are read again every few seconds; what is due then goes on by itself.".to_owned(),
        act: "Let it be said which part is missing, with the policy line that grants it:\nkeyward check".to_owned(),
    };
    Alert {
        key: UNREADABLE.to_owned(),
        severity: Severity::Critical,
        title: "records cannot be read".to_owned(),
        account,
        owner: None,
        secret: Some("keyward".to_owned()),
        at: now,
        passes_after: None,
    }
}
