//! The trail of the audit logs: segments and seals of evidence, sightings, gaps, calls by day.
//!
//! It never keeps more rows than the bounds say; what goes first is what is oldest.

use super::rows::{at, cut, micros, number};
use crate::trail::{Calls, Gap, MAX_CALLS, MAX_GAPS, MAX_SEALS, MAX_SEGMENTS, MAX_SIGHTINGS, Seal, Segment, Sighting, Trail};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};

/// How long gaps and calls by day are kept, as findings are.
const KEEP: SignedDuration = crate::audit::KEEP_FINDINGS;
/// Who was last seen longer ago is forgotten.
const KEEP_SIGHTINGS: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) fn commit(transaction: &Transaction<'_>, node: &str, trail: &Trail, now: Timestamp) -> rusqlite::Result<()> {
    if let Some(chain) = &trail.chain_json {
        transaction.execute("UPDATE audit_node SET chain = ?2 WHERE node = ?1", params![node, chain])?;
    }
    if !trail.segments.is_empty() {
        segments_in(transaction, node, &trail.segments)?;
        transaction.execute("DELETE FROM audit_segment WHERE seq <= (SELECT max(seq) FROM audit_segment) - ?1", [MAX_SEGMENTS])?;
    }
    if !trail.sightings.is_empty() {
        sightings_in(transaction, node, &trail.sightings)?;
        age_sightings(transaction, node, now)?;
    }
    if !trail.gaps.is_empty() {
        let mut insert = transaction.prepare_cached("INSERT INTO audit_gap (node, at, text) VALUES (?1, ?2, ?3)")?;
        for gap in &trail.gaps {
            insert.execute(params![gap.node, micros(gap.at), cut(&gap.text)])?;
        }
        transaction.execute("DELETE FROM audit_gap WHERE at < ?1", [oldest(now, KEEP)])?;
        transaction.execute("DELETE FROM audit_gap WHERE seq <= (SELECT max(seq) FROM audit_gap) - ?1", [MAX_GAPS])?;
    }
    if !trail.calls.is_empty() {
        calls_in(transaction, node, &trail.calls)?;
        age_calls(transaction, now)?;
    }
    Ok(())
}

fn segments_in(transaction: &Transaction<'_>, node: &str, segments: &[Segment]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit_segment (node, first, file, start, read_from, read_to, before, after, marks) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for s in segments {
        let place = (s.file.cast_signed(), number(s.offset));
        insert.execute(params![node, number(s.first), place.0, place.1, micros(s.from), micros(s.to), s.before, s.after, s.marks])?;
    }
    Ok(())
}

fn sightings_in(transaction: &Transaction<'_>, node: &str, sightings: &[Sighting]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit_sighting (node, identity, address, first, last) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (node, identity, address) DO UPDATE SET last = max(excluded.last, audit_sighting.last)",
    )?;
    for s in sightings {
        insert.execute(params![node, s.identity, s.address, micros(s.first), micros(s.last)])?;
    }
    Ok(())
}

fn age_sightings(transaction: &Transaction<'_>, node: &str, now: Timestamp) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM audit_sighting WHERE last < ?1", [oldest(now, KEEP_SIGHTINGS)])?;
    let count: i64 = transaction.query_row("SELECT count(*) FROM audit_sighting WHERE node = ?1", [node], |row| row.get(0))?;
    if count > MAX_SIGHTINGS {
        transaction.execute(
            "DELETE FROM audit_sighting WHERE node = ?1 AND last <= (SELECT last FROM audit_sighting WHERE node = ?1 ORDER BY last DESC LIMIT 1 OFFSET ?2)",
            params![node, MAX_SIGHTINGS],
        )?;
    }
    Ok(())
}

fn calls_in(transaction: &Transaction<'_>, node: &str, calls: &[Calls]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit_calls (node, day, operation, mount, result, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (node, day, operation, mount, result) DO UPDATE SET count = audit_calls.count + excluded.count",
    )?;
    for c in calls {
        insert.execute(params![node, micros(c.day), c.operation, c.mount, c.result, number(c.count)])?;
    }
    Ok(())
}

fn age_calls(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM audit_calls WHERE day < ?1", [oldest(now, KEEP)])?;
    let count: i64 = transaction.query_row("SELECT count(*) FROM audit_calls", [], |row| row.get(0))?;
    if count > MAX_CALLS {
        transaction.execute(
            "DELETE FROM audit_calls WHERE day <= (SELECT day FROM audit_calls ORDER BY day DESC LIMIT 1 OFFSET ?1)",
            [MAX_CALLS],
        )?;
    }
    Ok(())
}

