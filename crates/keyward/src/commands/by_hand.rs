//! KV documents as commands change them by hand: with check-and-set, read back afterwards, never over somebody else's value in silence.
//!
//! Needs no configuration file where `VAULT_ADDR` and a person's token say enough.

use super::alone::Alone;
use crate::cli::{DEFAULT_CONFIG, Exit};
use crate::config::{Config, ConfigErrors, Environment};
use anyhow::Result;
use keyward_secret::Fields;
use keyward_vault::{Client, Kind, KvDocument, VaultError};
use std::fmt;
use std::path::Path;

/// The configuration; without a file at the usual place, what the environment alone says.
///
/// # Errors
/// That it is not sound, or that neither says where Vault is.
pub fn configuration(file: &Path, environment: &Environment) -> Result<Config, ConfigErrors> {
    if file == Path::new(DEFAULT_CONFIG) && !file.exists() {
        return Config::parse("", "the environment", environment);
    }
    Config::load(file, environment)
}

/// Why a command did nothing, with the exit code that says which kind of reason it was.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Declined {
    /// The exit code.
    pub exit: Exit,
    /// What was wrong and what to do.
    pub text: String,
}

impl Declined {
    /// Wrong usage.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    /// What was given, or what stands in Vault, cannot be used.
    pub fn data(text: impl Into<String>) -> Self {
        Self { exit: Exit::BadData, text: text.into() }
    }

    /// Something is in the way and may be gone later.
    pub fn later(text: impl Into<String>) -> Self {
        Self { exit: Exit::Temporary, text: text.into() }
    }

    /// Something is wrong with what was asked about.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into() }
    }
}

/// A KV version 2 path: its mount and what stands below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The mount, without slashes at its ends.
    pub mount: String,
    /// Below the mount; empty for the mount itself.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.mount) } else { write!(f, "{}/{}", self.mount, self.path) }
    }
}

impl Place {
    /// The place of a path as `vault kv get` takes it, mount first.
    ///
    /// # Errors
    /// What Vault answered, that the mount is not KV version 2, or that only a mount was named.
    pub async fn of_secret(alone: &Alone, path: &str) -> Result<Self> {
        let place = Self::of_folder(alone, path).await?;
        if place.path.is_empty() {
            return Err(Declined::usage(format!("{place} is a mount; name a secret below it, such as {place}/app")).into());
        }
        Ok(place)
    }

    /// The same, where the mount itself will do.
    ///
    /// # Errors
    /// What Vault answered, or that the mount is not KV version 2.
    pub async fn of_folder(alone: &Alone, path: &str) -> Result<Self> {
        let (mount, path) = alone.live.vault.split(path.trim_matches('/')).await?;
        Ok(Self { mount, path })
    }

    /// The newest version; version 0 where there never was one.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn read(&self, client: &Client) -> Result<KvDocument, VaultError> {
        client.kv_read(&self.mount, &self.path).await
    }

    /// What to say where nothing stands; the trap of the API's own paths has a word of its own.
    pub fn nothing_there(&self) -> Declined {
        let below = |prefix: &str| self.path.strip_prefix(prefix).map(|rest| format!("{}/{rest}", self.mount));
        let hint = match below("data/").or_else(|| below("metadata/")) {
            Some(meant) => format!("; data/ and metadata/ belong to the HTTP API only: did you mean {meant}?"),
            None => format!("; `keyward secret list {}` shows what there is", self.mount),
        };
        Declined::failed(format!("there is nothing at {self}{hint}"))
    }
}

/// How a write changes a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It becomes the whole document.
    Whole,
    /// The fields in it change, `null` removes one, all others stay.
    Patch,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is this version, and reading it gave back what was written.
    Version(u64),
    /// The document is no longer at the version that this was based on; nothing was written.
    Conflict,
}

/// Writes once on the version `cas` and reads back. A lost answer is looked for, not guessed: the same write is never sent twice.
///
/// # Errors
/// What Vault answered, or that reading back gave something else.
pub async fn write(client: &Client, place: &Place, cas: u64, fields: &Fields, how: How) -> Result<Written> {
    let sent = match how {
        How::Whole => client.kv_write(&place.mount, &place.path, cas, fields).await,
        How::Patch => client.kv_patch(&place.mount, &place.path, cas, fields).await,
    };
    let version = match sent {
        Ok(version) => version,
        Err(error) if error.kind == Kind::Conflict => return Ok(Written::Conflict),
        // Check-and-set: if anything was written on `cas`, it is the next version.
        Err(error) if error.outcome_unknown() => {
            return if stands_at(client, place, cas + 1, fields, how).await? { Ok(Written::Version(cas + 1)) } else { Err(error.into()) };
        }
        Err(error) => return Err(error.into()),
    };
    if stands_at(client, place, version, fields, how).await? {
        return Ok(Written::Version(version));
    }
    let text = format!("{place} was written as version {version}, but reading it back gives something else; look at who else writes there");
    Err(Declined::failed(text).into())
}

