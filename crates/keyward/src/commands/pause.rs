//! `pause` and `resume`: of one secret, or of a whole class.

use super::hand::{Hand, Request};
use super::output::{self, Output};
use super::rotate;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::control::Said;
use anyhow::{Result, bail};

/// What is held, or let go on.
pub enum What {
    /// One secret.
    Secret(String),
    /// Every secret of a class.
    Class(String),
}

impl What {
    /// As typed: exactly one of the two is there, which the command line sees to.
    ///
    /// # Errors
    /// Neither, or both.
    pub fn of(name: Option<String>, class: Option<String>) -> Result<Self> {
        match (name, class) {
            (Some(name), None) => Ok(Self::Secret(name)),
            (None, Some(class)) => Ok(Self::Class(class)),
            _ => bail!("name either a secret or --class"),
        }
    }
}

/// Pauses (`why` given; may be empty), or resumes.
///
/// # Errors
/// What kept it from being asked.
pub async fn run(config: Config, environment: &Environment, what: What, pause: Option<String>, alone: bool, out: Output) -> Result<Exit> {
    let class = match what {
        What::Secret(name) => {
            let request = pause.map_or(Request::Resume, Request::Pause);
            return rotate::run(config, environment, &name, request, alone, out).await;
        }
        What::Class(class) => class,
    };
    if !config.classes.contains_key(&class) {
        let known: Vec<&str> = config.classes.keys().map(String::as_str).collect();
        bail!("there is no class \"{class}\"; there are {}", known.join(", "));
    }
    let pauses = pause.is_some();
    let hand = Hand::find(config, environment, alone, out).await?;
    Ok(match hand.class(&class, pause).await? {
        Said::Result(answer) => {
            match (out, pauses) {
                (Output::Json, _) => output::json(&answer),
                (Output::Text, true) => output::line(&format!(
                    "The class {class} is paused: none of its secrets is rotated until `keyward resume --class {class}`."
                )),
                (Output::Text, false) => output::line(&format!("The class {class} goes on; the schedules of its secrets decide.")),
            }
            Exit::Ok
        }
        Said::Refused(refusal) => {
            if out == Output::Json {
                output::json(&serde_json::json!({ "outcome": "not begun", "failure": refusal.to_string() }));
            }
            output::note(&format!("keyward: {refusal}"));
            rotate::exit_of_refusal(&refusal)
        }
        Said::Progress(_) => Exit::Internal,
    })
}
