//! The backups in a folder: their names, which tell when each was made, and which of them are kept. Pure but for looking into the folder.

use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "vault-";
const PLAIN: &str = ".snap";
/// What is added to the name of an encrypted one.
pub const ENCRYPTED: &str = ".age";
/// What is added to a name while the file is not whole.
pub const PARTIAL: &str = ".partial";
const FORM: &str = "%Y%m%dT%H%M%S%3fZ";

/// A backup that stands in the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// When it was made, to the millisecond.
    pub at: Timestamp,
    /// The file's name.
    pub name: String,
}

/// How many are kept, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub newest: Option<u32>,
    /// Those younger than this.
    pub younger: Option<Duration>,
}

/// The name of a backup made at this time; the names' order is that of the times.
pub fn name(at: Timestamp, is_encrypted: bool) -> String {
    let ending = if is_encrypted { ENCRYPTED } else { "" };
    format!("{PREFIX}{}{PLAIN}{ending}", at.strftime(FORM))
}

/// The backup of this name; `None` for every other file.
fn read_name(name: &str) -> Option<Kept> {
    let stem = name.strip_prefix(PREFIX)?;
    let time = stem.strip_suffix(ENCRYPTED).unwrap_or(stem).strip_suffix(PLAIN)?;
    let (whole, milliseconds) = time.strip_suffix('Z')?.split_at_checked(15)?;
    let (date, clock) = whole.split_once('T')?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !(digits(date, 8) && digits(clock, 6) && digits(milliseconds, 3)) {
        return None;
    }
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let text = format!(
        "{}-{}-{}T{}:{}:{}.{milliseconds}Z",
        part(date, 0, 4)?,
        part(date, 4, 6)?,
        part(date, 6, 8)?,
        part(clock, 0, 2)?,
        part(clock, 2, 4)?,
        part(clock, 4, 6)?
    );
    Some(Kept { at: text.parse().ok()?, name: name.to_owned() })
}

/// The backups in a folder, oldest first. What is not whole has another name and is none.
///
/// # Errors
/// The folder cannot be read.
pub fn find(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_file = entry.metadata().is_ok_and(|m| m.is_file() && m.len() > 0);
        found.extend(entry.file_name().to_str().and_then(read_name).filter(|_| is_file));
    }
    found.sort();
    Ok(found)
}

/// What was left of backups that were killed on their way. Only whoever holds the folder's lock may remove them.
///
/// # Errors
/// The folder cannot be read.
pub fn find_partial(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().and_then(|n| n.strip_suffix(PARTIAL)).and_then(read_name).is_some() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Those that neither rule keeps, oldest first. With no rule, all are kept.
///
/// **Invariant:** the newest is never among them. It is the one that was just read back and found whole, so the last good backup stays,
/// whatever the rules and the clock say.
pub fn surplus(backups: &[Kept], keep: Keep, now: Timestamp) -> Vec<Kept> {
    if keep == Keep::default() {
        return Vec::new();
    }
    let mut all: Vec<&Kept> = backups.iter().collect();
    all.sort();
    let (newest, count) = (all.last().copied(), all.len());
    let is_new = |place: usize| keep.newest.is_some_and(|n| count - place <= n as usize);
    let is_young = |kept: &Kept| {
        // One from the future is young: a clock that was wrong deletes nothing.
        keep.younger.is_some_and(|limit| now.duration_since(kept.at).try_into().map_or(true, |age: Duration| age < limit))
    };
    let goes = |(place, kept): &(usize, &Kept)| !is_new(*place) && !is_young(kept) && Some(*kept) != newest;
    all.iter().copied().enumerate().filter(goes).map(|(_, kept)| kept.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn at(hour: i64) -> Timestamp {
        "2026-11-01T00:00:00.123Z".parse::<Timestamp>().unwrap().checked_add(SignedDuration::from_hours(hour)).unwrap()
    }

    fn kept(hour: i64) -> Kept {
        Kept { at: at(hour), name: name(at(hour), hour % 2 == 0) }
    }

    #[test]
    fn a_name_tells_when_it_was_made_and_others_tell_nothing() {
        assert_eq!(name(at(1), true), "vault-20261101T010000123Z.snap.age");
        for hour in [0, 1, 30, 4000] {
            assert_eq!(read_name(&kept(hour).name), Some(kept(hour)));
        }
        for other in [
            "vault.snap",
            "vault-20261101T010000123Z.snap.age.partial",
            "vault-20261101T010000Z.snap",
            "vault-20261301T010000123Z.snap",
            "vault-2026110éT010000123Z.snap",
            "vault-20261101T010000123Z.snap.gz",
            "",
        ] {
            assert_eq!(read_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_neither_rule_keeps_goes_and_the_newest_never() {
        let all: Vec<Kept> = [0, 24, 48, 72].map(kept).to_vec();
        let goes = |newest, hours: Option<u64>, now| {
            let keep = Keep { newest, younger: hours.map(Duration::from_hours) };
            surplus(&all, keep, at(now)).iter().map(|k| k.at).collect::<Vec<_>>()
        };
        assert_eq!(goes(None, None, 9_999), []);
        assert_eq!(goes(Some(2), None, 9_999), [at(0), at(24)]);
        assert_eq!(goes(Some(9), None, 9_999), []);
        assert_eq!(goes(None, Some(30), 73), [at(0), at(24)]);
        assert_eq!(goes(Some(3), Some(30), 73), [at(0)]);
        assert_eq!(goes(None, Some(1), 9_999), [at(0), at(24), at(48)], "the last one stays, however old");
        assert_eq!(goes(None, Some(1), -100), [], "a clock that went back deletes nothing");
        assert_eq!(surplus(&[], Keep { newest: Some(1), younger: None }, at(0)), []);
    }

    #[test]
    fn a_folder_is_looked_through_for_whole_ones_and_for_the_remains_of_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in [kept(1).name, kept(0).name, "notes.txt".to_owned(), format!("{}{PARTIAL}", kept(2).name)] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        std::fs::write(folder.path().join(kept(3).name), b"").unwrap();
        assert_eq!(find(folder.path()).unwrap(), [kept(0), kept(1)]);
        assert_eq!(find_partial(folder.path()).unwrap(), [folder.path().join(format!("{}{PARTIAL}", kept(2).name))]);
    }
}
