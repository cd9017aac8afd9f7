//! `plan`: what will be rotated when, with a line for each secret, and why another will not; and what the proof watch costs.

use super::output::{self, Output};
use super::status::gather;
use crate::cli::Exit;
use crate::config::{Config, Environment, KindConfig, SecretConfig};
use crate::view::{SecretView, whole_seconds};
use anyhow::{Result, bail};
use jiff::{Timestamp, ToSpan};
use keyward_rotation::schedule::Slot;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// More slots of one secret than this are not listed; twice as many as an hourly schedule has in a year.
const MOST_SLOTS: usize = 20_000;

/// What one call to Vault leaves in an audit log: a request's line and a response's, as measured on Vault 1.21 with what the proof watch reads.
const AUDIT_BYTES_PER_CALL: u64 = 2_500;

#[derive(Serialize)]
struct Row {
    secret: String,
    class: String,
    /// The due time.
    at: Timestamp,
    /// When it may start: after jitter, inside the maintenance window.
    starts: Option<Timestamp>,
    /// What keeps it from running by itself, as things stand now.
    but: Option<&'static str>,
}

/// What proving costs in a day.
#[derive(Serialize, Default)]
struct Cost {
    proofs: u64,
    calls: u64,
    audit_bytes: u64,
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
    let configured: BTreeMap<String, SecretConfig> = config.secrets.iter().map(|s| (s.name.clone(), s.clone())).collect();
    let cost = config.secrets.iter().map(cost).fold(Cost::default(), Cost::plus);
    let (status, _) = gather(config, environment).await?;
    let secrets: Vec<&SecretView> = status.secrets.values().collect();
    let mut rows: Vec<Row> = secrets.iter().flat_map(|s| slots(s, configured.get(&s.name), from, to)).collect();
    rows.sort_by(|a, b| (a.at, &a.secret).cmp(&(b.at, &b.secret)));
    match out {
        Output::Json => {
            output::json(&serde_json::json!({ "from": from, "to": to, "slots": rows, "secrets": secrets, "proofs_per_day": cost }));
        }
        Output::Text if period => print_slots(&rows),
        Output::Text => {
            print_secrets(&secrets, &configured);
            output::line(&format!("\n{}", cost.says()));
        }
    }
    Ok(Exit::Ok)
}

fn slots(secret: &SecretView, config: Option<&SecretConfig>, from: Timestamp, to: Timestamp) -> Vec<Row> {
    let Some(config) = config else { return Vec::new() };
    let policy = &config.policy;
    let but = but(secret);
    let mut rows = Vec::new();
    // A slot at the very beginning belongs to the period, one at its end to the next.
    let mut after = from.checked_sub(1.nanosecond()).unwrap_or(from);
    while let Some(at) = policy.schedule.next_after(after).filter(|at| *at < to) {
        if rows.len() == MOST_SLOTS {
            output::note(&format!("keyward: of {} only the first {MOST_SLOTS} slots are listed; name a shorter period", secret.name));
            break;
        }
        let starts = policy.start(&secret.name, Slot(at));
        rows.push(Row { secret: secret.name.clone(), class: secret.class.clone(), at, starts, but });
        after = at;
    }
    rows
}

/// What keeps a secret's slots from being served, as things stand now.
fn but(secret: &SecretView) -> Option<&'static str> {
    match (secret.state.as_str(), secret.reason.as_str()) {
        ("stuck", _) => Some("if it is resumed: a rotation stands still"),
        ("diverged", _) => Some("if it is reconciled: what is published is refused"),
        ("paused", _) | (_, "paused") => Some("if it is resumed: it is paused"),
        ("unknown", _) => Some("if its record can be read"),
        (_, "observed") => Some("only observed: nothing is done"),
        _ if secret.kind == "manual" => Some("if a person supplies a value"),
        _ => None,
    }
}

fn print_slots(rows: &[Row]) {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), whole_seconds);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![whole_seconds(r.at), time(r.starts), r.secret.clone(), r.class.clone(), r.but.unwrap_or_default().to_owned()])
        .collect();
    output::line(&output::table(&["SLOT", "STARTS", "SECRET", "CLASS", "BUT"], &cells));
}

fn print_secrets(secrets: &[&SecretView], configured: &BTreeMap<String, SecretConfig>) {
    let cells: Vec<Vec<String>> = secrets
        .iter()
        .map(|s| {
            let schedule = configured.get(&s.name).map_or_else(String::new, |c| c.policy.schedule.to_string());
            let next = s.next_due.map_or_else(|| "never".to_owned(), whole_seconds);
            vec![s.name.clone(), s.class.clone(), schedule, next, s.next.clone()]
        })
        .collect();
    output::line(&output::table(&["SECRET", "CLASS", "SCHEDULE", "NEXT SLOT", "NEXT"], &cells));
}

/// What proving one secret costs in a day: how often, and which calls one look makes.
fn cost(secret: &SecretConfig) -> Cost {
    const DAY: Duration = Duration::from_hours(24);
    const HOURLY: Duration = Duration::from_hours(1);
    // Where no system can be asked, the watch only looks whether somebody else changed it, once an hour at most.
    let asks = !matches!(&secret.kind, KindConfig::Random(_) | KindConfig::JwtHmac(_))
        && !matches!(&secret.kind, KindConfig::Manual(manual) if manual.check.is_none());
    let pause = if asks { secret.proof } else { secret.proof.max(HOURLY) };
    let proofs = u64::try_from(DAY.as_nanos() / pause.as_nanos().max(1)).unwrap_or(u64::MAX);
    // The record, what is published, and for a static role what Vault hands out.
    let calls = 1 + u64::from(secret.kind.path().is_some()) + u64::from(matches!(secret.kind, KindConfig::VaultStaticRole(_)));
    let calls = proofs.saturating_mul(calls);
    Cost { proofs, calls, audit_bytes: calls.saturating_mul(AUDIT_BYTES_PER_CALL) }
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            proofs: self.proofs.saturating_add(other.proofs),
            calls: self.calls.saturating_add(other.calls),
            audit_bytes: self.audit_bytes.saturating_add(other.audit_bytes),
        }
    }

    fn says(&self) -> String {
        let bytes = match self.audit_bytes {
            few @ 0..1_000_000 => format!("{} kB", few / 1_000),
            many => format!("{}.{} MB", many / 1_000_000, many / 100_000 % 10),
        };
        format!("The proof watch makes {} proofs a day: {} calls to Vault, about {bytes} in each audit log.", self.proofs, self.calls)
    }
}
