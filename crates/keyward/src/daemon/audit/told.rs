//! What people are told of the audit log: findings, and the state of the log itself. Names, paths and counts; never a value.

use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Severity};
use keyward_audit::{BadReason, Finding, RuleId};
use keyward_tail::{Event, GapReason};
use std::path::Path;
use std::time::Duration;

/// How long after its last mention a thing that happened is over.
const QUIET: SignedDuration = SignedDuration::from_hours(1);

/// A rule in words: the title, what is true now, and what a person can do.
struct Words {
    title: &'static str,
    now: &'static str,
    act: &'static str,
}

const fn words(rule: RuleId) -> Words {
    let (title, now, act) = match rule {
        RuleId::RootTokenUsed => (
            "a root token is in use",
            "No policy holds this token back, and it may never expire.",
            "If nobody of yours is at work with it, revoke it (vault token revoke) and look at what it did; else end it with vault token revoke -self.",
        ),
        RuleId::RootTokenCreated => (
            "a root token was made",
            "A new token exists that no policy holds back.",
            "If nobody of yours made it, find it with vault list auth/token/accessors and revoke it (vault token revoke -accessor).",
        ),
        RuleId::OrphanTokenCreated => (
            "an orphan token was made",
            "It lives on when its maker's token is revoked.",
            "If that is how your services get their tokens, allow its maker in [[audit.rule]]; else revoke it by its accessor.",
        ),
        RuleId::PolicyChanged => (
            "a policy was changed",
            "Its holders may do something else than before.",
            "Read it (vault policy read) and compare it with your repository; if nobody of yours changed it, put the old one back.",
        ),
        RuleId::AuthMethodChanged => (
            "an auth method was changed",
            "Other logins may be possible than before.",
            "Look at vault auth list -detailed; if nobody of yours changed it, disable or tune it back.",
        ),
        RuleId::MountChanged => (
            "a secrets engine was changed",
            "It was mounted, moved, tuned or unmounted; what was in an unmounted one is gone.",
            "Look at vault secrets list -detailed; if nobody of yours changed it, stop whoever did before you mend it.",
        ),
        RuleId::AuditDeviceChanged => (
            "the audit log itself was changed",
            "From now on the log may show less, or nothing.",
            "Look at vault audit list -detailed at once; if nobody of yours changed it, enable the device again and revoke the token that did it.",
        ),
        RuleId::DeniedBurst => (
            "many calls were refused",
            "Nothing was handed out by these calls.",
            "A service with a wrong or expired token, or somebody who tries doors: find out which from the address, then mend the one or revoke the other.",
        ),
        RuleId::LoginFailures => (
            "many logins failed",
            "Nobody was let in by these calls; Vault may have locked the user or role for a while.",
            "A service with an old password, or somebody who guesses: find out which from the address, then mend the one or shut out the other.",
        ),
        RuleId::SecretReadByStranger => (
            "read by somebody new",
            "Somebody knows this secret who has not read it before.",
            "If that is a new consumer, nothing: Keyward knows it from now on. If not: revoke its token, then rotate the secret (keyward rotate).",
        ),
        RuleId::SecretChangedByStranger => (
            "changed by somebody else than Keyward",
            "What consumers read may not be what the target accepts.",
            "See whether it still works (keyward status); if nobody of yours changed it, revoke the caller's token and rotate the secret (keyward rotate).",
        ),
        RuleId::SecretDeleted => (
            "deleted or destroyed",
            "Consumers may find nothing where this secret was.",
            "If it was only deleted, take that back (vault kv undelete); if it was destroyed, rotate it (keyward rotate). If nobody of yours did it, revoke the caller's token first.",
        ),
        RuleId::MassRead => (
            "somebody reads many secrets",
            "What was read is known to whoever reads; the count is an estimate.",
            "If that is a backup or a deployment of yours, allow it in [[audit.rule]]; if not, revoke its token and rotate what it read.",
        ),
        RuleId::Enumeration => (
            "somebody looks for secrets",
            "Many different paths were listed, or tried and refused; the count is an estimate.",
            "If that is a tool of yours, allow it in [[audit.rule]]; if not, find out from the address who it is, and revoke the token.",
        ),
        RuleId::NewSourceAddress => (
            "somebody known came from a new address",
            "Its credential works from there.",
            "If it moved or grew, nothing: Keyward knows the address from now on. If not, revoke its tokens and bind the role to its addresses (token_bound_cidrs).",
        ),
        RuleId::AccessOffHours => (
            "access outside the hours",
            "It was used when nobody was expected to use it.",
            "Ask its owner; if nobody of yours did it, revoke the caller's token and rotate the secret (keyward rotate).",
        ),
        RuleId::SealRequested => (
            "somebody asked Vault to seal itself",
            "If the call was carried out, nobody can read a secret until Vault is unsealed.",
            "If nobody of yours did it, revoke the caller's token once Vault is unsealed (vault operator unseal).",
        ),
        RuleId::StepDownRequested => (
            "somebody asked the active node to step down",
            "Another node takes over within seconds.",
            "If nobody of yours is at work on the cluster, ask the caller why.",
        ),
        RuleId::GenerateRoot => (
            "somebody is generating a root token",
            "With enough unseal keys a token comes of it that no policy holds back.",
            "If nobody of yours does, cancel it at once (vault operator generate-root -cancel) and ask the key holders.",
        ),
        RuleId::Rekey => (
            "somebody is replacing the unseal keys",
            "Once it is done, the old keys no longer open Vault.",
            "If nobody of yours does, cancel it at once (vault operator rekey -cancel) and ask the key holders.",
        ),
        RuleId::RawAccess => (
            "raw storage or a snapshot was accessed",
            "Somebody may hold a copy of everything, if encrypted.",
            "If that was no backup of yours, find out who has the copy, revoke the token, and consider rotating all secrets and rekeying.",
        ),
    };
    Words { title, now, act }
}

