//! `[backup]`: where snapshots of Vault are kept, for how long, for whose eyes, and where copies go.

use super::reference::{SecretRef, absolute_path};
use super::section::Section;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// How long a copy may take unless the file says otherwise.
const COPY_LIMIT: Duration = Duration::from_mins(30);
/// How long a snapshot may take from the first byte to the last.
const LIMIT: Duration = Duration::from_hours(1);

/// How snapshots are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupConfig {
    /// The folder of the backups; `None`: each one is written where the command line says.
    pub folder: Option<PathBuf>,
    /// A newest backup older than this is overdue; `None`: nobody is told.
    pub every: Option<Duration>,
    /// The public keys that backups are encrypted to (`age1…`); empty: they are not.
    pub recipients: Vec<age::x25519::Recipient>,
    /// The newest so many are kept.
    pub keep: Option<u32>,
    /// All younger than this are kept. With neither, nothing is ever removed.
    pub keep_for: Option<Duration>,
    /// How long a snapshot may take; default an hour.
    pub limit: Duration,
    /// The program that gets every backup on its standard input.
    pub copy: Option<Copy>,
    /// The field that a drill reads.
    pub canary: Option<(String, String)>,
    /// The server that a drill starts; `None`: `vault` or `bao` on `PATH`.
    pub vault: Option<PathBuf>,
}

/// A program that takes copies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The program's absolute path and its arguments; `{name}` in one is the backup's file name.
    pub argv: Vec<String>,
    /// Names of our variables that it gets; no others.
    pub env: Vec<String>,
    /// From start to end.
    pub limit: Duration,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            folder: None,
            every: None,
            recipients: Vec::new(),
            keep: None,
            keep_for: None,
            limit: LIMIT,
            copy: None,
            canary: None,
            vault: None,
        }
    }
}

pub(super) fn read(section: Option<Section<'_>>) -> BackupConfig {
    let Some(mut s) = section else { return BackupConfig::default() };
    let folder = s.parsed("folder", absolute_path).map(Spanned::into_inner);
    let every = s.duration("every");
    if let (Some(every), None) = (&every, &folder) {
        s.wrong(&every.span(), "every", "needs `folder`: without it nobody knows where to look for the newest backup");
    }
    let mut recipients = Vec::new();
    for text in s.texts("recipients") {
        match text.get_ref().parse() {
            Ok(recipient) => recipients.push(recipient),
            // The text is not repeated: it may be the secret half.
            Err(_) => {
                s.wrong(&text.span(), "recipients", "must hold public keys of age, which begin with \"age1\" (age-keygen -y shows one)");
            }
        }
    }
    let keep = s.number("keep", 1..=100_000).map(Spanned::into_inner);
    let keep_for = s.duration("keep_for").map(Spanned::into_inner);
    let limit = s.duration("limit").map_or(LIMIT, Spanned::into_inner);
    let copy = s.section("copy", "[backup.copy]").and_then(read_copy);
    let vault = s.parsed("vault", absolute_path).map(Spanned::into_inner);
    let canary = match s.reference("canary") {
        Some(SecretRef::Vault { path, field }) => Some((path, field)),
        Some(_) => {
            s.wrong(&s.span().clone(), "canary", "must stand in Vault: { vault = \"mount/path\", field = \"name\" }");
            None
        }
        None => None,
    };
    s.finish(&[]);
    BackupConfig { folder, every: every.map(Spanned::into_inner), recipients, keep, keep_for, limit, copy, canary, vault }
}

fn read_copy(mut s: Section<'_>) -> Option<Copy> {
    let argv: Vec<String> = s.texts("program").into_iter().map(Spanned::into_inner).collect();
    let absolute = argv.first().is_some_and(|program| program.starts_with('/'));
    if s.has_taken("program") && !absolute {
        s.wrong(&s.span().clone(), "program", "must begin with a program's absolute path: no shell looks for it");
    }
    let env = s.texts("env").into_iter().map(Spanned::into_inner).collect();
    let limit = s.duration("limit").map_or(COPY_LIMIT, Spanned::into_inner);
    s.finish(&[("program", "name the program and its arguments: [\"/usr/local/bin/offsite\", \"{name}\"]")]);
    absolute.then_some(Copy { argv, env, limit })
}
