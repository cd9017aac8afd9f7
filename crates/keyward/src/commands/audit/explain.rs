//! `audit explain`: a rule's page, and how the rule is set when nobody says otherwise.

use crate::cli::Exit;
use crate::commands::output::{self, Output};
use anyhow::{Result, bail};
use clap::Args;
use keyward_audit::RuleId;
use serde::Serialize;

/// `audit explain`.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The rule; without it, all of them
    pub rule: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    rule: &'static str,
    says: &'static str,
    severity: &'static str,
    window_seconds: i64,
    threshold: u32,
    learning_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'static str>,
}

impl Shown {
    fn of(rule: RuleId, with_page: bool) -> Self {
        let settings = rule.defaults();
        let page = rule.page();
        let headline = page.lines().next().and_then(|line| line.split_once(": "));
        Self {
            rule: rule.name(),
            says: headline.map_or("", |(_, says)| says),
            severity: settings.severity.label(),
            window_seconds: settings.window.as_secs(),
            threshold: settings.threshold,
            learning_seconds: settings.learning.as_secs(),
            page: with_page.then_some(page),
        }
    }
}

/// Prints a page, or the list.
///
/// # Errors
/// No rule of this name.
pub fn run(explain: &Explain, out: Output) -> Result<Exit> {
    let Some(name) = &explain.rule else {
        let all: Vec<Shown> = RuleId::ALL.into_iter().map(|rule| Shown::of(rule, false)).collect();
        match out {
            Output::Json => output::json(&all),
            Output::Text => {
                let rows: Vec<Vec<String>> = all.iter().map(|s| vec![s.rule.into(), s.severity.into(), s.says.into()]).collect();
                output::line(&output::table(&["RULE", "SEVERITY", "SPEAKS WHEN"], &rows));
            }
        }
        return Ok(Exit::Ok);
    };
    let Some(rule) = RuleId::from_name(name) else {
        bail!("no audit rule is called {name:?}; `keyward audit explain` lists them");
    };
    let shown = Shown::of(rule, true);
    match out {
        Output::Json => output::json(&shown),
        Output::Text => output::line(&format!("{}\n## As it ships\n\n{}", rule.page(), settings(&shown))),
    }
    Ok(Exit::Ok)
}

fn settings(shown: &Shown) -> String {
    let hours = |seconds: i64| match seconds {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s => format!("{}m", s / 60),
    };
    let mut lines = vec![
        "[[audit.rule]]".to_owned(),
        format!("name = \"{}\"", shown.rule),
        format!("severity = \"{}\"", shown.severity),
        format!("window = \"{}\"", hours(shown.window_seconds)),
        format!("threshold = {}", shown.threshold),
    ];
    if shown.learning_seconds > 0 {
        lines.push(format!("learning = \"{}\"", hours(shown.learning_seconds)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_as_shipped_is_a_configuration_that_changes_nothing() {
        for rule in RuleId::ALL {
            let shown = Shown::of(rule, false);
            assert!(!shown.says.is_empty(), "{rule:?}");
            let read = crate::config::Config::parse_rules(&settings(&shown), "shown").unwrap_or_default();
            let set = read.first().and_then(|change| rule.defaults().with(change).ok());
            assert_eq!(set, Some(rule.defaults()));
        }
    }
}
