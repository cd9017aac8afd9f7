//! What an import says: a line per field, and a truthful sum.

use super::super::output::table;
use super::apply::Compared;
use super::map::Origin;
use super::plan::Verdict;
use serde::Serialize;

/// What is said of one field.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Row {
    /// Where its value comes from.
    pub variable: String,
    /// The secret, mount first.
    pub path: String,
    /// The field.
    pub field: String,
    /// `new`, `written`, `unchanged`, `kept`, `outdated`, `deleted`, `missing`.
    pub outcome: &'static str,
    /// For `missing`: whether Vault has the field already.
    pub in_vault: bool,
}

/// The rows of one secret. `before`: as it was compared first, when something was written since.
pub fn rows(now: &Compared<'_>, before: Option<&[Verdict]>) -> Vec<Row> {
    let path = now.place.to_string();
    let row =
        |variable: String, field: &str, outcome, in_vault| Row { variable, path: path.clone(), field: field.to_owned(), outcome, in_vault };
    let mut rows = Vec::new();
    for (i, (field, verdict)) in now.wanted.fields.iter().zip(&now.verdicts).enumerate() {
        let was_new = before.and_then(|b| b.get(i)) == Some(&Verdict::New);
        let outcome = match verdict {
            Verdict::New => "new",
            Verdict::Same if was_new => "written",
            Verdict::Same => "unchanged",
            Verdict::Kept => "kept",
            Verdict::Outdated => "outdated",
            Verdict::Deleted => "deleted",
        };
        rows.push(row(
            field.from.first().map(ToString::to_string).unwrap_or_default(),
            &field.name,
            outcome,
            !matches!(verdict, Verdict::New | Verdict::Outdated),
        ));
    }
    for ((name, origins), there) in now.wanted.missing.iter().zip(&now.there) {
        rows.push(row(origins.iter().map(short).collect::<Vec<_>>().join(" or "), name, "missing", *there));
    }
    rows
}

fn short(origin: &Origin) -> String {
    origin.part.map_or_else(|| origin.variable.clone(), |part| format!("{}#{}", origin.variable, part.name()))
}

/// The rows for people.
pub fn as_table(rows: &[Row]) -> String {
    let cells = |row: &Row| vec![row.variable.clone(), row.path.clone(), row.field.clone(), word(row).to_owned()];
    table(&["from", "secret", "field", ""], &rows.iter().map(cells).collect::<Vec<_>>())
}

fn word(row: &Row) -> &'static str {
    match (row.outcome, row.in_vault) {
        ("new", _) => "new: will be written",
        ("written", _) => "written and read back",
        ("unchanged", _) => "unchanged: Vault has the same value",
        ("kept", _) => "left alone: Vault has another value, which may be newer",
        ("outdated", _) => "left alone: comes from where another field came from that is newer in Vault",
        ("deleted", _) => "left alone: the secret was deleted in Vault",
        (_, true) => "not in the source; Vault has a value",
        (_, false) => "skipped: not in the source",
    }
}

/// What became of one secret: `password, url written and read back; host left alone`.
pub fn done(rows: &[Row]) -> String {
    let named = |outcome: &str| rows.iter().filter(|r| r.outcome == outcome).map(|r| r.field.as_str()).collect::<Vec<_>>().join(", ");
    let left = ["kept", "outdated", "deleted"].map(|outcome| (named(outcome), "left alone"));
    let parts = [(named("written"), "written and read back")].into_iter().chain(left);
    parts.filter(|(fields, _)| !fields.is_empty()).map(|(fields, word)| format!("{fields} {word}")).collect::<Vec<_>>().join("; ")
}

/// How many of each, in one sentence.
pub fn sum(rows: &[Row], source: &str) -> String {
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    let missing = rows.iter().filter(|row| row.outcome == "missing" && !row.in_vault).count();
    let parts = [
        (count("new"), "would be written"),
        (count("written"), "written and read back"),
        (count("unchanged"), "unchanged"),
        (count("kept"), "left alone because Vault has another value"),
        (count("outdated"), "left alone because what they came with is newer in Vault"),
        (count("deleted"), "left alone because the secret was deleted in Vault"),
        (missing, "skipped because the source has none"),
    ];
    let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    format!("Fields from {source}: {}.", if said.is_empty() { "none".to_owned() } else { said.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_claims_no_more_than_is_true() {
        let row = |outcome, in_vault| Row { variable: "A".into(), path: "secret/a".into(), field: "a".into(), outcome, in_vault };
        let rows = [row("written", true), row("written", true), row("kept", true), row("missing", false), row("missing", true)];
        assert_eq!(
            sum(&rows, ".env"),
            "Fields from .env: 2 written and read back, 1 left alone because Vault has another value, 1 skipped because the source has none."
        );
        assert_eq!(sum(&[], ".env"), "Fields from .env: none.");
    }
}
