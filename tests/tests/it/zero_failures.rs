//! Consumers that connect all the time while their credentials are rotated under them: with two users none of them ever fails, not even one
//! that reads ten times more seldom than the others; with one user they fail for a moment, which is measured.

use crate::world::{LONG, becomes_ready, run};
use jiff::Timestamp;
use keyward_harness::{Shop, Wishes, full, say, servers, wait_until};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// Nothing here takes longer, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(10);

/// A laggard reads so many times more seldom than the others.
const MORE_SELDOM: u32 = 10;

/// How often consumers read the secret again.
const KEEPS: Duration = Duration::from_millis(250);

fn rotations() -> usize {
    if full() { 200 } else { 10 }
}

/// How many consumers there are, and how often each connects: together 100 times a second, in an ordinary run 10 times.
fn crowd() -> (usize, Duration) {
    if full() { (10, Duration::from_millis(100)) } else { (2, Duration::from_millis(200)) }
}

/// A consumer's ways.
#[derive(Clone, Copy)]
struct Ways {
    path: &'static str,
    /// Between two logins.
    pace: Duration,
    /// For so long it uses what it has read.
    keeps: Duration,
    /// Whether a session stays open as long as that, as a pool has it.
    pools: bool,
}

/// A login that failed: from the reading of what it used until it was refused.
#[derive(Debug)]
struct Failed {
    from: Timestamp,
    to: Timestamp,
    why: String,
}

/// What consumers saw.
#[derive(Default)]
struct Seen {
    logins: AtomicU64,
    reads: AtomicU64,
    failed: Mutex<Vec<Failed>>,
}

/// One consumer, under its own name, until the other end of `is_over` is dropped.
fn consume(shop: &Shop<'_>, name: &str, ways: Ways, seen: &Seen, is_over: &Receiver<()>) {
    let policy = format!("path \"{}/data/{}\" {{ capabilities = [\"read\"] }}", shop.kv, ways.path);
    let token = shop.vault.token(&policy, json!({ "display_name": name, "period": "1h" }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut held, mut pool) = (None, None);
    let mut turn = Instant::now();
    loop {
        if held.as_ref().is_none_or(|(read, ..): &(Instant, Timestamp, String, String)| read.elapsed() >= ways.keeps) {
            let from = Timestamp::now();
            let (user, password) = read(shop, &token, ways.path);
            if ways.pools {
                let mark = format!("SET LOCAL application_name = '{name}'");
                pool = Some(shop.postgres.psql_hold_as(&user, &password, &shop.database, &mark).expect("a laggard cannot connect"));
            }
            held = Some((Instant::now(), from, user, password));
            seen.reads.fetch_add(1, Ordering::Relaxed);
        }
        let (_, from, user, password) = held.as_ref().unwrap();
        seen.logins.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = runtime.block_on(log_in(shop, user, password)) {
            seen.failed.lock().unwrap().push(Failed { from: *from, to: Timestamp::now(), why: format!("{name} as {user}: {why:#}") });
        }
        turn = (turn + ways.pace).max(Instant::now());
        if is_over.recv_timeout(turn.saturating_duration_since(Instant::now())) != Err(RecvTimeoutError::Timeout) {
            drop(pool);
            return;
        }
    }
}

/// Logs in and asks for something, as services do it: by a driver. A program for every login would take more than the processors have.
async fn log_in(shop: &Shop<'_>, user: &str, password: &str) -> anyhow::Result<()> {
    let mut config = tokio_postgres::Config::new();
    config.host(&shop.postgres.host).port(shop.postgres.port).dbname(&shop.database).user(user).password(password);
    let session = async {
        let (client, connection) = config.connect(NoTls).await?;
        let asked = async move { client.query_one("SELECT count(*) FROM orders", &[]).await?.try_get::<_, i64>(0) };
        let (count, ended) = tokio::join!(asked, connection);
        ended?;
        count
    };
    let count = tokio::time::timeout(LONG, session).await??;
    anyhow::ensure!(count == 2, "the orders are gone: {count}");
    Ok(())
}

fn read(shop: &Shop<'_>, token: &str, path: &str) -> (String, String) {
    let (status, answer) = shop.vault.api_as(token, "GET", &format!("{}/data/{path}", shop.kv), None).unwrap();
    let text = |name: &str| answer["data"]["data"][name].as_str().unwrap_or_else(|| panic!("{status} {answer}")).to_owned();
    (text("username"), text("password"))
}

/// A shop whose database secrets are rotated only when somebody asks.
fn shop(class: &str) -> Shop<'static> {
    let class = format!("schedule = \"quarterly\"\ngrace = \"1s\"\nproof = \"5s\"\n{class}");
    let shop =
        Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes { database_class: class, ..Wishes::default() })
            .unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    shop
}

