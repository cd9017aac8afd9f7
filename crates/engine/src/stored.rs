//! A record with its values, as it stands in Vault: one KV document whose fields are `record`, `new`, `old` and `publish`.

use crate::failure::{Class, Failure};
use crate::ports::Document;
use keyward_rotation::record::{FORMAT, Phase, Record};
use keyward_secret::{Fields, Secret, Values};

/// The values of an attempt. They stand in the record while it is under way, and are destroyed when it is finished.
#[derive(Debug, Default)]
pub struct Held {
    /// The candidate's own values (`username`, `password`, …).
    pub new: Values,
    /// The named fields of the published document as they were at stage; `null` where a field was absent.
    pub old: Fields,
    /// The named fields as they will be published, rendered once at stage; empty where nothing is published.
    pub publish: Fields,
}

impl Held {
    /// A second copy.
    pub fn duplicate(&self) -> Self {
        let new = self.new.iter().map(|(name, value)| (name.clone(), value.duplicate())).collect();
        Self { new, old: self.old.duplicate(), publish: self.publish.duplicate() }
    }
}

/// A record as read: its version, what it says, and the values it holds.
#[derive(Debug)]
pub struct Stored {
    /// The version to check against.
    pub version: u64,
    /// What it says; `None` when there is none yet.
    pub record: Option<Record>,
    /// The values.
    pub held: Held,
}

/// A record and its values as the fields of a KV document. Values are only written while an attempt needs them.
pub fn encode(record: &Record, held: &Held) -> Result<Fields, Failure> {
    let text = serde_json::to_string(record).map_err(|_| Failure::lasting(Class::Invalid, "the record cannot be written as JSON"))?;
    let mut fields = Fields::new();
    fields.set_json("record", Secret::new(text));
    if !matches!(record.phase, Phase::Idle | Phase::Paused { .. }) {
        let mut new = Fields::new();
        for (name, value) in &held.new {
            new.set_text(name, value);
        }
        fields.set_json("new", new.to_json_text());
        fields.set_json("old", held.old.to_json_text());
        fields.set_json("publish", held.publish.to_json_text());
    }
    Ok(fields)
}

/// The record in a KV document.
pub fn decode(secret: &str, document: &Document) -> Result<Stored, Failure> {
    let Some(fields) = &document.fields else {
        if document.version > 0 {
            let text = format!("the record of {secret} was deleted in Vault (version {}); undelete it before going on", document.version);
            return Err(Failure::lasting(Class::Invalid, text));
        }
        return Ok(Stored { version: 0, record: None, held: Held::default() });
    };
    let record = fields.json("record").ok_or_else(|| unreadable(secret, "it has no field `record`"))?;
    let format = serde_json::from_str::<Format>(record.expose()).map_err(|_| unreadable(secret, "it has no format number"))?.format;
    if format > FORMAT {
        return Err(unreadable(secret, &format!("it has format {format}, this program reads up to {FORMAT}; use the newer program")));
    }
    let record: Record =
        serde_json::from_str(record.expose()).map_err(|_| unreadable(secret, "its content is not what this format says"))?;
    if record.secret != secret {
        return Err(unreadable(secret, &format!("it says that it belongs to {}", record.secret)));
    }
    let part = |name| {
        fields.json(name).map_or_else(|| Ok(Fields::new()), Fields::parse).map_err(|_| unreadable(secret, "its values are no object"))
    };
    let new = part("new")?;
    let new = new.names().filter_map(|name| Some((name.to_owned(), new.text(name)?))).collect();
    Ok(Stored { version: document.version, record: Some(record), held: Held { new, old: part("old")?, publish: part("publish")? } })
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

fn unreadable(secret: &str, why: &str) -> Failure {
    Failure::lasting(Class::Invalid, format!("the record of {secret} cannot be read: {why}"))
}
