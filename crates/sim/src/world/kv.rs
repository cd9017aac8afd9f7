//! A KV store of version 2: versions, check-and-set, PATCH as a merge, soft deletes, destroyed versions.

use keyward_engine::ports::Document;
use keyward_secret::{Fields, Secret};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// A document: field → canonical JSON text.
pub(crate) type Body = BTreeMap<String, String>;

#[derive(Clone, Debug, Hash)]
struct Version {
    /// `None`: destroyed.
    body: Option<Body>,
    deleted: bool,
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict,
    Gone,
}

/// Path → versions, the first one at index 0. A path that was never written does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kv(BTreeMap<String, Vec<Version>>);

impl Kv {
    pub(crate) fn version(&self, path: &str) -> u64 {
        self.0.get(path).map_or(0, |versions| versions.len() as u64)
    }

    /// What a reader gets: nothing where the newest version is deleted or destroyed.
    pub(crate) fn body(&self, path: &str) -> Option<&Body> {
        self.0.get(path)?.last().filter(|v| !v.deleted)?.body.as_ref()
    }

    pub(crate) fn document(&self, path: &str) -> Document {
        Document { version: self.version(path), fields: self.body(path).map(fields) }
    }

    /// Writes the whole document. `cas: None` asks for no version, as a careless person does.
    pub(crate) fn write(&mut self, path: &str, cas: Option<u64>, body: Body) -> Result<u64, Refusal> {
        if cas.is_some_and(|cas| cas != self.version(path)) {
            return Err(Refusal::Conflict);
        }
        self.0.entry(path.to_owned()).or_default().push(Version { body: Some(body), deleted: false });
        Ok(self.version(path))
    }

    /// Merges fields into the newest version; `null` removes one.
    pub(crate) fn patch(&mut self, path: &str, cas: Option<u64>, fields: &Body) -> Result<u64, Refusal> {
        let mut body = self.body(path).ok_or(Refusal::Gone)?.clone();
        for (name, json) in fields {
            match merged(body.get(name), json) {
                Some(json) => body.insert(name.clone(), json),
                None => body.remove(name),
            };
        }
        self.write(path, cas, body)
    }

    /// Soft delete of the newest version, and back.
    pub(crate) fn set_deleted(&mut self, path: &str, deleted: bool) {
        if let Some(newest) = self.0.get_mut(path).and_then(|v| v.last_mut()) {
            newest.deleted = deleted;
        }
    }

    pub(crate) fn destroy(&mut self, path: &str, first: u64, last: u64) {
        for (at, version) in self.0.get_mut(path).into_iter().flatten().enumerate() {
            if (first..=last).contains(&(at as u64 + 1)) {
                version.body = None;
            }
        }
    }

    /// Removes a path with all its versions: what Keyward never does to a record.
    pub(crate) fn delete_metadata(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// What is there to be read: the newest version, how many there were, and which older ones still hold values.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        for (path, versions) in &self.0 {
            (path, versions.len(), versions.last()).hash(into);
            versions.iter().map(|v| v.body.as_ref().is_some_and(|b| b.contains_key("new"))).for_each(|held| held.hash(into));
        }
    }

    /// The bodies of a path's versions before the newest, where they are not destroyed.
    pub(crate) fn older(&self, path: &str) -> impl Iterator<Item = &Body> {
        let versions = self.0.get(path).map_or(&[][..], Vec::as_slice);
        versions.iter().rev().skip(1).filter_map(|v| v.body.as_ref())
    }
}

/// RFC 7396 for one field: objects are merged, everything else is replaced, `null` removes.
fn merged(old: Option<&String>, patch: &str) -> Option<String> {
    if patch == "null" {
        return None;
    }
    if !patch.starts_with('{') || old.is_none_or(|old| !old.starts_with('{')) {
        return Some(patch.to_owned());
    }
    let mut whole: Value = serde_json::from_str(old?).ok()?;
    merge(&mut whole, serde_json::from_str(patch).ok()?);
    Some(whole.to_string())
}

fn merge(whole: &mut Value, patch: Value) {
    let (Value::Object(into), true) = (&mut *whole, patch.is_object()) else {
        *whole = patch;
        return;
    };
    for (name, value) in patch.as_object().into_iter().flatten() {
        if value.is_null() {
            into.remove(name);
        } else {
            merge(into.entry(name.clone()).or_insert(Value::Null), value.clone());
        }
    }
}

pub(crate) fn fields(body: &Body) -> Fields {
    let mut fields = Fields::new();
    for (name, json) in body {
        fields.set_json(name, Secret::new(json.as_str()));
    }
    fields
}

pub(crate) fn body(fields: &Fields) -> Body {
    fields.names().filter_map(|name| Some((name.to_owned(), fields.json(name)?.expose().to_owned()))).collect()
}

/// A field that is a JSON string, as its text.
pub(crate) fn text(body: &Body, name: &str) -> Option<String> {
    serde_json::from_str(body.get(name)?).ok()
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
