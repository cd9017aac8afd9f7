//! Webhook against a server of our own, which can be made to answer anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jiff::{SignedDuration, Timestamp};
use keyward_alert::{
    Account, Alert, Alertmanager, Book, Delivery, HttpOptions, Notifier, Outbox, Password, Retry, Severity, Timing, Webhook,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn now() -> Timestamp {
    "2026-11-23T03:00:05Z".parse().unwrap()
}

fn options(url: &str) -> HttpOptions {
    // A second test's call finds it installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpOptions {
        url: url.to_owned(),
        bearer: Some(Password::new("t0ken-3141")),
        ca_pem: None,
        insecure: false,
        limit: Duration::from_secs(5),
    }
}

fn delivery(notifier: &dyn Notifier) -> Delivery {
    let mut book = Book::new("kw", Timing::default());
    let alert = Alert {
        key: "rotation-failed/backend".to_owned(),
        severity: Severity::Critical,
        title: "rotation failed".to_owned(),
        account: Account { happened: "It was refused.".to_owned(), ..Account::default() },
        owner: None,
        secret: Some("backend".to_owned()),
        at: now(),
        passes_after: None,
    };
    book.raise(alert, now());
    let notice = book.due(now() + SignedDuration::from_secs(5)).remove(0);
    let mut outbox = Outbox::new(Retry::default());
    outbox.enqueue(&notice, &notifier.routes(), now());
    outbox.due(now(), 1).remove(0)
}

/// A server that answers one request with `answer` and gives back what it was asked: head and body.
fn answering(answer: &'static str) -> (u16, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "the head ended early: {head}");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (lower, String::from_utf8(body).unwrap())
    });
    (port, served)
}

#[tokio::test]
async fn a_webhook_gets_the_notice_once_as_json() {
    let (port, served) = answering("HTTP/1.1 204 No Content\r\n\r\n");
    let webhook = Webhook::new(options(&format!("http://127.0.0.1:{port}/hooks/abc"))).unwrap();
    assert_eq!(webhook.routes()[0].to, format!("127.0.0.1:{port}"), "the path may hold a token");
    let delivery = delivery(&webhook);
    webhook.send(&delivery, now()).await.unwrap();
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("post /hooks/abc http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer t0ken-3141\r\n"), "{head}");
    assert!(head.contains(&format!("idempotency-key: {}\r\n", delivery.message_id)), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["version"], &body["why"], &body["severity"]), (&1.into(), &"first".into(), &"critical".into()));
    assert_eq!(body["id"], delivery.message_id.as_str());
    assert_eq!(body["subject"], "[keyward] CRITICAL backend: rotation failed");
    assert_eq!(body["alerts"][0]["key"], "rotation-failed/backend");
    assert_eq!(body["alerts"][0]["happened"], "It was refused.");
    assert_eq!(body["alerts"][0]["resolved"], serde_json::Value::Null);
}

/// The 307 points at a server that would count the call: it must never be asked.
#[tokio::test]
async fn what_an_answer_means_and_that_redirects_are_not_followed() {
    let rows = [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", false, "503 Service Unavailable: busy"),
        ("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", false, "429"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\nbad t0ken-3141", true, "bad [password]"),
        ("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", true, "307"),
    ];
    for (answer, permanent, expected) in rows {
        let (port, served) = answering(answer);
        let webhook = Webhook::new(options(&format!("http://127.0.0.1:{port}/hooks/abc"))).unwrap();
        let error = webhook.send(&delivery(&webhook), now()).await.unwrap_err();
        served.join().unwrap();
        assert_eq!(error.is_permanent(), permanent, "{error}");
        assert!(error.what().contains(expected), "{error}");
        assert!(!error.what().contains("3141") && !error.what().contains("abc"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_and_a_silent_server_are_transient_and_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [silent, gone] {
        let url = format!("http://127.0.0.1:{port}/hooks/abc");
        let limited = || HttpOptions { limit: Duration::from_millis(300), ..options(&url) };
        let notifiers: [Box<dyn Notifier>; 2] =
            [Box::new(Webhook::new(limited()).unwrap()), Box::new(Alertmanager::new(limited()).unwrap())];
        for notifier in notifiers {
            let begun = Instant::now();
            for error in [notifier.send(&delivery(notifier.as_ref()), now()).await.unwrap_err(), notifier.check().await.unwrap_err()] {
                assert!(!error.is_permanent() && error.what().contains(&format!("127.0.0.1:{port}")), "{error}");
                assert!(!error.what().contains("abc"), "{error}");
            }
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    }
}