/// A finding in one sentence.
pub fn sentence(finding: &Finding, node: &str) -> String {
    let from = if finding.from.is_empty() { String::new() } else { format!(" from {}", finding.from) };
    let times = if finding.count > 1 { format!(", {} times", finding.count) } else { String::new() };
    let title = words(finding.rule).title;
    let secret = finding.secret.as_ref().map(|secret| format!("{secret}: ")).unwrap_or_default();
    format!("{secret}{title}: {} by {}{from}{times} (audit log of {node}, {})", finding.what, finding.who, finding.time)
}

/// What people are told of a finding. `window`: for how long the rule is quiet about the same thing.
pub fn finding(finding: &Finding, node: &str, window: SignedDuration, now: Timestamp) -> Alert {
    let words = words(finding.rule);
    let severity = match finding.severity {
        keyward_audit::Severity::Info => Severity::Info,
        keyward_audit::Severity::Warning => Severity::Warning,
        keyward_audit::Severity::Critical => Severity::Critical,
    };
    Alert {
        key: format!("finding/{}", finding.key),
        severity,
        title: words.title.to_owned(),
        account: Account {
            happened: sentence(finding, node),
            now: words.now.to_owned(),
            next: format!(
                "Keyward goes on watching, and tells you if it happens again. It changes nothing. What can fool this rule: keyward audit explain {}",
                finding.rule.name()
            ),
            act: words.act.to_owned(),
        },
        owner: None,
        secret: finding.secret.clone(),
        at: now,
        // Twice the rule's own silence, so that a thing that goes on is one thing and not one an hour.
        passes_after: Some(window.checked_mul(2).unwrap_or(QUIET).max(QUIET)),
    }
}

/// The key of the alert that a node's file cannot be read.
pub fn file_key(node: &str) -> String {
    format!("audit-file/{node}")
}

/// The file is missing, or cannot be read.
pub fn file(node: &str, path: &Path, why: &str, now: Timestamp) -> Alert {
    let happened = format!("The audit log of {node}, {}, {why}.", path.display());
    let now_true = "Nothing in it is seen: no alarms, and no old value is retired that depends on who still reads it.";
    let act = "Does the file exist, and may Keyward read it? Vault sets its mode: give the device mode=0640 and Keyward its group. After a \
               rename, Vault writes a new file only when it is told to (SIGHUP).";
    state(
        file_key(node),
        node,
        "the audit log cannot be read",
        [happened.as_str(), now_true, "Keyward tries again several times a second.", act],
        now,
    )
}

