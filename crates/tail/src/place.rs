//! What a file's name says about its age among the rotated files of one log. Never looks at a file.

use std::cmp::Ordering;

/// Endings of compressed files.
const COMPRESSED: [&str; 6] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z"];

/// Where a name stands among the rotated files of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The followed name itself.
    Live,
    /// `audit.log.3`: the higher, the older.
    Number(u32),
    /// `audit.log-20260302` or `audit-20260302.log`: the greater, the newer.
    Dated(String),
    /// No member of the family.
    Stranger,
}

impl Place {
    /// What `name` says if `base` is the followed name, and whether it is compressed.
    pub(crate) fn of(name: &str, base: &str) -> (Self, bool) {
        if name == base {
            return (Self::Live, false);
        }
        let bare = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending));
        let (name, compressed) = (bare.unwrap_or(name), bare.is_some());
        let place = if let Some(suffix) = name.strip_prefix(base) {
            match suffix.strip_prefix('.').map(str::parse::<u32>) {
                Some(Ok(number)) if suffix.len() <= 5 => Self::Number(number),
                _ => dated(suffix),
            }
        } else {
            // logrotate's `extension`: date or number stand before the ending.
            base.rsplit_once('.').and_then(|(stem, ending)| name.strip_prefix(stem)?.strip_suffix(ending)?.strip_suffix('.')).map_or(
                Self::Stranger,
                |suffix| match suffix.strip_prefix('.').map(str::parse::<u32>) {
                    Some(Ok(number)) if suffix.len() <= 5 => Self::Number(number),
                    _ => dated(suffix),
                },
            )
        };
        (place, compressed)
    }

    /// Whether a file here, last written at `modified`, is newer than one at `anchor`, last written at `anchor_modified`.
    pub(crate) fn is_newer(&self, modified: i64, anchor: &Self, anchor_modified: i64) -> bool {
        match (self, anchor) {
            (Self::Stranger | Self::Live, _) => false,
            (Self::Number(number), Self::Number(anchor)) => number < anchor,
            (Self::Dated(date), Self::Dated(anchor)) => date > anchor,
            _ => modified >= anchor_modified,
        }
    }

    /// The older first, as far as names tell.
    pub(crate) fn age_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(b.cmp(a)),
            (Self::Dated(a), Self::Dated(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
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
            ("audit.1.log", Place::Number(1), false),
            ("audit.log-20260302", Place::Dated("-20260302".into()), false),
            ("audit.log.20260302", Place::Dated(".20260302".into()), false),
            ("audit.log-2026-03-02T09:15:04Z.zst", Place::Dated("-2026-03-02T09:15:04Z".into()), true),
            ("audit-20260302.log", Place::Dated("-20260302".into()), false),
            ("audit.log.bak", Place::Stranger, false),
            ("audit.log~", Place::Stranger, false),
            ("audit.logger", Place::Stranger, false),
            ("server.log.1", Place::Stranger, false),
        ] {
            assert_eq!(Place::of(name, "audit.log"), (place, compressed), "{name}");
        }
    }
}
