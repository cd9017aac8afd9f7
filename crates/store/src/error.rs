//! What can go wrong with the store.
//!
//! It never carries a row's content, only what was attempted and where.

use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer Keyward.
    #[error(
        "the store {path} has format {found}, this Keyward knows up to {known}: run the newer Keyward, or move the file away to start anew"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format number found.
        found: i64,
        /// The newest format number known.
        known: i64,
    },
    /// Another program's database.
    #[error("{path} is a SQLite database, but not one of Keyward's: name another file in [store]")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// An older format, opened for reading only.
    #[error("the store {path} has the older format {found}: start the daemon once, which brings it up to date")]
    OlderFormat {
        /// The file.
        path: PathBuf,
        /// The format number found.
        found: i64,
    },
    /// Nothing there to read.
    #[error("there is no store at {path}: the daemon creates it when it first runs")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No room left.
    #[error("{what} failed: no space left for {path}; free some on that disk")]
    DiskFull {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file turned out damaged while in use.
    #[error("{what} failed: the store {path} is damaged; restart the daemon, which moves it aside and starts a new one")]
    Corrupt {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Any other complaint of the database.
    #[error("{what} failed in the store {path}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The database's complaint.
        source: rusqlite::Error,
    },
    /// No answer in time. A write may still happen.
    #[error("{what} took longer than {seconds} s in the store; its disk may be overloaded or gone")]
    TimedOut {
        /// What was attempted.
        what: &'static str,
        /// The limit.
        seconds: f32,
    },
    /// The store's thread has ended.
    #[error("{what} failed: the store is closed")]
    Closed {
        /// What was attempted.
        what: &'static str,
    },
    /// A file or folder that cannot be used.
    #[error("{what} {path} failed")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's complaint.
        source: std::io::Error,
    },
    /// Another daemon runs on the same folder.
    #[error("another keyward{holder} is using {path}; stop it first, or give this one a state folder of its own")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// ` (process 1234)` where known.
        holder: String,
    },
    /// The configured address of the store.
    #[error("the store's url cannot be used: {0}; write sqlite:///var/lib/keyward/keyward.db")]
    Url(&'static str),
}
