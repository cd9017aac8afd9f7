//! The real daemon and its audit log under ill-treatment: SIGKILL at random points, and real logrotate under load.

use keyward_harness::{Process, Shop, Signal, Stop, VaultOptions, VaultServer, Wishes, full, servers, unique, wait_until};
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(10);
const ROTATIONS: u64 = 30;
const OPERATIONS: [&str; 4] = ["read", "list", "update", "create"];
const MOUNT: &str = "elsewhere/";

/// The page of metrics. By hand: it is asked for thousands of times, and a shop keeps all that its daemon says.
fn page(shop: &Shop<'_>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", shop.port))?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The sum of a metric's series that have all of these labels; `None` while there is none.
fn sum(shop: &Shop<'_>, family: &str, labels: &[String]) -> Option<u64> {
    let page = page(shop).ok()?;
    let begin = format!("{family}{{");
    let lines = page.lines().filter(|line| line.starts_with(&begin) && labels.iter().all(|label| line.contains(label)));
    let counts: Vec<u64> = lines.map(|line| line.rsplit(' ').next()?.parse().ok()).collect::<Option<_>>()?;
    (!counts.is_empty()).then(|| counts.iter().sum())
}

fn lines_counted(shop: &Shop<'_>) -> Option<u64> {
    sum(shop, "keyward_audit_lines_total", &[])
}

/// The same numbers in every run, so that what failed once can be looked at again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Writes pairs of lines as Vault does, and lets its file be rotated.
struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    calls: u64,
}

impl Log {
    fn open(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Self::file(path), calls: 0 }
    }

    fn file(path: &Path) -> BufWriter<File> {
        BufWriter::with_capacity(10_000, fs::OpenOptions::new().append(true).create(true).open(path).unwrap())
    }

    fn write(&mut self, calls: u64) {
        for _ in 0..calls {
            let operation = OPERATIONS[usize::try_from(self.calls % 4).unwrap()];
            let call = self.calls;
            let auth = r#""auth":{"client_token":"hmac-sha256:00","display_name":"approle","policies":["default"],"token_type":"service"}"#;
            for (kind, more) in [("request", ""), ("response", r#","response":{"mount_point":"elsewhere/","mount_type":"kv"}"#)] {
                writeln!(
                    self.file,
                    r#"{{"time":"2026-03-02T09:15:04.{:09}Z","type":"{kind}",{auth},"request":{{"id":"{call:012x}","operation":"{operation}","mount_point":"{MOUNT}","mount_type":"kv","namespace":{{"id":"root"}},"path":"elsewhere/data/it","remote_address":"127.0.0.1"}}{more}}}"#,
                    call % 1_000_000_000
                )
                .unwrap();
            }
            self.calls += 1;
        }
    }

    /// Renames; every other time the writer goes on in the old file for a while; every third rotated file is compressed.
    fn rotate(&mut self, rotation: u64, late: u64) {
        let name = |number: u64, ending: &str| PathBuf::from(format!("{}.{number}{ending}", self.path.display()));
        for number in (1..=ROTATIONS).rev() {
            for ending in ["", ".gz"] {
                let _absent = fs::rename(name(number, ending), name(number + 1, ending));
            }
        }
        let rotated = name(1, "");
        fs::rename(&self.path, &rotated).unwrap();
        if rotation.is_multiple_of(2) {
            self.write(late);
        }
        self.file.flush().unwrap();
        self.file = Self::file(&self.path);
        if rotation.is_multiple_of(3) {
            assert!(Command::new("gzip").arg(rotated).status().unwrap().success());
        }
    }
}

/// A shop whose followed log is one of our own making.
fn shop_with_log() -> (Shop<'static>, PathBuf) {
    let wishes = Wishes { audit: false, ..Wishes::default() };
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &wishes).unwrap();
    let folder = shop.dir.join("log");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("audit.log");
    let text = fs::read_to_string(&shop.config).unwrap();
    let node = "name = \"vault-1\"\n";
    assert!(text.contains(node));
    fs::write(&shop.config, text.replacen(node, &format!("{node}audit_log = \"{}\"\n", log.display()), 1)).unwrap();
    (shop, log)
}

fn kill(daemon: Process) {
    daemon.signal(Signal::KILL).unwrap();
    daemon.wait(LONG).unwrap();
}

