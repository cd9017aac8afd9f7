//! Replays simulated worlds: `keyward-sim --seed N` tells one as a timeline, `--seeds A..B` looks for one that breaks.

use keyward_sim::{Mutant, run};
use std::io::Write;
use std::process::ExitCode;

const HELP: &str = "\
Simulated worlds around the real engine

Usage: keyward-sim --seed N [--mutant NAME]
       keyward-sim --seeds A..B [--mutant NAME]
       keyward-sim --mutants

  --seed N         live one world and print its story as a timeline
  --seeds A..B     live many (B excluded), and stop at the first in which something is wrong
  --mutant NAME    with one rule of the protocol broken
  --mutants        list the mutants

Exit codes: 0 nothing was wrong, 1 something was, 2 wrong usage
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (asked, mutant) = match words.as_slice() {
        ["--mutants"] => {
            say(&Mutant::ALL.map(Mutant::name).join("\n"));
            return ExitCode::SUCCESS;
        }
        [what, which] => ((*what, *which), None),
        [what, which, "--mutant", name] => match Mutant::ALL.into_iter().find(|m| m.name() == *name) {
            Some(mutant) => ((*what, *which), Some(mutant)),
            None => return usage(&format!("there is no mutant {name}; --mutants lists them")),
        },
        _ => return usage("--seed N or --seeds A..B"),
    };
    match asked {
        ("--seed", seed) => seed.parse().map_or_else(|_| usage("a seed is a number"), |seed| tell(seed, mutant)),
        ("--seeds", range) => match range.split_once("..").map(|(a, b)| (a.parse(), b.parse())) {
            Some((Ok(from), Ok(to))) => search(from, to, mutant),
            _ => usage("seeds are given as A..B"),
        },
        _ => usage("--seed N or --seeds A..B"),
    }
}

fn tell(seed: u64, mutant: Option<Mutant>) -> ExitCode {
    let report = run(seed, true, mutant);
    say(&report.story.text());
    end(seed, report.broken.as_deref())
}

fn search(from: u64, to: u64, mutant: Option<Mutant>) -> ExitCode {
    let (mut rotations, mut events) = (0, 0);
    for seed in from..to {
        let report = run(seed, false, mutant);
        rotations += report.rotations;
        events += report.events;
        if report.broken.is_some() {
            return end(seed, report.broken.as_deref());
        }
    }
    say(&format!("{} worlds, {rotations} rotations, {events} events: nothing was wrong", to.saturating_sub(from)));
    ExitCode::SUCCESS
}

fn end(seed: u64, broken: Option<&str>) -> ExitCode {
    match broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            say(&format!("seed {seed}: {broken}"));
            ExitCode::FAILURE
        }
    }
}

fn usage(what: &str) -> ExitCode {
    say(&format!("error: {what}\n\n{HELP}"));
    ExitCode::from(2)
}

fn say(text: &str) {
    // Nobody reads on: nothing to be done about it.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
