//! `cargo xtask test`: the whole suite against real servers, and proof that it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use keyward_harness::{FULL_ENV, KEYWARD_ENV, RUN_ENV, SERVERS_ENV, Servers, end_run, leftovers, run_folder, run_id, say};

use crate::{cargo, fuzz, promtool, setup};

/// How long watchers may take to clear up after the test processes, which they do at the same time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The programs of tests that take a crate, or all of Keyward, as its users meet it.
const WHOLE: &str = "it";

/// What happened, step by step.
#[derive(Default)]
struct Report(Vec<(String, Duration, Result<()>)>);

impl Report {
    /// Runs one step, shows its name first, and says whether it went well.
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<()>) -> bool {
        say(&format!("\n── {name}"));
        let start = Instant::now();
        let outcome = run();
        let well = outcome.is_ok();
        self.0.push((name.to_owned(), start.elapsed(), outcome));
        well
    }

    fn end(self) -> Result<()> {
        say("\n── summary");
        let mut failed = 0;
        for (name, took, outcome) in &self.0 {
            let seconds = took.as_secs_f32();
            match outcome {
                Ok(()) => say(&format!("  ✓ {name} ({seconds:.1} s)")),
                Err(error) => {
                    failed += 1;
                    say(&format!("  ✗ {name} ({seconds:.1} s): {error:#}"));
                }
            }
        }
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.0.len());
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (full, arguments) = take_full(arguments);
    let arguments = arguments.as_slice();
    let mut report = Report::default();
    let scratch = scratch()?;
    let ready = report.step("setup", setup::run)
        && report.step("build the daemon and the tests", || build(arguments))
        && report.step("build the fuzz targets", fuzz::build);
    if ready {
        let mut described = None;
        let started = report.step("start Vault, PostgreSQL, Redis and the SMTP server", || {
            described = Some(Servers::start_all()?);
            Ok(())
        });
        if let (true, Some(described)) = (started, described) {
            let mut fuzzing = None;
            report.step("start fuzzing", || {
                fuzzing = Some(fuzz::start(None, fuzz::A_MINUTE)?);
                Ok(())
            });
            report.step("tests", || run_tests(arguments, full, &described, &scratch));
            if let Some(fuzzing) = fuzzing {
                report.step("fuzzing: each target for a minute, beside the tests", || fuzzing.wait());
            }
            report.step("no file of a test is left", || nothing_in(&scratch, PATIENCE));
        }
        report.step("alert rules", alert_rules);
    }
    report.step("no process and no folder is left", nothing_left);
    report.end()
}

/// The tests' own temporary folder: what they leave in it is seen, and removed with this run all the same.
fn scratch() -> Result<PathBuf> {
    let dir = run_folder()?.join("scratch");
    fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
    // PostgreSQL servers of tests run as another user and must pass through.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).with_context(|| format!("set the mode of {}", dir.display()))?;
    Ok(dir)
}

pub(crate) fn build_daemon() -> Result<()> {
    cargo::run("cargo build", daemon_build()?)
}

/// The build of the daemon. Of the whole workspace, so that what it stands on has the features that it has in the tests.
fn daemon_build() -> Result<Command> {
    let mut build = cargo::cargo()?;
    build.args(["build", "--workspace", "--bin", "keyward"]);
    Ok(build)
}

/// Builds the daemon, and the tests that are asked for. All of them in one go with the daemon: apart from one another, what both
/// stand on would be compiled twice, with other features.
fn build(arguments: &[&str]) -> Result<()> {
    let mut build = daemon_build()?;
    if arguments.is_empty() {
        build.arg("--tests");
    }
    cargo::run("cargo build", build)?;
    cargo::run("cargo test --no-run", cargo_test(arguments, &["--no-run"])?)
}

/// Takes our own `--full` out of the arguments. Behind a `--` it is a word for the tests themselves.
fn take_full<'a>(arguments: &[&'a str]) -> (bool, Vec<&'a str>) {
    let ours = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
    let is_full = |at: usize, word: &str| at < ours && word == "--full";
    let rest = arguments.iter().enumerate().filter(|(at, word)| !is_full(*at, word)).map(|(_, word)| *word).collect::<Vec<_>>();
    (rest.len() < arguments.len(), rest)
}

fn cargo_test(arguments: &[&str], more: &[&str]) -> Result<Command> {
    let mut test = cargo::cargo()?;
    // Not the examples, which the tests include, nor the documentation's, of which there is none: rustdoc would read every crate for it.
    let arguments = if arguments.is_empty() { &["--workspace", "--tests"] } else { arguments };
    // Options for cargo come before a `--`, which begins those for the tests themselves.
    let split = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
    test.arg("test").args(&arguments[..split]).args(more).args(&arguments[split..]);
    Ok(test)
}

