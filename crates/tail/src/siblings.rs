//! The files beside the followed one: which of them it was, which came after, which is a copy. Never reads a line.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memchr;

use crate::checkpoint::Position;
use crate::identity::{ContentTag, FileId, HEAD_BYTES, modified};
use crate::place::Place;
use crate::source::Source;

/// How many entries of a folder are looked at.
const FOLDER_ENTRIES: usize = 10_000;
/// How often a folder is listed until two listings agree; a listing during a rename may miss the renamed file.
const LISTINGS: usize = 5;
/// How often a listing is made anew because a file was renamed or compressed between listing and opening.
const RELISTINGS: usize = 10;

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

impl Entry {
    fn open(&self, offset: u64) -> io::Result<Source> {
        if self.compressed { Source::open_packed(&self.path, offset) } else { Source::open(&self.path, offset) }
    }

    /// This opened file, if it is a copy of the position's file: at the position, or at its end if it is shorter.
    ///
    /// Shorter than the position is a copy that was finished before a few lines more were read and the original was cut. Only a
    /// rotated file is believed to be that: somebody's backup of an hour ago looks the same.
    fn as_copy(&self, mut source: Source, position: &Position, head: &[u8]) -> Option<Source> {
        if source.holds(position) {
            return Some(source);
        }
        let is_rotated = matches!(self.place, Place::Number(_) | Place::Dated(_));
        if position.tag.matches(&source.head) {
            source.offset = self.length;
        } else if source.head.len() < HEAD_BYTES && tells(&source.head) && head.starts_with(&source.head) {
            source.offset = source.head.len() as u64; // its head is all that it has
        } else {
            return None;
        }
        is_rotated.then_some(source)
    }

    /// Whether this opened file has something that was not read yet, and is no copy of what is read or about to be.
    fn is_news(&self, source: &Source, anchor: Option<&ContentTag>, seen: Seen<'_>) -> bool {
        // Compressing makes another file of it; then its content alone must tell.
        let same = |id: FileId| id == source.id || (self.compressed && tells(&source.head));
        let done = seen.finished.iter().any(|(id, tag)| same(*id) && tag.matches(&source.head));
        let common = seen.head.get(..seen.head.len().min(source.head.len())).unwrap_or_default();
        let of_live = tells(common) && source.head.starts_with(common);
        let of_anchor = anchor.is_some_and(|tag| tag.matches(&source.head));
        let empty = self.compressed && source.head.is_empty();
        !done && !of_live && !of_anchor && !empty
    }

    /// Beside an equally named file that is not compressed, a compressed one is a copy of it that is perhaps not finished yet.
    fn is_doubled(&self, listing: &[Entry]) -> bool {
        self.compressed && listing.iter().any(|other| !other.compressed && other.place == self.place)
    }
}

/// Where the file of a position is.
pub(crate) enum Found {
    Here(Source),
    /// It is there and cannot be opened.
    Unreadable(PathBuf, io::ErrorKind),
    Nowhere,
}

/// What need not be read from a rotated file, because it was, or because it will be from another.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Files read to their end.
    pub(crate) finished: &'a [(FileId, ContentTag)],
    /// The first bytes of the live file, which may be copied at this moment.
    pub(crate) head: &'a [u8],
}

/// What stands between a file and the present one.
#[derive(Debug, Default)]
pub(crate) struct Between {
    /// To be read, oldest first.
    pub(crate) sources: Vec<Source>,
    /// Compressed in a way that we do not read, or damaged.
    pub(crate) compressed: Vec<PathBuf>,
    pub(crate) unreadable: Vec<(PathBuf, io::ErrorKind)>,
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

    /// The file of a position: the same file under whatever name, else one with the same content (a copy, a compressed one, or
    /// the same file after a reboot that renumbered the devices).
    pub(crate) fn find(&self, position: &Position) -> Found {
        // The path itself first: behind a chain of links its folder lists another name.
        if let Some(source) = Source::open(&self.path, position.offset).ok().filter(|source| source.continues(position)) {
            return Found::Here(source);
        }
        let mut locked = None;
        for _ in 0..RELISTINGS {
            let listing = self.listing();
            let mut moved = false;
            for entry in listing.iter().filter(|entry| entry.id == position.file) {
                match entry.open(position.offset) {
                    Ok(source) if source.continues(position) => return Found::Here(source),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => moved = true,
                    Err(error) => locked = Some((entry.path.clone(), error.kind())),
                }
            }
            let (copy, copies_moved) = copy_in(&listing, position, &[]);
            if let Some(copy) = copy {
                return Found::Here(copy);
            }
            if !moved && !copies_moved {
                break;
            }
        }
        locked.map_or(Found::Nowhere, |(path, kind)| Found::Unreadable(path, kind))
    }

    /// A file with the content of a position but another identity. `head` is what the position's file began with.
    pub(crate) fn find_copy(&self, position: &Position, head: &[u8]) -> Option<Source> {
        for _ in 0..RELISTINGS {
            let (copy, moved) = copy_in(&self.listing(), position, head);
            if copy.is_some() || !moved {
                return copy;
            }
        }
        None
    }