async fn stands_at(client: &Client, place: &Place, version: u64, fields: &Fields, how: How) -> Result<bool, VaultError> {
    let read = client.kv_read_version(&place.mount, &place.path, version).await?;
    Ok(read.fields.is_some_and(|there| fields.contained_in(&there) && (how == How::Patch || there.contained_in(fields))))
}

/// Which fields a write changes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// New ones.
    pub added: Vec<String>,
    /// Those that get another value.
    pub changed: Vec<String>,
    /// Those that go.
    pub removed: Vec<String>,
    /// Those that stay as they are.
    pub same: Vec<String>,
}

impl Difference {
    /// Between what stands there and what a write makes of it.
    pub fn between(before: Option<&Fields>, given: &Fields, how: How) -> Self {
        let nothing = Fields::new();
        let before = before.unwrap_or(&nothing);
        let mut difference = Self::default();
        for name in given.names() {
            let goes = given.json(name).is_some_and(|json| json.expose() == "null") && how == How::Patch;
            let list = match (before.json(name), given.json(name)) {
                (Some(_), _) if goes => &mut difference.removed,
                (None, _) if goes => continue,
                (Some(old), Some(new)) if old.same_as(new) => &mut difference.same,
                (Some(_), _) => &mut difference.changed,
                (None, _) => &mut difference.added,
            };
            list.push(name.to_owned());
        }
        for name in before.names().filter(|name| given.json(name).is_none()) {
            let list = if how == How::Whole { &mut difference.removed } else { &mut difference.same };
            list.push(name.to_owned());
        }
        difference
    }

    /// Whether nothing changes.
    pub fn is_nothing(&self) -> bool {
        self.touched().next().is_none()
    }

    /// The fields that do not stay as they are.
    pub fn touched(&self) -> impl Iterator<Item = &str> {
        self.added.iter().chain(&self.changed).chain(&self.removed).map(String::as_str)
    }

    /// In words: `password changed; user added`.
    pub fn words(&self) -> String {
        let parts = [(&self.added, "added"), (&self.changed, "changed"), (&self.removed, "removed"), (&self.same, "as before")];
        let said: Vec<String> = parts.iter().filter(|(l, _)| !l.is_empty()).map(|(l, word)| format!("{} {word}", l.join(", "))).collect();
        if said.is_empty() { "no fields".to_owned() } else { said.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_secret::Secret;

    fn fields(text: &str) -> Fields {
        Fields::parse(&Secret::new(text)).unwrap_or_else(|e| panic!("{e}"))
    }

    fn check(before: Option<&str>, given: &str, how: How, words: &str) {
        let before = before.map(fields);
        assert_eq!(Difference::between(before.as_ref(), &fields(given), how).words(), words, "{given}");
    }

    #[test]
    fn a_difference_names_every_field_once() {
        let before = Some(r#"{"a":"1","b":"2","c":3}"#);
        check(before, r#"{"a":"1","b":"x","d":""}"#, How::Whole, "d added; b changed; c removed; a as before");
        check(before, r#"{"b":"x","c":null,"e":null}"#, How::Patch, "b changed; c removed; a as before");
        check(None, r#"{"a":"1"}"#, How::Whole, "a added");
        check(None, "{}", How::Whole, "no fields");
        assert!(Difference::between(Some(&fields(r#"{"a":1}"#)), &fields(r#"{"a":1}"#), How::Whole).is_nothing());
        assert!(!Difference::between(Some(&fields(r#"{"a":1}"#)), &fields("{}"), How::Whole).is_nothing());
    }

    #[test]
    fn the_paths_of_the_http_api_are_recognised() {
        let place = |path: &str| Place { mount: "secret".into(), path: path.into() };
        assert!(place("data/app").nothing_there().text.ends_with("did you mean secret/app?"));
        assert!(place("app").nothing_there().text.contains("`keyward secret list secret`"));
    }
}
