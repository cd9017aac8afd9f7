//! The tables, and how an older file is brought up to date.
//!
//! Format N is reached from N-1 by the N-th script, each in the one transaction that also raises the number. A script that was released
//! is never changed; a new one is added.

use rusqlite::{Connection, OptionalExtension, params};

/// Marks the file as Keyward's in its header: "KywD".
pub(super) const APPLICATION_ID: i64 = 0x4b79_7744;

/// Times are microseconds since 1970, in UTC.
pub(super) const SCRIPTS: [&str; 2] = [
    "
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rotation (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    class TEXT NOT NULL,
    kind TEXT NOT NULL,
    slot INTEGER,
    number INTEGER NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    outcome TEXT NOT NULL,
    success INTEGER NOT NULL,
    failed_step TEXT,
    failure_class TEXT,
    text TEXT,
    asked_by TEXT
) STRICT;
CREATE INDEX rotation_by_secret ON rotation (secret, seq);

CREATE TABLE rotation_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    rotation TEXT NOT NULL,
    step TEXT NOT NULL,
    event TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX rotation_event_by_rotation ON rotation_event (rotation, seq);

CREATE TABLE last_success (
    secret TEXT PRIMARY KEY,
    rotation TEXT NOT NULL,
    number INTEGER NOT NULL,
    finished INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE alert_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    book TEXT NOT NULL,
    outbox TEXT NOT NULL,
    saved INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_node (
    node TEXT PRIMARY KEY,
    checkpoint TEXT NOT NULL,
    counters TEXT NOT NULL,
    metrics TEXT NOT NULL,
    usage TEXT,
    saved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX finding_by_time ON finding (at);
",
    "
ALTER TABLE audit_node ADD COLUMN chain TEXT;

CREATE TABLE audit_segment (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    first INTEGER NOT NULL,
    file INTEGER NOT NULL,
    start INTEGER NOT NULL,
    read_from INTEGER NOT NULL,
    read_to INTEGER NOT NULL,
    before BLOB NOT NULL,
    after BLOB NOT NULL,
    marks BLOB NOT NULL
) STRICT;
CREATE INDEX audit_segment_by_line ON audit_segment (node, first);

CREATE TABLE audit_seal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    lines INTEGER NOT NULL,
    chain TEXT NOT NULL,
    at INTEGER NOT NULL,
    key TEXT NOT NULL,
    signature TEXT NOT NULL
) STRICT;
CREATE INDEX audit_seal_by_node ON audit_seal (node, seq);

CREATE TABLE audit_sighting (
    node TEXT NOT NULL,
    identity TEXT NOT NULL,
    address TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (node, identity, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_sighting_by_time ON audit_sighting (last);

CREATE TABLE audit_gap (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE audit_calls (
    node TEXT NOT NULL,
    day INTEGER NOT NULL,
    operation TEXT NOT NULL,
    mount TEXT NOT NULL,
    result TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (node, day, operation, mount, result)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_calls_by_day ON audit_calls (day);
",
];

/// The newest format known: the number of scripts.
#[expect(clippy::cast_possible_wrap, reason = "there are a handful of scripts")]
pub(super) const FORMAT: i64 = SCRIPTS.len() as i64;

/// Brings the file from `format` to [`FORMAT`].
pub(super) fn migrate(connection: &mut Connection, format: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = usize::try_from(format).unwrap_or(0);
    for script in SCRIPTS.iter().skip(done) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

pub(super) fn set_meta(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    db.execute(sql, params![key, value]).map(|_rows| ())
}

pub(super) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}
