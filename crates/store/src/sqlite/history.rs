//! Rotations, their events, and the last success of every secret.
//!
//! It never keeps more rows than the bounds say, and never lets the flood of one secret push out another's last success.

use super::rows::{at, cut, micros, number};
use crate::rotation::{LastSuccess, MAX_EVENTS, MAX_EVENTS_PER_ROTATION, MAX_ROTATIONS, MAX_SUCCESSES, Rotation, RotationEvent};
use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

pub(super) fn record_rotation(db: &mut Connection, rotation: &Rotation) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute(
        "INSERT INTO rotation (id, secret, class, kind, slot, number, started, finished, outcome, success, failed_step, failure_class, text, asked_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, class = excluded.class, kind = excluded.kind, slot = excluded.slot,
           number = excluded.number, started = excluded.started, finished = excluded.finished, outcome = excluded.outcome,
           success = excluded.success, failed_step = excluded.failed_step, failure_class = excluded.failure_class,
           text = excluded.text, asked_by = excluded.asked_by",
        params![
            rotation.id,
            rotation.secret,
            rotation.class,
            rotation.kind,
            rotation.slot.map(micros),
            number(rotation.number),
            micros(rotation.started),
            rotation.finished.map(micros),
            rotation.outcome,
            rotation.success,
            rotation.failed_step,
            rotation.failure_class,
            rotation.text.as_deref().map(cut),
            rotation.asked_by.as_deref().map(cut),
        ],
    )?;
    if let (true, Some(finished)) = (rotation.success, rotation.finished) {
        transaction.execute(
            "INSERT INTO last_success (secret, rotation, number, finished) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (secret) DO UPDATE SET rotation = excluded.rotation, number = excluded.number, finished = excluded.finished
             WHERE excluded.finished >= last_success.finished",
            params![rotation.secret, rotation.id, number(rotation.number), micros(finished)],
        )?;
    }
    age_rotations(&transaction, MAX_ROTATIONS, MAX_SUCCESSES)?;
    transaction.commit()
}

pub(super) fn age_rotations(transaction: &Transaction<'_>, rotations: i64, successes: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM rotation WHERE seq <= (SELECT max(seq) FROM rotation) - ?1", [rotations])?;
    let excess = "SELECT secret FROM last_success ORDER BY finished DESC, secret LIMIT -1 OFFSET ?1";
    let count: i64 = transaction.query_row("SELECT count(*) FROM last_success", [], |row| row.get(0))?;
    if count > successes {
        transaction.execute(&format!("DELETE FROM last_success WHERE secret IN ({excess})"), [successes])?;
    }
    Ok(())
}

pub(super) fn record_event(db: &mut Connection, event: &RotationEvent) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute(
        "INSERT INTO rotation_event (rotation, step, event, at) VALUES (?1, ?2, ?3, ?4)",
        params![event.rotation, event.step, cut(&event.event), micros(event.at)],
    )?;
    age_events(&transaction, &event.rotation, MAX_EVENTS_PER_ROTATION, MAX_EVENTS)?;
    transaction.commit()
}

pub(super) fn age_events(transaction: &Transaction<'_>, rotation: &str, of_one: i64, of_all: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM rotation_event WHERE rotation = ?1
           AND seq <= (SELECT seq FROM rotation_event WHERE rotation = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        params![rotation, of_one],
    )?;
    transaction.execute("DELETE FROM rotation_event WHERE seq <= (SELECT max(seq) FROM rotation_event) - ?1", [of_all])?;
    Ok(())
}

const COLUMNS: &str =
    "id, secret, class, kind, slot, number, started, finished, outcome, success, failed_step, failure_class, text, asked_by";

pub(super) fn rotations(db: &Connection, limit: i64) -> rusqlite::Result<Vec<Rotation>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM rotation ORDER BY seq DESC LIMIT ?1"))?;
    statement.query_map([limit], rotation)?.collect()
}

pub(super) fn rotations_of(db: &Connection, secret: &str, limit: i64) -> rusqlite::Result<Vec<Rotation>> {
    let sql = format!("SELECT {COLUMNS} FROM rotation WHERE secret = ?1 ORDER BY seq DESC LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_map(params![secret, limit], rotation)?.collect()
}

pub(super) fn rotations_between(db: &Connection, from: Timestamp, to: Timestamp, limit: i64) -> rusqlite::Result<Vec<Rotation>> {
    let sql = format!("SELECT {COLUMNS} FROM rotation WHERE started >= ?1 AND started < ?2 ORDER BY seq LIMIT ?3");
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_map(params![micros(from), micros(to), limit], rotation)?.collect()
}

fn rotation(row: &Row<'_>) -> rusqlite::Result<Rotation> {
    Ok(Rotation {
        id: row.get(0)?,
        secret: row.get(1)?,
        class: row.get(2)?,
        kind: row.get(3)?,
        slot: row.get::<_, Option<i64>>(4)?.map(at),
        number: row.get::<_, i64>(5)?.unsigned_abs(),
        started: at(row.get(6)?),
        finished: row.get::<_, Option<i64>>(7)?.map(at),
        outcome: row.get(8)?,
        success: row.get(9)?,
        failed_step: row.get(10)?,
        failure_class: row.get(11)?,
        text: row.get(12)?,
        asked_by: row.get(13)?,
    })
}

pub(super) fn events_of(db: &Connection, rotation: &str) -> rusqlite::Result<Vec<RotationEvent>> {
    let mut statement = db.prepare_cached("SELECT rotation, step, event, at FROM rotation_event WHERE rotation = ?1 ORDER BY seq")?;
    let event = |row: &Row<'_>| Ok(RotationEvent { rotation: row.get(0)?, step: row.get(1)?, event: row.get(2)?, at: at(row.get(3)?) });
    statement.query_map([rotation], event)?.collect()
}

pub(super) fn last_successes(db: &Connection) -> rusqlite::Result<Vec<LastSuccess>> {
    let mut statement = db.prepare_cached("SELECT secret, rotation, number, finished FROM last_success ORDER BY secret")?;
    let success = |row: &Row<'_>| {
        let number = row.get::<_, i64>(2)?.unsigned_abs();
        Ok(LastSuccess { secret: row.get(0)?, rotation: row.get(1)?, number, finished: at(row.get(3)?) })
    };
    statement.query_map([], success)?.collect()
}
