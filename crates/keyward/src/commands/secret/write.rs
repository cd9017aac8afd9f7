//! `put` and `patch`: one write, based on a version that was read, and read back afterwards.

use super::super::alone::Alone;
use super::super::by_hand::{Declined, Difference, How, Place, Written, write};
use super::super::output::{self, Output};
use super::{Given, managed};
use crate::cli::Exit;
use anyhow::Result;
use clap::Args;
use keyward_secret::{Fields, Secret};
use serde_json::json;

/// `secret put`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The path, mount first: secret/backend/database
    pub path: String,
    /// Where the values come from.
    #[command(flatten)]
    pub given: Given,
    /// Replace exactly this version; 0: there must never have been one
    #[arg(long, value_name = "VERSION")]
    pub cas: Option<u64>,
    /// Write fields that Keyward rotates, too
    #[arg(long)]
    pub overrule: bool,
}

/// `secret patch`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The path, mount first: secret/backend/database
    pub path: String,
    /// Where the values come from.
    #[command(flatten)]
    pub given: Given,
    /// Remove this field; may be said more than once
    #[arg(long, value_name = "NAME")]
    pub remove: Vec<String>,
    /// Only on exactly this version
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub cas: Option<u64>,
    /// Change fields that Keyward rotates, too
    #[arg(long)]
    pub overrule: bool,
}

impl Patch {
    /// What is to change; `null` for what goes.
    pub(super) fn read(&self) -> Result<Fields> {
        let mut fields = if self.given.is_empty() && self.given.in_the_open.is_empty() && !self.remove.is_empty() {
            Fields::new()
        } else {
            self.given.read()?
        };
        for name in &self.remove {
            if fields.json(name).is_some() {
                return Err(Declined::usage(format!("{name} cannot be both written and removed")).into());
            }
            fields.set_json(name, Secret::new("null"));
        }
        Ok(fields)
    }
}

pub(super) async fn put(alone: &Alone, wanted: &Put, given: Fields, out: Output) -> Result<Exit> {
    let place = Place::of_secret(alone, &wanted.path).await?;
    let read = place.read(alone.live.vault.client()).await?;
    let difference = Difference::between(read.fields.as_ref(), &given, How::Whole);
    if read.fields.is_some() && difference.is_nothing() {
        return Ok(unchanged(&place, read.version, out));
    }
    if wanted.cas.is_none() && read.version > 0 {
        let what = if read.deleted { "deleted" } else { "there" };
        return Err(Declined::failed(format!(
            "{place} exists (version {} is {what}): nothing was written. --cas {} replaces it ({}); `keyward secret patch` changes single fields",
            read.version,
            read.version,
            difference.words()
        ))
        .into());
    }
    managed::refuse(alone, &place, difference.touched(), wanted.overrule)?;
    let cas = wanted.cas.unwrap_or(0);
    told(write(alone.live.vault.client(), &place, cas, &given, How::Whole).await?, &place, cas, &difference, out)
}

pub(super) async fn patch(alone: &Alone, wanted: &Patch, given: Fields, out: Output) -> Result<Exit> {
    let place = Place::of_secret(alone, &wanted.path).await?;
    let read = place.read(alone.live.vault.client()).await?;
    if read.deleted {
        let text = format!(
            "version {} of {place} is deleted: nothing was written; `keyward secret rollback` brings an older one back",
            read.version
        );
        return Err(Declined::failed(text).into());
    }
    if read.version == 0 {
        return Err(place.nothing_there().into());
    }
    let difference = Difference::between(read.fields.as_ref(), &given, How::Patch);
    let cas = wanted.cas.unwrap_or(read.version);
    if cas == read.version && difference.is_nothing() {
        return Ok(unchanged(&place, read.version, out));
    }
    managed::refuse(alone, &place, difference.touched(), wanted.overrule)?;
    told(write(alone.live.vault.client(), &place, cas, &given, How::Patch).await?, &place, cas, &difference, out)
}

fn unchanged(place: &Place, version: u64, out: Output) -> Exit {
    match out {
        Output::Json => output::json(&json!({ "path": place.to_string(), "outcome": "unchanged", "version": version })),
        Output::Text => output::line(&format!("{place}: unchanged (version {version}).")),
    }
    Exit::Ok
}

/// Says what was written.
pub(super) fn told(written: Written, place: &Place, cas: u64, difference: &Difference, out: Output) -> Result<Exit> {
    let Written::Version(version) = written else {
        return Err(Declined::later(format!(
            "{place} is not at version {cas} (any more): nothing was written; look at `keyward secret history {place}`, then try again"
        ))
        .into());
    };
    match out {
        Output::Json => {
            output::json(&json!({ "path": place.to_string(), "outcome": "written", "version": version, "fields": difference }));
        }
        Output::Text => output::line(&format!("{place} is version {version} now: {}. Read back, and equal.", difference.words())),
    }
    Ok(Exit::Ok)
}
