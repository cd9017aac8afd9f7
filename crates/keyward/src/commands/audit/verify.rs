//! `audit verify`: whether archived logs are what they were when the daemon read them, and if not, where.

use super::archive;
use super::evidence::{self, Evidence};
use crate::cli::Exit;
use crate::commands::Alone;
use crate::commands::output::{self, Output};
use crate::config::{Config, Environment};
use anyhow::{Context, Result, bail};
use clap::Args;
use keyward_audit::{Comparison, Difference, Spot, Verdict, Where, from_hex, statement};
use keyward_store::Seal;
use serde::Serialize;
use std::path::PathBuf;

/// `audit verify`.
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// The archived logs, oldest first
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The node whose log it is; needed where evidence of several nodes is kept
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Evidence that `keyward audit evidence` printed before, instead of the local store's
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Verified {
    node: String,
    /// Whether nothing is wrong.
    is_well: bool,
    /// Lines of the archive.
    lines: u64,
    /// Numbers in the chain of the first and the last line.
    first: u64,
    last: u64,
    /// Segments proved to be what they were.
    segments_proved: u64,
    /// Segments that are not, by the numbers of their first and last line.
    segments_altered: Vec<(u64, u64)>,
    /// What is wrong, in sentences that name file and line.
    differences: Vec<String>,
    /// How many more there are.
    unlisted: u64,
    /// Lines before evidence began.
    lines_before: u64,
    /// Lines after its end.
    lines_after: u64,
    /// Lines of the chain in files that were not given.
    lines_not_given: u64,
    /// Signed checkpoints, and what is wrong with them.
    seals: Seals,
}

#[derive(Debug, Default, Serialize)]
struct Seals {
    /// How many there are for the lines that were compared: those among them, and the first one after them.
    signed: usize,
    /// How many signatures Vault confirmed.
    confirmed: usize,
    /// What is wrong.
    wrong: Vec<String>,
    /// Why the rest was not checked.
    unchecked: Option<String>,
}

/// Compares and prints what came of it.
///
/// # Errors
/// There is no evidence, or a file cannot be read.
pub async fn run(verify: Verify, config: Option<Config>, environment: &Environment, out: Output) -> Result<Exit> {
    // Evidence is read first: a log that grows meanwhile is then longer than it, never shorter.
    let mut all = match (&verify.evidence, &config) {
        (Some(file), _) => evidence::exported(file)?,
        (None, Some(config)) => evidence::stored(config).await?,
        (None, None) => bail!("there is no configuration, and so no local store; name the evidence with --evidence, or the configuration"),
    };
    let node = match (verify.node, all.len()) {
        (Some(node), _) => node,
        (None, 1) => all.keys().next().cloned().unwrap_or_default(),
        (None, 0) => bail!("no evidence is kept; switch it on with [audit.evidence]: what is read from then on can be verified"),
        (None, _) => {
            bail!("evidence of several nodes is kept: {}; say which with --node", all.keys().cloned().collect::<Vec<_>>().join(", "))
        }
    };
    let evidence = all.remove(&node).with_context(|| format!("no evidence is kept of the log of {node}"))?;
    let seals = evidence.seals.clone();
    let ends = ends(&evidence);
    let files = verify.files;
    let (verdict, files) = tokio::task::spawn_blocking(move || compare(evidence, files)).await??;
    let seals = judge_seals(&node, seals, &ends, &verdict, config, environment).await;
    let verified = verified(node, &verdict, &files, seals);
    match out {
        Output::Json => output::json(&verified),
        Output::Text => print(&verified),
    }
    Ok(if verified.is_well { Exit::Ok } else { Exit::Failed })
}

/// After which lines a segment ends, with the chain's value there; and where the kept chain begins.
fn ends(evidence: &Evidence) -> Vec<(u64, [u8; 32])> {
    evidence.segments.iter().map(|segment| (segment.last(), segment.after)).collect()
}

fn compare(evidence: Evidence, files: Vec<PathBuf>) -> Result<(Verdict, Vec<PathBuf>)> {
    let mut comparison = Comparison::new(evidence.segments);
    let mut counts = vec![0_u64; files.len()];
    let each = |file: usize, line: &[u8], _: u64| {
        if let Some(count) = counts.get_mut(file) {
            *count += 1;
            comparison.line(Spot { file, line: *count }, line);
        }
    };
    archive::read(&files, each, || {})?;
    Ok((comparison.finish(), files))
}