#[test]
fn consumers_of_two_users_never_fail_and_a_laggard_is_waited_for() {
    let shop = shop("retire = \"when-unused\"\n");
    let _daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let (crowd, pace) = crowd();
    let path = "shop/database";
    let usual = Ways { path, pace, keeps: KEEPS, pools: false };
    let seldom = Ways { pace: KEEPS, keeps: KEEPS * MORE_SELDOM, pools: true, ..usual };
    let (many, laggard) = (Seen::default(), Seen::default());
    let (began, mut waited) = (Instant::now(), 0);
    std::thread::scope(|scope| {
        // Dropped at the end, however it comes; then they end.
        let mut ends = Vec::new();
        for i in 0..=crowd {
            let (end, is_over) = channel();
            ends.push(end);
            let (shop, many, laggard) = (&shop, &many, &laggard);
            scope.spawn(move || match i {
                0 => consume(shop, "laggard", seldom, laggard, &is_over),
                _ => consume(shop, &format!("consumer-{i}"), usual, many, &is_over),
            });
        }
        wait_until("the laggard to connect", LONG, || (laggard.reads.load(Ordering::Relaxed) > 0).then_some(()));
        for _ in 0..rotations() {
            waited += usize::from(rotate_when_unused(&shop, &laggard));
        }
    });
    for seen in [&many, &laggard] {
        let failed = seen.failed.lock().unwrap();
        assert!(failed.is_empty(), "{} of {} logins failed: {failed:#?}", failed.len(), seen.logins.load(Ordering::Relaxed));
    }
    assert!(waited > 0, "the laggard was never waited for");
    shop.consume(path).unwrap();
    let (logins, seconds) = (many.logins.load(Ordering::Relaxed), began.elapsed().as_secs());
    say(&format!(
        "two users: {} rotations in {seconds} s; {logins} logins ({} a second) of {crowd} consumers that read every {KEEPS:?}, {} of one that reads \
         {MORE_SELDOM} times more seldom, none failed; {waited} rotations waited for that one",
        rotations(),
        logins / seconds.max(1),
        laggard.logins.load(Ordering::Relaxed),
    ));
}

/// One rotation; whether it had to wait for the laggard.
fn rotate_when_unused(shop: &Shop<'_>, laggard: &Seen) -> bool {
    let mut waited = false;
    wait_until("a rotation", PATIENCE, || {
        let read = laggard.reads.load(Ordering::Relaxed);
        let ended = run(shop, &["rotate", "shop-database"]);
        if ended.code == Some(0) {
            return Some(());
        }
        assert_eq!(ended.code, Some(75), "{ended:?}");
        if ended.err.contains("laggard") {
            waited = true;
            wait_until("the laggard to read again", PATIENCE, || (laggard.reads.load(Ordering::Relaxed) > read).then_some(()));
        }
        None
    });
    waited
}

/// From the change in the database until the new value is published, by the servers' own clocks, which are one here.
struct Blackout {
    /// When the rotation was asked for.
    asked: Timestamp,
    from: Timestamp,
    until: Timestamp,
    /// When the rotation had ended.
    over: Timestamp,
}

fn rotate_one_user(shop: &Shop<'_>) -> Blackout {
    let asked = Timestamp::now();
    wait_until("a rotation", PATIENCE, || {
        let ended = run(shop, &["rotate", "legacy"]);
        // On a machine that is too busy one may be left to be taken up again.
        assert!(matches!(ended.code, Some(0 | 75)), "{ended:?}");
        (ended.code == Some(0)).then_some(())
    });
    let sql = format!("SELECT to_json(changed_at) FROM keyward.role_fence WHERE role = '{}'", shop.legacy);
    let changed = shop.postgres.psql_in(&shop.database, &sql).unwrap();
    let read = shop.vault.must("GET", &format!("{}/data/shop/legacy", shop.kv), None).unwrap();
    let published = read.pointer("/data/metadata/created_time").and_then(Value::as_str).unwrap();
    Blackout { asked, from: changed.trim_matches('"').parse().unwrap(), until: published.parse().unwrap(), over: Timestamp::now() }
}

#[test]
fn consumers_of_one_user_fail_between_its_change_and_its_publication_only_and_for_how_long_is_measured() {
    let shop = shop("");
    let _daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let (crowd, pace) = crowd();
    let ways = Ways { path: "shop/legacy", pace, keeps: Duration::ZERO, pools: false };
    let seen = Seen::default();
    let mut blackouts = Vec::new();
    std::thread::scope(|scope| {
        let mut ends = Vec::new();
        for i in 0..crowd {
            let (end, is_over) = channel();
            ends.push(end);
            let (shop, seen) = (&shop, &seen);
            scope.spawn(move || consume(shop, &format!("consumer-{i}"), ways, seen, &is_over));
        }
        wait_until("everybody to connect", LONG, || (seen.logins.load(Ordering::Relaxed) > crowd as u64).then_some(()));
        blackouts.extend((0..rotations()).map(|_| rotate_one_user(&shop)));
    });
    let failed = seen.failed.lock().unwrap();
    for one in &*failed {
        let is_in = |blackout: &Blackout| one.from <= blackout.over && one.to >= blackout.asked;
        assert!(blackouts.iter().any(is_in), "a login failed while nothing was rotated: {one:?}");
        assert!(one.why.contains("password authentication failed"), "{one:?}");
    }
    let mut took: Vec<Duration> = blackouts.iter().map(|b| b.until.duration_since(b.from).unsigned_abs()).collect();
    took.sort_unstable();
    let percentile = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1].as_millis();
    say(&format!(
        "one user: {} rotations; {} of {} logins failed; blackout p50 {} ms, p99 {} ms, max {} ms",
        blackouts.len(),
        failed.len(),
        seen.logins.load(Ordering::Relaxed),
        percentile(50),
        percentile(99),
        percentile(100),
    ));
    shop.consume("shop/legacy").unwrap();
}
