//! What stands below a folder of a KV version 2 mount: one level, or all of it within bounds.

use crate::call::{Call, Raw};
use crate::client::Client;
use crate::{Kind, VaultError, path};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::VecDeque;

/// Everything below a folder, as far as it could be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The secrets' paths below the mount, sorted.
    pub paths: Vec<String>,
    /// Folders that our token may not list, with their closing slash.
    pub denied: Vec<String>,
    /// `false`: the bound was reached, and there is more.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

impl Client {
    /// The names in a folder, where a folder's own name ends in a slash; an empty `folder` is the mount's top. A folder that does
    /// not exist is empty.
    ///
    /// # Errors
    /// [`Kind::Denied`], and [`Kind::NotFound`] when there is no such mount.
    pub async fn kv_list(&self, mount: &str, folder: &str) -> Result<Vec<String>, VaultError> {
        let mount = path::mount("LIST KV metadata", mount)?;
        let folder = folder.trim_matches('/');
        let place = if folder.is_empty() {
            format!("{mount}/metadata")
        } else {
            format!("{mount}/metadata/{}", path::path("LIST KV metadata", folder)?)
        };
        let call = Call::read(Raw::new(RequestMethod::LIST, place));
        let answer = self.ask(&call).await?;
        if answer.status == 404 {
            let error = answer.failure(&call.attempted, &[]);
            // Without a message: the folder is empty. With one: no such mount.
            return if error.errors.is_empty() { Ok(Vec::new()) } else { Err(error) };
        }
        Ok(answer.data::<Keys>(&call.attempted)?.keys)
    }

    /// Everything below a folder, folder by folder: at most `limit` secrets, and at most `limit` folders are asked about.
    ///
    /// # Errors
    /// As [`Self::kv_list`] for the folder itself; one further down that may not be listed is told in [`Listing::denied`].
    pub async fn kv_list_all(&self, mount: &str, folder: &str, limit: usize) -> Result<Listing, VaultError> {
        let top = folder.trim_matches('/');
        let mut folders = VecDeque::from([if top.is_empty() { String::new() } else { format!("{top}/") }]);
        let (mut found, mut asked) = (Listing { complete: true, ..Listing::default() }, 0_usize);
        while let Some(folder) = folders.pop_front() {
            if asked >= limit {
                found.complete = false;
                break;
            }
            asked += 1;
            let names = match self.kv_list(mount, &folder).await {
                Err(error) if error.kind == Kind::Denied && asked > 1 => {
                    found.denied.push(folder);
                    continue;
                }
                other => other?,
            };
            for name in names {
                let path = format!("{folder}{name}");
                if path.ends_with('/') {
                    folders.push_back(path);
                } else if found.paths.len() < limit {
                    found.paths.push(path);
                } else {
                    found.complete = false;
                }
            }
        }
        found.paths.sort();
        Ok(found)
    }
}
