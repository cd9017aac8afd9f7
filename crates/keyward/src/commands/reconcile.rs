//! `reconcile`: says what is true of the secrets now, and on confirmation makes it true again where Vault and a target disagree.

use super::alone::unknown;
use super::confirm::{self, Agreement};
use super::hand::{Hand, Request};
use super::output::{self, Output};
use super::rotate;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::control::Said;
use crate::daemon::requests::{Finding, Refusal};
use anyhow::{Result, bail};
use serde::Serialize;

/// One secret, as JSON.
#[derive(Serialize)]
struct Row {
    secret: String,
    #[serde(flatten)]
    found: Found,
    outcome: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    /// What is true.
    Finding(Finding),
    /// Why it cannot be told.
    Failure(String),
}

/// Says what is true of these secrets (all, where none is named); on confirmation does what mends it.
///
/// # Errors
/// No such secret, or no way to ask and do it.
pub async fn run(config: Config, environment: &Environment, names: Vec<String>, yes: bool, alone: bool, out: Output) -> Result<Exit> {
    let known: Vec<String> = config.secrets.iter().map(|s| s.name.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!(unknown(known.iter(), name));
    }
    let names = if names.is_empty() { known } else { names };
    let hand = Hand::find(config, environment, alone, out).await?;
    let mut rows = Vec::new();
    let mut exit = Exit::Ok;
    for secret in names {
        let found = match hand.examine(&secret).await? {
            Ok(finding) => Found::Finding(finding),
            Err(refusal) => {
                exit = worse(exit, refusal_exit(&refusal));
                Found::Failure(refusal.to_string())
            }
        };
        if out == Output::Text {
            show(&secret, &found);
        }
        rows.push(Row { secret, found, outcome: None });
    }
    let to_do: Vec<usize> = (0..rows.len()).filter(|i| matches!(&rows[*i].found, Found::Finding(f) if f.acts)).collect();
    if rows.iter().any(|row| matches!(&row.found, Found::Finding(f) if !f.is_well())) {
        exit = worse(exit, Exit::Failed);
    }
    if !to_do.is_empty() {
        // Without a terminal and without --yes this only reports, which is what a script that watches wants.
        if let Some(code) = mend(&hand, &mut rows, &to_do, yes, out).await? {
            exit = if rows.iter().any(Row::needs_more) { worse(code, Exit::Failed) } else { code };
        }
    } else if out == Output::Text && exit == Exit::Ok {
        output::line("Vault and the targets agree.");
    }
    if out == Output::Json {
        output::json(&serde_json::json!({ "secrets": rows }));
    }
    Ok(exit)
}

impl Row {
    /// Whether something is wrong with it that was not mended.
    fn needs_more(&self) -> bool {
        match &self.found {
            Found::Finding(finding) => !finding.is_well() && !matches!(self.outcome.as_deref(), Some("rotated" | "noted" | "resumed")),
            Found::Failure(_) => true,
        }
    }
}

fn show(secret: &str, found: &Found) {
    match found {
        Found::Failure(why) => output::line(&format!("✗ {secret}: {why}")),
        Found::Finding(finding) => {
            let mark = if finding.is_well() { "✓" } else { "✗" };
            output::line(&format!("{mark} {secret}: {}", finding.says.join("; ")));
            if !finding.will.is_empty() {
                let who = if finding.acts { "reconcile will" } else { "you have to" };
                output::line(&format!("    {who}: {}", finding.will));
            }
        }
    }
}

/// `None`: nobody agreed, and nothing was done.
async fn mend(hand: &Hand, rows: &mut [Row], to_do: &[usize], yes: bool, out: Output) -> Result<Option<Exit>> {
    if confirm::ask(&format!("Make {} secret(s) true again, as said above?", to_do.len()), yes)? != Agreement::Yes {
        return Ok(None);
    }
    let mut exit = Exit::Ok;
    for index in to_do {
        let Some(row) = rows.get_mut(*index) else { continue };
        let Found::Finding(finding) = &row.found else { continue };
        let said = hand.ask(&row.secret, Request::Reconcile(finding.cure.clone()), |progress| rotate::show(progress, out)).await?;
        let (outcome, text, code) = match said {
            Said::Result(answer) => {
                let code = rotate::exit(&answer);
                let text = match answer.outcome.as_str() {
                    "rotated" if finding.cure == "apply" => {
                        format!("{}: the target accepts what is published, proved (rotation {}).", row.secret, answer.rotation)
                    }
                    _ => rotate::sentence(&row.secret, &answer),
                };
                (answer.outcome, text, code)
            }
            Said::Refused(refusal) => ("not begun".to_owned(), format!("{}: {refusal}", row.secret), refusal_exit(&refusal)),
            Said::Progress(_) => ("unknown".to_owned(), format!("{}: no result", row.secret), Exit::Internal),
        };
        if out == Output::Text {
            output::line(&text);
        }
        row.outcome = Some(outcome);
        exit = worse(exit, code);
    }
    Ok(Some(exit))
}

fn refusal_exit(refusal: &Refusal) -> Exit {
    rotate::exit_of_refusal(refusal)
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Ok { other } else { one }
}
