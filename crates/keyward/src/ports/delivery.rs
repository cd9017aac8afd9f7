//! A file in which a consumer reads what was issued for it.

use async_trait::async_trait;
use keyward_engine::ports::Delivery;
use keyward_engine::{Class, Failure};
use keyward_secret::Secret;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file of mode 0600, replaced whole: whoever reads it sees the old content or the new, never a part.
pub struct FileDelivery(pub PathBuf);

impl FileDelivery {
    async fn off_the_runtime<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let path = self.0.clone();
        let shown = path.display().to_string();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            // Somebody may mend the folder, and the disk may have room again.
            Ok(Err(error)) => Err(Failure::passing(class(&error), format!("{what} {shown}: {error}"))),
            Err(_) => Err(Failure::passing(Class::Other, format!("{what} {shown} was broken off"))),
        }
    }
}

fn class(error: &std::io::Error) -> Class {
    match error.kind() {
        ErrorKind::PermissionDenied => Class::Denied,
        ErrorKind::NotFound => Class::NotFound,
        _ => Class::Other,
    }
}

/// A neighbour's name, so that the rename stays within one file system.
fn beside(path: &Path) -> std::io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".keyward");
    Ok(path.with_file_name(hidden))
}

fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = beside(path)?;
    // One that a crash left behind may have been opened by others with another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[async_trait]
impl Delivery for FileDelivery {
    async fn ready(&self) -> Result<(), Failure> {
        self.off_the_runtime("cannot write beside", |path| {
            let probe = beside(path)?;
            let _ = fs::remove_file(&probe);
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?;
            fs::remove_file(&probe)
        })
        .await
    }

    async fn deliver(&self, value: &Secret) -> Result<(), Failure> {
        let content = Zeroizing::new(value.expose().as_bytes().to_vec());
        self.off_the_runtime("cannot replace", move |path| replace(path, &content)).await
    }

    async fn holds(&self, value: &Secret) -> Result<bool, Failure> {
        let read = self.off_the_runtime("cannot read", |path| match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        Ok(read.await?.is_some_and(|found| found.same_as(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let path = folder.path().join("secret-id");
        let delivery = FileDelivery(path.clone());
        assert_eq!(delivery.ready().await, Ok(()));
        for value in ["one", "two-is-longer"] {
            assert_eq!(delivery.deliver(&Secret::new(value)).await, Ok(()));
            assert_eq!(delivery.holds(&Secret::new(value)).await, Ok(true));
            let mode = fs::metadata(&path).map(|m| m.permissions().mode() & 0o777);
            assert_eq!(mode.ok(), Some(0o600));
        }
        assert_eq!(delivery.holds(&Secret::new("one")).await, Ok(false));
        assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(1), "nothing else is left");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_said_without_the_value() {
        let delivery = FileDelivery("/no/such/folder/secret-id".into());
        let Err(failure) = delivery.deliver(&Secret::new("hunter2")).await else { panic!() };
        assert!(failure.text.contains("/no/such/folder/secret-id") && !failure.text.contains("hunter2"), "{failure}");
        assert_eq!(delivery.ready().await.map_err(|f| f.class), Err(Class::NotFound));
    }
}
