//! `.env` files as Docker Compose and its like write them, read so that no value can come out other than it was meant.
//!
//! No library does this for us: the known ones replace `$name` by what the environment happens to hold, and quote the line in their errors.
//! What tools read differently is refused here with its line, never guessed; an error names variables and lines, never a value.

use keyward_secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// One assignment.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, quotes and escapes undone.
    pub value: Secret,
    /// The lines on which it stands, counted from 1: more than one place where it is set twice to the same.
    pub lines: Vec<RangeInclusive<usize>>,
    /// The variables that its value is made of: `${NAME}`.
    pub made_of: BTreeSet<String>,
}

/// A value, and the variables that it is made of.
type Made = (Secret, BTreeSet<String>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The assignments of a file, in its order, each name once.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(text: &str) -> Result<Vec<Variable>, Vec<Fault>> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        found: Vec::new(),
        places: BTreeMap::new(),
        faults: Vec::new(),
    };
    while !reader.rest.is_empty() {
        reader.assignment();
    }
    if reader.faults.is_empty() { Ok(reader.found) } else { Err(reader.faults) }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    found: Vec<Variable>,
    /// Where each stands in `found`.
    places: BTreeMap<String, usize>,
    faults: Vec<Fault>,
}

impl<'t> Reader<'t> {
    /// What is left of this line, which is passed.
    fn take_line(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line.strip_suffix('\r').unwrap_or(line)
    }

    fn fault(&mut self, line: usize, why: impl Into<String>) {
        self.faults.push(Fault { line, why: why.into() });
    }

