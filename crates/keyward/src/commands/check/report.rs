//! What `check` found, as values: marks, findings, groups, the exit code, and how they are printed. It never looks at anything itself.

use crate::cli::Exit;
use crate::commands::output::{self, Output};
use keyward_engine::Failure;
use serde::Serialize;
use std::fmt::Write as _;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As it should be.
    Well,
    /// Works, and a person should know.
    Warning,
    /// Cannot work.
    Wrong,
    /// Could not be looked at, or is nobody's to know.
    Unknown,
}

impl Mark {
    const fn sign(self) -> char {
        match self {
            Self::Well => '✓',
            Self::Warning => '!',
            Self::Wrong => '✗',
            Self::Unknown => '?',
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How to take it.
    pub mark: Mark,
    /// What is, in one sentence.
    pub says: String,
    /// What to do about it, where there is something: words, or lines to copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// What it means for the exit code if it is wrong.
    #[serde(skip)]
    pub exit: Exit,
}

impl Finding {
    fn new(mark: Mark, says: impl Into<String>) -> Self {
        Self { mark, says: says.into(), cure: None, exit: Exit::Failed }
    }

    /// As it should be.
    pub fn well(says: impl Into<String>) -> Self {
        Self::new(Mark::Well, says)
    }

    /// Works, and a person should know.
    pub fn warning(says: impl Into<String>) -> Self {
        Self::new(Mark::Warning, says)
    }

    /// Cannot work.
    pub fn wrong(says: impl Into<String>) -> Self {
        Self::new(Mark::Wrong, says)
    }

    /// Could not be looked at.
    pub fn unknown(says: impl Into<String>) -> Self {
        Self::new(Mark::Unknown, says)
    }

    /// Cannot work because of a failure, whose class decides the exit code.
    pub fn failed(what: &str, failure: &Failure) -> Self {
        Self::wrong(format!("{what}: {}", failure.text)).means(crate::commands::exit_of(failure.class))
    }

    /// With what to do about it.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// With another exit code than "failed".
    #[must_use]
    pub fn means(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

/// The findings about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// `Vault`, `Permissions`, `Secret backend-database`, …
    pub subject: String,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

/// Everything that was found. As text each group is printed when it is complete, because a person waits; as JSON all at the end.
pub struct Report {
    out: Output,
    groups: Vec<Group>,
    heads: [&'static str; 2],
}

impl Report {
    /// Nothing found yet.
    pub fn new(out: Output) -> Self {
        Self::saying(out, "This configuration can work", "This configuration cannot work yet")
    }

    /// Nothing found yet; what is said in the end where nothing is wrong, and where something is.
    pub fn saying(out: Output, well: &'static str, wrong: &'static str) -> Self {
        Self { out, groups: Vec::new(), heads: [well, wrong] }
    }

    /// Adds a group; an empty one says nothing.
    pub fn add(&mut self, subject: impl Into<String>, findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        let group = Group { subject: subject.into(), findings };
        if self.out == Output::Text {
            output::line(&text(&group));
        }
        self.groups.push(group);
    }

    /// Prints what is left to print; the exit code.
    pub fn finish(self) -> Exit {
        let exit = exit(&self.groups);
        match self.out {
            Output::Text => output::line(&summary(&self.groups, self.heads)),
            Output::Json => output::json(&serde_json::json!({ "ok": exit == Exit::Ok, "groups": self.groups })),
        }
        exit
    }
}

/// A group as people read it.
fn text(group: &Group) -> String {
    let mut text = group.subject.clone();
    for finding in &group.findings {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {} {}", finding.mark.sign(), finding.says);
        for line in finding.cure.iter().flat_map(|cure| cure.lines()) {
            let _ = write!(text, "\n      {line}");
        }
    }
    text
}

fn count(groups: &[Group], mark: Mark) -> usize {
    groups.iter().flat_map(|g| &g.findings).filter(|f| f.mark == mark).count()
}

fn summary(groups: &[Group], [well, not_well]: [&str; 2]) -> String {
    let things = |n: usize, rest: &str| format!("{n} thing{} {rest}", if n == 1 { "" } else { "s" });
    let (wrong, warnings, unknown) = (count(groups, Mark::Wrong), count(groups, Mark::Warning), count(groups, Mark::Unknown));
    let mut parts = Vec::new();
    if wrong > 0 {
        parts.push(things(wrong, "cannot work (✗)"));
    }
    if warnings > 0 {
        parts.push(things(warnings, "to look at (!)"));
    }
    if unknown > 0 {
        parts.push(things(unknown, "unknown (?)"));
    }
    let head = if wrong == 0 { well } else { not_well };
    if parts.is_empty() { format!("{head}.") } else { format!("{head}: {}.", parts.join(", ")) }
}

/// The worst of what is wrong: what cannot be reached hides more than what is denied, and that more than the rest.
fn exit(groups: &[Group]) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Unavailable => 3,
        Exit::Denied => 2,
        _ => 1,
    };
    let wrong = groups.iter().flat_map(|g| &g.findings).filter(|f| f.mark == Mark::Wrong);
    match wrong.map(|f| rank(f.exit)).max() {
        None => Exit::Ok,
        Some(3) => Exit::Unavailable,
        Some(2) => Exit::Denied,
        Some(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(findings: Vec<Finding>) -> Vec<Group> {
        vec![Group { subject: "Vault".into(), findings }]
    }

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let denied = || Finding::wrong("a").means(Exit::Denied);
        let away = || Finding::wrong("b").means(Exit::Unavailable);
        let table = [
            (vec![], Exit::Ok),
            (vec![Finding::warning("w").means(Exit::Denied), Finding::unknown("u"), Finding::well("v")], Exit::Ok),
            (vec![Finding::wrong("f")], Exit::Failed),
            (vec![denied(), Finding::wrong("f")], Exit::Denied),
            (vec![denied(), away(), Finding::wrong("f")], Exit::Unavailable),
            (vec![Finding::wrong("busy").means(Exit::Temporary)], Exit::Failed),
        ];
        for (findings, expected) in table {
            assert_eq!(exit(&groups(findings.clone())), expected, "{findings:?}");
        }
    }

    #[test]
    fn a_group_is_printed_with_its_cures() {
        let group = &groups(vec![Finding::well("is active"), Finding::wrong("may not patch").cure("path \"x\"\nline two")])[0];
        assert_eq!(text(group), "Vault\n  ✓ is active\n  ✗ may not patch\n      path \"x\"\n      line two");
    }

    #[test]
    fn the_summary_counts() {
        let heads = ["This configuration can work", "This configuration cannot work yet"];
        assert_eq!(summary(&groups(vec![Finding::well("v")]), heads), "This configuration can work.");
        let some = groups(vec![Finding::wrong("a"), Finding::warning("b"), Finding::warning("c"), Finding::unknown("d")]);
        assert_eq!(
            summary(&some, heads),
            "This configuration cannot work yet: 1 thing cannot work (✗), 2 things to look at (!), 1 thing unknown (?)."
        );
    }
}
