//! `cargo xtask bench lag`: how long a line of the audit log takes from Vault's write to the metric, and what following it costs. Real
//! servers, the daemon as it is shipped.
//!
//! The line's own time is where a measurement begins: Vault stamps it right before it writes. It ends when a page of metrics that shows the
//! call has been read, so that drawing and fetching the page is in it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use keyward_harness::{
    PostgresServer, Process, Shop, SmtpServer, Stop, VaultOptions, VaultServer, Wishes, clean_command, packages, say, wait_until,
};
use serde_json::{Value, json};

use crate::cargo;

/// Calls on the quiet log; with each the next comes a little later than the one before, so that none keeps step with the daemon.
const CALLS: u64 = 400;
const PAUSE: Duration = Duration::from_millis(50);
/// The load, and how long it is measured.
const EACH: Duration = Duration::from_millis(10);
const LOAD: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_mins(2);

pub(crate) fn run() -> Result<()> {
    crate::setup::run()?;
    packages::ensure(packages::FOR_TESTS)?;
    say("building keyward (release)");
    let mut build = cargo::cargo()?;
    build.args(["build", "--release", "--package", "keyward"]);
    cargo::run("cargo build", build)?;
    let vault = VaultServer::start(&VaultOptions::default()).context("start Vault")?;
    let postgres = PostgresServer::start().context("start PostgreSQL")?;
    let smtp = SmtpServer::start().context("start the mail server")?;
    let shop = Shop::open(&vault, &postgres, &smtp, &Wishes::default())?;
    let mount = vault.kv_mount();
    let daemon = serve(&shop)?;
    // Its first calls of Vault are over by then.
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    say(&format!("{CALLS} calls on a quiet log"));
    let mut lags = quiet(&shop, &vault, &mount)?;
    lags.sort();
    let at = |share: u64| lags.get((lags.len() as u64 * share / 1000) as usize).or(lags.last()).copied().unwrap_or_default();
    say(&format!("at rest, then at {} calls a second, for {} seconds each", 1000 / EACH.as_millis(), LOAD.as_secs()));
    let rest = cost(&daemon, || std::thread::sleep(LOAD))?;
    let mut calls = 0;
    let load = cost(&daemon, || calls = call(&vault, &mount))?;
    let millis = |lag: Duration| lag.as_secs_f64() * 1e3;
    say(&format!(
        "\nFrom Vault's write to the metric, {} calls on a quiet log: median {:.1} ms, p99 {:.1} ms, at most {:.1} ms (budget: p99 250 ms)",
        lags.len(),
        millis(at(500)),
        millis(at(990)),
        millis(lags.last().copied().unwrap_or_default()),
    ));
    say(&format!(
        "At {:.0} calls a second the audit log's thread takes {:.2} % of a core (at rest {:.2} %; budget: 2 %), the whole daemon {:.2} % (at \
         rest {:.2} %)",
        f64::from(calls) / LOAD.as_secs_f64(),
        load.thread,
        rest.thread,
        load.whole,
        rest.whole,
    ));
    Ok(())
}

/// The released program on a shop's configuration.
fn serve(shop: &Shop<'_>) -> Result<Process> {
    let mut command = clean_command(cargo::target()?.join("release/keyward"), &shop.dir);
    command.arg("--config").arg(&shop.config).arg("serve");
    command.stdout(Stdio::null()).stderr(File::create(shop.log_path()).context("make the daemon's log")?);
    Process::start("keyward", command, Stop::Terminate)
}

/// How long each of some calls took to be seen.
fn quiet(shop: &Shop<'_>, vault: &VaultServer, mount: &str) -> Result<Vec<Duration>> {
    let log = File::open(&vault.audit_log).with_context(|| format!("open {}", vault.audit_log.display()))?;
    let counted = || reads(&page(shop.port)?, mount);
    let mut lags = Vec::new();
    for n in 0..CALLS {
        std::thread::sleep(PAUSE + Duration::from_micros(n * 237 % 50_000));
        let (before, from) = (counted()?, log.metadata()?.len());
        let path = format!("{mount}/data/lag-{n}");
        let (status, answer) = vault.api("GET", &path, None)?;
        ensure!(status == 404, "Vault answered {status}: {answer}");
        let asked = Instant::now();
        let seen = loop {
            let counted = counted()?;
            let now = Timestamp::now();
            if counted > before {
                break now;
            }
            ensure!(asked.elapsed() < LONG, "the call of {path} was not counted within {} seconds", LONG.as_secs());
        };
        let written = written(&log, from, &path).with_context(|| format!("the call of {path} is not in the log"))?;
        lags.push(Duration::try_from(seen.duration_since(written)).unwrap_or_default());
    }
    Ok(lags)
}

/// The time in the response's line of a path, which stands behind an offset of the log.
fn written(log: &File, from: u64, path: &str) -> Option<Timestamp> {
    let mut bytes = vec![0; 1 << 20];
    let read = log.read_at(&mut bytes, from).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..read)?).into_owned();
    let mut entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let entry = entries.find(|entry| entry["type"] == "response" && entry.pointer("/request/path") == Some(&json!(path)))?;
    entry["time"].as_str()?.parse().ok()
}

/// The page of metrics. Not by the shop, which keeps all that its daemon says.
fn page(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("ask the daemon for its metrics")?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// How many reads of a mount a page shows.
fn reads(page: &str, mount: &str) -> Result<u64> {
    ensure!(page.contains("keyward_audit_lines_total"), "the daemon shows no figures of its audit log");
    let of_mount = format!("mount=\"{mount}/\"");
    let lines = page.lines().filter(|line| line.starts_with("keyward_audit_entries_total{") && line.contains(&of_mount));
    Ok(lines.filter(|line| line.contains("operation=\"read\"")).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// Calls Vault at an even pace; how many calls there were.
fn call(vault: &VaultServer, mount: &str) -> u32 {
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < LOAD {
        std::thread::sleep((EACH * calls).saturating_sub(began.elapsed()));
        // One that failed is in the log, too.
        let _ = vault.api("GET", &format!("{mount}/data/load"), None);
        calls += 1;
    }
    calls
}

/// Shares of a core in percent.
struct Cost {
    /// Of the thread that reads the audit log.
    thread: f64,
    /// Of the whole daemon.
    whole: f64,
}

/// What the daemon takes while something goes on.
fn cost(daemon: &Process, meanwhile: impl FnOnce()) -> Result<Cost> {
    let (began, before) = (Instant::now(), seconds(daemon.pid())?);
    meanwhile();
    let (took, after) = (began.elapsed().as_secs_f64(), seconds(daemon.pid())?);
    Ok(Cost { thread: (after.0 - before.0) / took * 100.0, whole: (after.1 - before.1) / took * 100.0 })
}

/// The processor time of a daemon's audit thread and of all its threads so far, in seconds.
fn seconds(pid: u32) -> Result<(f64, f64)> {
    let (mut thread, mut whole, mut found) = (0.0, 0.0, false);
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("look at the daemon's threads")? {
        let task = task?.path();
        // One may end while we look.
        let (Ok(name), Ok(times)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat"))) else { continue };
        let nanoseconds: f64 = times.split_whitespace().next().and_then(|time| time.parse().ok()).context("the kernel tells no times")?;
        whole += nanoseconds / 1e9;
        if name.starts_with("audit ") {
            (thread, found) = (thread + nanoseconds / 1e9, true);
        }
    }
    if !found {
        bail!("the daemon has no thread for its audit log");
    }
    Ok((thread, whole))
}
