//! Reads one table of the file, key by key: what was not asked for is unknown, what has another type is said, nothing stops at the first.
//!
//! It never decides what a value means. Keys are denied by construction: [`Section::finish`] refuses every key that no reader took.
//! (A derived `deny_unknown_fields` stops at a document's first error, and loses the lines below `kind`, which tags the secrets' tables.)

use super::duration;
use super::problem::{Problems, nearest, suggestion};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table, what is left of it, and what was asked of it.
pub(super) struct Section<'d> {
    label: String,
    span: Range<usize>,
    rest: DeTable<'d>,
    asked: Vec<&'static str>,
    taken: Vec<&'static str>,
    problems: &'d Problems<'d>,
}

impl<'d> Section<'d> {
    /// A table under the name that errors give it, such as `[class.database]`.
    pub(super) fn new(label: impl Into<String>, table: Spanned<DeTable<'d>>, problems: &'d Problems<'d>) -> Self {
        Self { label: label.into(), span: table.span(), rest: table.into_inner(), asked: Vec::new(), taken: Vec::new(), problems }
    }

    /// The table's name in errors.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Gives it a better name, once that is known.
    pub(super) fn rename(&mut self, label: String) {
        self.label = label;
    }

    /// Where the table begins.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// Where problems go.
    pub(super) fn problems(&self) -> &'d Problems<'d> {
        self.problems
    }

    /// Whether the key is still there to be read.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.asked.push(key);
        self.rest.contains_key(key)
    }

    /// Whether there are keys that nobody has read so far.
    pub(super) fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether the key, still to be read, holds a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.rest.get(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
    }

    /// Whether the key was there, whatever became of its value.
    pub(super) fn has_taken(&self, key: &str) -> bool {
        self.taken.contains(&key)
    }

    /// A problem with a key's value: `"grace" in [class.x] …`.
    pub(super) fn wrong(&self, span: &Range<usize>, key: &str, what: impl std::fmt::Display) {
        self.problems.at(span, format!("\"{key}\" in {} {what}", self.label));
    }

    /// The raw value of a key.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Spanned<DeValue<'d>>> {
        self.asked.push(key);
        let value = self.rest.remove(key);
        if value.is_some() {
            self.taken.push(key);
        }
        value
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) if text.trim().is_empty() => self.none(&span, key, "must not be empty".to_owned()),
            DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
            other => self.none(&span, key, must_be("a text in quotes", &other)),
        }
    }

    /// A text with a meaning; `parse` says what is wrong with it, as the end of the sentence `"key" in [section] …`.
    pub(super) fn parsed<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        match parse(text.get_ref()) {
            Ok(value) => Some(Spanned::new(text.span(), value)),
            Err(what) => self.none(&text.span(), key, what),
        }
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Spanned<Duration>> {
        self.parsed(key, duration::parse)
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        self.parsed(key, |text| choose(text, choices))
    }

    /// true or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(Spanned::new(value.span(), *flag)),
            other => self.none(&value.span(), key, must_be("true or false", other)),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: std::ops::RangeInclusive<u32>) -> Option<Spanned<u32>> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            other => return self.none(&value.span(), key, must_be("a whole number", other)),
        };
        match number.filter(|n| bounds.contains(n)) {
            Some(number) => Some(Spanned::new(value.span(), number)),
            None => self.none(&value.span(), key, format!("must be between {} and {}", bounds.start(), bounds.end())),
        }
    }

    /// A list of texts; empty when absent.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.wrong(&span, key, "must be a list of texts, such as [\"a\", \"b\"]");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(text) => texts.push(Spanned::new(span, text.into_owned())),
                other => self.wrong(&span, key, must_be("a list of texts only", &other)),
            }
        }
        texts
    }

    /// A table below this one; an inline table too.
    pub(super) fn section(&mut self, key: &'static str, label: impl Into<String>) -> Option<Section<'d>> {
        let value = self.value(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(label, Spanned::new(span, table), self.problems)),
            other => self.none(&span, key, must_be("a table", &other)),
        }
    }

    /// A table inside this one, named `key of [section]`.
    pub(super) fn inline(&mut self, key: &'static str) -> Option<Section<'d>> {
        let label = format!("{key} of {}", self.label);
        self.section(key, label)
    }

    /// A list of tables, `[[key]]`; empty when absent.
    pub(super) fn sections(&mut self, key: &'static str, label: &str) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let span = value.span();
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            DeValue::Table(_) => {
                self.problems.at(&span, format!("there can be several {label}: write its header with two brackets, {label}"));
                return Vec::new();
            }
            other => {
                self.wrong(&span, key, must_be("tables", &other));
                return Vec::new();
            }
        };
        let mut sections = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => sections.push(Section::new(label, Spanned::new(span, table), self.problems)),
                other => self.wrong(&span, key, must_be("tables", &other)),
            }
        }
        sections
    }

    /// Every entry that is left, for tables whose keys are names; the section is done with.
    pub(super) fn entries(mut self) -> impl Iterator<Item = (Spanned<String>, Spanned<DeValue<'d>>)> {
        let rest = std::mem::take(&mut self.rest);
        rest.into_iter().map(|(key, value)| (Spanned::new(key.span(), key.into_inner().into_owned()), value))
    }

    /// Refuses what nobody asked for, and says which of the required keys are missing, each with a word on what belongs there.
    ///
    /// **Invariant:** a required key that was not read leaves a problem behind: its own, or that of the misspelt key beside it.
    pub(super) fn finish(self, required: &[(&str, &str)]) {
        let mut misspelt = Vec::new();
        for key in self.rest.keys() {
            let word = key.get_ref().as_ref();
            misspelt.extend(nearest(word, self.asked.iter().copied()));
            self.problems.at(&key.span(), format!("unknown key \"{word}\" in {}; {}", self.label, suggestion(word, &self.asked, "keys")));
        }
        for (key, what) in required {
            if !self.taken.contains(key) && !misspelt.contains(key) {
                self.problems.at(&self.span, format!("\"{key}\" is missing in {}; {what}", self.label));
            }
        }
    }

    fn none<T>(&self, span: &Range<usize>, key: &str, what: String) -> Option<T> {
        self.wrong(span, key, what);
        None
    }
}

/// One of a few words, or the end of a sentence that names the nearest.
pub(super) fn choose<T: Clone>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let known: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    match choices.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(value.clone()),
        None => Err(match nearest(text, known.iter().copied()) {
            Some(near) => format!("must be one of {}, not \"{text}\"; did you mean \"{near}\"?", known.join(", ")),
            None => format!("must be one of {}, not \"{text}\"", known.join(", ")),
        }),
    }
}

/// `must be X, not Y`, where Y is a type and never the value.
pub(super) fn must_be(what: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("must be {what}, not {found}")
}
