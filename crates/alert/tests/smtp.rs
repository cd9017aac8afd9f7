//! Mail through a real SMTP server: protected, logged in, refused, down, silent.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use jiff::{SignedDuration, Timestamp};
use keyward_alert::{
    Account, Alert, Book, Delivery, Mailer, MailerError, MailerOptions, Notifier, Outbox, Password, Retry, SendError, Severity, Timing,
};
use keyward_harness::{Message, SmtpServer, servers, unique};
use std::net::TcpListener;
use std::time::{Duration, Instant};

const ARRIVAL: Duration = Duration::from_secs(20);

fn now() -> Timestamp {
    "2026-11-23T03:00:05Z".parse().unwrap()
}

fn options(url: &str, to: &[String]) -> MailerOptions {
    MailerOptions {
        url: url.parse().unwrap(),
        password: None,
        ca_pem: None,
        from: "Keyward <keyward@example.com>".to_owned(),
        to: to.to_vec(),
        limit: Duration::from_secs(20),
    }
}

/// `scheme://` with the server's user, password and authority.
fn protected(server: &SmtpServer, scheme: &str, to: &[String]) -> MailerOptions {
    let port = if scheme == "smtps" { server.tls_port } else { server.starttls_port };
    MailerOptions {
        password: Some(Password::new(server.password.clone())),
        ca_pem: Some(std::fs::read(&server.ca_pem_path).unwrap()),
        ..options(&format!("{scheme}://{}@localhost:{port}", server.user), to)
    }
}

/// An outbox with one alert about `secret` for all of the mailer's recipients.
fn queued(mailer: &Mailer, secret: &str) -> Outbox {
    let mut book = Book::new(unique("kw"), Timing::default());
    let account = Account {
        happened: "Der Zugang wurde verweigert: größer als nötig.".to_owned(),
        act: format!("keyward rotate {secret}"),
        ..Account::default()
    };
    let alert = Alert {
        key: format!("rotation-failed/{secret}"),
        severity: Severity::Critical,
        title: "rotation failed".to_owned(),
        account,
        owner: None,
        secret: Some(secret.to_owned()),
        at: now(),
        passes_after: None,
    };
    book.raise(alert, now());
    let notice = book.due(now() + SignedDuration::from_secs(5)).remove(0);
    let mut outbox = Outbox::new(Retry::default());
    outbox.enqueue(&notice, &mailer.routes(), now());
    outbox
}

fn only(outbox: &Outbox) -> Delivery {
    let mut due = outbox.due(outbox.next_due().unwrap(), 10);
    assert_eq!(due.len(), 1);
    due.remove(0)
}

fn arrived(server: &SmtpServer, secret: &str) -> Message {
    server.wait_for(|mail| mail.subject.contains(secret), ARRIVAL).expect("the mail should have arrived")
}

fn header<'m>(mail: &'m Message, name: &str) -> &'m str {
    let found: Vec<&str> = mail.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", mail.headers);
    found[0]
}

#[tokio::test]
async fn a_mail_arrives_over_tls_and_over_starttls_after_login() {
    for (scheme, way) in [("smtps", "tls"), ("smtp", "starttls")] {
        let server = servers().smtp();
        let secret = unique("backend");
        let mailer = Mailer::new(protected(server, scheme, &["Ops <oncall@example.com>".to_owned()])).unwrap();
        mailer.check().await.unwrap();
        let delivery = only(&queued(&mailer, &secret));
        mailer.send(&delivery, now()).await.unwrap();
        let mail = arrived(server, &secret);
        assert_eq!(mail.port, way);
        assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("keyward@example.com", ["oncall@example.com".to_owned()].as_slice()));
        assert_eq!(mail.subject, format!("[keyward] CRITICAL {secret}: rotation failed"));
        assert!(mail.body.contains("größer als nötig.") && mail.body.contains(&format!("keyward rotate {secret}")), "{}", mail.body);
        assert_eq!(header(&mail, "Message-ID"), format!("<keyward.{}@example.com>", delivery.message_id));
        assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
        assert_eq!(header(&mail, "Date"), "Mon, 23 Nov 2026 03:00:10 +0000");
        assert_eq!(header(&mail, "To"), "Ops <oncall@example.com>");
    }
}

#[tokio::test]
async fn plain_to_this_machine_needs_no_login() {
    let server = servers().smtp();
    let secret = unique("backend");
    let url = format!("smtp+plain://127.0.0.1:{}", server.plain_port);
    let mailer = Mailer::new(options(&url, &["oncall@example.com".to_owned()])).unwrap();
    mailer.check().await.unwrap();
    mailer.send(&only(&queued(&mailer, &secret)), now()).await.unwrap();
    assert_eq!(arrived(server, &secret).port, "plain");
}

#[tokio::test]
async fn a_wrong_password_is_refused_for_good_and_never_shown() {
    let server = servers().smtp();
    let secret = unique("backend");
    for scheme in ["smtps", "smtp"] {
        let wrong = Password::new("not-the-password-3141");
        let options = MailerOptions { password: Some(wrong), ..protected(server, scheme, &["oncall@example.com".to_owned()]) };
        assert!(!format!("{options:?}").contains("3141"), "{options:?}");
        let mailer = Mailer::new(options).unwrap();
        let sent = mailer.send(&only(&queued(&mailer, &secret)), now()).await;
        for error in [mailer.check().await.expect_err("refused"), sent.expect_err("refused")] {
            assert!(error.is_permanent() && error.what().contains("535"), "{error:?}");
            assert!(!error.what().contains("3141"), "{error}");
        }
    }
}

