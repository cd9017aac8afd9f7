//! Files that hold a secret: written whole or not at all, readable by their owner alone, never inside a work tree.

use crate::commands::by_hand::Declined;
use anyhow::{Context, Result, bail};
use keyward_secret::{Secret, Source, SystemRandom};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What marks the top of a work tree.
const TREES: [&str; 5] = [".git", ".hg", ".svn", ".jj", ".bzr"];

/// Refuses a place where nothing is handed over: inside a work tree, or where a link or no file stands, such as `/dev/stdout`, which would be
/// replaced by a file.
///
/// # Errors
/// It is one.
pub fn takes_a_secret(path: &Path) -> Result<()> {
    outside_work_trees(folder_of(path))?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        bail!(Declined::usage(format!("{} is no ordinary file; name one, or a place where nothing is", path.display())));
    }
    Ok(())
}

/// Writes a file of mode 0600 by way of another name, so that it is there whole or not at all. One that stands there already stays its owner's,
/// where that may be, and its group's to read: who runs this may be root, and who reads it a service.
///
/// # Errors
/// The file system's.
pub fn write_private(path: &Path, text: &Secret) -> Result<()> {
    let like = fs::metadata(path).ok();
    write(path, text, |file| {
        let Some(like) = &like else { return Ok(()) };
        if fchown(file, Some(like.uid()), Some(like.gid())).is_err() {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(0o600 | (like.mode() & 0o040)))
    })
}

/// Writes a file anew, for whoever could read it before: with its owner, its group and its mode.
///
/// # Errors
/// The file system's; what was there before stands then.
pub fn rewrite(path: &Path, text: &Secret) -> Result<()> {
    let like = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    write(path, text, |file| {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
        file.set_permissions(like.permissions())
    })
}

fn write(path: &Path, text: &Secret, dress: impl Fn(&File) -> std::io::Result<()>) -> Result<()> {
    let new = beside(path, ".new");
    remove(&new)?;
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        dress(&file)?;
        file.write_all(text.expose().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder_of(path))?.sync_all()
    };
    let written = write();
    if written.is_err() {
        remove(&new)?;
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The folder that a file is in; a bare name is in the current one.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path with something behind its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// The file system's.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What an earlier run noted; `None` where there was none.
pub fn read_label(path: &Path) -> Option<String> {
    let label = fs::read_to_string(path).ok()?.trim().to_owned();
    let is_ours = !label.is_empty() && label.bytes().all(|b| b.is_ascii_hexdigit());
    is_ours.then_some(label)
}

/// 64 random bits.
///
/// # Errors
/// The operating system gives none.
pub fn fresh_label() -> Result<String> {
    let mut bytes = [0_u8; 8];
    SystemRandom.fill(&mut bytes)?;
    Ok(keyward_audit::hex(&bytes))
}

/// Refuses a folder inside a work tree: what lies there is committed sooner or later.
///
/// # Errors
/// It is inside one.
pub fn outside_work_trees(folder: &Path) -> Result<()> {
    let absolute = std::path::absolute(folder).with_context(|| format!("{} is no path", folder.display()))?;
    // Links are followed as far as the path exists: a link into a work tree is one too.
    let real = absolute.ancestors().find_map(|above| above.canonicalize().ok()).unwrap_or_else(|| absolute.clone());
    for above in absolute.ancestors().chain(real.ancestors()) {
        if let Some(tree) = TREES.iter().find(|tree| above.join(tree).exists()) {
            bail!(Declined::usage(format!(
                "{} is inside the work tree {} (it has {tree}); name a folder outside of every work tree",
                folder.display(),
                above.display()
            )));
        }
    }
    Ok(())
}

/// A folder of mode 0700, made if it is not there.
///
/// # Errors
/// It cannot be made, or others may look into it.
pub fn private_folder(folder: &Path) -> Result<()> {
    let made = fs::DirBuilder::new();
    match std::os::unix::fs::DirBuilderExt::mode(&mut { made }, 0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
        }
        Err(_) => {}
    }
    let metadata = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    if !metadata.is_dir() {
        bail!(Declined::usage(format!("{} is no folder", folder.display())));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!(Declined::usage(format!(
            "others may look into {}; chmod 700 it, or name a folder that does not exist yet",
            folder.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_whole_and_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let path = dir.path().join("id");
        assert!(write_private(&path, &Secret::new("abc")).is_ok());
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("abc\n"));
        assert_eq!(fs::metadata(&path).map(|m| m.permissions().mode() & 0o777).ok(), Some(0o600));
        assert!(!beside(&path, ".new").exists());
        let (link, folder) = (dir.path().join("link"), dir.path().join("folder"));
        assert!(std::os::unix::fs::symlink(&path, &link).and_then(|()| fs::create_dir(&folder)).is_ok());
        assert!(write_private(&folder, &Secret::new("abc")).is_err() && !beside(&folder, ".new").exists());
        assert!(takes_a_secret(&path).is_ok() && takes_a_secret(&dir.path().join("nothing")).is_ok());
        for other in [link.as_path(), &folder, Path::new("/dev/stdout"), Path::new("/dev/null")] {
            assert!(takes_a_secret(other).is_err(), "{}", other.display());
        }
        assert_eq!([Path::new("id"), Path::new("/id"), Path::new("a/id")].map(folder_of), [".", "/", "a"].map(Path::new));
    }

    #[test]
    fn what_is_written_again_is_still_for_whoever_read_it() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let path = dir.path().join("key");
        assert!(fs::write(&path, "old").and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o646))).is_ok());
        // Only root may give a file away.
        let is_root = std::os::unix::fs::chown(&path, Some(4711), Some(4712)).is_ok();
        let seen = || fs::metadata(&path).map(|m| (m.mode() & 0o777, m.uid(), m.gid())).unwrap_or_default();
        let before = seen();
        assert!(rewrite(&path, &Secret::new("new")).is_ok());
        assert_eq!((seen(), fs::read_to_string(&path).ok().as_deref()), (before, Some("new\n")));
        assert!(write_private(&path, &Secret::new("newer")).is_ok());
        assert_eq!(seen(), (0o640, before.1, before.2), "what is private is nobody else's, whatever it was before");
        assert!(!is_root || (before.1, before.2) == (4711, 4712));
    }

    #[test]
    fn work_trees_are_refused_from_anywhere_inside() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let inside = dir.path().join("tree/deep/deeper");
        assert!(fs::create_dir_all(&inside).and_then(|()| fs::create_dir(dir.path().join("tree/.git"))).is_ok());
        assert!(outside_work_trees(&inside.join("not/there/yet")).is_err());
        assert!(outside_work_trees(&dir.path().join("elsewhere")).is_ok());
        let link = dir.path().join("link");
        assert!(std::os::unix::fs::symlink(&inside, &link).is_ok());
        assert!(outside_work_trees(&link.join("shares")).is_err());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let folder = dir.path().join("shares");
        assert!(private_folder(&folder).is_ok() && private_folder(&folder).is_ok());
        assert!(fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).is_ok());
        assert!(private_folder(&folder).is_err());
    }
}
