//! The client: secrets by their path, mount first.

use crate::document::{Based, Delete, Document};
use crate::session::{Keeper, Renewal, Session};
use crate::{Error, Fields, Secret, Settings};
use keyward_vault::{Client as Vault, Kind, KvDocument, KvMetadata, Listing, VaultError};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Mounts that are remembered by path; a service reads few.
const MOST_PATHS: usize = 10_000;

/// A client that is logged in and stays so. Clones share the session, which is kept alive until the last of them is gone.
#[derive(Clone)]
pub struct Client {
    keeper: Arc<Keeper>,
    mounts: Arc<Mutex<HashMap<String, Place>>>,
    _renewal: Arc<Renewal>,
}

/// A mount, and the path below it.
#[derive(Clone, Debug)]
struct Place {
    mount: String,
    path: String,
}

impl Client {
    /// Logs in, and keeps the session alive from then on: it is renewed when two thirds of its life are over, and had anew where renewal ends.
    ///
    /// # Errors
    /// What is wrong with the settings, or what Vault answered.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let keeper = Keeper::open(settings).await?;
        let renewal = Arc::new(Keeper::keep(&keeper));
        Ok(Self { keeper, mounts: Arc::default(), _renewal: renewal })
    }

    /// How the session is.
    pub fn session(&self) -> Session {
        self.keeper.session()
    }

    /// The newest version of a secret, read now.
    ///
    /// # Errors
    /// [`Error::NoSecret`], [`Error::Deleted`], or what Vault answered.
    pub async fn get(&self, path: &str) -> Result<Document, Error> {
        let place = self.place(path).await?;
        let read = self.call(|| self.vault().kv_read(&place.mount, &place.path)).await?;
        document(path, read)
    }

    /// An older version.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_version(&self, path: &str, version: u64) -> Result<Document, Error> {
        let place = self.place(path).await?;
        let read = self.call(|| self.vault().kv_read_version(&place.mount, &place.path, version)).await?;
        document(path, read)
    }

    /// One field of the newest version.
    ///
    /// # Errors
    /// As [`Self::get`], and [`Error::NoField`].
    pub async fn field(&self, path: &str, field: &str) -> Result<Secret, Error> {
        self.get(path).await?.field(field)
    }

    /// Writes a whole secret and returns its new version. `notes` are merged into the custom metadata, beside the data and never inside it.
    ///
    /// # Errors
    /// [`Error::Changed`] when it is not at that version: nothing was written. [`Error::Unnoted`] when the notes alone failed. After one with an unknown outcome
    /// ([`VaultError::outcome_unknown`]) read before you write again.
    pub async fn set(&self, path: &str, fields: &Fields, based: Based, notes: &BTreeMap<String, String>) -> Result<u64, Error> {
        let place = self.place(path).await?;
        let written = self.call(|| self.vault().kv_write(&place.mount, &place.path, based.cas(), fields)).await;
        let version = written.map_err(|error| changed(path, error))?;
        self.note(&place, notes).await.map_err(|why| unnoted(path, version, why))?;
        Ok(version)
    }

    /// Changes the given fields alone; one that is JSON `null` goes. Returns the new version.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub async fn patch(&self, path: &str, fields: &Fields, on: u64, notes: &BTreeMap<String, String>) -> Result<u64, Error> {
        let place = self.place(path).await?;
        let written = self.call(|| self.vault().kv_patch(&place.mount, &place.path, on, fields)).await;
        let version = written.map_err(|error| changed(path, error))?;
        self.note(&place, notes).await.map_err(|why| unnoted(path, version, why))?;
        Ok(version)
    }

    async fn note(&self, place: &Place, notes: &BTreeMap<String, String>) -> Result<(), Error> {
        if notes.is_empty() {
            return Ok(());
        }
        self.call(|| self.vault().kv_patch_custom_metadata(&place.mount, &place.path, notes)).await
    }

    /// Everything below a folder (or a mount), down to the bottom; at most `limit` secrets, and whether that was all.
    ///
    /// # Errors
    /// What Vault answered about the folder itself.
    pub async fn list(&self, folder: &str, limit: usize) -> Result<Listing, Error> {
        let place = self.place(folder).await?;
        let mut listing = self.call(|| self.vault().kv_list_all(&place.mount, &place.path, limit)).await?;
        for path in listing.paths.iter_mut().chain(&mut listing.denied) {
            *path = format!("{}/{path}", place.mount);
        }
        Ok(listing)
    }

    /// Versions, times and notes of a secret.
    ///
    /// # Errors
    /// [`Error::NoSecret`], or what Vault answered.
    pub async fn metadata(&self, path: &str) -> Result<KvMetadata, Error> {
        let place = self.place(path).await?;
        self.call(|| self.vault().kv_metadata(&place.mount, &place.path)).await.map_err(|error| match error {
            Error::Vault(e) if e.kind == Kind::NotFound && e.errors.is_empty() => Error::NoSecret { path: path.to_owned() },
            other => other,
        })
    }

    /// Takes away what `what` says, and no more.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn delete(&self, path: &str, what: &Delete) -> Result<(), Error> {
        let place = self.place(path).await?;
        let (vault, mount, path) = (self.vault(), &place.mount, &place.path);
        match what {
            Delete::Newest => self.call(|| vault.kv_delete_newest(mount, path)).await,
            Delete::Versions(versions) => self.call(|| vault.kv_delete(mount, path, versions)).await,
            Delete::DestroyForEver(versions) => self.call(|| vault.kv_destroy(mount, path, versions)).await,
            Delete::EverythingForEver => self.call(|| vault.kv_remove_everything(mount, path)).await,
        }
    }

    /// Brings deleted versions back; destroyed ones are gone.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn undelete(&self, path: &str, versions: &[u64]) -> Result<(), Error> {
        let place = self.place(path).await?;
        self.call(|| self.vault().kv_undelete(&place.mount, &place.path, versions)).await
    }

    /// Hears of the next token: Vault ends with a token all leases that were made by it.
    pub(crate) fn tokens(&self) -> watch::Receiver<u64> {
        self.keeper.tokens()
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.keeper.vault
    }

    /// Makes a call; where the token turns out to be dead, logs in and makes it once more. A refused call has done nothing.
    pub(crate) async fn call<T, F: Future<Output = Result<T, VaultError>>>(&self, call: impl Fn() -> F) -> Result<T, Error> {
        let seen = self.keeper.count().await;
        match call().await {
            // The token of this call, or the one that has taken its place since: then another call has logged in.
            Err(error) if error.kind == Kind::Denied && (self.keeper.count().await > seen || self.keeper.is_dead().await) => {
                self.keeper.log_in(seen).await?;
                Ok(call().await?)
            }
            other => Ok(other?),
        }
    }

    async fn place(&self, path: &str) -> Result<Place, Error> {
        let path = path.trim_matches('/');
        if let Some(known) = self.mounts.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(known.clone());
        }
        let mount = self.call(|| self.vault().mount_of(path)).await?;
        if mount.kind != "kv" || mount.version != Some(2) {
            return Err(Error::NotVersioned { path: path.to_owned() });
        }
        let name = mount.path.trim_matches('/').to_owned();
        let below = path.strip_prefix(name.as_str()).unwrap_or(path).trim_matches('/').to_owned();
        let place = Place { mount: name, path: below };
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if mounts.len() < MOST_PATHS {
            mounts.insert(path.to_owned(), place.clone());
        }
        Ok(place)
    }
}

fn document(path: &str, read: KvDocument) -> Result<Document, Error> {
    let path = path.trim_matches('/').to_owned();
    match read.fields {
        Some(fields) => Ok(Document { path, version: read.version, fields, notes: read.custom_metadata, written: read.created_time }),
        None if read.deleted => Err(Error::Deleted { path }),
        None => Err(Error::NoSecret { path }),
    }
}

fn unnoted(path: &str, version: u64, why: Error) -> Error {
    Error::Unnoted { path: path.to_owned(), version, why: Box::new(why) }
}

fn changed(path: &str, error: Error) -> Error {
    match error {
        Error::Vault(e) if e.kind == Kind::Conflict => Error::Changed { path: path.to_owned() },
        other => other,
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("vault", self.vault()).finish_non_exhaustive()
    }
}