/// The server's certificate is right, but nobody we trust has signed it; and it does not name the host.
#[tokio::test]
async fn a_certificate_that_does_not_verify_stops_the_mail() {
    let server = servers().smtp();
    let to = ["oncall@example.com".to_owned()];
    let folder = keyward_harness::run_folder().unwrap();
    let foreign = std::fs::read(keyward_harness::foreign_ca(folder).unwrap()).unwrap();
    for scheme in ["smtps", "smtp"] {
        let options = MailerOptions { ca_pem: Some(foreign.clone()), ..protected(server, scheme, &to) };
        let error = Mailer::new(options).unwrap().check().await.expect_err("not trusted");
        assert!(!error.is_permanent() && error.what().contains("certificate"), "{error:?}");
    }
}

#[tokio::test]
async fn starttls_is_demanded_not_hoped_for() {
    let server = servers().smtp();
    let url = format!("smtp://localhost:{}", server.plain_port);
    let secret = unique("backend");
    let mailer = Mailer::new(options(&url, &["oncall@example.com".to_owned()])).unwrap();
    let error = mailer.check().await.unwrap_err().to_string();
    assert!(error.contains("smtp+plain:// speaks none"), "the other ways are named: {error}");
    assert!(mailer.send(&only(&queued(&mailer, &secret)), now()).await.is_err());
    assert!(!server.messages().iter().any(|mail| mail.subject.contains(&secret)));
}

#[tokio::test]
async fn each_recipient_has_a_fate_of_their_own() {
    let server = servers().smtp();
    let secret = unique("backend");
    let to = ["refused@example.com", "later@example.com", "oncall@example.com"].map(str::to_owned);
    let mailer = Mailer::new(protected(server, "smtps", &to)).unwrap();
    let mut fates = Vec::new();
    for delivery in queued(&mailer, &secret).due(now(), 10) {
        let sent = mailer.send(&delivery, now()).await;
        fates.push((delivery.route.to.clone(), sent.map_err(|error| error.is_permanent())));
    }
    let expected = [(to[0].clone(), Err(true)), (to[1].clone(), Err(false)), (to[2].clone(), Ok(()))];
    assert_eq!(fates, expected);
    assert_eq!(arrived(server, &secret).to, [to[2].clone()]);
}

#[tokio::test]
async fn a_server_that_is_down_gets_the_same_mail_when_it_is_back() {
    let server = SmtpServer::start().unwrap();
    let secret = unique("backend");
    let mailer = Mailer::new(protected(&server, "smtps", &["oncall@example.com".to_owned()])).unwrap();
    let mut outbox = queued(&mailer, &secret);
    let first = only(&outbox);
    server.stop().unwrap();
    let error = mailer.send(&first, now()).await.expect_err("nobody there");
    assert!(matches!(&error, SendError::Transient { what } if what.contains("localhost")), "{error:?}");
    assert!(outbox.failed(first.id, &error, now(), 0.5).is_none());
    // As after a restart of the daemon.
    let mut outbox = Outbox::from_json(&outbox.to_json(), Retry::default()).unwrap();
    server.restart().unwrap();
    let second = only(&outbox);
    assert_eq!((second.attempts, &second.message_id), (1, &first.message_id));
    mailer.send(&second, now()).await.unwrap();
    outbox.sent(second.id, now());
    assert!(outbox.is_empty());
    assert_eq!(header(&arrived(&server, &secret), "Message-ID"), format!("<keyward.{}@example.com>", first.message_id));
}

/// lettre's own limit ends with the TCP connection: this server accepts and then says nothing.
#[tokio::test]
async fn a_silent_server_cannot_hold_us() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in [format!("smtp+plain://127.0.0.1:{port}"), format!("smtps://127.0.0.1:{port}"), format!("smtp://127.0.0.1:{port}")] {
        let limit = Duration::from_millis(300);
        let mailer = Mailer::new(MailerOptions { limit, ..options(&url, &["oncall@example.com".to_owned()]) }).unwrap();
        let begun = Instant::now();
        let sent = mailer.send(&only(&queued(&mailer, "backend")), now()).await;
        for error in [sent.expect_err("silent"), mailer.check().await.expect_err("silent")] {
            assert!(!error.is_permanent() && error.what().contains("no answer within 0.3 s"), "{error:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{url}");
    }
}

#[test]
fn options_that_cannot_work_are_named() {
    let to = ["oncall@example.com".to_owned()];
    let url = "smtps://keyward@mail.example.com";
    let refused = |options: MailerOptions| Mailer::new(options).map(drop).expect_err("refused");
    assert!(matches!(refused(options(url, &to)), MailerError::Login(_)));
    let password = || Some(Password::new("pw"));
    assert!(matches!(refused(MailerOptions { password: password(), ..options("smtps://mail.example.com", &to) }), MailerError::Login(_)));
    assert!(matches!(refused(MailerOptions { password: password(), ..options(url, &[]) }), MailerError::NoRecipient));
    let error = refused(MailerOptions { password: password(), ..options(url, &["not an address".to_owned()]) });
    assert!(matches!(error, MailerError::Address { place: "to", .. }), "{error}");
    let error = refused(MailerOptions { password: password(), ca_pem: Some(b"nothing".to_vec()), ..options(url, &to) });
    assert!(matches!(error, MailerError::Ca(_)), "{error}");
}
