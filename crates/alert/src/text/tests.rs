//! What the mails look like, word for word.

use super::*;
use crate::alert::{Account, Alert, Severity};
use crate::book::{Book, Timing};
use jiff::SignedDuration;

fn at(seconds: i64) -> Timestamp {
    "2026-11-23T03:00:00Z".parse::<Timestamp>().unwrap().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn failed(secret: &str) -> Alert {
    Alert {
        key: format!("rotation-failed/{secret}"),
        severity: Severity::Critical,
        title: "rotation failed".to_owned(),
        account: Account {
            happened: "Step apply: postgres:5432 refused the new password\n(insufficient privilege).".to_owned(),
            now: "The old password still works; Vault hands it out. No consumer is affected.".to_owned(),
            next: "Keyward tries again at 2026-11-23T03:10:00Z, twice at most.".to_owned(),
            act: format!("Grant the admin the right to alter the role, then:\n    keyward rotate {secret}"),
        },
        owner: Some("payments".to_owned()),
        secret: Some(secret.to_owned()),
        at: at(0),
        passes_after: None,
    }
}

fn book() -> Book {
    Book::new("kw", Timing::default())
}

#[test]
fn the_first_mail_of_one_alert() {
    let mut book = book();
    book.raise(failed("backend-database"), at(0));
    let text = render(&book.due(at(5))[0]);
    assert_eq!(text.subject, "[keyward] CRITICAL backend-database: rotation failed");
    let expected = "\
CRITICAL backend-database: rotation failed
Since 2026-11-23T03:00:00Z.
Owner: payments.

What happened
  Step apply: postgres:5432 refused the new password
  (insufficient privilege).

What is true now
  The old password still works; Vault hands it out. No consumer is affected.

What happens next
  Keyward tries again at 2026-11-23T03:10:00Z, twice at most.

What you can do
  Grant the admin the right to alter the role, then:
      keyward rotate backend-database

--\x20
While it lasts you are told again at about 2026-11-23T03:30:05Z, then less often; and once when it is over.
Notice kw-1795402805000-1 of 2026-11-23T03:00:05Z.
";
    assert_eq!(text.body, expected);
}

#[test]
fn repetition_worse_and_end() {
    let mut book = book();
    book.raise(Alert { severity: Severity::Warning, ..failed("backend") }, at(0));
    book.due(at(5));
    book.raise(failed("backend"), at(60));
    let worse = render(&book.due(at(65))[0]);
    assert_eq!(worse.subject, "[keyward] CRITICAL backend: rotation failed (worse than told)");
    assert!(worse.body.contains("was warning, is critical now; seen 2 times; told once before."), "{}", worse.body);
    let repeat = render(&book.due(at(65 + 3600))[0]);
    assert_eq!(repeat.subject, "[keyward] CRITICAL backend: rotation failed (still)");
    assert!(repeat.body.contains("told 2 times before."), "{}", repeat.body);
    book.resolve("rotation-failed/backend", "The rotation 7f3a succeeded and was proved by a login.", at(5000));
    let over = render(&book.due(at(5005))[0]);
    assert_eq!(over.subject, "[keyward] RESOLVED backend: rotation failed");
    let expected = "\
OVER backend: rotation failed
Since 2026-11-23T03:00:00Z; seen 2 times; told 3 times before.
Owner: payments.

Over since 2026-11-23T04:23:20Z
  The rotation 7f3a succeeded and was proved by a login.

What had happened
  Step apply: postgres:5432 refused the new password
  (insufficient privilege).

--\x20
Nothing more will be sent about this unless it comes back.
Notice kw-1795407805000-4 of 2026-11-23T04:23:25Z.
";
    assert_eq!(over.body, expected);
}

#[test]
fn a_group_has_a_list_in_front_and_what_is_over_says_so() {
    let mut book = book();
    book.raise(failed("alpha"), at(0));
    book.raise(failed("beta"), at(1));
    book.resolve("rotation-failed/beta", "It went through.", at(2));
    let text = render(&book.due(at(5))[0]);
    assert_eq!(text.subject, "[keyward] CRITICAL 2 alerts: alpha: rotation failed and 1 more");
    let head = "2 alerts, the worst first:\n  CRITICAL alpha: rotation failed\n  OVER beta: rotation failed\n\n---";
    assert!(text.body.starts_with(head), "{}", text.body);
    assert!(text.body.contains("Over since 2026-11-23T03:00:02Z\n  It went through."), "{}", text.body);
}

#[test]
fn a_critical_blip_and_a_thing_that_happened() {
    let mut blip = book();
    blip.raise(failed("alpha"), at(0));
    blip.resolve("rotation-failed/alpha", "It went through.", at(2));
    let text = render(&blip.due(at(5))[0]);
    assert_eq!(text.subject, "[keyward] CRITICAL alpha: rotation failed (already over)");
    assert!(text.body.contains("Nothing more will be sent"), "{}", text.body);
    let mut event = book();
    event.raise(Alert { passes_after: Some(SignedDuration::from_hours(1)), ..failed("alpha") }, at(0));
    let text = render(&event.due(at(5))[0]);
    assert!(text.body.contains("If it happens again you are told at about 2026-11-23T03:30:05Z."), "{}", text.body);
}

/// Ten thousand failures at once must make one mail that a mail server takes.
#[test]
fn a_huge_group_stays_a_readable_mail() {
    let mut book = book();
    for number in 0..5_000 {
        book.raise(failed(&format!("secret-{number:04}")), at(0));
    }
    let text = render(&book.due(at(5))[0]);
    assert!(text.subject.contains("5000 alerts"), "{}", text.subject);
    assert!(text.body.contains("and 4780 more, which `keyward status` lists"), "{}", text.body);
    assert!(text.body.len() < 64 * 1024, "{}", text.body.len());
}

#[test]
fn a_name_with_line_breaks_stays_on_its_line() {
    let mut book = book();
    let evil = Alert { secret: Some("a\r\nBcc: thief@example.com".to_owned()), title: "x".repeat(300), ..failed("a") };
    book.raise(evil, at(0));
    let text = render(&book.due(at(5))[0]);
    assert!(!text.subject.contains(['\r', '\n']), "{:?}", text.subject);
    assert_eq!(text.subject.chars().count(), MAX_SUBJECT);
    assert!(!text.body.lines().any(|line| line.starts_with("Bcc")), "{}", text.body);
}