#[test]
fn a_daemon_killed_at_random_points_counts_every_line_once() {
    let (lines, kills) = if full() { (5_000_000, 100) } else { (60_000, 10) };
    let (shop, path) = shop_with_log();
    let mut log = Log::open(&path);
    let mut dice = Dice(20_260_302);
    let mut daemon = shop.serve().unwrap();
    // It has met the log, and has written down its place: what was rotated away before is none of its business. The first lines
    // that it counts come before that, the next ones after.
    for calls in 1..=2 {
        log.write(1);
        log.file.flush().unwrap();
        wait_until("the first lines to be counted", LONG, || lines_counted(&shop).filter(|counted| *counted >= calls * 2));
    }
    let (each, mut rotation) = (lines / 2 / (kills + 1), 0);
    for round in 0..=kills {
        let before = log.calls * 2;
        while rotation < ROTATIONS * (round + 1) / (kills + 1) {
            log.write(each / 4);
            log.rotate(rotation, each / 8);
            rotation += 1;
        }
        log.write((each * (round + 1)).saturating_sub(log.calls));
        log.file.flush().unwrap();
        if round == kills {
            break;
        }
        // Some are killed at their first breath, the others when they have counted to a random line of those just written.
        let point = before + 1 + dice.below(log.calls * 2 - before);
        if dice.below(5) > 0 {
            wait_until("the daemon to count on", LONG, || lines_counted(&shop).filter(|counted| *counted >= point));
        } else {
            wait_until("the daemon", LONG, || page(&shop).ok());
        }
        kill(daemon);
        daemon = shop.serve().unwrap();
    }
    let written = log.calls * 2;
    assert!(written >= lines - kills * 2, "only {written} lines were written");
    assert_eq!(rotation, ROTATIONS);
    wait_until("all lines to be counted", LONG, || lines_counted(&shop).filter(|counted| *counted >= written));
    // Once more from what is stored: it must be whole, and nothing may be read again.
    kill(daemon);
    let _daemon = shop.serve().unwrap();
    wait_until("all lines to be counted again", LONG, || lines_counted(&shop).filter(|counted| *counted >= written));
    assert_eq!(lines_counted(&shop), Some(written), "every line once");
    for (number, operation) in (0..).zip(OPERATIONS) {
        let labels = [format!("operation=\"{operation}\""), format!("mount=\"{MOUNT}\"")];
        let expected = (log.calls + 3 - number) / 4;
        // A mount that Vault does not have is shown as one of the others.
        let any = [format!("operation=\"{operation}\"")];
        let counted = sum(&shop, "keyward_audit_entries_total", &labels)
            .filter(|n| *n > 0)
            .or_else(|| sum(&shop, "keyward_audit_entries_total", &any));
        assert_eq!(counted, Some(expected), "{operation}");
    }
    for none in ["keyward_audit_gaps_total", "keyward_audit_bad_lines_total", "keyward_audit_file_truncations_total"] {
        assert_eq!(sum(&shop, none, &[]), Some(0), "{none}");
    }
}

/// What the daemon writes to its files fails, as on a full disk, while its other work goes on.
fn limit_file_sizes(daemon: &Process, limit: &str) {
    let pid = daemon.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:")]).status().unwrap().success());
}

#[test]
fn a_full_disk_stops_no_counting_and_costs_nothing_once_there_is_room() {
    let (shop, path) = shop_with_log();
    let mut log = Log::open(&path);
    let serve = || {
        let keyward = shop.command(&["serve"]);
        let mut command = Command::new("/bin/sh");
        // Past its limit a write is to fail, not to kill.
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(keyward.get_program()).args(keyward.get_args());
        command.env_clear().envs(keyward.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&shop.dir);
        // Its own log would fail, too.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Process::start("keyward", command, Stop::Terminate).unwrap()
    };
    let mut write = |calls: u64| {
        log.write(calls);
        log.file.flush().unwrap();
        log.calls * 2
    };
    let counted = |lines: u64| wait_until("the lines to be counted", LONG, || lines_counted(&shop).filter(|n| *n >= lines));
    let firing = || sum(&shop, "keyward_alerts_firing", &[]);
    let daemon = serve();
    counted(write(500));
    let before = firing();
    limit_file_sizes(&daemon, "1");
    counted(write(500));
    wait_until("an alert that the place is not kept", LONG, || firing().filter(|alerts| Some(*alerts) > before));
    counted(write(500));
    limit_file_sizes(&daemon, "unlimited");
    let written = write(500);
    counted(written);
    drop(daemon);
    let _daemon = serve();
    counted(written);
    assert_eq!(lines_counted(&shop), Some(written));
}

