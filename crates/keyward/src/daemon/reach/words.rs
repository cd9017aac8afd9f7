//! What a person is told of what cannot be reached.

use super::places::Place;
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};

/// The first part of the alerts' keys.
pub const OUT_OF_REACH: &str = "out-of-reach";

/// The alert's key.
pub fn key(name: &str) -> String {
    format!("{OUT_OF_REACH}/{name}")
}

/// It cannot be reached, or refuses Keyward.
pub fn out_of_reach(name: &str, place: &Place, why: &str, now: Timestamp) -> Alert {
    let (title, subject, account) = match place {
        Place::Database { secrets, .. } => {
            let account = Account {
                happened: format!("Keyward cannot log in to the {name}: {why}"),
                now: format!("These secrets cannot be rotated: {}. What is published for them is not changed.", secrets.join(", ")),
                next: "It is tried again at least twice a minute. Rotations that are due wait, and go on by themselves.".to_owned(),
                act: "See that the database runs, and that the administrator may log in from here:\nkeyward check".to_owned(),
            };
            ("a database cannot be used", secrets.first().cloned().unwrap_or_default(), account)
        }
        Place::Way { .. } => {
            let account = Account {
                happened: format!("Keyward cannot send {name}: {why}"),
                now: "What is to be told that way waits in the outbox; other ways are used as usual.".to_owned(),
                next: "It is tried again at least twice a minute; what waits is then sent.".to_owned(),
                act: "Mend what is named above, then:\nkeyward alert test".to_owned(),
            };
            ("alerts cannot be sent one way", "keyward".to_owned(), account)
        }
    };
    Alert {
        key: key(name),
        severity: Severity::Warning,
        title: title.to_owned(),
        account,
        owner: None,
        secret: Some(subject),
        at: now,
        passes_after: None,
    }
}
