//! What happened, as a timeline that a person can read. Nothing is put into words unless somebody wants to read it.

use crate::Millis;
use std::fmt::Write;

/// One line.
#[derive(Clone, Debug)]
struct Line {
    at: Millis,
    who: String,
    what: String,
}

/// The timeline of one world.
#[derive(Clone, Debug, Default)]
pub struct Story {
    told: bool,
    lines: Vec<Line>,
}

impl Story {
    /// A story that is told, or one that only counts.
    pub(crate) fn new(told: bool) -> Self {
        Self { told, lines: Vec::new() }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    pub(crate) fn say(&mut self, at: Millis, who: &str, what: impl FnOnce() -> String) {
        if self.told {
            self.lines.push(Line { at, who: who.to_owned(), what: what() });
        }
    }

    /// The whole, one event a line: day, time, who, what.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}  {:<10} {}", clock(line.at), line.who, line.what);
        }
        text
    }
}

fn clock(at: Millis) -> String {
    let (seconds, millis) = (at / 1000, at % 1000);
    let (day, hour, minute, second) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("day {day:>2} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}