/// Real logrotate over a real Vault's log.
struct Rotation {
    config: PathBuf,
    state: PathBuf,
}

impl Rotation {
    fn new(shop: &Shop<'_>, vault: &VaultServer, scheme: &str) -> Self {
        let (config, state) = (shop.dir.join("logrotate.conf"), shop.dir.join("logrotate.state"));
        let log = vault.audit_log.display();
        fs::write(&config, format!("\"{log}\" {{\n    rotate 100\n    missingok\n    {scheme}\n}}\n")).unwrap();
        fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { config, state }
    }

    fn force(&self) {
        let output = Command::new(keyward_harness::logrotate()).arg("--force").arg("--state").arg(&self.state).arg(&self.config).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Reads one secret from several threads while `rotate` is called between its rounds; how many reads there were, and the count of
/// those that the daemon saw when it had seen the last one.
fn under_load(vault: &VaultServer, scheme: &str, rotations: u64) -> (String, u64, u64) {
    let shop = Shop::open(vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let mount = unique("counted");
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "kv", "options": { "version": "2" } }))).unwrap();
    let write = || vault.api("POST", &format!("{mount}/data/it"), Some(json!({ "data": { "k": "v" } })));
    wait_until("the mount", LONG, || write().ok().filter(|(status, _)| *status == 200));
    let _daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let rotation = Rotation::new(&shop, vault, scheme);
    let each = if full() { 500 } else { 100 };
    let (workers, read) = (4, || assert_eq!(vault.api("GET", &format!("{mount}/data/it"), None).unwrap().0, 200));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| (0..each * rotations).for_each(|_| read()));
        }
        // As many rotations as the workload has rounds, each when its round has begun.
        for round in 1..=rotations {
            let labels = [format!("mount=\"{mount}/\""), "operation=\"read\"".to_owned()];
            let wanted = each * workers * (round - 1) / 2;
            wait_until("the workload to go on", LONG, || {
                sum(&shop, "keyward_audit_entries_total", &labels).filter(|counted| *counted >= wanted)
            });
            rotation.force();
        }
    });
    let reads = each * rotations * workers;
    // A list comes last: once it is counted, so is all before it.
    assert_eq!(vault.api("LIST", &format!("{mount}/metadata"), None).unwrap().0, 200);
    let count =
        |operation: &str| sum(&shop, "keyward_audit_entries_total", &[format!("mount=\"{mount}/\""), format!("operation=\"{operation}\"")]);
    wait_until("the last call", LONG, || count("list").filter(|lists| *lists > 0));
    let counted = count("read").unwrap();
    assert_eq!(sum(&shop, "keyward_audit_gaps_total", &[]), Some(0));
    assert_eq!(sum(&shop, "keyward_audit_bad_lines_total", &[]), Some(0));
    (mount, reads, counted)
}

#[test]
fn logrotate_with_create_and_sighup_loses_nothing() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let scheme = format!("create\n    compress\n    delaycompress\n    postrotate\n        kill -HUP {}\n    endscript", vault.pid);
    let (_, reads, counted) = under_load(&vault, &scheme, 8);
    assert_eq!(counted, reads);
}

#[test]
fn logrotate_with_copytruncate_loses_only_what_no_file_has() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let (mount, reads, counted) = under_load(&vault, "copytruncate\n    compress\n    delaycompress", 8);
    // What the copies and the log itself still have is the least that must have been counted.
    let mut kept = 0;
    for entry in fs::read_dir(vault.audit_log.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("audit.log") {
            let output = Command::new("zcat").arg("-f").arg(&path).output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            let wanted = format!("\"path\":\"{mount}/data/it\"");
            kept += text
                .lines()
                .filter(|l| l.contains("\"type\":\"response\"") && l.contains("\"operation\":\"read\"") && l.contains(&wanted))
                .count() as u64;
        }
    }
    assert!(kept <= counted && counted <= reads, "{kept} in the files, {counted} counted, {reads} read");
}
