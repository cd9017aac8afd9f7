//! The evidence of a log's chain: from the local store, or from a file that was exported before; and the export itself.

use crate::cli::Exit;
use crate::commands::output;
use crate::config::Config;
use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use keyward_audit::{ChainSnapshot, Place, Segment, SegmentAtRest};
use keyward_store::{Seal, Sqlite, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A line of an exported file is at most this long.
const LONGEST_LINE: u64 = 1 << 20;

/// `audit evidence`.
#[derive(Args, Clone, Debug)]
pub struct Export {
    /// Only this node's
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
}

/// The evidence of one log.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The chain, oldest first.
    pub segments: Vec<Segment>,
    /// Its signed checkpoints.
    pub seals: Vec<Seal>,
}

/// A line of an exported file. The number of the format is the chain's.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Segment {
        node: String,
        #[serde(flatten)]
        segment: SegmentAtRest,
    },
    Seal {
        node: String,
        lines: u64,
        chain: String,
        at: Timestamp,
        key: String,
        signature: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    format: String,
    #[serde(flatten)]
    line: Line,
}

const FORMAT: &str = "1";

/// What the local store holds, by node.
///
/// # Errors
/// The store cannot be read.
pub async fn stored(config: &Config) -> Result<BTreeMap<String, Evidence>> {
    let store = Sqlite::open_read_only(&config.store).await?;
    let mut all = BTreeMap::new();
    for node in store.audit_nodes().await? {
        let mut evidence = Evidence::default();
        loop {
            let above = evidence.segments.last().map_or(0, |segment| segment.first);
            let page = store.segments(&node, above).await?;
            if page.is_empty() {
                break;
            }
            evidence.segments.extend(page.into_iter().filter_map(|kept| segment(&kept)));
        }
        let state = store.load_audit(&node).await?;
        let chain = state.and_then(|state| serde_json::from_str::<ChainSnapshot>(&state.chain_json?).ok());
        evidence.segments.extend(chain.and_then(ChainSnapshot::open));
        evidence.seals = store.seals(&node).await?;
        if !evidence.segments.is_empty() {
            all.insert(node, evidence);
        }
    }
    Ok(all)
}

fn segment(kept: &keyward_store::Segment) -> Option<Segment> {
    Some(Segment {
        first: kept.first,
        place: Place { file: kept.file, offset: kept.offset },
        before: kept.before.as_slice().try_into().ok()?,
        after: kept.after.as_slice().try_into().ok()?,
        from: kept.from,
        to: kept.to,
        marks: Some(kept.marks.clone()).filter(|marks| !marks.is_empty())?,
    })
}

/// What an exported file holds, by node.
///
/// # Errors
/// The file cannot be read, or a line of it is no evidence of a format that is known.
pub fn exported(path: &Path) -> Result<BTreeMap<String, Evidence>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut all: BTreeMap<String, Evidence> = BTreeMap::new();
    for number in 1_u64.. {
        let place = || format!("{}:{number}", path.display());
        let mut text = String::new();
        if std::io::Read::take(&mut reader, LONGEST_LINE).read_line(&mut text).with_context(place)? == 0 {
            break;
        }
        let Versioned { format, line } = serde_json::from_str(&text).with_context(|| format!("{}: no evidence", place()))?;
        if format != FORMAT {
            bail!("{}: evidence of format {format}; this version knows {FORMAT}", place());
        }
        match line {
            Line::Segment { node, segment } => {
                let segment = segment.segment().with_context(|| format!("{}: a segment that is none", place()))?;
                all.entry(node).or_default().segments.push(segment);
            }
            Line::Seal { node, lines, chain, at, key, signature } => {
                let seal = Seal { node: node.clone(), lines, chain, at, key, signature };
                all.entry(node).or_default().seals.push(seal);
            }
        }
    }
    Ok(all)
}

/// Prints the evidence, a JSON object a line.
///
/// # Errors
/// The store cannot be read.
pub async fn export(wanted: &Export, config: &Config) -> Result<Exit> {
    let all = stored(config).await?;
    for (node, evidence) in all.into_iter().filter(|(node, _)| wanted.node.as_ref().is_none_or(|wanted| wanted == node)) {
        let segments = evidence.segments.iter().map(|segment| Line::Segment { node: node.clone(), segment: SegmentAtRest::of(segment) });
        let seal = |s: Seal| Line::Seal { node: s.node, lines: s.lines, chain: s.chain, at: s.at, key: s.key, signature: s.signature };
        for line in segments.chain(evidence.seals.into_iter().map(seal)) {
            output::line(&serde_json::to_string(&Versioned { format: FORMAT.to_owned(), line })?);
        }
    }
    Ok(Exit::Ok)
}
