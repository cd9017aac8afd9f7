//! `cargo xtask fuzz`: libFuzzer on what strangers can write. `cargo xtask test` runs every target for a minute beside the tests.
//!
//! It works with the stable compiler: coverage needs no sanitizer. What a run learns stays in the target folder; what it breaks on is for a
//! person to copy into `crates/fuzz/corpus`, where it runs as an ordinary test from then on.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keyward_harness::{Process, Stop, say};

use crate::cargo;

/// What is fuzzed: the program's name after `fuzz-`, and its corpus.
const TARGETS: [(&str, &str); 3] = [("line", "line"), ("tail-state", "tail_state"), ("config", "config")];
/// How long each target runs in the test command.
pub(crate) const A_MINUTE: u64 = 60;
/// What makes coverage known to libFuzzer, and comparisons too.
const INSTRUMENTATION: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// What is called for every byte is optimised as well; the rest would cost more to compile than it gives.
const OPTIMISED: [&str; 2] = ["keyward_audit", "keyward_tail"];

/// Fuzz targets at work.
pub(crate) struct Running {
    seconds: u64,
    targets: Vec<(&'static str, PathBuf, Process)>,
}

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (names, seconds) = match words {
        [] => (None, A_MINUTE),
        ["--seconds", seconds] => (None, seconds.parse().context("--seconds needs a number")?),
        [target] => (Some(*target), A_MINUTE),
        [target, "--seconds", seconds] => (Some(*target), seconds.parse().context("--seconds needs a number")?),
        _ => bail!("usage: cargo xtask fuzz [TARGET] [--seconds N]"),
    };
    let known = TARGETS.map(|(name, _)| name).join(", ");
    ensure!(names.is_none_or(|name| TARGETS.iter().any(|(known, _)| *known == name)), "no such target; there are {known}");
    build()?;
    say(&format!("fuzzing for {seconds} seconds"));
    start(names, seconds)?.wait()
}

/// Builds all targets. The workspace's own crates are compiled once more, with instrumentation; what they stand on is shared with
/// the tests, which spares minutes.
pub(crate) fn build() -> Result<()> {
    let mut build = cargo::cargo()?;
    build.args(["build", "--workspace", "--features", "keyward-fuzz/libfuzzer"]);
    for (name, _) in TARGETS {
        build.arg("--bin").arg(format!("fuzz-{name}"));
    }
    let ourselves = std::env::current_exe().context("find this program")?;
    build.env("RUSTC_WORKSPACE_WRAPPER", ourselves).env("CARGO_INCREMENTAL", "0");
    cargo::run("cargo build", build)
}

/// Whether cargo calls us in the compiler's place, with the compiler as the first word.
pub(crate) fn is_compiler(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "rustc")
}

/// Calls the compiler with the instrumentation; returns only with an error.
pub(crate) fn compile(compiler: &str, words: &[&str]) -> Result<()> {
    let optimised = words.windows(2).any(|pair| matches!(pair, ["--crate-name", name] if OPTIMISED.contains(name)));
    let mut rustc = Command::new(compiler);
    rustc.args(words).args(INSTRUMENTATION).args(optimised.then_some("-Copt-level=1"));
    Err(rustc.exec()).with_context(|| format!("run {compiler}"))
}

/// Starts one target, or all, for so many seconds.
pub(crate) fn start(only: Option<&str>, seconds: u64) -> Result<Running> {
    let (root, folder) = (cargo::root()?, folder()?);
    let mut targets = Vec::new();
    for (name, corpus) in TARGETS.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let [learnt, broken, temporary] = ["corpus", "broken", "tmp"].map(|dir| folder.join(dir).join(name));
        for dir in [&learnt, &broken, &temporary] {
            fs::create_dir_all(dir).with_context(|| format!("make the folder {}", dir.display()))?;
        }
        let log = folder.join(format!("{name}.log"));
        let said = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let mut command = Command::new("nice");
        command.arg(cargo::target()?.join("debug").join(format!("fuzz-{name}")));
        command.args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={}/", broken.display())]);
        command.args(["-timeout=20", "-rss_limit_mb=1024", "-max_len=6000", "-print_final_stats=1"]);
        command.arg(learnt).arg(root.join("crates/fuzz/corpus").join(corpus));
        // libFuzzer ends without clearing up.
        command.env("TMPDIR", temporary).stdout(Stdio::null()).stderr(said);
        targets.push((name, log, Process::start(name, command, Stop::Terminate)?));
    }
    Ok(Running { seconds, targets })
}

impl Running {
    /// Waits until all are done; an error says what broke, and where the input is.
    pub(crate) fn wait(self) -> Result<()> {
        let mut broken = Vec::new();
        for (name, log, process) in self.targets {
            let status = process.wait(Duration::from_secs(self.seconds * 2 + 120));
            let said = fs::read_to_string(&log).unwrap_or_default();
            if !status.is_some_and(|status| status.success()) {
                let end = said.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n  ");
                broken.push(format!("{name} ({}):\n  {end}", log.display()));
                continue;
            }
            let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).unwrap_or("0").trim();
            ensure!(runs != "0", "{name} ran nothing: see {}", log.display());
            say(&format!("{name}: {runs} inputs in {} seconds, nothing broken", self.seconds));
        }
        ensure!(broken.is_empty(), "broken; copy the input into crates/fuzz/corpus once it is mended:\n{}", broken.join("\n"));
        Ok(())
    }
}

fn folder() -> Result<PathBuf> {
    Ok(cargo::target()?.join("fuzz"))
}
