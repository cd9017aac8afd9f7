//! The files beside the followed one: which of them it was, which came after, which is a copy. Never reads a line.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::Position;
use crate::identity::{ContentTag, FileId, modified};
use crate::source::Source;

/// How many entries of a folder are looked at.
const FOLDER_ENTRIES: usize = 10_000;
/// How often a folder is listed until two listings agree; a listing during a rename may miss the renamed file.
const LISTINGS: usize = 5;
/// A tag over fewer bytes than this says too little to recognise a file by its content alone.
const TELLING_TAG: usize = 64;
/// Endings of compressed files.
const COMPRESSED: [&str; 6] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z"];

/// One regular file in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    place: Place,
    compressed: bool,
    id: FileId,
    length: u64,
    modified: i64,
}

/// What a file's name says about its age among the rotated files of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The followed name itself.
    Live,
    /// `audit.log.3`: the higher, the older.
    Number(u32),
    /// `audit.log-20260302` or `audit-20260302.log`: the greater, the newer.
    Dated(String),
    /// No member of the family.
    Stranger,
}

/// What stands between a file and the present one.
#[derive(Debug, Default)]
pub(crate) struct Between {
    /// To be read, oldest first.
    pub(crate) sources: Vec<Source>,
    pub(crate) compressed: Vec<PathBuf>,
    pub(crate) unreadable: Vec<PathBuf>,
}

/// The folder of one followed path.
#[derive(Debug)]
pub(crate) struct Family {
    path: PathBuf,
}