async fn judge_seals(
    node: &str,
    seals: Vec<Seal>,
    ends: &[(u64, [u8; 32])],
    verdict: &Verdict,
    config: Option<Config>,
    environment: &Environment,
) -> Seals {
    let mut judged = Seals::default();
    let begins = ends.first().map_or(0, |(last, _)| *last);
    let within = |seal: &&Seal| (verdict.first.max(begins)..=verdict.last).contains(&seal.lines);
    // The first one after the lines vouches for them too: the chain up to it has no other way through.
    let next = seals.iter().filter(|seal| seal.lines > verdict.last).min_by_key(|seal| seal.lines);
    let seals: Vec<&Seal> = seals.iter().filter(within).chain(next).collect();
    judged.signed = seals.len();
    if seals.is_empty() {
        return judged;
    }
    let client = match config {
        Some(config) => {
            Alone::log_in(config, environment).await.map(|alone| alone.live.vault.client().clone()).map_err(|e| format!("{e:#}"))
        }
        None => Err("no configuration says where Vault is".to_owned()),
    };
    for seal in seals {
        let at_line = format!("the checkpoint signed at {} after line {}", seal.at, seal.lines);
        let chain = from_hex(&seal.chain).and_then(|chain| <[u8; 32]>::try_from(chain).ok());
        let kept = ends.iter().find(|(last, _)| *last == seal.lines).map(|(_, after)| *after);
        let (Some(chain), true) = (chain, kept == chain) else {
            judged.wrong.push(format!("{at_line} is not what the kept chain has there: the evidence itself was changed"));
            continue;
        };
        let (Ok(client), Some((mount, key))) = (&client, seal.key.rsplit_once('/')) else { continue };
        match client.is_signed(mount, key, &statement(node, seal.lines, &chain, seal.at), &seal.signature).await {
            Ok(true) => judged.confirmed += 1,
            Ok(false) => judged.wrong.push(format!("{at_line} bears a signature that {} did not make", seal.key)),
            Err(error) => judged.unchecked = Some(error.to_string()),
        }
    }
    if let Err(why) = client {
        judged.unchecked = Some(why);
    }
    judged
}

fn verified(node: String, verdict: &Verdict, files: &[PathBuf], seals: Seals) -> Verified {
    let mut differences: Vec<String> = verdict.differences.iter().map(|difference| sentence(difference, files)).collect();
    if verdict.broken_links > 0 {
        differences.push(format!("the kept chain itself does not link up in {} places: the evidence was changed", verdict.broken_links));
    }
    if verdict.gaps > 0 {
        differences.push(format!("of the kept chain segments are missing in {} places", verdict.gaps));
    }
    Verified {
        node,
        is_well: verdict.is_well() && verdict.gaps == 0 && seals.wrong.is_empty(),
        lines: verdict.lines,
        first: verdict.first,
        last: verdict.last,
        segments_proved: verdict.proved,
        segments_altered: verdict.altered.clone(),
        differences,
        unlisted: verdict.unlisted,
        lines_before: verdict.before,
        lines_after: verdict.after,
        lines_not_given: verdict.rest,
        seals,
    }
}

fn sentence(difference: &Difference, files: &[PathBuf]) -> String {
    let place = |spot: Spot| {
        let file = files.get(spot.file).map(|file| file.display().to_string()).unwrap_or_default();
        format!("{file}:{}", spot.line)
    };
    match difference {
        Difference::Changed { number, at } => format!("{}: the line was changed (line {number} of the chain)", place(*at)),
        Difference::Added { at, lines: 1 } => format!("{}: the line was added", place(*at)),
        Difference::Added { at, lines } => format!("{}: this line and the next {} were added", place(*at), lines - 1),
        Difference::Moved { number, at } => format!("{}: the line stood elsewhere (line {number} of the chain)", place(*at)),
        Difference::Removed { first, last, at } => {
            let what = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
            match at {
                Where::Before(spot) => format!("{}: before this line {what} of the chain were removed", place(*spot)),
                Where::End => format!("at the end {what} of the chain were removed"),
            }
        }
        Difference::Altered { first, last, at } => {
            let begins = at.map(|at| format!("from {} on, ", place(at))).unwrap_or_default();
            format!("{begins}lines {first} to {last} of the chain: at least one was changed, and made to look right to a quick look")
        }
    }
}

fn print(verified: &Verified) {
    let Verified { node, lines, first, last, .. } = verified;
    output::line(&format!("{lines} lines compared with the chain over the log of {node}: lines {first} to {last} of it."));
    output::line(&format!("{} segments are proved to be what they were when they were read.", verified.segments_proved));
    for (first, last) in &verified.segments_altered {
        output::line(&format!("ALTERED: the segment of lines {first} to {last} of the chain"));
    }
    for difference in &verified.differences {
        output::line(&format!("  {difference}"));
    }
    if verified.unlisted > 0 {
        output::line(&format!("  … and {} more", verified.unlisted));
    }
    for (count, what) in [
        (verified.lines_before, "lines stand before the first that evidence was kept of; nothing can be said of them"),
        (verified.lines_after, "lines stand after the last that evidence was kept of; nothing can be said of them"),
        (verified.lines_not_given, "lines of the chain are in files that were not given"),
    ] {
        if count > 0 {
            output::line(&format!("{count} {what}."));
        }
    }
    let Seals { signed, confirmed, wrong, unchecked } = &verified.seals;
    if *signed > 0 {
        output::line(&format!("{signed} signed checkpoints vouch for these lines; Vault confirms the signatures of {confirmed}."));
    } else {
        output::line("No signed checkpoint vouches for these lines: what was found rests on the kept chain alone.");
    }
    if let Some(why) = unchecked {
        output::line(&format!("Signatures were not all checked: {why}."));
    }
    for wrong in wrong {
        output::line(&format!("  {wrong}"));
    }
    output::line(if verified.is_well { "Nothing was altered." } else { "The archive is NOT what it was." });
}