/// The key of the alert that a node's log is silent.
pub fn silent_key(node: &str) -> String {
    format!("audit-silent/{node}")
}

/// Vault answers our calls, and they do not appear in the log. `patience`: for how long that has been so.
pub fn silent(node: &str, path: &Path, patience: Duration, now: Timestamp) -> Alert {
    let happened = format!(
        "{node} is active and answers Keyward's calls, and for {} seconds none of them appeared in {}.",
        patience.as_secs(),
        path.display()
    );
    let now_true = "Whatever happens in Vault goes unseen here: auditing is off, or it goes elsewhere.";
    let act = "vault audit list -detailed\nIs there a file device, and is its path the audit_log of this node? After a rename of the file, send Vault a SIGHUP.";
    state(silent_key(node), node, "the audit log is silent", [happened.as_str(), now_true, "Keyward goes on looking.", act], now)
}

/// The key of the alert that a log's chain is not signed.
pub fn seal_key(node: &str) -> String {
    format!("audit-seal/{node}")
}

/// Vault does not sign the chain.
pub fn not_signed(node: &str, key: &str, why: &str, now: Timestamp) -> Alert {
    let happened = format!("The chain over the audit log of {node} could not be signed with {key}: {why}.");
    let now_true = "The chain goes on; until it is signed, whoever holds this machine could rewrite it.";
    let act = format!(
        "Does the key exist (vault read {}), and may Keyward sign with it? keyward check names the policy line.",
        key.replacen('/', "/keys/", 1)
    );
    state(
        seal_key(node),
        node,
        "the audit log's evidence is not signed",
        [happened.as_str(), now_true, "Keyward tries again every minute.", &act],
        now,
    )
}

/// The key of the alert that the place in a log cannot be kept.
pub fn checkpoint_key(node: &str) -> String {
    format!("audit-checkpoint/{node}")
}

/// The place in the log cannot be read back, or not be written down.
pub fn checkpoint(node: &str, why: &str, next: &str, now: Timestamp) -> Alert {
    let happened = format!("The place that Keyward has reached in the audit log of {node} cannot be kept: {why}.");
    let now_true = "No line is lost; after a restart some may be counted again, or the log may not be followed.";
    let act =
        "Is there room on the disk of the local store, and may Keyward write there? Was an older Keyward started on a newer one's store?";
    state(checkpoint_key(node), node, "the place in the audit log is not kept", [happened.as_str(), now_true, next, act], now)
}

/// Lines may have been lost, if that is what the event says.
pub fn lost(node: &str, event: &Event, now: Timestamp) -> Option<Alert> {
    let what = match event {
        Event::Truncated { recovered_from: Some(copy) } => {
            format!("the file was copied and truncated; it was read on in {}, but lines written in between are gone", copy.display())
        }
        // The gap that comes with it is told.
        Event::Truncated { recovered_from: None } | Event::Opened { .. } | Event::Rotated | Event::Missing | Event::Unreadable { .. } => {
            return None;
        }
        Event::Gap { reason: GapReason::FileGone } => {
            "the file that was being read is gone, or was cut, before all of it was read".to_owned()
        }
        Event::Gap { reason: GapReason::Compressed(path) } => format!("{} is compressed in a way that is not read here", path.display()),
        Event::Gap { reason: GapReason::Damaged(path) } => format!("{} is damaged and could be decompressed in part only", path.display()),
        Event::Gap { reason: GapReason::Unreadable(path) } => format!("{} cannot be read", path.display()),
        Event::Torn { bytes } => format!("a file ended in the middle of a line, after {bytes} bytes of it"),
        Event::TooLong { bytes, .. } => format!("a line of {bytes} bytes was skipped"),
    };
    Some(Alert {
        key: format!("audit-gap/{node}"),
        severity: Severity::Warning,
        title: "part of the audit log was missed".into(),
        account: Account {
            happened: format!("In the audit log of {node}, {what}."),
            now: "Nobody can say how many lines are missing. Who read a secret before now counts as unknown.".into(),
            next: "Keyward reads on from where it can.".into(),
            act: "Rotate audit files by rename and SIGHUP, not by copytruncate; compress them a day later (delaycompress), and delete none that Keyward has not read.".into(),
        },
        owner: None,
        secret: Some(node.to_owned()),
        at: now,
        passes_after: Some(QUIET),
    })
}