impl Family {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The file of a position: the same file under whatever name, else one with the same content (a copy, or the same
    /// file after a reboot that renumbered the devices).
    pub(crate) fn find(&self, position: &Position) -> Option<Source> {
        // The path itself first: behind a chain of links its folder lists another name.
        if let Some(source) = open_at(&self.path, position).filter(|source| source.continues(position)) {
            return Some(source);
        }
        let listing = self.listing();
        let same = listing.iter().filter(|entry| entry.id == position.file);
        for entry in same {
            if let Some(source) = open_at(&entry.path, position).filter(|source| source.continues(position)) {
                return Some(source);
            }
        }
        Self::copy_in(&listing, position)
    }

    /// A file with the content of a position but another identity.
    pub(crate) fn find_copy(&self, position: &Position) -> Option<Source> {
        Self::copy_in(&self.listing(), position)
    }

    fn copy_in(listing: &[Entry], position: &Position) -> Option<Source> {
        if position.tag.length < TELLING_TAG {
            return None;
        }
        let mut found: Option<(u64, Source)> = None;
        for entry in listing.iter().filter(|entry| entry.id != position.file && entry.length >= position.offset) {
            let Some(source) = open_at(&entry.path, position).filter(|source| source.holds(position)) else { continue };
            // Of several copies the longest holds the most.
            if found.as_ref().is_none_or(|(length, _)| entry.length > *length) {
                found = Some((entry.length, source));
            }
        }
        found.map(|(_, source)| source)
    }

    /// The oldest rotated file without content that is the anchor's or was made after it.
    pub(crate) fn oldest_empty(&self, anchor: &Position) -> Option<Source> {
        let listing = self.listing();
        let empty = listing.iter().filter(|entry| entry.length == 0 && entry.place != Place::Live && !entry.compressed);
        let newer = empty.filter(|entry| entry.id == anchor.file || is_newer(entry, &Place::Stranger, anchor.modified));
        let oldest = newer.min_by(|a, b| age_order(a, b))?;
        Source::open(&oldest.path, 0).ok().filter(|source| source.id == oldest.id)
    }

    /// Whether some file has this device and inode, whatever it holds.
    pub(crate) fn has(&self, id: FileId) -> bool {
        self.listing().iter().any(|entry| entry.id == id)
    }

    /// The non-empty members of the family that were written after `anchor` and before the live file, oldest first.
    ///
    /// `held` says that the anchor's file is held open. Else its inode may belong to another file by now, so that only its
    /// last modification counts; if it was empty, it is itself among the files looked for.
    pub(crate) fn newer_than(
        &self,
        anchor: &Position,
        held: bool,
        live: Option<FileId>,
        finished: &[(FileId, ContentTag)],
        limit: usize,
    ) -> Between {
        let listing = self.listing();
        let itself = |entry: &Entry| entry.id == anchor.file;
        let place = listing.iter().find(|entry| held && itself(entry)).map_or(Place::Stranger, |entry| entry.place.clone());
        let mut newer: Vec<&Entry> = listing
            .iter()
            .filter(|entry| Some(entry.id) != live && entry.length > 0 && !(held && itself(entry)))
            .filter(|entry| {
                let filled_since = !held && anchor.tag.length == 0 && itself(entry);
                is_newer(entry, &place, anchor.modified) || filled_since
            })
            .collect();
        newer.sort_by(|a, b| age_order(a, b));
        let mut between = Between::default();
        for entry in newer {
            if entry.compressed {
                between.compressed.push(entry.path.clone());
                continue;
            }
            let Ok(source) = Source::open(&entry.path, 0) else {
                between.unreadable.push(entry.path.clone());
                continue;
            };
            let done = finished.iter().any(|(id, tag)| *id == source.id && tag.matches(&source.head));
            let copy = anchor.tag.length >= TELLING_TAG && anchor.tag.matches(&source.head);
            if source.id == entry.id && !done && !copy {
                between.sources.push(source);
            }
            if between.sources.len() == limit {
                break;
            }
        }
        between
    }

    /// The folder's regular files, listed until two listings agree.
    fn listing(&self) -> Vec<Entry> {
        let mut last = self.list_once();
        for _ in 1..LISTINGS {
            let now = self.list_once();
            let same = now.len() == last.len() && now.iter().zip(&last).all(|(a, b)| a.id == b.id && a.path == b.path);
            last = now;
            if same {
                break;
            }
        }
        last
    }

    fn list_once(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let target = fs::read_link(&self.path).ok();
        let target = target.map(|target| self.path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target)));
        for path in std::iter::once(self.path.as_path()).chain(target.as_deref()) {
            let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            let Ok(listed) = fs::read_dir(folder) else { continue };
            for file in listed.take(FOLDER_ENTRIES).flatten() {
                let Ok(metadata) = file.metadata() else { continue };
                if !metadata.is_file() {
                    continue;
                }
                let (place, compressed) = place_of(&file.file_name().to_string_lossy(), name);
                entries.push(Entry {
                    path: file.path(),
                    place,
                    compressed,
                    id: FileId::of(&metadata),
                    length: metadata.len(),
                    modified: modified(&metadata),
                });
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        entries
    }
}

fn open_at(path: &Path, position: &Position) -> Option<Source> {
    Source::open(path, position.offset).ok()
}

fn is_newer(entry: &Entry, anchor: &Place, anchor_modified: i64) -> bool {
    match (&entry.place, anchor) {
        (Place::Stranger | Place::Live, _) => false,
        (Place::Number(number), Place::Number(anchor)) => number < anchor,
        (Place::Dated(date), Place::Dated(anchor)) => date > anchor,
        _ => entry.modified >= anchor_modified,
    }
}

fn age_order(a: &Entry, b: &Entry) -> Ordering {
    match (&a.place, &b.place) {
        (Place::Number(a), Place::Number(b)) => b.cmp(a),
        (Place::Dated(a), Place::Dated(b)) => a.cmp(b),
        _ => a.modified.cmp(&b.modified).then_with(|| a.path.cmp(&b.path)),
    }
}

/// What `name` says about a file's age if `base` is the followed name, and whether it is compressed.
fn place_of(name: &str, base: &str) -> (Place, bool) {
    if name == base {
        return (Place::Live, false);
    }
    let bare = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending));
    let (name, compressed) = (bare.unwrap_or(name), bare.is_some());
    let place = if let Some(suffix) = name.strip_prefix(base) {
        match suffix.strip_prefix('.').map(str::parse::<u32>) {
            Some(Ok(number)) if suffix.len() <= 5 => Place::Number(number),
            _ => dated(suffix),
        }
    } else {
        // logrotate's `extension`: the date stands before the ending.
        base.rsplit_once('.')
            .and_then(|(stem, ending)| name.strip_prefix(stem)?.strip_suffix(ending)?.strip_suffix('.'))
            .map_or(Place::Stranger, dated)
    };
    (place, compressed)
}

fn dated(suffix: &str) -> Place {
    let mut characters = suffix.chars();
    let separated = characters.next().is_some_and(|first| matches!(first, '.' | '-' | '_'));
    let digits = suffix.bytes().filter(u8::is_ascii_digit).count();
    let plain = characters.all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ':' | '+' | 'T' | 'Z'));
    if separated && plain && digits > 0 { Place::Dated(suffix.to_owned()) } else { Place::Stranger }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_age() {
        for (name, place, compressed) in [
            ("audit.log", Place::Live, false),
            ("audit.log.1", Place::Number(1), false),
            ("audit.log.12.gz", Place::Number(12), true),
            ("audit.log-20260302", Place::Dated("-20260302".into()), false),
            ("audit.log.20260302", Place::Dated(".20260302".into()), false),
            ("audit.log-2026-03-02T09:15:04Z.zst", Place::Dated("-2026-03-02T09:15:04Z".into()), true),
            ("audit-20260302.log", Place::Dated("-20260302".into()), false),
            ("audit.log.bak", Place::Stranger, false),
            ("audit.log~", Place::Stranger, false),
            ("audit.logger", Place::Stranger, false),
            ("server.log.1", Place::Stranger, false),
        ] {
            assert_eq!(place_of(name, "audit.log"), (place, compressed), "{name}");
        }
    }
}
