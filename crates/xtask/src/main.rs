//! Chores of the workspace: `cargo xtask help` lists them. Never part of what is shipped.

mod bench;
mod cargo;
mod demo;
mod fuzz;
mod image;
mod lag;
mod layers;
mod promtool;
mod setup;
mod sim;
mod test;
mod tidy;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use keyward_harness::say;

const HELP: &str = "\
Chores of the Keyward workspace

Usage: cargo xtask <CHORE>

  setup            Install what the tests need and is missing: Debian packages (as root or through sudo), and a Vault
                   server, built once from its Go module into the user's cache where neither `vault` nor `bao` is on
                   PATH (some 15 minutes)
  test [--full] [ARGS]
                   setup; build the daemon; start real servers; run `cargo test` with ARGS (default: --workspace) and the
                   tests of the alert rules; check that no process and no temporary file is left behind. Heavy tests run
                   in a small size; --full runs them whole
  demo [--keep]    setup; then watch Keyward do its whole job on real servers, told as it happens, with a table of claims
                   at the end (some two minutes). --keep leaves everything running until Enter is pressed
  image            Build the Dockerfile without a container engine (buildah on a Debian made by debootstrap; as root) and run
                   the binary that it yields (some ten minutes)
  bench audit [LOG]
                   Measure the way of an audit line, file to figures with all rules and usage on, beside jq, mtail, grep -c, a
                   loop over serde_json::Value and a plain scan for newlines: one core, one run, as ratios (some three
                   minutes). On a log of its own, shaped like Vault's, or on LOG
  bench lag        Measure on real servers how long a line of Vault's takes to the metric on a quiet log, and how much of a core
                   the daemon needs at a hundred calls a second (some two minutes)
  fuzz [TARGET] [--seconds N]
                   Fuzz what strangers can write: line, tail-state, config, or all three; for a minute, or N seconds
  sim --seed N     Replay one simulated world and print its story as a timeline; `sim --seeds A..B` looks for one that
                   breaks, `--mutant NAME` breaks a rule of the protocol on purpose, `sim --mutants` lists those
  tidy             Check the rules of the house that no compiler checks: file lengths, banned words, and which crate may
                   import which. A test does the same
  help             Print this

Environment:
  KEYWARD_TEST_VAULT   a Vault or OpenBao binary to use instead of any other
  KEYWARD_TEST_FULL    1: heavy tests run whole under a plain `cargo test` too; `test --full` sets it
  XDG_CACHE_HOME       where a built Vault is kept (default: ~/.cache)

Exit codes: 0 done, 1 a chore failed, 2 wrong usage
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["setup"] => setup::run(),
        ["test", rest @ ..] => test::run(rest),
        ["demo"] => demo::run(false),
        ["demo", "--keep"] => demo::run(true),
        ["image"] => image::run(),
        ["bench", "audit"] => bench::audit(None),
        ["bench", "audit", log] => bench::audit(Some(Path::new(log))),
        ["bench", "lag"] => lag::run(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["sim", rest @ ..] => sim::run(rest),
        ["tidy"] => tidy(),
        [compiler, rest @ ..] if fuzz::is_compiler(compiler) => fuzz::compile(compiler, rest),
        ["help" | "--help" | "-h"] => help(),
        [] => return wrong_usage("no chore named"),
        _ => return wrong_usage(&format!("no such chore: {}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage(what: &str) -> ExitCode {
    say(&format!("error: {what}\n\n{HELP}"));
    ExitCode::from(2)
}

fn help() -> Result<()> {
    Ok(std::io::stdout().write_all(HELP.as_bytes())?)
}

fn tidy() -> Result<()> {
    let mut problems = tidy::problems()?;
    problems.extend(layers::problems()?);
    if problems.is_empty() {
        say("tidy");
        return Ok(());
    }
    bail!("{} problem(s):\n  {}", problems.len(), problems.join("\n  "))
}