fn oldest(now: Timestamp, age: SignedDuration) -> i64 {
    micros(now.checked_sub(age).unwrap_or(Timestamp::MIN))
}

pub(super) fn sightings(db: &Connection, node: &str) -> rusqlite::Result<Vec<Sighting>> {
    let mut statement =
        db.prepare_cached("SELECT identity, address, first, last FROM audit_sighting WHERE node = ?1 ORDER BY last DESC LIMIT ?2")?;
    let sighting =
        |row: &Row<'_>| Ok(Sighting { identity: row.get(0)?, address: row.get(1)?, first: at(row.get(2)?), last: at(row.get(3)?) });
    statement.query_map(params![node, MAX_SIGHTINGS], sighting)?.collect()
}

pub(super) fn segments(db: &Connection, node: &str, above: u64, limit: i64) -> rusqlite::Result<Vec<Segment>> {
    let mut statement = db.prepare_cached(
        "SELECT first, file, start, read_from, read_to, before, after, marks FROM audit_segment WHERE node = ?1 AND first > ?2 ORDER BY first LIMIT ?3",
    )?;
    let segment = |row: &Row<'_>| {
        Ok(Segment {
            first: row.get::<_, i64>(0)?.unsigned_abs(),
            file: row.get::<_, i64>(1)?.cast_unsigned(),
            offset: row.get::<_, i64>(2)?.unsigned_abs(),
            from: at(row.get(3)?),
            to: at(row.get(4)?),
            before: row.get(5)?,
            after: row.get(6)?,
            marks: row.get(7)?,
        })
    };
    statement.query_map(params![node, number(above), limit], segment)?.collect()
}

pub(super) fn record_seal(db: &Connection, seal: &Seal) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO audit_seal (node, lines, chain, at, key, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![seal.node, number(seal.lines), seal.chain, micros(seal.at), seal.key, seal.signature],
    )?;
    db.execute("DELETE FROM audit_seal WHERE seq <= (SELECT max(seq) FROM audit_seal) - ?1", [MAX_SEALS]).map(|_rows| ())
}

pub(super) fn seals(db: &Connection, node: &str, limit: i64) -> rusqlite::Result<Vec<Seal>> {
    let mut statement =
        db.prepare_cached("SELECT node, lines, chain, at, key, signature FROM audit_seal WHERE node = ?1 ORDER BY seq DESC LIMIT ?2")?;
    let seal = |row: &Row<'_>| {
        let lines = row.get::<_, i64>(1)?.unsigned_abs();
        Ok(Seal { node: row.get(0)?, lines, chain: row.get(2)?, at: at(row.get(3)?), key: row.get(4)?, signature: row.get(5)? })
    };
    statement.query_map(params![node, limit], seal)?.collect()
}

pub(super) fn gaps(db: &Connection, from: Timestamp, to: Timestamp, limit: i64) -> rusqlite::Result<Vec<Gap>> {
    let mut statement = db.prepare_cached("SELECT node, at, text FROM audit_gap WHERE at >= ?1 AND at < ?2 ORDER BY at LIMIT ?3")?;
    let gap = |row: &Row<'_>| Ok(Gap { node: row.get(0)?, at: at(row.get(1)?), text: row.get(2)? });
    statement.query_map(params![micros(from), micros(to), limit], gap)?.collect()
}

/// Calls of all nodes together, day by day.
pub(super) fn calls(db: &Connection, from: Timestamp, to: Timestamp, limit: i64) -> rusqlite::Result<Vec<Calls>> {
    let mut statement = db.prepare_cached(
        "SELECT day, operation, mount, result, sum(count) FROM audit_calls WHERE day >= ?1 AND day < ?2
         GROUP BY day, operation, mount, result ORDER BY day, operation, mount, result LIMIT ?3",
    )?;
    let calls = |row: &Row<'_>| {
        let count = row.get::<_, i64>(4)?.unsigned_abs();
        Ok(Calls { day: at(row.get(0)?), operation: row.get(1)?, mount: row.get(2)?, result: row.get(3)?, count })
    };
    statement.query_map(params![micros(from), micros(to), limit], calls)?.collect()
}

pub(super) fn nodes(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT node FROM audit_node ORDER BY node")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
