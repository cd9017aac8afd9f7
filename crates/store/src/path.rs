//! The store's address in the configuration.
//!
//! It never touches the file.

use crate::error::StoreError;
use std::path::PathBuf;

/// The file of `sqlite:///absolute/path`. Everything after `sqlite://` is the path as it is, without decoding.
pub fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    if url.starts_with("postgresql://") || url.starts_with("postgres://") {
        return Err(StoreError::Url("this version keeps its store in SQLite only"));
    }
    let path = url.strip_prefix("sqlite://").ok_or(StoreError::Url("it does not begin with sqlite://"))?;
    if !path.starts_with('/') {
        return Err(StoreError::Url("its path is not absolute"));
    }
    if path.ends_with('/') {
        return Err(StoreError::Url("it names a folder, not a file"));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(sqlite_path("sqlite:///var/lib/keyward/keyward.db").unwrap(), PathBuf::from("/var/lib/keyward/keyward.db"));
        for (url, expected) in [
            ("sqlite://keyward.db", "not absolute"),
            ("sqlite:///var/lib/keyward/", "names a folder"),
            ("/var/lib/keyward.db", "does not begin with"),
            ("postgresql://localhost/keyward", "SQLite only"),
        ] {
            let error = sqlite_path(url).expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
