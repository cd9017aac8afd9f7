//! What `check` found, as values: marks, findings, groups, the exit code, and how they are printed. It never looks at anything itself.

use super::trouble::Trouble;
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
    /// Which trouble of the catalogue it is, where it is one.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
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
        Self { mark, trouble: None, says: says.into(), cure: None, exit: Exit::Failed }
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

    /// With the name of the trouble.
    #[must_use]
    pub fn is(self, trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), ..self }
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
    /// Whether only troubles are told, each by its name and with a cure.
    is_diagnosis: bool,
}

impl Report {
    /// Nothing found yet.
    pub fn new(out: Output) -> Self {
        Self::saying(out, "This configuration can work", "This configuration cannot work yet")
    }

    /// Nothing found yet; what is said in the end where nothing is wrong, and where something is.
    pub fn saying(out: Output, well: &'static str, wrong: &'static str) -> Self {
        Self { out, groups: Vec::new(), heads: [well, wrong], is_diagnosis: false }
    }

    /// Nothing found yet. Only troubles are told, each by its name and with a cure; what is well is counted.
    pub fn diagnosis(out: Output) -> Self {
        Self { is_diagnosis: true, ..Self::saying(out, "No trouble was found", "There is trouble") }
    }

    /// Adds a group; an empty one says nothing.
    pub fn add(&mut self, subject: impl Into<String>, findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        let findings = if self.is_diagnosis { troubles(findings) } else { findings };
        let group = Group { subject: subject.into(), findings };
        if self.out == Output::Text {
            output::line(&text(&group, self.is_diagnosis));
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

/// What is well in one finding, and each trouble with its name and a cure.
fn troubles(findings: Vec<Finding>) -> Vec<Finding> {
    let (well, troubles): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(|f| f.mark == Mark::Well);
    let count =
        Some(well.len()).filter(|n| *n > 0).map(|n| Finding::well(format!("{n} thing{} as it should be", if n == 1 { "" } else { "s" })));
    let named = |finding: Finding| {
        let cure = finding.cure.or_else(|| finding.trouble.map(|t| t.cure().to_owned()));
        Finding { cure, ..finding }
    };
    count.into_iter().chain(troubles.into_iter().map(named)).collect()
}

/// A group as people read it.
fn text(group: &Group, is_diagnosis: bool) -> String {
    let mut text = group.subject.clone();
    for finding in &group.findings {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {} ", finding.mark.sign());
        if let Some(trouble) = finding.trouble.filter(|_| is_diagnosis) {
            let _ = write!(text, "{}: ", trouble.id());
        }
        text.push_str(&finding.says);
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
        assert_eq!(text(group, false), "Vault\n  ✓ is active\n  ✗ may not patch\n      path \"x\"\n      line two");
    }

    #[test]
    fn a_diagnosis_counts_what_is_well_and_names_the_rest() {
        let found =
            vec![Finding::well("a"), Finding::wrong("v is sealed").is(Trouble::VaultSealed), Finding::unknown("u"), Finding::well("b")];
        let told = troubles(found);
        let says: Vec<&str> = told.iter().map(|f| f.says.as_str()).collect();
        assert_eq!(says, ["2 things as it should be", "v is sealed", "u"]);
        assert!(text(&groups(told.clone())[0], true).contains("✗ vault-sealed: v is sealed"));
        assert_eq!(told[1].cure.as_deref(), Some(Trouble::VaultSealed.cure()));
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
