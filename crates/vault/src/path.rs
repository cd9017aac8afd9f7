//! Mounts and paths as callers name them: checked here, percent-encoded segment by segment by the endpoint layer.
//!
//! The layer below silently drops `.` and `..`, and an empty segment would name another path than the one meant.

use crate::{Kind, VaultError};

/// Longer paths are refused; Vault's own storage keys are far shorter.
const MAX_BYTES: usize = 2048;

/// A mount's path, with or without its closing slash; returned without.
pub(crate) fn mount<'a>(attempted: &str, mount: &'a str) -> Result<&'a str, VaultError> {
    path(attempted, mount.strip_suffix('/').unwrap_or(mount))
}

/// A path below a mount, or a name.
///
/// # Errors
/// [`Kind::Invalid`] for an empty, relative, overlong or unprintable one.
pub(crate) fn path<'a>(attempted: &str, path: &'a str) -> Result<&'a str, VaultError> {
    let why = if path.is_empty() {
        "the path is empty"
    } else if path.len() > MAX_BYTES {
        "the path is longer than 2048 bytes"
    } else if path.chars().any(char::is_control) {
        "the path contains a control character"
    } else if path.split('/').any(str::is_empty) {
        "the path has an empty segment (a slash doubled or at an end)"
    } else if path.split('/').any(|s| s == "." || s == "..") {
        "the path has a segment `.` or `..`"
    } else {
        return Ok(path);
    };
    // Debug escapes what is unprintable; the error bounds the length.
    Err(VaultError::new(Kind::Invalid, attempted, format!("{why}: {path:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, passes: bool) {
        assert_eq!(path("GET", given).is_ok(), passes, "{given:?}");
    }

    #[test]
    fn only_plain_paths_pass() {
        for good in ["team a/é%#?", "a..b/.c", "...", "a\\b", "%2e%2e"] {
            check(good, true);
        }
        for bad in ["", "/", "/a", "a/", "a//b", "a/./b", "..", "a/..", "a\nb", "a\u{0}", "a\u{85}"] {
            check(bad, false);
        }
        check(&"x".repeat(MAX_BYTES + 1), false);
    }

    #[test]
    fn a_mount_may_end_in_a_slash() {
        assert_eq!(mount("GET", "secret/").ok(), Some("secret"));
        assert_eq!(mount("GET", "a/b").ok(), Some("a/b"));
        assert!(mount("GET", "secret//").is_err());
    }

    #[test]
    fn the_error_shows_the_path_on_one_line() {
        let error = path("GET data", "a\n/b").unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(!error.to_string().contains('\n'));
    }
}