fn run_tests(arguments: &[&str], full: bool, servers: &Path, scratch: &Path) -> Result<()> {
    let test = |arguments: &[&str]| -> Result<Command> {
        let mut test = cargo_test(arguments, &["--no-fail-fast"])?;
        // Most tests wait for servers most of the time.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            test.env("RUST_TEST_THREADS", (processors * 2).to_string());
        }
        test.env(SERVERS_ENV, servers).env(RUN_ENV, run_id()?).env(KEYWARD_ENV, daemon()?).env("TMPDIR", scratch);
        if full {
            test.env(FULL_ENV, "1");
        }
        Ok(test)
    };
    if !arguments.is_empty() {
        return cargo::run("cargo test", test(arguments)?);
    }
    // cargo runs one program of tests after another. Those of the whole take longest and wait most: the others run beside them.
    let others = others(&cargo::metadata()?)?;
    let others = test(&others.iter().map(String::as_str).collect::<Vec<_>>())?;
    let others = cargo::start_aside("the other tests", others, &run_folder()?.join("others.log"))?;
    let whole = cargo::run("cargo test", test(&["--workspace", "--test", WHOLE])?);
    let others = others.end();
    whole.and(others)
}

/// The words for cargo that leave out what `--test it` runs.
fn others(metadata: &serde_json::Value) -> Result<Vec<String>> {
    let packages = metadata.get("packages").and_then(serde_json::Value::as_array).context("cargo names no packages")?;
    let targets = packages.iter().filter_map(|package| package.get("targets")?.as_array()).flatten();
    let is_test = |target: &&serde_json::Value| target.pointer("/kind/0").is_some_and(|kind| kind == "test");
    let names: BTreeSet<_> = targets.filter(is_test).filter_map(|target| target.get("name")?.as_str()).collect();
    let tests = names.into_iter().filter(|name| *name != WHOLE).flat_map(|name| ["--test", name]);
    Ok(["--workspace", "--lib", "--bins"].into_iter().chain(tests).map(str::to_owned).collect())
}

/// Where `cargo build` has put the daemon.
fn daemon() -> Result<PathBuf> {
    let metadata = cargo::metadata()?;
    let target = metadata.get("target_directory").and_then(serde_json::Value::as_str).context("cargo names no target folder")?;
    Ok(Path::new(target).join("debug/keyward"))
}

fn nothing_in(scratch: &Path, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let entries = fs::read_dir(scratch).with_context(|| format!("list {}", scratch.display()))?;
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        if names.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("tests left these in their temporary folder: {}", names.join(", "));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn alert_rules() -> Result<()> {
    let (rules, tests) = promtool::run()?;
    say(&format!("{rules} rule file(s) checked, {tests} test file(s) run"));
    Ok(())
}

fn nothing_left() -> Result<()> {
    end_run()?;
    let left = leftovers(run_id()?, PATIENCE)?;
    if !left.is_empty() {
        bail!("left behind: {left:#?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_file_is_named() -> Result<()> {
        let dir = run_folder()?.join("forgetful");
        fs::create_dir(&dir)?;
        nothing_in(&dir, Duration::ZERO)?;
        fs::write(dir.join("secret.txt"), "")?;
        let error = nothing_in(&dir, Duration::ZERO).err().context("the file was not found")?;
        assert!(error.to_string().contains("secret.txt"), "{error}");
        Ok(())
    }

    #[test]
    fn full_is_ours_wherever_it_stands_before_the_tests_own_words() {
        assert_eq!(take_full(&[]), (false, vec![]));
        assert_eq!(take_full(&["--full"]), (true, vec![]));
        assert_eq!(take_full(&["-p", "x", "--full", "--", "--exact"]), (true, vec!["-p", "x", "--", "--exact"]));
        assert_eq!(take_full(&["--", "--full"]), (false, vec!["--", "--full"]));
    }

    #[test]
    fn every_program_of_tests_runs_once() -> Result<()> {
        let targets =
            serde_json::json!([{"kind": ["lib"], "name": "a"}, {"kind": ["test"], "name": "it"}, {"kind": ["test"], "name": "b"}]);
        let metadata = serde_json::json!({"packages": [{"targets": targets}, {"targets": [{"kind": ["test"], "name": "b"}]}]});
        assert_eq!(others(&metadata)?, ["--workspace", "--lib", "--bins", "--test", "b"]);
        Ok(())
    }

    #[test]
    fn options_for_cargo_come_before_those_for_the_tests() -> Result<()> {
        let words = |arguments: &[&str]| -> Result<Vec<String>> {
            let command = cargo_test(arguments, &["--no-run"])?;
            Ok(command.get_args().map(|a| a.to_string_lossy().into_owned()).collect())
        };
        assert_eq!(words(&[])?, ["test", "--workspace", "--tests", "--no-run"]);
        assert_eq!(words(&["-p", "x", "--", "--exact"])?, ["test", "-p", "x", "--no-run", "--", "--exact"]);
        Ok(())
    }
}
