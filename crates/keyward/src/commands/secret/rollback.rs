//! `rollback`: an older version becomes the newest again, after a login has shown that it still works.

use super::super::alone::Alone;
use super::super::by_hand::{Declined, Difference, How, Place, write};
use super::super::output::{self, Output};
use super::managed;
use super::write::told;
use crate::assembly::Managed;
use crate::cli::Exit;
use crate::ports::LoginAcceptance;
use anyhow::Result;
use clap::Args;
use keyward_engine::ports::{Acceptance as _, Document};
use keyward_engine::{Class, Failure};
use keyward_rotation::record::Phase;
use keyward_secret::{Fields, Values};
use keyward_targets::postgres::PostgresUrl;
use serde_json::json;

/// `secret rollback`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The path, mount first: secret/backend/database
    pub path: String,
    /// The version that is to be published again
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: u64,
    /// Try the old value by a login to this PostgreSQL; without a user in it, the document's username logs in
    #[arg(long, value_name = "URL")]
    pub login: Option<String>,
    /// The field that holds the password, for --login
    #[arg(long, value_name = "NAME", default_value = "password", requires = "login")]
    pub password_field: String,
    /// Publish it although nothing can be tried
    #[arg(long, conflicts_with = "login")]
    pub unproved: bool,
}

pub(super) async fn run(alone: &Alone, wanted: &Rollback, out: Output) -> Result<Exit> {
    let url = wanted.login.as_deref().map(PostgresUrl::parse).transpose().map_err(|e| Declined::usage(format!("--login: {e}")))?;
    let place = Place::of_secret(alone, &wanted.path).await?;
    let client = alone.live.vault.client();
    let live = place.read(client).await?;
    if live.version == 0 {
        return Err(place.nothing_there().into());
    }
    let old = client.kv_read_version(&place.mount, &place.path, wanted.to).await?;
    let Some(fields) = old.fields else {
        let what = if old.deleted { "was deleted or destroyed" } else { "does not exist (any more)" };
        let text = format!("version {} of {place} {what}; `keyward secret history {place}` shows which still hold something", wanted.to);
        return Err(Declined::failed(text).into());
    };
    let difference = Difference::between(live.fields.as_ref(), &fields, How::Whole);
    if live.fields.is_some() && difference.is_nothing() {
        match out {
            Output::Json => output::json(&json!({ "path": place.to_string(), "outcome": "unchanged", "version": live.version })),
            Output::Text => output::line(&format!("{place}: unchanged; version {} holds the same as version {}.", live.version, wanted.to)),
        }
        return Ok(Exit::Ok);
    }
    let owners: Vec<&Managed> = managed::at(alone, &place)
        .into_iter()
        .filter(|m| difference.touched().any(|field| m.config.kind.owned_fields().contains(&field)))
        .collect();
    for owner in &owners {
        is_at_rest(alone, owner).await?;
    }
    let old = Document { version: wanted.to, fields: Some(fields.duplicate()) };
    let proofs = prove(&owners, &old, url, wanted).await?;
    if out == Output::Text {
        for proof in &proofs {
            output::note(&format!("  ✓ {proof}"));
        }
    }
    told(write(client, &place, live.version, &fields, How::Whole).await?, &place, live.version, &difference, out)
}

/// Nothing may be under way: it would find a value that it does not know, and stop.
async fn is_at_rest(alone: &Alone, owner: &Managed) -> Result<()> {
    let name = &owner.spec.name;
    let record = alone.live.engine.load(name).await?.record;
    match record.map(|record| record.phase) {
        None | Some(Phase::Idle | Phase::Paused { .. }) => Ok(()),
        Some(Phase::Staged(_) | Phase::Back(_)) => {
            Err(Declined::later(format!("a rotation of {name} is under way: nothing was published; see `keyward status {name}`")).into())
        }
        Some(Phase::Stuck { .. }) => {
            let text = format!(
                "a rotation of {name} stands still: nothing was published; see `keyward status {name}`, then resume or reconcile it"
            );
            Err(Declined::failed(text).into())
        }
    }
}

/// Tries the old values; what was tried, a line each.
async fn prove(owners: &[&Managed], old: &Document, url: Option<PostgresUrl>, wanted: &Rollback) -> Result<Vec<String>> {
    let mut proofs = Vec::new();
    for owner in owners {
        match owner.spec.kind.prove(old).await {
            Some(Ok(())) => proofs.push(format!("{}: its target accepts version {}", owner.spec.name, old.version)),
            Some(Err(failure)) => return Err(refused(old, &owner.spec.name, failure)),
            None => {}
        }
    }
    if let Some(url) = url {
        proofs.push(log_in(old, url, wanted).await?);
    }
    if proofs.is_empty() && !wanted.unproved {
        let text = "nothing here can try the old value, so nothing was published: say --login URL where it is a PostgreSQL password, or \
                    --unproved if you know that it works";
        return Err(Declined::failed(text).into());
    }
    Ok(proofs)
}

async fn log_in(old: &Document, url: PostgresUrl, wanted: &Rollback) -> Result<String> {
    let nothing = Fields::new();
    let fields = old.fields.as_ref().unwrap_or(&nothing);
    let Some(password) = fields.text(&wanted.password_field) else {
        let text = format!("version {} has no text in the field {}; say --password-field NAME", old.version, wanted.password_field);
        return Err(Declined::failed(text).into());
    };
    let mut values = Values::from([("password".to_owned(), password)]);
    values.extend(fields.text("username").map(|user| ("username".to_owned(), user)));
    let place = url.endpoints().first().map(ToString::to_string).unwrap_or_default();
    let acceptance = LoginAcceptance { user: url.user().map(str::to_owned), logins: vec![(url, None)], password: "password" };
    acceptance.accepts(&values).await.map_err(|failure| refused(old, &place, failure))?;
    Ok(format!("version {} logs in at {place}", old.version))
}

fn refused(old: &Document, by: &str, failure: Failure) -> anyhow::Error {
    if matches!(failure.class, Class::WrongPassword | Class::Refused | Class::NotFound) {
        let text = format!("version {} does not work any more ({by}): nothing was published: {failure}", old.version);
        return Declined::failed(text).into();
    }
    let before = format!("version {} could not be tried ({by}): nothing was published", old.version);
    failure.during(&before).into()
}