    fn assignment(&mut self) {
        let first = self.line;
        let line = self.rest.split('\n').next().unwrap_or_default();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            self.take_line();
            return;
        }
        let Some((before, _)) = line.split_once('=') else {
            self.take_line();
            return self.fault(first, "there is no = in this line; write NAME=value, or # in front of a comment");
        };
        let name = before.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim);
        if !is_name(name) {
            self.take_line();
            // Not repeated: it may be a part of a value that was broken into lines.
            return self.fault(first, "what stands before = is no variable's name (letters, digits and _)");
        }
        // In bounds: `before` and the = are the beginning of the rest.
        let behind = self.rest.get(before.len() + 1..).unwrap_or_default();
        self.rest = behind.trim_start_matches([' ', '\t']);
        if self.rest.starts_with('#') && behind.starts_with([' ', '\t']) {
            self.take_line();
            return self.fault(first, format!("{name} {COMMENT_OR_NOT}"));
        }
        let value = match self.rest.chars().next() {
            Some('\'') => self.single_quoted(name, first),
            Some('"') => self.double_quoted(name, first),
            _ => self.bare(name, first),
        };
        let Some((value, made_of)) = value else { return };
        let lines = first..=self.line - 1;
        match self.places.get(name).and_then(|place| self.found.get_mut(*place)) {
            None => {
                self.places.insert(name.to_owned(), self.found.len());
                self.found.push(Variable { name: name.to_owned(), value, lines: vec![lines], made_of });
            }
            Some(other) if other.value.same_as(&value) => {
                other.lines.push(lines);
                other.made_of.extend(made_of);
            }
            Some(other) => {
                let line = other.lines.first().map_or(1, |lines| *lines.start());
                let why = format!(
                    "{name} is set twice to different values (first in line {line}), and tools differ in which one counts; keep one"
                );
                self.fault(first, why);
            }
        }
    }

    /// To the next `'`, as it stands.
    fn single_quoted(&mut self, name: &str, first: usize) -> Option<Made> {
        let inner = self.rest.get(1..).unwrap_or_default();
        let Some((value, rest)) = inner.split_once('\'') else {
            self.rest = "";
            self.fault(first, format!("the quote that opens the value of {name} is never closed"));
            return None;
        };
        self.line += value.matches('\n').count();
        self.rest = rest;
        let sound = self.only_a_comment(name);
        if sound && (value.contains("\\\\") || value.ends_with('\\')) {
            self.fault(first, format!("{name} {BACKSLASH_OR_NOT}"));
            return None;
        }
        sound.then(|| (one_line_end(value), BTreeSet::new()))
    }

    fn double_quoted(&mut self, name: &str, first: usize) -> Option<Made> {
        let inner = self.rest.get(1..).unwrap_or_default();
        let Some(end) = closing_quote(inner) else {
            self.rest = "";
            self.fault(first, format!("the quote that opens the value of {name} is never closed"));
            return None;
        };
        let (raw, rest) = inner.split_at(end);
        self.line += raw.matches('\n').count();
        self.rest = rest.get(1..).unwrap_or_default();
        let sound = self.only_a_comment(name);
        let value = self.expanded(one_line_end(raw).expose(), true, name, first)?;
        sound.then_some(value)
    }

    /// To the end of the line, or to a `#` behind a blank.
    fn bare(&mut self, name: &str, first: usize) -> Option<Made> {
        let line = self.take_line();
        let comment = line.char_indices().find(|(i, c)| *c == '#' && line.get(..*i).is_some_and(|b| b.ends_with([' ', '\t'])));
        let value = comment.map_or(line, |(i, _)| line.get(..i).unwrap_or(line)).trim();
        self.expanded(value, false, name, first)
    }

    /// Behind a closing quote.
    fn only_a_comment(&mut self, name: &str) -> bool {
        let line = self.line;
        let after = self.take_line().trim();
        let good = after.is_empty() || after.starts_with('#');
        if !good {
            self.fault(line, format!("something follows the closing quote of {name}"));
        }
        good
    }

    /// Escapes undone (in double quotes), and `${NAME}` replaced by what stands further up.
    fn expanded(&mut self, raw: &str, escapes: bool, name: &str, first: usize) -> Option<Made> {
        let known = |name: &str| self.places.get(name).and_then(|place| self.found.get(*place)).map(|v| &v.value);
        match expand(raw, escapes, known) {
            Ok(value) => Some(value),
            Err(why) => {
                let why = format!("{name} {why}");
                self.fault(first, why);
                None
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The place of the first `"` that no backslash takes away.
pub fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some(i),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Every tool ends lines with `\n` within a value, whatever ends them in the file.
fn one_line_end(value: &str) -> Secret {
    let value = Zeroizing::new(value.replace("\r\n", "\n"));
    Secret::new(value.as_str())
}

const COMMENT_OR_NOT: &str = "has a # behind the =, which some tools take for a comment and others for the value; put a value in quotes, or a comment above the line";

const BACKSLASH_OR_NOT: &str =
    "holds a \\\\, or ends in a \\, in single quotes, which tools read differently; write it in double quotes, each \\ as \\\\";

const REPLACED_OR_NOT: &str =
    "holds a $ before a name, which some tools replace and others keep; put the value in single quotes if the $ belongs to it";

fn expand<'k>(raw: &str, escapes: bool, known: impl Fn(&str) -> Option<&'k Secret>) -> Result<Made, String> {
    let mut made_of = BTreeSet::new();
    let mut out = Zeroizing::new(String::with_capacity(raw.len()));
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if escapes => match rest.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(c @ ('\\' | '"' | '$')) => out.push(c),
                // Tools agree on no other escape: both characters stay.
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '$' if rest.next_if_eq(&'{').is_some() => {
                let name: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect();
                if rest.next().is_none() || !is_name(&name) {
                    return Err("holds a ${ that is no plain ${NAME}; write the value out".to_owned());
                }
                let value = known(&name);
                out.push_str(value.ok_or_else(|| format!("refers to {name}, which no line above sets; write the value out"))?.expose());
                made_of.insert(name);
            }
            '$' if rest.peek().is_some_and(|c| c.is_ascii_alphabetic() || *c == '_') => return Err(REPLACED_OR_NOT.to_owned()),
            c => out.push(c),
        }
    }
    Ok((Secret::new(out.as_str()), made_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        match parse(text) {
            Ok(found) => {
                let found: Vec<(&str, &str)> = found.iter().map(|v| (v.name.as_str(), v.value.expose())).collect();
                assert_eq!(found, expected, "{text}");
            }
            Err(faults) => panic!("{text}: {faults:?}"),
        }
    }

    #[test]
    fn values_come_out_as_they_were_meant() {
        check("A=1\nB = two words \n\n# C=3\nexport D=4\r\n", &[("A", "1"), ("B", "two words"), ("D", "4")]);
        check("A=x # comment\nB=x#y\nC=#z\nD=\n", &[("A", "x"), ("B", "x#y"), ("C", "#z"), ("D", "")]);
        check("A='a # $b \\n'  # comment\nB=\"a # \\\"q\\\" \\$x \\n.\\d\"", &[("A", "a # $b \\n"), ("B", "a # \"q\" $x \n.\\d")]);
        check("K=\"-----BEGIN\nabc\n-----END\"\nA=b=c==", &[("K", "-----BEGIN\nabc\n-----END"), ("A", "b=c==")]);
        check("\u{feff}H=db\nU=\"postgres://u@${H}/x\"\nP=pa$$1$", &[("H", "db"), ("U", "postgres://u@db/x"), ("P", "pa$$1$")]);
        check("A=1\nA=1\n", &[("A", "1")]);
        check("A='x\r\ny'\r\nB=\"x\r\ny\"\r\nC=#z\r\n", &[("A", "x\ny"), ("B", "x\ny"), ("C", "#z")]);
    }

    #[test]
    fn a_value_knows_its_lines() {
        let found = parse("A=1\nK='x\ny\nz'\nB=2\nA=1").unwrap_or_else(|f| panic!("{f:?}"));
        let lines: Vec<_> = found.iter().map(|v| (v.name.as_str(), v.lines.clone())).collect();
        assert_eq!(lines, [("A", vec![1..=1, 6..=6]), ("K", vec![2..=4]), ("B", vec![5..=5])]);
    }

    fn refused(text: &str, line: usize, part: &str) {
        let faults = parse(text).err().unwrap_or_else(|| panic!("{text} passed"));
        assert!(faults.len() == 1 && faults[0].line == line && faults[0].why.contains(part), "{text}: {faults:?}");
        assert!(!faults[0].to_string().contains("hunter2"), "{faults:?}");
    }

    #[test]
    fn what_tools_read_differently_is_refused_with_its_line() {
        refused("A=1\nP=hunter2$word", 2, "single quotes");
        refused("P=\"hunter2$word\"", 1, "single quotes");
        refused("P=${NOWHERE}hunter2", 1, "NOWHERE, which no line above sets");
        refused("P=${X:-hunter2}", 1, "no plain ${NAME}");
        refused("\nhunter2", 2, "no = in this line");
        refused("hunter2 x=1", 1, "no variable's name");
        refused("A='hunter2\nB=1", 1, "never closed");
        refused("A=\"hunter2\nB=1", 1, "never closed");
        refused("A=\"x\" hunter2", 1, "closing quote of A");
        refused("A=hunter2\nB=1\nA=hunter3", 3, "first in line 1");
        refused("A= # hunter2", 1, "some tools take for a comment");
        refused("A='hunter2\\\\'", 1, "double quotes");
        refused("A='hunter2\\' # '", 1, "double quotes");
    }
}
