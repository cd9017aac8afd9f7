//! Where the values come from: a `.env` file, a JSON document, or another secret in Vault. It never writes.

use super::super::by_hand::Declined;
use super::super::exact;
use super::dotenv;
use super::map::Origin;
use super::url;
use keyward_secret::{Fields, Secret};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Named values.
#[derive(Debug)]
pub struct Source {
    /// Its name for people: a file, or a path in Vault.
    pub name: String,
    values: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Canonical JSON text.
    json: Secret,
    lines: Vec<RangeInclusive<usize>>,
    made_of: BTreeSet<String>,
}

impl Source {
    /// A `.env` file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines and without values.
    pub fn from_env(text: &str, name: &str) -> Result<Self, Declined> {
        let variables = dotenv::parse(text).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{name}, {fault}")).collect();
            Declined::data(lines.join("\n"))
        })?;
        let entry = |v: dotenv::Variable| {
            let json = Secret::new(Value::from(v.value.expose()).to_string());
            (v.name, Entry { json, lines: v.lines, made_of: v.made_of })
        };
        Ok(Self { name: name.to_owned(), values: variables.into_iter().map(entry).collect() })
    }

    /// A JSON object's text.
    ///
    /// # Errors
    /// That it is none.
    pub fn from_json(text: &str, name: &str) -> Result<Self, Declined> {
        let fields = Fields::parse(&Secret::new(text)).map_err(|_| Declined::data(format!("{name} holds no JSON object")))?;
        if let Some(why) = exact::trouble(text) {
            return Err(Declined::data(format!("{name} {why}")));
        }
        Ok(Self::from_fields(&fields, name))
    }

    /// A document's fields.
    pub fn from_fields(fields: &Fields, name: &str) -> Self {
        let entry = |field: &str| {
            let json = fields.json(field)?.duplicate();
            Some((field.to_owned(), Entry { json, lines: Vec::new(), made_of: BTreeSet::new() }))
        };
        Self { name: name.to_owned(), values: fields.names().filter_map(entry).collect() }
    }

    /// The names of all values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The lines on which a variable stands in a `.env` file; none in other sources.
    pub fn lines(&self, name: &str) -> &[RangeInclusive<usize>] {
        self.values.get(name).map_or(&[], |entry| &entry.lines)
    }

    /// Those of `gone` that cannot go, because what stays is made of them: name → what is.
    pub fn needed(&self, gone: &BTreeSet<String>) -> BTreeMap<String, String> {
        let mut needed: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let goes = |name: &String| gone.contains(name) && !needed.contains_key(name);
            let made = self.values.iter().flat_map(|(by, entry)| entry.made_of.iter().map(move |name| (name, by)));
            let next = made.filter(|(name, by)| goes(name) && !goes(by)).map(|(name, by)| (name.clone(), by.clone())).next();
            let Some((name, by)) = next else { return needed };
            needed.insert(name, by);
        }
    }

    /// What an origin yields, as JSON text; `None` where it is not there or empty. `a.b` is the member `b` of the object `a`.
    ///
    /// # Errors
    /// Why a part cannot be taken from it.
    pub fn take(&self, origin: &Origin) -> Result<Option<Secret>, &'static str> {
        let Some(json) = self.json(&origin.variable) else { return Ok(None) };
        let Some(part) = origin.part else {
            return Ok(Some(json).filter(|json| !matches!(json.expose(), "\"\"" | "null")));
        };
        let text = serde_json::from_str::<String>(json.expose()).map_err(|_| "is no text, so it has no parts")?;
        let text = Secret::new(text);
        if text.expose().is_empty() {
            return Ok(None);
        }
        Ok(url::part(&text, part)?.map(|found| Secret::new(Value::from(found.expose()).to_string())))
    }

    fn json(&self, name: &str) -> Option<Secret> {
        if let Some(entry) = self.values.get(name) {
            return Some(entry.json.duplicate());
        }
        let (top, below) = name.split_once('.')?;
        let value: Value = serde_json::from_str(self.values.get(top)?.json.expose()).ok()?;
        let found = below.split('.').try_fold(&value, |value, name| value.get(name))?;
        Some(Secret::new(found.to_string()))
    }
}
