//! The ways through a file. Each reads it from its first byte to its last and says how long that took.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use keyward_audit::{Chain, Pipeline, Place, Usage};
use keyward_tail::{Follower, Line, Options};
use serde_json::{Value, json};

use crate::log;

/// How much is read at once where nothing else says so.
const CHUNK: usize = 256 << 10;

/// What the daemon does with a followed log, but for showing and storing what came out. With `chained`, the evidence's chain over the
/// lines besides, whose segments the daemon would store.
pub(crate) fn pipeline(path: &Path, chained: bool) -> Result<Value> {
    let mut follower = Follower::open(path, None, Options::default())?;
    let mut pipeline = Pipeline::default();
    let mut usage = Usage::default();
    for number in 0..log::MANAGED {
        pipeline.paths.add_kv2(&format!("secret-{number}"), "secret/", &log::key(number));
    }
    let mut chain = chained.then(Chain::default);
    let mut segments = 0;
    let (mut lines, mut bytes, mut found, start) = (0, 0, 0, Instant::now());
    loop {
        let now = Timestamp::now();
        let outcome = follower.poll(&mut |line: Line<'_>| {
            let place = Place { file: line.file.inode, offset: line.offset };
            pipeline.line(line.bytes, place, now, &mut usage);
            if let Some(chain) = &mut chain {
                chain.line(line.bytes, place, now);
            }
        });
        if let Some(chain) = &mut chain {
            segments += chain.closed().len();
            chain.forget_closed();
        }
        pipeline.expire(pipeline.tally.last_entry().unwrap_or(now));
        found += pipeline.take_found().len();
        (lines, bytes) = (lines + outcome.lines, bytes + outcome.bytes);
        if outcome.at_end {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let tally = &pipeline.tally;
    let calls: u64 = tally.rows().iter().flat_map(|row| row.cells.iter().flatten()).sum();
    let readers: usize = (0..log::MANAGED).map(|number| usage.readers(&format!("secret-{number}")).len()).sum();
    ensure!(tally.lines().iter().sum::<u64>() == lines, "a line was not counted");
    ensure!(chain.is_none_or(|chain| chain.end().0 == lines), "a line is not in the chain");
    ensure!(tally.bad().iter().sum::<u64>() == 0, "a line was not understood: {:?}", tally.bad_places().next());
    Ok(
        json!({ "lines": lines, "bytes": bytes, "seconds": seconds, "calls": calls, "findings": found, "readers": readers, "segments": segments }),
    )
}

/// The follower alone.
pub(crate) fn follow(path: &Path) -> Result<Value> {
    let mut follower = Follower::open(path, None, Options::default())?;
    let (mut lines, mut bytes, start) = (0, 0, Instant::now());
    loop {
        let outcome = follower.poll(&mut |line: Line<'_>| {
            black_box(line.bytes.len());
        });
        (lines, bytes) = (lines + outcome.lines, bytes + outcome.bytes);
        if outcome.at_end {
            return Ok(json!({ "lines": lines, "bytes": bytes, "seconds": start.elapsed().as_secs_f64() }));
        }
    }
}

/// What one would write first: each line a [`Value`], counted by three fields.
pub(crate) fn value(path: &Path) -> Result<Value> {
    let mut file = BufReader::with_capacity(CHUNK, open(path)?);
    let (mut counts, mut line) = (HashMap::<(String, String, bool), u64>::new(), Vec::new());
    let (mut lines, mut bytes, start) = (0_u64, 0, Instant::now());
    loop {
        line.clear();
        let read = file.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        (lines, bytes) = (lines + 1, bytes + read);
        let entry: Value = serde_json::from_slice(&line)?;
        if entry.get("type").and_then(Value::as_str) == Some("response") {
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            *counts.entry((text("/request/operation"), text("/request/mount_point"), entry.get("error").is_some())).or_default() += 1;
        }
    }
    let calls: u64 = counts.values().sum();
    Ok(json!({ "lines": lines, "bytes": bytes, "seconds": start.elapsed().as_secs_f64(), "calls": calls }))
}

/// The newlines and nothing else: no reader of lines can be faster.
pub(crate) fn newlines(path: &Path) -> Result<Value> {
    let (mut file, mut chunk) = (open(path)?, vec![0; CHUNK]);
    let (mut lines, mut bytes, start) = (0, 0, Instant::now());
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(json!({ "lines": lines, "bytes": bytes, "seconds": start.elapsed().as_secs_f64() }));
        }
        lines += memchr::memchr_iter(b'\n', chunk.get(..read).unwrap_or_default()).count();
        bytes += read;
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}
