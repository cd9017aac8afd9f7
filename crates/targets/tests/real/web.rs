//! Keys that an HTTP service accepts or not, and telling consumers.

use crate::{LIMIT, value};
use keyward_harness::{foreign_ca, servers, unique, wait_until};
use keyward_secret::Secret;
use keyward_targets::http::{HttpFailure, HttpProbe};
use keyward_targets::notify::{Notify, NotifyError, Published, ReloadSignal};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers one request with `answer` and gives back what it read.
async fn serve_once(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        // The head, and for a POST the body behind it, which ends in a brace.
        while !(read.ends_with(b"\r\n\r\n") && read.starts_with(b"GET") || read.ends_with(b"}")) {
            let n = client.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the request ended early");
            read.extend_from_slice(&buffer[..n]);
        }
        client.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    });
    (address, served)
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

fn probe(url: &str, key: &Secret) -> HttpProbe {
    let headers = vec![("Authorization".to_owned(), Secret::new(format!("Bearer {}", key.expose())))];
    HttpProbe { url: Secret::new(format!("{url}/models?key={}", key.expose())), headers, expect: 200, root_cert: None, limit: LIMIT }
}

#[tokio::test]
async fn the_expected_status_means_accepted_and_no_redirect_is_followed() {
    let key = value();
    for (line, outcome) in [
        ("200 OK", None),
        ("401 Unauthorized", Some(401)),
        ("503 Busy", Some(503)),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", Some(302)),
    ] {
        let (url, served) = serve_once(status(line)).await;
        let sent = probe(&url, &key).get().await;
        let expected = outcome.map_or(Ok(()), |status| Err(HttpFailure::Refused { host: "127.0.0.1".into(), status, expected: 200 }));
        assert_eq!(sent, expected, "{line}");
        let request = served.await.unwrap();
        assert!(request.contains(&format!("authorization: Bearer {}\r\n", key.expose())), "{request}");
    }
}

#[tokio::test]
async fn failures_say_nothing_of_the_key() {
    let key = value();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let (garbage, served) = serve_once(format!("{} is no HTTP\r\n\r\n", key.expose())).await;
    let short = HttpProbe { limit: Duration::from_millis(300), ..probe(&silent_url, &key) };
    let spoiled =
        HttpProbe { headers: vec![("X-Key".into(), Secret::new(format!("{}\n", key.expose())))], ..probe("https://example.com", &key) };
    let host = || "127.0.0.1".to_owned();
    let table = [
        (short.get().await, HttpFailure::Timeout { host: host() }),
        (probe("http://127.0.0.1:1", &key).get().await, HttpFailure::Unreachable { host: host() }),
        (probe(&garbage, &key).get().await, HttpFailure::Exchange { host: host() }),
        (probe("http://example.com", &key).get().await, HttpFailure::Request { why: "only https is spoken beyond this machine" }),
        (spoiled.get().await, HttpFailure::Request { why: "a header's value holds characters that no header may hold" }),
    ];
    for (outcome, expected) in table {
        let failure = outcome.unwrap_err();
        assert!(!format!("{failure} {failure:?}").contains(key.expose()));
        assert_eq!(failure, expected);
    }
    served.await.unwrap();
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_only_the_named_authority_is() {
    let vault = servers().vault();
    let folder = tempfile::tempdir().unwrap();
    let health = |root_cert: Option<PathBuf>| HttpProbe {
        url: Secret::new(format!("{}/v1/sys/seal-status", vault.address)),
        headers: Vec::new(),
        expect: 200,
        root_cert,
        limit: LIMIT,
    };
    assert_eq!(health(Some(vault.ca_pem_path.clone())).get().await, Ok(()));
    for untrusted in [Some(foreign_ca(folder.path()).unwrap()), None] {
        assert_eq!(health(untrusted).get().await, Err(HttpFailure::Tls { host: "127.0.0.1".into() }));
    }
}

fn published() -> Published {
    Published { secret: "backend \"quoted\"".into(), rotation: unique("rotation"), number: 7 }
}

#[tokio::test]
async fn a_webhook_gets_names_and_no_value() {
    let (url, served) = serve_once(status("204 No Content")).await;
    let published = published();
    Notify::Webhook { url }.tell(&published, LIMIT).await.unwrap();
    let request = served.await.unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, serde_json::json!({ "secret": published.secret, "rotation": published.rotation, "number": 7 }));
    let (url, served) = serve_once(status("500 Broken")).await;
    let failed = Notify::Webhook { url }.tell(&published, LIMIT).await;
    assert!(matches!(failed, Err(NotifyError::Webhook(HttpFailure::Refused { status: 500, .. }))), "{failed:?}");
    served.await.unwrap();
}

fn shell(script: &str) -> Notify {
    Notify::Program { argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec() }
}

#[tokio::test]
async fn a_program_learns_what_was_published_and_nothing_of_our_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told");
    let published = published();
    shell(&format!("env > {}", file.display())).tell(&published, LIMIT).await.unwrap();
    let told = std::fs::read_to_string(&file).unwrap();
    for line in
        [format!("KEYWARD_SECRET={}", published.secret), format!("KEYWARD_ROTATION={}", published.rotation), "KEYWARD_NUMBER=7".to_owned()]
    {
        assert!(told.lines().any(|l| l == line), "{line} is not in {told}");
    }
    assert!(std::env::var_os("HOME").is_some() && !told.contains("HOME="), "{told}");
    let failed = shell("exit 3").tell(&published, LIMIT).await;
    assert!(matches!(failed, Err(NotifyError::Exit { code: Some(3), .. })), "{failed:?}");
    let absent = Notify::Program { argv: vec!["/no/such/program".into()] }.tell(&published, LIMIT).await;
    assert!(matches!(absent, Err(NotifyError::Start { .. })), "{absent:?}");
}

#[tokio::test]
async fn a_program_that_does_not_end_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let failed = shell(&script).tell(&published(), Duration::from_secs(1)).await;
    assert!(matches!(failed, Err(NotifyError::Timeout { .. })), "{failed:?}");
    let child = std::fs::read_to_string(&file).unwrap();
    wait_until("the child is gone", LIMIT, || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).ok();
        // A dead child of ours may wait for whoever reaps orphans.
        state.is_none_or(|s| s.contains(") Z ")).then_some(())
    });
}

#[tokio::test]
async fn a_signal_reaches_the_process_in_the_file_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (pid_file, told, ready) = (folder.path().join("pid"), folder.path().join("told"), folder.path().join("ready"));
    let script = format!("trap 'touch {}; exit 0' HUP; touch {}; while :; do sleep 0.05; done", told.display(), ready.display());
    let mut process = std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    wait_until("the process listens", LIMIT, || ready.exists().then_some(()));
    std::fs::write(&pid_file, format!("{}\n", process.id())).unwrap();
    let notify = Notify::Signal { pid_file: pid_file.clone(), signal: ReloadSignal::Hup };
    notify.tell(&published(), LIMIT).await.unwrap();
    wait_until("the process was told", LIMIT, || told.exists().then_some(()));
    assert!(process.wait().unwrap().success());
    for nobody in ["0", "1", "-5", "", "x", &std::process::id().to_string()] {
        std::fs::write(&pid_file, nobody).unwrap();
        let failed = notify.tell(&published(), LIMIT).await;
        assert!(matches!(failed, Err(NotifyError::PidFile { .. })), "{nobody:?}: {failed:?}");
    }
}
