//! Measures the way of an audit line. `cargo xtask bench audit` runs it beside other programs and prints the ratios.

mod log;
mod measure;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: keyward-bench generate FILE LINES    write a log shaped like Vault's
       keyward-bench pipeline FILE          what the daemon does with it: figures, findings, usage
       keyward-bench chained FILE           the same, and the evidence's chain over the lines
       keyward-bench follow FILE            only its following and framing
       keyward-bench value FILE             a loop over serde_json::Value, counting by operation, mount and error
       keyward-bench newlines FILE          only the newlines

Each prints one line of JSON: lines, bytes, and seconds.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["generate", file, lines] => lines.parse().context("LINES is no number").and_then(|lines| log::generate(Path::new(file), lines)),
        [way, file] => measure(way, Path::new(file)),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    let said = match &outcome {
        Ok(line) => writeln!(std::io::stdout(), "{line}"),
        Err(error) => writeln!(std::io::stderr(), "error: {error:#}"),
    };
    if outcome.is_ok() && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(way: &str, file: &Path) -> Result<String> {
    let measured = match way {
        "pipeline" => measure::pipeline(file, false),
        "chained" => measure::pipeline(file, true),
        "follow" => measure::follow(file),
        "value" => measure::value(file),
        "newlines" => measure::newlines(file),
        _ => bail!(USAGE),
    };
    Ok(measured?.to_string())
}
