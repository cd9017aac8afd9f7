//! `plan`: what will be rotated when, with a line for each secret, and why another will not.

use super::output::{self, Output};
use super::status::{gather, whole_seconds};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::view::SecretView;
use anyhow::{Result, bail};
use jiff::{Timestamp, ToSpan};
use keyward_rotation::schedule::Policy;
use serde::Serialize;
use std::collections::BTreeMap;

/// More slots of one secret than this are not listed.
const MOST_SLOTS: usize = 1_000;

#[derive(Serialize)]
struct Row {
    secret: String,
    class: String,
    at: Timestamp,
}

/// Prints the plan.
///
/// # Errors
/// Neither the daemon nor Vault can be asked, or the period runs backwards.
pub async fn run(config: Config, environment: &Environment, from: Option<Timestamp>, to: Option<Timestamp>, out: Output) -> Result<Exit> {
    let period = from.is_some() || to.is_some();
    let from = from.unwrap_or_else(Timestamp::now);
    let to = to.map_or_else(|| from.checked_add((90 * 24).hours()), Ok)?;
    if to <= from {
        bail!("--to must be later than --from");
    }
    let policies: BTreeMap<String, Policy> = config.secrets.iter().map(|s| (s.name.clone(), s.policy.clone())).collect();
    let (status, _) = gather(config, environment).await?;
    let secrets: Vec<&SecretView> = status.secrets.values().collect();
    let mut rows: Vec<Row> = secrets.iter().flat_map(|s| slots(s, policies.get(&s.name), from, to)).collect();
    rows.sort_by(|a, b| (a.at, &a.secret).cmp(&(b.at, &b.secret)));
    match out {
        Output::Json => output::json(&serde_json::json!({ "from": from, "to": to, "slots": rows, "secrets": secrets })),
        Output::Text if period => print_slots(&rows),
        Output::Text => print_secrets(&secrets, &policies),
    }
    Ok(Exit::Ok)
}

fn slots(secret: &SecretView, policy: Option<&Policy>, from: Timestamp, to: Timestamp) -> Vec<Row> {
    let Some(policy) = policy else { return Vec::new() };
    let mut rows = Vec::new();
    let mut after = from;
    while let Some(at) = policy.schedule.next_after(after).filter(|at| *at < to) {
        if rows.len() == MOST_SLOTS {
            break;
        }
        rows.push(Row { secret: secret.name.clone(), class: secret.class.clone(), at });
        after = at;
    }
    rows
}

fn print_slots(rows: &[Row]) {
    let cells: Vec<Vec<String>> = rows.iter().map(|r| vec![whole_seconds(r.at), r.secret.clone(), r.class.clone()]).collect();
    output::line(&output::table(&["SLOT", "SECRET", "CLASS"], &cells));
}

fn print_secrets(secrets: &[&SecretView], policies: &BTreeMap<String, Policy>) {
    let cells: Vec<Vec<String>> = secrets
        .iter()
        .map(|s| {
            let schedule = policies.get(&s.name).map_or_else(String::new, |p| p.schedule.to_string());
            let next = s.next_due.map_or_else(|| "never".to_owned(), whole_seconds);
            vec![s.name.clone(), s.class.clone(), schedule, next, s.next.clone()]
        })
        .collect();
    output::line(&output::table(&["SECRET", "CLASS", "SCHEDULE", "NEXT SLOT", "NEXT"], &cells));
}
