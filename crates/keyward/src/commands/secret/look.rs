//! `get`, `list`, `history`: what stands in Vault. Values are printed by `get --show` alone.

use super::super::alone::Alone;
use super::super::by_hand::{Declined, Place};
use super::super::output::{self, Output, table};
use crate::cli::Exit;
use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use keyward_secret::Fields;
use keyward_vault::{Kind, KvDocument, KvMetadata, KvVersion};
use serde_json::json;

/// `secret get`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// The path, mount first: secret/backend/database
    pub path: String,
    /// One field only; with --show its text alone is printed
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// Another version than the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
    /// Print the values
    #[arg(long)]
    pub show: bool,
}

/// `secret list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// A mount, or a folder below one
    pub path: String,
    /// All that is further down, too
    #[arg(long)]
    pub recursive: bool,
    /// At most so many secrets (and folders looked into)
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub limit: usize,
}

pub(super) async fn get(alone: &Alone, wanted: &Get, out: Output) -> Result<Exit> {
    let place = Place::of_secret(alone, &wanted.path).await?;
    let client = alone.live.vault.client();
    let read = match wanted.version {
        None => place.read(client).await?,
        Some(version) => client.kv_read_version(&place.mount, &place.path, version).await?,
    };
    let Some(fields) = &read.fields else { return Err(absent(&place, &read, wanted.version).into()) };
    let fields = match &wanted.field {
        Some(name) if fields.json(name).is_none() => {
            let names: Vec<&str> = fields.names().collect();
            return Err(Declined::failed(format!("{place} has no field {name}; it has {}", names.join(", "))).into());
        }
        Some(name) => fields.only([name.as_str()]),
        None => fields.duplicate(),
    };
    match out {
        Output::Json => output::json(&as_json(&place, &read, &fields, wanted.show)?),
        Output::Text if wanted.show => show(wanted, &fields),
        Output::Text => describe(&place, &read, &fields),
    }
    Ok(Exit::Ok)
}

fn absent(place: &Place, read: &KvDocument, version: Option<u64>) -> Declined {
    match version {
        _ if read.deleted => Declined::failed(format!(
            "version {} of {place} was deleted or destroyed; `keyward secret history {place}` shows which versions still hold something",
            read.version
        )),
        Some(version) => Declined::failed(format!("{place} has no version {version}; see `keyward secret history {place}`")),
        None => place.nothing_there(),
    }
}

fn show(wanted: &Get, fields: &Fields) {
    output::note("keyward: secret values follow on standard output, because --show was said.");
    for name in fields.names() {
        let json = fields.json(name).map_or("", |json| json.expose());
        let text = fields.text(name);
        let value = text.as_ref().map_or(json, |text| text.expose());
        if wanted.field.is_some() { output::line(value) } else { output::line(&format!("{name} = {value}")) }
    }
}

fn describe(place: &Place, read: &KvDocument, fields: &Fields) {
    output::line(&format!("{place}, version {}{}", read.version, at(read.created_time)));
    let names: Vec<&str> = fields.names().collect();
    output::line(&format!("fields: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
    for (key, value) in &read.custom_metadata {
        output::line(&format!("note:   {key} = {value}"));
    }
    output::note("Values are not shown; --show prints them.");
}

fn at(time: Option<Timestamp>) -> String {
    time.map(|t| format!(", written {}", second(t))).unwrap_or_default()
}

fn second(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn as_json(place: &Place, read: &KvDocument, fields: &Fields, show: bool) -> Result<serde_json::Value> {
    let names: Vec<&str> = fields.names().collect();
    let data = if show { serde_json::from_str(fields.to_json_text().expose())? } else { serde_json::Value::Null };
    Ok(json!({
        "path": place.to_string(), "version": read.version, "created": read.created_time.map(second), "fields": names,
        "custom_metadata": read.custom_metadata, "values_shown": show, "data": data,
    }))
}

pub(super) async fn list(alone: &Alone, wanted: &List, out: Output) -> Result<Exit> {
    let place = Place::of_folder(alone, &wanted.path).await?;
    let client = alone.live.vault.client();
    let (names, denied, complete) = if wanted.recursive {
        let all = client.kv_list_all(&place.mount, &place.path, wanted.limit).await?;
        (all.paths.iter().map(|path| format!("{}/{path}", place.mount)).collect::<Vec<_>>(), all.denied, all.complete)
    } else {
        let names = client.kv_list(&place.mount, &place.path).await?;
        let complete = names.len() <= wanted.limit;
        (names.into_iter().take(wanted.limit).map(|name| format!("{place}/{name}")).collect(), Vec::new(), complete)
    };
    match out {
        Output::Json => output::json(&json!({ "path": place.to_string(), "paths": names, "denied": denied, "complete": complete })),
        Output::Text => {
            for name in &names {
                output::line(name);
            }
            if names.is_empty() && denied.is_empty() {
                output::note(&format!("There is nothing below {place}."));
            }
            for folder in &denied {
                output::note(&format!("keyward: {}/{folder} may not be listed with this token; what is in it is not shown", place.mount));
            }
            if !complete {
                output::note(&format!("keyward: there is more; --limit {} was reached", wanted.limit));
            }
        }
    }
    Ok(if denied.is_empty() && complete { Exit::Ok } else { Exit::Failed })
}

pub(super) async fn history(alone: &Alone, path: &str, out: Output) -> Result<Exit> {
    let place = Place::of_secret(alone, path).await?;
    let metadata = match alone.live.vault.client().kv_metadata(&place.mount, &place.path).await {
        Err(error) if error.kind == Kind::NotFound && error.errors.is_empty() => return Err(place.nothing_there().into()),
        other => other?,
    };
    let now = Timestamp::now();
    match out {
        Output::Json => {
            let row = |(number, version): (&u64, &KvVersion)| json!({ "version": number, "created": version.created_time.map(second), "state": state(version, now) });
            let versions: Vec<_> = metadata.versions.iter().map(row).collect();
            output::json(&json!({
                "path": place.to_string(), "current": metadata.current_version, "oldest": metadata.oldest_version,
                "versions": versions, "custom_metadata": metadata.custom_metadata,
            }));
        }
        Output::Text => print_history(&metadata, now),
    }
    Ok(Exit::Ok)
}

fn print_history(metadata: &KvMetadata, now: Timestamp) {
    let row = |(number, version): (&u64, &KvVersion)| {
        let word = if *number == metadata.current_version { "current, " } else { "" };
        vec![number.to_string(), version.created_time.map(second).unwrap_or_default(), format!("{word}{}", state(version, now))]
    };
    let rows: Vec<Vec<String>> = metadata.versions.iter().rev().map(row).collect();
    output::line(&table(&["version", "written", "state"], &rows));
    if metadata.oldest_version > 1 {
        output::line(&format!("Versions before {} are gone: the mount keeps {}.", metadata.oldest_version, kept(metadata)));
    }
    for (key, value) in &metadata.custom_metadata {
        output::line(&format!("note: {key} = {value}"));
    }
}

fn kept(metadata: &KvMetadata) -> String {
    if metadata.max_versions == 0 { "a limited number".to_owned() } else { metadata.max_versions.to_string() }
}

fn state(version: &KvVersion, now: Timestamp) -> &'static str {
    match version.deletion_time {
        _ if version.destroyed => "destroyed",
        Some(at) if at <= now => "deleted",
        Some(_) => "expires",
        None => "kept",
    }
}
