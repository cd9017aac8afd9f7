//! Takes variables out of a `.env` file once they stand in Vault, and leaves word of where they went.

use super::super::by_hand::Declined;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name → the lines on which it stands, and where it went.
pub type Gone = BTreeMap<String, (Vec<RangeInclusive<usize>>, String)>;

/// The text without these lines, each variable's first replaced by a remark.
fn without(text: &str, gone: &Gone) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let number = i + 1;
        match gone.iter().find(|(_, (lines, _))| lines.iter().any(|lines| lines.contains(&number))) {
            None => out.push_str(line),
            Some((name, (lines, place))) if lines.first().is_some_and(|first| *first.start() == number) => {
                // Writing into a String cannot fail.
                let _ = writeln!(out, "# {name} is kept in Vault: {place}");
            }
            Some(_) => {}
        }
    }
    out
}

/// Rewrites a file without these variables. The file keeps its mode and is replaced in one step.
///
/// What was written on the disk before may still be found there; only a new value makes the old one worthless.
///
/// # Errors
/// That the file is not what was read, or cannot be replaced; it is then as before.
pub fn remove(file: &Path, read: &str, gone: &Gone) -> Result<()> {
    // A link keeps pointing at the file.
    let file = file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
    let now = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if now != read {
        return Err(
            Declined::later(format!("{} was changed meanwhile: nothing was removed from it; import it again", file.display())).into()
        );
    }
    let mode = fs::metadata(&file).with_context(|| format!("cannot look at {}", file.display()))?.permissions();
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = file.with_file_name(format!(".{name}.keyward-{}", std::process::id()));
    let replaced = replace(&file, &beside, mode, without(read, gone).as_bytes());
    if replaced.is_err() {
        let _ = fs::remove_file(&beside);
    }
    replaced.with_context(|| format!("cannot replace {}; it is as it was", file.display()))
}

fn replace(file: &Path, beside: &Path, mode: fs::Permissions, text: &[u8]) -> std::io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    new.set_permissions(mode)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(beside, file)?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_named_lines_go_and_the_mode_stays() {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let file = folder.path().join(".env");
        let text = "DEBUG=1\nKEY='a\nb'\n# c\nKEY='a\nb'\nTOKEN=t";
        fs::write(&file, text).unwrap_or_else(|e| panic!("{e}"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap_or_else(|e| panic!("{e}"));
        let gone = BTreeMap::from([
            ("KEY".to_owned(), (vec![2..=3, 5..=6], "secret/a key".to_owned())),
            ("TOKEN".to_owned(), (vec![7..=7], "secret/a t".to_owned())),
        ]);
        remove(&file, text, &gone).unwrap_or_else(|e| panic!("{e}"));
        let left = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(left, "DEBUG=1\n# KEY is kept in Vault: secret/a key\n# c\n# TOKEN is kept in Vault: secret/a t\n");
        assert_eq!(fs::metadata(&file).map(|m| m.permissions().mode() & 0o777).ok(), Some(0o640));
        assert!(remove(&file, text, &gone).is_err());
        assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(1));
    }
}
