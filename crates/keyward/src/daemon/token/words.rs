//! What a person is told of Keyward's own token.

use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};

/// Key of the condition that Keyward has no token, or will soon have none.
pub const TOKEN: &str = "token";
/// Key of the condition that its token may do everything.
pub const ROOT_TOKEN: &str = "root-token";

/// The token is dying, dead, or cannot be had. `ends`: when the one in use does, if there is one.
pub fn token(why: &str, ends: Option<Timestamp>, approle: bool, now: Timestamp) -> Alert {
    let (is, title) = match ends {
        Some(ends) => {
            (format!("The token in use works until {ends}; after that Keyward can neither rotate nor look."), "the token is about to end")
        }
        None => ("Keyward has no token: it cannot rotate anything. Published credentials go on working.".to_owned(), "there is no token"),
    };
    let (next, act) = if approle {
        (
            "The login is tried again, slowly where Vault refused it: after five refusals Vault locks the role for a quarter of an hour.",
            "Issue another secret id into the place that [vault] auth names, then have Keyward try at once:\nsystemctl reload keyward",
        )
    } else {
        (
            "The place of the token is looked at again every minute.",
            "Put another periodic token into the place that [vault] auth names, then have Keyward try at once:\nsystemctl reload keyward",
        )
    };
    let happened = format!("Keyward's own token: {why}.");
    let account = Account { happened, now: is, next: next.to_owned(), act: act.to_owned() };
    alert(TOKEN, Severity::Critical, title, account, now)
}

/// The token has the policy root.
pub fn root_token(now: Timestamp) -> Alert {
    let account = Account {
        happened: "Keyward is logged in with a token of the policy root.".to_owned(),
        now: "Everything works, but whoever gets hold of this token owns Vault, and it never ends.".to_owned(),
        next: "This notice is repeated until another token is used.".to_owned(),
        act: "Give Keyward a policy and an AppRole or periodic token of its own (see config/), then revoke the root token:\nkeyward check"
            .to_owned(),
    };
    alert(ROOT_TOKEN, Severity::Warning, "a root token is in use", account, now)
}

fn alert(key: &str, severity: Severity, title: &str, account: Account, now: Timestamp) -> Alert {
    Alert {
        key: key.to_owned(),
        severity,
        title: title.to_owned(),
        account,
        owner: None,
        secret: Some("keyward".to_owned()),
        at: now,
        passes_after: None,
    }
}
