#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::daemon::board::Status;
use crate::daemon::world::{LONG, World};
use jiff::Timestamp;
use std::io::Write;
use std::net::TcpStream;
use tokio::task::JoinHandle;

const CONFIG: &str = "[vault]\naddress = \"http://127.0.0.1:1\"\n";

struct Served {
    world: World,
    base: String,
    task: JoinHandle<()>,
}

async fn served() -> Served {
    let world = World::new(CONFIG).await;
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", listener.address());
    let task = tokio::spawn(serve(Arc::new(listener), Arc::clone(&world.shared)));
    Served { world, base, task }
}

impl Served {
    async fn get(&self, path: &str) -> (u16, String, String) {
        let client = reqwest::Client::builder().no_proxy().timeout(LONG).build().unwrap();
        let answer = client.get(format!("{}{path}", self.base)).send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_is_never_taken_back() {
    let served = served().await;
    let board = &served.world.shared.board;
    board.update(|status| status.waiting_for = vec!["vault login".into(), "vault".into()]);
    board.reached("vault");
    let (code, _, body) = served.get("/readyz").await;
    assert_eq!((code, body.as_str()), (503, "waiting for:\nvault login\n"));
    board.waits("vault login", "the token has expired");
    board.waits("vault", "what was reached is not waited for again");
    assert_eq!(served.get("/readyz").await.2, "waiting for:\nvault login: the token has expired\n");
    assert!(served.get("/metrics").await.2.contains("\nkeyward_ready 0\n"));
    board.reached("vault login");
    assert_eq!(served.get("/readyz").await.0, 200);
    assert!(served.get("/metrics").await.2.contains("\nkeyward_ready 1\n"));
}

#[tokio::test]
async fn liveness_is_the_planners() {
    let served = served().await;
    assert_eq!(served.get("/livez").await.0, 200, "just started");
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let now = Timestamp::now().as_second() as f64;
    served.world.shared.metrics.set(&f::PLANNER_TICK, &[], now - 90.0);
    let (code, _, body) = served.get("/livez").await;
    assert!(code == 503 && body.contains("planner"), "{code} {body}");
    served.world.shared.metrics.set(&f::PLANNER_TICK, &[], now);
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test]
async fn the_pages_have_their_types_and_nothing_else_is_there() {
    let served = served().await;
    let (code, kind, page) = served.get("/metrics").await;
    assert_eq!((code, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(page.contains("# TYPE keyward_ready gauge"), "{page}");
    let (code, kind, body) = served.get("/api/v1/status").await;
    assert_eq!((code, kind.as_str()), (200, "application/json"));
    assert!(serde_json::from_str::<Status>(&body).unwrap().secrets.is_empty());
    assert_eq!(served.get("/").await.0, 404);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_hold_a_stop() {
    let served = served().await;
    let mut slow = TcpStream::connect(served.base.trim_start_matches("http://")).unwrap();
    slow.write_all(b"GET /metr").unwrap();
    // An answer on another connection shows that the first one was accepted before.
    assert_eq!(served.get("/livez").await.0, 200);
    let _ = served.world.shared.stopping.send_replace(true);
    tokio::time::timeout(DRAIN * 4, served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_can_be_served_again_on_the_same_listener() {
    let world = World::new(CONFIG).await;
    let listener = Arc::new(bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let first = tokio::spawn(serve(Arc::clone(&listener), Arc::clone(&world.shared)));
    first.abort();
    let _ = first.await;
    let task = tokio::spawn(serve(Arc::clone(&listener), Arc::clone(&world.shared)));
    let served = Served { world, base: format!("http://{}", listener.address()), task };
    assert_eq!(served.get("/livez").await.0, 200);
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(taken.address()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(&taken.address().to_string()) && text.contains("in use") && text.contains("[http] listen"), "{text}");
}
