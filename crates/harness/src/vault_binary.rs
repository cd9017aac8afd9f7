//! Finds a Vault or OpenBao server binary, or builds Vault once from its Go module into the user's cache.
//!
//! Never downloads a finished binary, and leaves neither Go modules nor a build cache behind.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Process, Stop, find_program, is_executable};
use crate::run::run;
use crate::say;

/// The version that `vault/go.mod` pins. Later patch releases of 1.21 do not compile as a module.
pub const VAULT_VERSION: &str = "1.21.0";

/// Names a Vault or OpenBao binary to use instead of any other.
pub const VAULT_ENV: &str = "KEYWARD_TEST_VAULT";

const MAIN_GO: &str = include_str!("../vault/main.go");
const GO_MOD: &str = include_str!("../vault/go.mod");
const GO_SUM: &str = include_str!("../vault/go.sum");

/// Measured: 3.6 GB of modules, 3.9 GB of build cache, and the binary twice for a moment.
const BUILD_BYTES: u64 = 9_000_000_000;
const BUILD_LIMIT: Duration = Duration::from_hours(2);
const REPORT_EVERY: Duration = Duration::from_secs(15);
const LOG_LINES: usize = 30;

/// Which server a binary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Product {
    /// HashiCorp Vault.
    Vault,
    /// OpenBao.
    OpenBao,
}

/// A Vault or OpenBao binary: the one that [`VAULT_ENV`] names, else `vault` or `bao` on `PATH`, else the one in the user's cache,
/// which is built there first if need be (some 15 minutes on two cores, progress on standard error).
pub fn vault_binary() -> Result<PathBuf> {
    match found()? {
        Some(binary) => Ok(binary),
        None => build(&cache_folder()?),
    }
}

/// As [`vault_binary`], but `None` where a build would be needed.
pub fn found() -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(VAULT_ENV).filter(|v| !v.is_empty()).map(PathBuf::from) {
        product(&named).with_context(|| format!("{VAULT_ENV} names {}, which is no Vault or OpenBao binary", named.display()))?;
        return Ok(Some(named));
    }
    let on_path = ["vault", "bao"].iter().filter_map(|name| find_program(&[name], &[])).find(|p| product(p).is_ok());
    let cached = || cache_folder().ok().map(|dir| dir.join("vault")).filter(|p| is_executable(p));
    Ok(on_path.or_else(cached))
}

/// Asks the binary itself.
pub(crate) fn product(binary: &Path) -> Result<Product> {
    let output = Command::new(binary).arg("version").stdin(Stdio::null()).output().with_context(|| format!("run {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.split_whitespace().next() {
        Some("Vault") => Ok(Product::Vault),
        Some("OpenBao") => Ok(Product::OpenBao),
        _ => bail!("{} version says {:?}", binary.display(), said.trim()),
    }
}

fn cache_folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").filter(|p| p.is_absolute()).or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set, so there is no place for a Vault binary")?;
    Ok(cache.join("keyward").join(format!("vault-{VAULT_VERSION}")))
}

fn build(cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache).with_context(|| format!("make the folder {}", cache.display()))?;
    let _lock = lock_builds(cache)?;
    let binary = cache.join("vault");
    if is_executable(&binary) {
        return Ok(binary);
    }
    let go = find_program(&["go"], &["/usr/local/go/bin/go"]).with_context(|| {
        format!("no Vault found and no Go to build it: put `vault` or `bao` on PATH, name one in {VAULT_ENV}, or install Go")
    })?;
    check_space(cache)?;
    // Beside the binary and not in the temporary folder, which is small where it lives in memory.
    // Its name is this process's own: the watcher of one that was killed may still be removing the folder of that one.
    let run = run()?;
    clear_interrupted(cache);
    let work = cache.join(format!("build-{}-{}", run.id, std::process::id()));
    run.remove_at_end(&work)?;
    let outcome = compile(&go, &work).and_then(|built| fs::rename(&built, &binary).context("move the built Vault into the cache"));
    let cleared = fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()));
    outcome.and(cleared).map(|()| binary)
}