    /// The oldest rotated file without content that is the anchor's or was made after it. `held` as for [`Family::newer_than`].
    pub(crate) fn oldest_empty(&self, anchor: &Position, held: bool) -> Option<Source> {
        let listing = self.listing();
        let place = place_of(&listing, anchor, held);
        let empty = listing.iter().filter(|entry| entry.length == 0 && entry.place != Place::Live && !entry.compressed);
        let is_newer = |entry: &Entry| entry.place.is_newer(entry.modified, &place, anchor.modified);
        let newer = empty.filter(|entry| if entry.id == anchor.file { !held } else { is_newer(entry) });
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
    pub(crate) fn newer_than(&self, anchor: &Position, held: bool, live: Option<FileId>, seen: Seen<'_>, limit: usize) -> Between {
        self.open_each(anchor.tells().then_some(&anchor.tag), seen, limit, |listing| newer_in(listing, anchor, held, live))
    }

    /// The non-empty members of the family that were written since `anchor`, when that file, which is held open, was last seen
    /// empty, and that are older than it: what it held meanwhile, oldest first. `now` is its last modification at present.
    pub(crate) fn copied_since(&self, anchor: &Position, now: i64, seen: Seen<'_>, limit: usize) -> Between {
        self.open_each(None, seen, limit, |listing| {
            let itself = listing.iter().find(|entry| entry.id == anchor.file).map(|entry| &entry.place);
            let older = |entry: &Entry| match (&entry.place, itself) {
                (Place::Live | Place::Stranger, _) => false,
                (_, Some(Place::Live)) => true,
                (place, itself) => itself.and_then(|itself| place.age_order(itself)).map_or(entry.modified < now, Ordering::is_lt),
            };
            let since = |entry: &Entry| entry.id != anchor.file && entry.length > 0 && entry.modified >= anchor.modified;
            let mut copies: Vec<&Entry> = listing.iter().filter(|e| since(e) && older(e) && !e.is_doubled(listing)).collect();
            copies.sort_by(|a, b| age_order(a, b));
            copies
        })
    }

    /// Opens the files that `pick` takes from a listing, but for those read already, and for copies of the file with the tag `anchor`.
    fn open_each(
        &self,
        anchor: Option<&ContentTag>,
        seen: Seen<'_>,
        limit: usize,
        pick: impl for<'a> Fn(&'a [Entry]) -> Vec<&'a Entry>,
    ) -> Between {
        let mut between = Between::default();
        for _ in 0..RELISTINGS {
            let listing = self.listing();
            between = Between::default();
            let mut moved = false;
            for entry in pick(&listing) {
                match entry.open(0) {
                    Ok(source) if source.id != entry.id => moved = true,
                    Ok(source) => {
                        if entry.is_news(&source, anchor, seen) {
                            between.sources.push(source);
                        }
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::NotFound => moved = true,
                        io::ErrorKind::Unsupported | io::ErrorKind::InvalidData => between.compressed.push(entry.path.clone()),
                        kind => between.unreadable.push((entry.path.clone(), kind)),
                    },
                }
                if between.sources.len() == limit {
                    break;
                }
            }
            if !moved {
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
        // Behind links, as Kubernetes makes them, the rotated files stand where the file itself does.
        let is_link = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        let target = is_link.then(|| fs::canonicalize(&self.path).ok()).flatten();
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
                let (place, compressed) = Place::of(&file.file_name().to_string_lossy(), name);
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
        // Listed by both names, a file is a member of the family by either.
        let stranger = |entry: &Entry| entry.place == Place::Stranger;
        entries.sort_by(|a, b| (a.id, stranger(a), &a.path).cmp(&(b.id, stranger(b), &b.path)));
        entries.dedup_by(|a, b| a.id == b.id);
        entries
    }
}

/// The copy that holds the most of a position's file, and whether a file was renamed between listing and opening.
fn copy_in(listing: &[Entry], position: &Position, head: &[u8]) -> (Option<Source>, bool) {
    if !position.tells() {
        return (None, false);
    }
    let (mut found, mut moved): (Option<(&Entry, Source)>, bool) = (None, false);
    let others = listing.iter().filter(|entry| entry.id != position.file && !(entry.compressed && entry.place == Place::Stranger));
    for entry in others.filter(|entry| !entry.is_doubled(listing)) {
        let opened = entry.open(position.offset);
        moved |= match &opened {
            Ok(source) => source.id != entry.id,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let Some(source) = opened.ok().and_then(|source| entry.as_copy(source, position, head)) else { continue };
        // Of several copies the longest holds the most; how much a compressed one holds is unknown.
        let better = |best: &Entry| (!entry.compressed, entry.length) > (!best.compressed, best.length);
        if found.as_ref().is_none_or(|(best, _)| better(best)) {
            found = Some((entry, source));
        }
    }
    (found.map(|(_, source)| source), moved)
}

/// The non-empty members of the family in `listing` that were written after `anchor`, oldest first.
fn newer_in<'a>(listing: &'a [Entry], anchor: &Position, held: bool, live: Option<FileId>) -> Vec<&'a Entry> {
    let itself = |entry: &Entry| entry.id == anchor.file;
    let place = place_of(listing, anchor, held);
    let mut newer: Vec<&Entry> = listing
        .iter()
        .filter(|entry| Some(entry.id) != live && entry.length > 0 && !(held && itself(entry)))
        .filter(|entry| {
            let filled_since = !held && anchor.tag.length == 0 && itself(entry);
            entry.place.is_newer(entry.modified, &place, anchor.modified) || filled_since
        })
        .filter(|entry| !entry.is_doubled(listing))
        .collect();
    newer.sort_by(|a, b| age_order(a, b));
    newer
}

/// The place of the anchor's file; of one that is not held open, nothing is known for certain.
fn place_of(listing: &[Entry], anchor: &Position, held: bool) -> Place {
    listing.iter().find(|entry| held && entry.id == anchor.file).map_or(Place::Stranger, |entry| entry.place.clone())
}

/// Whether no other log begins like this; see [`ContentTag`].
fn tells(head: &[u8]) -> bool {
    head.len() == HEAD_BYTES || memchr(b'\n', head).is_some()
}

fn age_order(a: &Entry, b: &Entry) -> Ordering {
    a.place.age_order(&b.place).unwrap_or_else(|| a.modified.cmp(&b.modified).then_with(|| a.path.cmp(&b.path)))
}
