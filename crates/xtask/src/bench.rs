//! `cargo xtask bench audit`: what the way of an audit line costs, beside other programs that read the same file. Ratios, not promises.
//!
//! All run on one core, one after the other, in rounds; what counts is the median of the processor time that each took, which a busy
//! machine disturbs less than the time on the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use keyward_harness::{packages, run_folder, say};

use crate::cargo;

/// Lines of the log that is made.
const LINES: &str = "1000000";
/// So many lines of it are enough for the slow ones.
const FEW: usize = 100_000;
const ROUNDS: usize = 5;

/// What `mtail` counts: calls by operation, mount and whether they failed.
const MTAIL: &str = r#"counter calls by operation, mount, failed
/"mount_point":"(?P<mount>[^"]*)".*"operation":"(?P<operation>[^"]*)".*"type":"response"}$/ {
  /,"error":"/ {
    calls[$operation][$mount]["yes"]++
  } else {
    calls[$operation][$mount]["no"]++
  }
}
"#;
/// The same for `jq`.
const JQ: &str = r#"select(.type == "response") | [.request.operation, .request.mount_point, (.error != null)] | @tsv"#;
const GREP: &str = r#""type":"response""#;

/// One program under measurement.
struct Runner {
    name: &'static str,
    command: Vec<String>,
    lines: f64,
    seconds: Vec<f64>,
}

pub(crate) fn audit(log: Option<&Path>) -> Result<()> {
    packages::ensure(packages::FOR_BENCH)?;
    say("building keyward-bench (release)");
    let mut build = cargo::cargo()?;
    build.args(["build", "--release", "--package", "keyward-bench"]);
    cargo::run("cargo build", build)?;
    let bench = cargo::target()?.join("release/keyward-bench");
    let folder = run_folder()?;
    let whole = match log {
        Some(log) => log.to_owned(),
        None => made(&bench, folder)?,
    };
    let few = folder.join("few.jsonl");
    let (lines, bytes, few_lines) = cut(&whole, &few)?;
    say(&format!("{lines:.0} lines, {:.0} bytes each; the slow ones read {few_lines:.0} of them", bytes / lines));
    let program = folder.join("calls.mtail");
    fs::write(&program, MTAIL).context("write the program for mtail")?;
    let mut runners = runners(&bench, &whole, &few, &program, lines, few_lines);
    for round in 1..=ROUNDS {
        for runner in &mut runners {
            say(&format!("round {round} of {ROUNDS}: {}", runner.name));
            runner.seconds.push(processor_seconds(&runner.command)?);
        }
    }
    say(&table(&runners, bytes / lines));
    Ok(())
}

/// A log of our own making.
fn made(bench: &Path, folder: &Path) -> Result<PathBuf> {
    let log = folder.join("audit.jsonl");
    say(&format!("making a log of {LINES} lines in {}", log.display()));
    let status = Command::new(bench).arg("generate").arg(&log).arg(LINES).status().context("run keyward-bench")?;
    ensure!(status.success(), "keyward-bench generate ended with {status}");
    Ok(log)
}

/// Writes the first lines of a log to `few`: how many lines and bytes the whole has, and how many lines the part.
fn cut(whole: &Path, few: &Path) -> Result<(f64, f64, f64)> {
    let output = Command::new("head").args(["-n", &FEW.to_string()]).arg(whole).output().context("run head")?;
    ensure!(output.status.success(), "cannot read {}", whole.display());
    fs::write(few, &output.stdout).with_context(|| format!("write {}", few.display()))?;
    let counted = |file: &Path| -> Result<f64> {
        let output = Command::new("wc").arg("-l").arg(file).output().context("run wc")?;
        String::from_utf8_lossy(&output.stdout).split_whitespace().next().and_then(|n| n.parse().ok()).context("wc counts no lines")
    };
    let bytes = fs::metadata(whole)?.len();
    let lines = counted(whole)?;
    ensure!(lines > 0.0, "{} is empty", whole.display());
    #[expect(clippy::cast_precision_loss, reason = "a file of more than 2^53 bytes is out of reach")]
    Ok((lines, bytes as f64, counted(few)?))
}

fn runners(bench: &Path, whole: &Path, few: &Path, program: &Path, lines: f64, few_lines: f64) -> Vec<Runner> {
    let text = |path: &Path| path.display().to_string();
    let ours = |name, way: &str, file: &Path, lines| Runner {
        name,
        command: vec![text(bench), way.to_owned(), text(file)],
        lines,
        seconds: Vec::new(),
    };
    let other = |name, command: Vec<String>, lines| Runner { name, command, lines, seconds: Vec::new() };
    let mtail = ["mtail", "--one_shot", "--logtostderr", "--stderrthreshold=FATAL", "--progs"].map(str::to_owned).to_vec();
    vec![
        ours("keyward", "pipeline", whole, lines),
        ours("keyward, with evidence", "chained", whole, lines),
        ours("keyward's follower alone", "follow", whole, lines),
        other("grep -c", vec!["grep".into(), "-c".into(), GREP.into(), text(whole)], lines),
        ours("newlines alone", "newlines", whole, lines),
        ours("loop over serde_json::Value", "value", few, few_lines),
        other("jq, three fields", vec!["jq".into(), "-r".into(), JQ.into(), text(few)], few_lines),
        other("mtail, three fields", [mtail, vec![text(program), "--logs".into(), text(few)]].concat(), few_lines),
    ]
}

/// The time that one core spent on a program and all that it started.
fn processor_seconds(command: &[String]) -> Result<f64> {
    // A pipe instead of /dev/null, where grep would stop at the first match.
    let script = "{ taskset -c 0 \"$@\" || echo failed >&2; } 2>&1 >&3 | cat >&2; times";
    let script = format!("exec 3>&1; ({script}) 3> >(cat >/dev/null)");
    let output = Command::new("bash").arg("-c").arg(script).arg("bench").args(command).output().context("run bash")?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && !complaints.contains("failed"), "{} failed: {complaints}", command.join(" "));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let times: Vec<f64> = said.split_whitespace().filter_map(minutes_and_seconds).collect();
    match times.as_slice() {
        [.., user, system] => Ok(user + system),
        _ => bail!("the shell says no times: {said}"),
    }
}

/// `0m1.234s` as seconds.
fn minutes_and_seconds(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

fn table(runners: &[Runner], bytes_per_line: f64) -> String {
    let speed = |runner: &Runner| runner.lines / median(&runner.seconds).max(0.001);
    let keyward = runners.first().map(speed).unwrap_or_default();
    let head = format!("\n{:<34} {:>12} {:>8} {:>22}", "", "lines/s", "GB/s", "keyward is so fast");
    let rows = runners.iter().map(|runner| {
        let lines = speed(runner);
        let ratio = format!("{:.2} times", keyward / lines);
        format!("{:<34} {lines:>12.0} {:>8.2} {ratio:>22}", runner.name, lines * bytes_per_line / 1e9)
    });
    let foot = "\nMedians of the processor time, one core, all in this run. Keyward: file to figures with all rules and usage on.";
    [head].into_iter().chain(rows).chain([foot.to_owned()]).collect::<Vec<_>>().join("\n")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_of_a_program_is_told_from_that_of_the_shell() {
        let busy = ["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"].map(str::to_owned);
        let idle = ["true"].map(str::to_owned);
        assert!(processor_seconds(&busy).unwrap_or_default() > processor_seconds(&idle).unwrap_or(9.0));
        assert!(processor_seconds(&["false".to_owned()]).is_err());
        assert_eq!(minutes_and_seconds("1m2.500s"), Some(62.5));
    }
}
