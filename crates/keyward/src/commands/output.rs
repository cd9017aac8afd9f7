//! What commands print: text for people, JSON for programs. Standard output carries results, standard error what went wrong.

pub use crate::cli::Output;

use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the one JSON document of this process was printed.
static HAS_ANSWERED: AtomicBool = AtomicBool::new(false);
/// Why something that was printed went nowhere.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints a line to standard output. A reader that went away (`| head`) is no error; what else keeps it from being written is told by [`lost`].
pub fn line(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        // The first says it all.
        let _ = LOST.set(error.to_string());
    }
}

/// Why something that was printed went nowhere, as with a full disk; `None` where all went where it should.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Prints a line to standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints to standard error what a person should know about what was done.
pub fn warnings(warnings: &[String]) {
    for warning in warnings {
        note(&format!("! {warning}"));
    }
}

/// Whether a program has its answer already: a command prints one JSON document.
pub fn has_answered() -> bool {
    HAS_ANSWERED.load(Ordering::SeqCst)
}

/// Prints a JSON document.
pub fn json<T: Serialize>(value: &T) {
    HAS_ANSWERED.store(true, Ordering::SeqCst);
    // The types that are printed hold texts and numbers only, so they always serialize.
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Rows as columns, each as wide as its widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let header: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    let lines: Vec<String> = std::iter::once(format(&header)).chain(rows.iter().map(|row| format(row))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), "y".to_owned()]];
        assert_eq!(table(&["name", "v"], &rows), "name    v\na       x\nlonger  y");
    }
}
