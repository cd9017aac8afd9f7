//! Which paths of the server belong to which managed secret. Never a secret's value.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::fact::Fact;
use crate::words::Operation;

/// What a call did to a managed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// Read its value.
    Read,
    /// Wrote its value, or had the server make a new one.
    Write,
    /// Deleted it, so that it can still be undeleted.
    Delete,
    /// Took a deletion back.
    Undelete,
    /// Destroyed versions, or everything.
    Destroy,
    /// Changed its metadata or its definition.
    Define,
    /// Deleted something below it.
    DeleteBelow,
    /// Unmounted what it is in.
    Unmount,
    /// Looked at its metadata, its keys, or its definition; the value stayed hidden.
    Look,
}

impl Touch {
    /// Whether it changed something.
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Look)
    }

    /// Whether it took something away, the secret itself or what it hangs on.
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::Destroy | Self::DeleteBelow | Self::Unmount)
    }

    /// The word for people's eyes, as in "deleted".
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "written",
            Self::Delete => "deleted",
            Self::Undelete => "undeleted",
            Self::Destroy => "destroyed",
            Self::Define => "redefined",
            Self::DeleteBelow => "deleted below",
            Self::Unmount => "unmounted",
            Self::Look => "looked at",
        }
    }
}

/// A managed secret, and what was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Managed<'a> {
    /// The secret's name in Keyward's configuration.
    pub secret: &'a str,
    /// What was done.
    pub touch: Touch,
}

/// Which part of a secret a path is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Value,
    Metadata,
    Subkeys,
    Delete,
    Undelete,
    Destroy,
    Rotation,
    Definition,
}

/// Paths to secrets: as many as the configuration names, found by one look-up without allocation.
#[derive(Clone, Debug, Default)]
pub struct ManagedPaths {
    paths: HashMap<String, (usize, Part), RandomState>,
    secrets: Vec<String>,
    /// The mounts that the secrets are in, each with the first of them.
    mounts: HashMap<String, String>,
}

impl ManagedPaths {
    /// A secret in a key-value mount of version 2. `mount` as the server names it (`secret/`, after its namespace's path if
    /// it has one), `key` the path within it (`backend/database`).
    pub fn add_kv2(&mut self, secret: &str, mount: &str, key: &str) {
        let parts = [
            ("data", Part::Value),
            ("metadata", Part::Metadata),
            ("subkeys", Part::Subkeys),
            ("delete", Part::Delete),
            ("undelete", Part::Undelete),
            ("destroy", Part::Destroy),
        ];
        let mount = mount.trim_end_matches('/');
        let key = key.trim_matches('/');
        self.mounts.entry(mount.to_owned()).or_insert_with(|| secret.to_owned());
        self.add(secret, parts.map(|(part, meaning)| (format!("{mount}/{part}/{key}"), meaning)));
    }

    /// A static role of the database engine.
    pub fn add_static_role(&mut self, secret: &str, mount: &str, role: &str) {
        let parts = [("static-creds", Part::Value), ("rotate-role", Part::Rotation), ("static-roles", Part::Definition)];
        let mount = mount.trim_end_matches('/');
        self.mounts.entry(mount.to_owned()).or_insert_with(|| secret.to_owned());
        self.add(secret, parts.map(|(part, meaning)| (format!("{mount}/{part}/{role}"), meaning)));
    }

    /// Any other path that hands out the value when it is read.
    pub fn add_path(&mut self, secret: &str, path: &str) {
        self.add(secret, [(path.trim_matches('/').to_owned(), Part::Value)]);
    }

    /// What a call did, or meant to do, to which managed secret; whether it ended well is for the fact to say.
    pub fn touch(&self, fact: &Fact<'_>) -> Option<Managed<'_>> {
        let path = whole_path(fact);
        let Some((secret, part)) = self.paths.get(path.as_ref()) else { return self.endangered(fact, &path) };
        let touch = touch(*part, fact.operation)?;
        Some(Managed { secret: self.secrets.get(*secret)?, touch })
    }

    /// A managed secret that a call did not name, and yet took something from: what stands below it, or the mount it is in.
    fn endangered(&self, fact: &Fact<'_>, path: &str) -> Option<Managed<'_>> {
        if !fact.operation.changes() {
            return None;
        }
        if let Some(mount) = fact.path.strip_prefix("sys/mounts/").filter(|_| fact.operation == Operation::Delete) {
            let secret = self.mounts.get(&format!("{}{}", fact.namespace, mount.trim_end_matches('/')))?;
            return Some(Managed { secret, touch: Touch::Unmount });
        }
        let above = |end| self.paths.get(path.get(..end)?);
        let (secret, part) = path.rmatch_indices('/').find_map(|(end, _)| above(end))?;
        let deletes = touch(*part, fact.operation).is_some_and(Touch::deletes);
        let secret = self.secrets.get(*secret).filter(|_| deletes)?;
        Some(Managed { secret, touch: Touch::DeleteBelow })
    }

    fn add<const N: usize>(&mut self, secret: &str, paths: [(String, Part); N]) {
        let index = self.secrets.iter().rposition(|known| known == secret).unwrap_or_else(|| {
            self.secrets.push(secret.to_owned());
            self.secrets.len() - 1
        });
        self.paths.extend(paths.map(|(path, part)| (path, (index, part))));
    }
}

/// The path after its namespace; allocates only inside a namespace.
pub(crate) fn whole_path<'a>(fact: &Fact<'a>) -> Cow<'a, str> {
    if fact.namespace.is_empty() { Cow::Borrowed(fact.path) } else { Cow::Owned(format!("{}{}", fact.namespace, fact.path)) }
}

fn touch(part: Part, operation: Operation) -> Option<Touch> {
    let changes = operation.changes();
    let deletes = operation == Operation::Delete;
    Some(match part {
        Part::Value if operation == Operation::Read => Touch::Read,
        Part::Value if deletes => Touch::Delete,
        Part::Value if changes => Touch::Write,
        Part::Metadata if deletes => Touch::Destroy,
        Part::Definition if deletes => Touch::Delete,
        Part::Metadata | Part::Definition if changes => Touch::Define,
        Part::Delete if changes => Touch::Delete,
        Part::Undelete if changes => Touch::Undelete,
        Part::Destroy if changes => Touch::Destroy,
        Part::Rotation if changes => Touch::Write,
        Part::Metadata | Part::Definition | Part::Subkeys if operation == Operation::Read => Touch::Look,
        _ => return None,
    })
}