/// Two builds at once would each need the whole machine: the second waits for the first and then finds its binary.
fn lock_builds(cache: &Path) -> Result<File> {
    let file = File::create(cache.join("lock")).with_context(|| format!("make a lock file in {}", cache.display()))?;
    let start = Instant::now();
    let mut said = None;
    while let Err(error) = file.try_lock() {
        if let fs::TryLockError::Error(error) = error {
            return Err(error).context("lock the Vault cache");
        }
        if start.elapsed() > BUILD_LIMIT {
            bail!("another process has been building Vault in {} for {}", cache.display(), clock(start.elapsed()));
        }
        if said.is_none_or(|at: Instant| at.elapsed() > REPORT_EVERY) {
            say(&format!("waiting for another process that builds Vault {VAULT_VERSION} ({})", clock(start.elapsed())));
            said = Some(Instant::now());
        }
        std::thread::sleep(crate::POLL);
    }
    Ok(file)
}

fn check_space(cache: &Path) -> Result<()> {
    let fs = rustix::fs::statvfs(cache).with_context(|| format!("ask for the free space under {}", cache.display()))?;
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    if free < BUILD_BYTES {
        bail!("building Vault needs {} GB under {} for a while; {} GB are free", gigabytes(BUILD_BYTES), cache.display(), gigabytes(free));
    }
    Ok(())
}

fn gigabytes(bytes: u64) -> u64 {
    bytes / 1_000_000_000
}

/// A machine that lost its power had no watcher. We hold the lock, so no build goes on; what cannot be removed is tried next time.
fn clear_interrupted(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("build-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn compile(go: &Path, work: &Path) -> Result<PathBuf> {
    let (source, built) = (work.join("source"), work.join("vault"));
    for dir in [&source, &work.join("tmp")] {
        fs::create_dir_all(dir).with_context(|| format!("make the folder {}", dir.display()))?;
    }
    for (name, text) in [("main.go", MAIN_GO), ("go.mod", GO_MOD), ("go.sum", GO_SUM)] {
        fs::write(source.join(name), text).with_context(|| format!("write {name}"))?;
    }
    say(&format!("building Vault {VAULT_VERSION} from its Go module, once, for tests: some 15 minutes on two cores"));
    // -modcacherw: the module files would otherwise be read-only and could not be removed.
    let (reader, writer) = std::io::pipe().context("make a pipe for the compiler's output")?;
    let mut command = Command::new(go);
    command
        .args(["build", "-v", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(&built)
        .arg(".")
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("GOMODCACHE", work.join("mod"))
        .env("GOCACHE", work.join("cache"))
        .env("GOTMPDIR", work.join("tmp"))
        .stdout(Stdio::null())
        .stderr(writer);
    let process = Process::start("go build", command, Stop::Kill)?;
    let tail = follow(reader, &process)?;
    let status = process.wait(Duration::from_mins(1)).context("go build closed its output but did not end")?;
    if !status.success() {
        bail!("go build ended with {status}:\n{}", tail.join("\n"));
    }
    product(&built).context("the built Vault does not run")?;
    Ok(built)
}

/// Reads what `go build -v` says until it closes its output, and reports now and then; returns the last lines.
fn follow(output: std::io::PipeReader, process: &Process) -> Result<Vec<String>> {
    let (sender, lines) = mpsc::sync_channel(1_000);
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let (start, mut reported) = (Instant::now(), Instant::now());
    let (mut modules, mut packages, mut tail) = (0_u32, 0_u32, VecDeque::new());
    loop {
        match lines.recv_timeout(crate::POLL) {
            Ok(line) if line.starts_with("go: downloading") => modules += 1,
            Ok(line) => {
                packages += 1;
                tail.push_back(line);
                if tail.len() > LOG_LINES {
                    tail.pop_front();
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(tail.into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if reported.elapsed() > REPORT_EVERY {
            let now = tail.back().map_or("downloading", String::as_str);
            say(&format!("  {} · {modules} modules downloaded · {packages} packages compiled · {now}", clock(start.elapsed())));
            reported = Instant::now();
        }
        if start.elapsed() > BUILD_LIMIT {
            process.signal(crate::process::Signal::KILL)?;
            bail!("go build did not end within {}", clock(BUILD_LIMIT));
        }
    }
}

fn clock(elapsed: Duration) -> String {
    format!("{}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}
