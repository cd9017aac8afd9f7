//! The alerts' state, the audit checkpoints and the findings.
//!
//! It never moves a checkpoint without what the lines before it caused: one transaction holds both.

use super::rows::{at, cut, micros};
use super::trail;
use crate::audit::{AlertState, AuditCommit, AuditState, Finding, KEEP_FINDINGS, MAX_FINDINGS, MAX_NODES};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

pub(super) fn save_alerts(db: &Connection, state: &AlertState) -> rusqlite::Result<()> {
    let sql = "INSERT INTO alert_state (id, book, outbox, saved) VALUES (1, ?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET book = excluded.book, outbox = excluded.outbox, saved = excluded.saved";
    db.execute(sql, params![state.book_json, state.outbox_json, micros(state.saved)]).map(|_rows| ())
}

pub(super) fn load_alerts(db: &Connection) -> rusqlite::Result<Option<AlertState>> {
    let state = |row: &Row<'_>| Ok(AlertState { book_json: row.get(0)?, outbox_json: row.get(1)?, saved: at(row.get(2)?) });
    db.query_row("SELECT book, outbox, saved FROM alert_state WHERE id = 1", [], state).optional()
}

pub(super) fn commit_audit(db: &mut Connection, commit: &AuditCommit) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute(
        "INSERT INTO audit_node (node, checkpoint, counters, metrics, usage, saved) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (node) DO UPDATE SET checkpoint = excluded.checkpoint, counters = excluded.counters, metrics = excluded.metrics,
           usage = coalesce(excluded.usage, audit_node.usage), saved = excluded.saved",
        params![commit.node, commit.checkpoint_json, commit.counters_json, commit.metrics_json, commit.usage_json, micros(commit.at),],
    )?;
    if !commit.findings.is_empty() {
        insert_findings(&transaction, &commit.findings)?;
        age_findings(&transaction, commit.at, MAX_FINDINGS)?;
    }
    if let Some(state) = &commit.alerts {
        save_alerts(&transaction, state)?;
    }
    trail::commit(&transaction, &commit.node, &commit.trail, commit.at)?;
    age_nodes(&transaction, MAX_NODES)?;
    transaction.commit()
}

fn insert_findings(transaction: &Transaction<'_>, findings: &[Finding]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT INTO finding (node, rule, severity, at, text) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for finding in findings {
        insert.execute(params![finding.node, finding.rule, finding.severity, micros(finding.at), cut(&finding.text)])?;
    }
    Ok(())
}

pub(super) fn age_findings(transaction: &Transaction<'_>, now: Timestamp, bound: i64) -> rusqlite::Result<()> {
    let oldest = now.checked_sub(KEEP_FINDINGS).unwrap_or(Timestamp::MIN);
    transaction.execute("DELETE FROM finding WHERE at < ?1", [micros(oldest)])?;
    transaction.execute("DELETE FROM finding WHERE seq <= (SELECT max(seq) FROM finding) - ?1", [bound])?;
    Ok(())
}

pub(super) fn age_nodes(transaction: &Transaction<'_>, bound: i64) -> rusqlite::Result<()> {
    let excess = "SELECT node FROM audit_node ORDER BY saved DESC, node LIMIT -1 OFFSET ?1";
    transaction.execute(&format!("DELETE FROM audit_node WHERE node IN ({excess})"), [bound]).map(|_rows| ())
}

pub(super) fn load_audit(db: &Connection, node: &str) -> rusqlite::Result<Option<AuditState>> {
    let state = |row: &Row<'_>| {
        Ok(AuditState {
            checkpoint_json: row.get(0)?,
            counters_json: row.get(1)?,
            metrics_json: row.get(2)?,
            usage_json: row.get(3)?,
            saved: at(row.get(4)?),
            chain_json: row.get(5)?,
        })
    };
    let sql = "SELECT checkpoint, counters, metrics, usage, saved, chain FROM audit_node WHERE node = ?1";
    db.query_row(sql, [node], state).optional()
}

pub(super) fn forget_audit(db: &Connection, node: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM audit_sighting WHERE node = ?1", [node])?;
    db.execute("DELETE FROM audit_node WHERE node = ?1", [node]).map(|_rows| ())
}

const FINDING: &str = "SELECT node, rule, severity, at, text FROM finding";

pub(super) fn findings(db: &Connection, limit: i64) -> rusqlite::Result<Vec<Finding>> {
    let mut statement = db.prepare_cached(&format!("{FINDING} ORDER BY seq DESC LIMIT ?1"))?;
    statement.query_map([limit], finding)?.collect()
}

pub(super) fn findings_between(db: &Connection, from: Timestamp, to: Timestamp, limit: i64) -> rusqlite::Result<Vec<Finding>> {
    let mut statement = db.prepare_cached(&format!("{FINDING} WHERE at >= ?1 AND at < ?2 ORDER BY at, seq LIMIT ?3"))?;
    statement.query_map(params![micros(from), micros(to), limit], finding)?.collect()
}

fn finding(row: &Row<'_>) -> rusqlite::Result<Finding> {
    Ok(Finding { node: row.get(0)?, rule: row.get(1)?, severity: row.get(2)?, at: at(row.get(3)?), text: row.get(4)? })
}
