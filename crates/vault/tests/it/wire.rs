//! Against scripted peers: what goes over the wire, and what a client does when the other side misbehaves.

use crate::{TOKEN, fields, hides, plain};
use keyward_secret::{Fields, Secret};
use keyward_vault::{Kind, NodeState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A peer that gives one scripted answer per request, each on a connection of its own; an empty one means silence.
struct Peer {
    address: String,
    requests: Receiver<String>,
}

impl Peer {
    fn answering(script: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for answer in script {
                let Ok((stream, _)) = listener.accept() else { return };
                let _ = sender.send(read_request(&stream));
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
            // Whoever else comes is seen too, and gets no answer.
            while let Ok((stream, _)) = listener.accept() {
                let _ = sender.send(read_request(&stream));
            }
        });
        Self { address, requests }
    }

    /// The requests that came until now.
    fn seen(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

fn read_request(stream: &TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if reader.read_line(&mut text).unwrap_or(0) == 0 {
            return text;
        }
    }
    let length = text.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |l| l.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8_lossy(&body)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const ABSENT: &str = r#"{"errors":[]}"#;

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let elsewhere = Peer::answering(vec![]);
    let location = format!("location: {}/v1/secret/data/a\r\n", elsewhere.address);
    let peer = Peer::answering(vec![http("307 Temporary Redirect", &location, ""); 2]);
    let error = plain(&peer.address).kv_read("secret", "a").await.unwrap_err();
    assert_eq!((error.kind, error.status), (Kind::Standby, Some(307)));
    let error = plain(&peer.address).kv_write("secret", "a", 0, &fields(&[("p", "hunter2")])).await.unwrap_err();
    assert_eq!(error.kind, Kind::Standby);
    hides(&error, TOKEN);
    assert_eq!(peer.seen().len(), 2);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_read_is_repeated_after_passing_failures_and_a_write_never_is() {
    let broken = http("500 Internal Server Error", "", r#"{"errors":["internal error"]}"#);
    let peer = Peer::answering(vec![broken.clone(), broken.clone(), http("404 Not Found", "", ABSENT), broken.clone()]);
    let client = plain(&peer.address);
    assert_eq!(client.kv_read("secret", "a").await.unwrap().version, 0);
    assert_eq!(peer.seen().len(), 3);
    let error = client.kv_write("secret", "a", 0, &Fields::new()).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_unknown()), (Kind::Internal, true));
    assert_eq!(peer.seen().len(), 1);
    let stuck = Peer::answering(vec![broken; 9]);
    assert_eq!(plain(&stuck.address).kv_read("secret", "a").await.unwrap_err().kind, Kind::Internal);
    assert_eq!(stuck.seen().len(), 3, "a read stops after three attempts");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_after_which_nothing_is_known() {
    let peer = Peer::answering(vec![String::new(), String::new()]);
    let client = plain(&peer.address);
    let error = client.rotate_role("database", "app").await.unwrap_err();
    assert_eq!((error.kind, error.retry(), error.outcome_unknown()), (Kind::Timeout, true, true));
    assert_eq!(peer.seen().len(), 1, "a rotation is sent once");
    assert_eq!(client.kv_read("secret", "a").await.unwrap_err().kind, Kind::Timeout);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_a_write_unknown() {
    // Closed after the request was read, before a byte of an answer.
    let peer = Peer::answering(vec!["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()]);
    let error = plain(&peer.address).kv_patch("secret", "a", 1, &fields(&[("p", "hunter2")])).await.unwrap_err();
    assert_eq!((error.kind, error.outcome_unknown()), (Kind::Unreachable, true), "{error}");
    hides(&error, "hunter2");
}

#[tokio::test]
async fn a_proxys_404_does_not_make_a_path_new() {
    let page = http("404 Not Found", "content-type: text/html\r\n", "<html>hunter2</html>");
    let peer = Peer::answering(vec![page; 2]);
    let error = plain(&peer.address).kv_read("secret", "a").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    hides(&error, "hunter2");
    let NodeState::Unreachable { kind, .. } = plain(&peer.address).health(&peer.address).await.state else { panic!() };
    assert_eq!(kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_deciding_read_asks_to_be_forwarded_until_the_server_says_that_it_does_not() {
    let refusal = http("400 Bad Request", "", r#"{"errors":["forwarding via header X-Vault-Forward disabled in configuration"]}"#);
    let absent = http("404 Not Found", "", ABSENT);
    let peer = Peer::answering(vec![absent.clone(), refusal, absent.clone(), absent]);
    let client = plain(&peer.address);
    for _ in 0..3 {
        assert_eq!(client.kv_read("secret", "a").await.unwrap().version, 0);
    }
    let asked: Vec<bool> = peer.seen().iter().map(|r| r.contains("x-vault-forward: active-node")).collect();
    assert_eq!(asked, [true, true, false, false]);
}

#[tokio::test]
async fn a_request_carries_what_vault_wants_and_nothing_more() {
    let written = r#"{"data":{"version":8}}"#;
    let peer = Peer::answering(vec![http("200 OK", "", written), http("200 OK", "", "{}")]);
    let client = plain(&peer.address);
    assert_eq!(client.kv_patch("secret", "a b", 7, &fields(&[("p", "x")])).await.unwrap(), 8);
    client.health(&peer.address).await;
    let [patch, health] = peer.seen().try_into().unwrap();
    assert!(patch.starts_with("PATCH /v1/secret/data/a%20b HTTP/1.1\r\n"), "{patch}");
    for header in
        [&format!("x-vault-token: {TOKEN}"), "x-vault-request: true", "content-type: application/merge-patch+json", "user-agent: keyward/"]
    {
        assert!(patch.contains(header), "{header} is missing in {patch}");
    }
    assert!(patch.ends_with(r#"{"options":{"cas":7},"data":{"p":"x"}}"#), "{patch}");
    assert!(!patch.contains("x-vault-forward"), "writes reach the active node anyway");
    assert!(health.starts_with("GET /v1/sys/health"), "{health}");
    assert!(!health.contains(TOKEN));
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let limited = http("429 Too Many Requests", "retry-after: 7\r\n", r#"{"errors":["rate limit quota exceeded"]}"#);
    let peer = Peer::answering(vec![limited]);
    let error = plain(&peer.address).kv_write("secret", "a", 0, &Fields::new()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after, error.outcome_unknown()), (Kind::RateLimited, Some(Duration::from_secs(7)), false));
}

#[tokio::test]
async fn an_answer_that_repeats_a_secret_is_not_repeated() {
    let echo = http("400 Bad Request", "", &format!(r#"{{"errors":["cannot parse hunter2-long for {TOKEN}"]}}"#));
    let garbled = http("200 OK", "", r#"{"data":{"username":"u","password":["hunter2-long"]}}"#);
    let peer = Peer::answering(vec![echo, garbled]);
    let client = plain(&peer.address);
    let error = client.kv_write("secret", "a", 0, &fields(&[("p", "hunter2-long")])).await.unwrap_err();
    hides(&error, "hunter2-long");
    hides(&error, TOKEN);
    let error = client.static_creds("database", "app").await.unwrap_err();
    assert_eq!(error.kind, Kind::Internal);
    hides(&error, "hunter2-long");
    assert!(!format!("{client:?}").contains(TOKEN));
    assert!(!format!("{:?}", Secret::new(TOKEN)).contains(TOKEN));
}