/// Lines that a setting of the audit device makes unreadable or dangerous, if that is what the reason says.
pub fn device(node: &str, reason: BadReason, now: Timestamp) -> Option<Alert> {
    let (severity, title, happened, act) = match reason {
        BadReason::Raw => (
            Severity::Critical,
            "the audit log holds secrets in clear",
            format!("The audit device of {node} is set to log_raw=true: tokens and secrets stand in its log in clear."),
            "Enable the device again without log_raw, destroy this log and its copies, and rotate what stands in it.",
        ),
        BadReason::Jsonx => (
            Severity::Warning,
            "the audit log is not JSON",
            format!("The audit device of {node} writes XML (format=jsonx), which Keyward does not read."),
            "Enable the device again with format=json.",
        ),
        _ => return None,
    };
    Some(Alert {
        key: format!("audit-device/{}/{node}", reason.label()),
        severity,
        title: title.into(),
        account: Account {
            happened,
            now: "Such lines are counted and not looked at.".into(),
            next: "Keyward reads on, and tells you while such lines come.".into(),
            act: act.into(),
        },
        owner: None,
        secret: Some(node.to_owned()),
        at: now,
        passes_after: Some(QUIET),
    })
}

fn state(key: String, node: &str, title: &str, [happened, now, next, act]: [&str; 4], at: Timestamp) -> Alert {
    let account = Account { happened: happened.into(), now: now.into(), next: next.into(), act: act.into() };
    Alert {
        key,
        severity: Severity::Critical,
        title: title.into(),
        account,
        owner: None,
        secret: Some(node.to_owned()),
        at,
        passes_after: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    #[test]
    fn every_rule_says_what_a_person_can_do() {
        let mut titles = BTreeSet::new();
        for rule in RuleId::ALL {
            let Words { title, now, act } = words(rule);
            assert!(titles.insert(title), "{title} stands twice");
            assert!(now.ends_with('.') && act.ends_with('.'), "{rule:?}");
        }
    }

    #[test]
    fn a_finding_names_who_where_what_and_how_often() {
        let found = Finding {
            rule: RuleId::DeniedBurst,
            severity: keyward_audit::Severity::Warning,
            time: "2026-03-02T09:15:04Z".parse().unwrap(),
            who: "token-alice".into(),
            entity_id: String::new(),
            from: "10.0.0.7".into(),
            what: "read secret/data/x".into(),
            secret: None,
            count: 20,
            key: "denied-burst/address/10.0.0.7".into(),
            is_quiet: false,
        };
        let alert = finding(&found, "vault-1", SignedDuration::from_mins(5), Timestamp::UNIX_EPOCH);
        let said = "many calls were refused: read secret/data/x by token-alice from 10.0.0.7, 20 times (audit log of vault-1, 2026-03-02T09:15:04Z)";
        assert_eq!((alert.account.happened.as_str(), alert.severity, alert.name()), (said, Severity::Warning, "finding"));
        assert_eq!((alert.key.as_str(), alert.passes_after), ("finding/denied-burst/address/10.0.0.7", Some(QUIET)));
    }

    #[test]
    fn only_what_may_have_lost_lines_is_told_as_lost() {
        let told = |event| lost("vault-1", &event, Timestamp::UNIX_EPOCH).is_some();
        assert!(!told(Event::Rotated) && !told(Event::Missing) && !told(Event::Truncated { recovered_from: None }));
        assert!(told(Event::Gap { reason: GapReason::FileGone }) && told(Event::Torn { bytes: 7 }));
        assert!(told(Event::Truncated { recovered_from: Some(PathBuf::from("/log.1")) }));
    }

    #[test]
    fn a_raw_log_wakes_people() {
        let told = device("vault-1", BadReason::Raw, Timestamp::UNIX_EPOCH).map(|alert| alert.severity);
        assert_eq!(told, Some(Severity::Critical));
        assert!(device("vault-1", BadReason::Truncated, Timestamp::UNIX_EPOCH).is_none());
    }
}
