//! One line to one entry. A bad line costs itself, and says why in one word, never with a piece of its content.

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::scan::scan;

/// How many places in a line are tried as the beginning of an entry after a torn fragment.
const RESYNC_TRIES: usize = 8;
/// How entries begin: OpenBao and Vault before 1.17 with the time, Vault since then with the first key in sorted order.
const BEGINNINGS: [&[u8]; 4] = [b"{\"time\":\"", b"{\"auth\":{", b"{\"request\":{", b"{\"error\":\""];

/// Why a line is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReason {
    /// Nothing but white space.
    Empty,
    /// NUL bytes, as a crash or a truncation leaves them.
    Nul,
    /// Not UTF-8.
    NotUtf8,
    /// The JSON ends too early.
    Truncated,
    /// No JSON.
    NotJson,
    /// JSON, but not the shape of an audit entry.
    Shape,
    /// A key of the entry's own structure stands there twice, which the server never writes.
    DuplicateKey,
    /// The audit device writes XML. Cure: enable it with `format=json`.
    Jsonx,
    /// The audit device has `log_raw=true`, so the log holds tokens and secrets in clear. Cure: enable it without, and destroy the log.
    Raw,
}

impl BadReason {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Empty, Self::Nul, Self::NotUtf8, Self::Truncated, Self::NotJson, Self::Shape, Self::DuplicateKey, Self::Jsonx, Self::Raw];

    /// The word for labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Nul => "nul",
            Self::NotUtf8 => "not_utf8",
            Self::Truncated => "truncated",
            Self::NotJson => "not_json",
            Self::Shape => "shape",
            Self::DuplicateKey => "duplicate_key",
            Self::Jsonx => "jsonx",
            Self::Raw => "raw",
        }
    }
}

/// A line that is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit entry: {}", reason.label())]
pub struct BadLine {
    /// Why.
    pub reason: BadReason,
}

/// Reads one line, without its newline. Text before the first `{` is taken for the device's `prefix` option and skipped; a line
/// whose beginning is a torn fragment of another entry is read from where the whole entry begins.
pub fn parse(line: &[u8]) -> Result<Entry<'_>, BadLine> {
    parse_by(line, true)
}

/// The same with or without the fast way.
pub(crate) fn parse_by(line: &[u8], fast: bool) -> Result<Entry<'_>, BadLine> {
    let entry = match whole(line, fast) {
        Ok(entry) => entry,
        Err(reason) => resync(line).ok_or(BadLine { reason })?,
    };
    check(&entry)?;
    Ok(entry)
}

/// Whether an entry can be gone on with.
pub(crate) fn check(entry: &Entry<'_>) -> Result<(), BadLine> {
    if entry.kind.is_empty() {
        return Err(BadLine { reason: BadReason::Shape });
    }
    if is_raw(entry) {
        return Err(BadLine { reason: BadReason::Raw });
    }
    Ok(())
}

fn whole(line: &[u8], fast: bool) -> Result<Entry<'_>, BadReason> {
    let Some(start) = memchr::memchr(b'{', line) else { return Err(reason_without_json(line)) };
    let body = line.get(start..).unwrap_or_default();
    let body = std::str::from_utf8(body).map_err(|_| BadReason::NotUtf8)?;
    if let Some(entry) = fast.then(|| scan(body)).flatten() {
        return Ok(entry);
    }
    serde_json::from_str(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => BadReason::Truncated,
        serde_json::error::Category::Data if error.to_string().starts_with("duplicate field") => BadReason::DuplicateKey,
        serde_json::error::Category::Data => BadReason::Shape,
        _ if line.contains(&0) => BadReason::Nul,
        _ => BadReason::NotJson,
    })
}

fn reason_without_json(line: &[u8]) -> BadReason {
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() {
        BadReason::Empty
    } else if trimmed.contains(&0) {
        BadReason::Nul
    } else if memmem::find(trimmed, b"<json:").is_some() {
        BadReason::Jsonx
    } else if std::str::from_utf8(trimmed).is_err() {
        BadReason::NotUtf8
    } else {
        BadReason::NotJson
    }
}

/// The last place from which the rest of the line is a whole entry. An object nested in an entry never is one: the braces
/// that close the entry follow it.
fn resync(line: &[u8]) -> Option<Entry<'_>> {
    let mut end = line.len();
    for _ in 0..RESYNC_TRIES {
        let before = line.get(..end)?;
        let start = BEGINNINGS.iter().filter_map(|beginning| memmem::rfind(before, beginning)).max()?;
        if start == 0 {
            return None;
        }
        let rest = std::str::from_utf8(line.get(start..)?).ok();
        if let Some(mut entry) = rest.and_then(|rest| serde_json::from_str::<Entry<'_>>(rest).ok()) {
            entry.after_torn_fragment = true;
            return Some(entry);
        }
        end = start;
    }
    None
}

fn is_raw(entry: &Entry<'_>) -> bool {
    entry.request.clear_token || entry.auth.as_ref().is_some_and(|auth| auth.clear_token)
}
