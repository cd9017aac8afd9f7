//! What is wrong with a configuration: one clear line per problem, with file, line, key and cure.
//!
//! It never repeats a value that could be a secret: callers quote keys, names and enumerated values only.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// How many problems are shown at most; the rest is counted.
pub const SHOWN: usize = 10;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it was given.
    pub file: String,
    /// The line, counted from 1; `None` when no single line is to blame.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Everything that is wrong with a configuration, in the file's order. There is never half a configuration beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// One problem that concerns the whole file.
    pub(super) fn whole_file(file: &str, message: String) -> Self {
        Self(vec![Problem { file: file.to_owned(), line: None, message }])
    }

    /// All problems, also those beyond [`SHOWN`].
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Gathers problems and warnings while a file is read, and knows which byte stands on which line.
pub(super) struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    found: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: RefCell::default(), warnings: RefCell::default() }
    }

    /// A problem at a place in the text.
    pub(super) fn at(&self, span: &Range<usize>, message: impl Into<String>) {
        self.add(Some(self.line(span)), message.into());
    }

    /// A problem with no single place.
    pub(super) fn anywhere(&self, message: impl Into<String>) {
        self.add(None, message.into());
    }

    /// Something that works, and that its owner should know about.
    pub(super) fn warn(&self, span: Option<&Range<usize>>, message: impl Into<String>) {
        let problem = Problem { file: self.file.to_owned(), line: span.map(|s| self.line(s)), message: message.into() };
        self.warnings.borrow_mut().push(problem.to_string());
    }

    /// The warnings, or the problems if there is one.
    pub(super) fn verdict(self) -> Result<Vec<String>, ConfigErrors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        found.sort_by_key(|p| p.line.unwrap_or(usize::MAX));
        Err(ConfigErrors(found))
    }

    fn add(&self, line: Option<usize>, message: String) {
        let problem = Problem { file: self.file.to_owned(), line, message };
        let mut found = self.found.borrow_mut();
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        // `get`, because a place from a parser's error need not fall between characters.
        1 + self.text.get(..span.start.min(self.text.len())).unwrap_or_default().matches('\n').count()
    }
}

/// The known word nearest to an unknown one; `None` when none is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&word, &k.to_lowercase().replace('_', "-")), k))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// `did you mean "x"?`, or the list of what is known.
pub(super) fn suggestion(word: &str, known: &[&str], what: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => {
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            format!("known {what}: {}", sorted.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["schedule", "zone", "grace", "retire", "retire_deadline"];
        assert_eq!(nearest("schedul", known), Some("schedule"));
        assert_eq!(nearest("retire-deadline", known), Some("retire_deadline"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let problems = Problems::new("k.toml", "a\nb\n");
        for i in 0..12 {
            problems.at(&(2..3), format!("problem {i}"));
        }
        problems.anywhere("last");
        let Err(errors) = problems.verdict() else { panic!() };
        let shown = errors.to_string();
        assert_eq!(shown.lines().count(), SHOWN + 1);
        assert!(shown.starts_with("k.toml:2: problem 0\n"), "{shown}");
        assert!(shown.ends_with("… and 3 more"), "{shown}");
    }
}
