//! Opening the file: its mode, its soundness, its format.
//!
//! It never deletes: a damaged file is moved aside with its write-ahead log, so that `sqlite3 … .recover` can still be tried.

use super::Sqlite;
use super::schema::{APPLICATION_ID, FORMAT, migrate};
use super::thread::classify;
use crate::error::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long SQLite waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// How every SQLite file begins (<https://www.sqlite.org/fileformat.html>, section 1.3.1).
const HEAD: &[u8] = b"SQLite format 3\0";

/// A store that was opened, and what had to be done for it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Sqlite,
    /// Where a damaged file was moved, so that the store is a new and empty one: tell somebody.
    pub moved_aside: Option<PathBuf>,
}

/// Opens for the one daemon that owns the file.
pub(super) fn open_for_writing(path: &Path, now: Timestamp) -> Result<(Connection, Option<PathBuf>), StoreError> {
    make_private(path)?;
    match connect(path) {
        Err(StoreError::Corrupt { .. }) => {
            let aside = move_aside(path, now)?;
            make_private(path)?;
            Ok((connect(path)?, Some(aside)))
        }
        other => other.map(|connection| (connection, None)),
    }
}

/// Opens beside the daemon that owns the file.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let failed = |error| classify("opening for reading", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    match format(&connection, path)? {
        FORMAT => Ok(connection),
        found => Err(StoreError::OlderFormat { path: path.to_owned(), found }),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error| classify("opening", path, error);
    // Looked at before SQLite does: on a file that it does not recognise it would delete the write-ahead log.
    if !has_head_of_database(path)? {
        return Err(StoreError::Corrupt { what: "opening", path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // The format comes first: a newer file is refused untouched, even if we took it for damaged.
    let found = format(&connection, path)?;
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt { what: "opening", path: path.to_owned() });
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        let source = std::io::Error::other("the file system allows no write-ahead log (a network share?)");
        return Err(StoreError::Io { what: "opening", path: path.to_owned(), source });
    }
    for (pragma, value) in [("synchronous", "FULL"), ("trusted_schema", "OFF"), ("journal_size_limit", "16777216")] {
        connection.pragma_update(None, pragma, value).map_err(failed)?;
    }
    if found < FORMAT {
        migrate(&mut connection, found).map_err(|error| classify("bringing the format up to date", path, error))?;
    }
    Ok(connection)
}

/// Whether the file is empty (new) or begins as SQLite's files do.
fn has_head_of_database(path: &Path) -> Result<bool, StoreError> {
    let mut head = Vec::with_capacity(HEAD.len());
    let read = File::open(path).and_then(|file| file.take(HEAD.len() as u64).read_to_end(&mut head));
    read.map_err(|source| StoreError::Io { what: "reading", path: path.to_owned(), source })?;
    Ok(head.is_empty() || head == HEAD)
}

/// The file's format: 0 for a new and empty one. Refuses what is newer or not ours.
fn format(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |error| classify("opening", path, error);
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let is_new = application == 0 && found == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > FORMAT {
        return Err(StoreError::NewerFormat { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

/// Creates the file with mode 0600, or takes away what others may do with it. SQLite gives its side files the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let io = |what| {
        let path = path.to_owned();
        move |source| StoreError::Io { what, path, source }
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("creating the folder of"))?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io("opening"))?;
    let mode = file.metadata().map_err(io("looking at"))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io("making private"))?;
    }
    Ok(())
}

fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let stem = format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut aside = with_suffix(path, &stem);
    // Twice within one second, or a clock that was set back.
    let mut again = 1;
    while aside.exists() {
        again += 1;
        aside = with_suffix(path, &format!("{stem}-{again}"));
    }
    for side in ["-wal", "-shm", ""] {
        let (from, to) = (with_suffix(path, side), with_suffix(&aside, side));
        match std::fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !side.is_empty() => {}
            Err(source) => return Err(StoreError::Io { what: "moving aside the damaged", path: from, source }),
        }
    }
    if let Some(folder) = path.parent() {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Io { what: "syncing", path: folder.to_owned(), source })?;
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
