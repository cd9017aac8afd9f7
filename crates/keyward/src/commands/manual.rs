//! `man`: the manual pages, made from the same definition as the help. Never says anything that the help does not.

use super::output::{self, Output};
use crate::cli::Exit;
use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::path::Path;

/// Writes the pages into a folder, and says which of them it had to write.
///
/// # Errors
/// A page cannot be made or written.
pub fn run(program: Command, dir: &Path, out: Output) -> Result<Exit> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let (mut written, mut unchanged) = (Vec::new(), Vec::new());
    for (name, page) in pages(program).context("cannot make the manual pages")? {
        let file = dir.join(&name);
        if fs::read(&file).is_ok_and(|there| there == page) {
            unchanged.push(name);
            continue;
        }
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
        written.push(name);
    }
    match out {
        Output::Json => output::json(&serde_json::json!({ "dir": dir, "written": written, "unchanged": unchanged })),
        Output::Text => {
            output::line(&format!("{}: {} pages written, {} were there already", dir.display(), written.len(), unchanged.len()));
        }
    }
    Ok(Exit::Ok)
}

/// A page for the program and one for each command below it, by file name.
fn pages(program: Command) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let source = format!("keyward {}", program.get_version().unwrap_or_default());
    let mut pages = Vec::new();
    let mut left = vec![program];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").cloned());
        let man = Man::new(command.clone()).source(source.clone()).manual("Keyward");
        pages.push((man.get_filename(), page(&man, &command)?));
    }
    pages.sort();
    Ok(pages)
}

fn page(man: &Man, command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|c| !c.is_hide_set() && c.get_name() != "help") {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        notes_section(&notes.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

/// What the help says at its end: sentences flow, and what is indented there stays as it is (examples, exit codes).
fn notes_section(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    let mut is_literal = false;
    for line in text.lines() {
        let wants_literal = line.starts_with(' ');
        if wants_literal != is_literal && !line.trim().is_empty() {
            roff.control(if wants_literal { "nf" } else { "fi" }, []);
            is_literal = wants_literal;
        }
        if line.trim().is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    if is_literal {
        roff.control("fi", []);
    }
    roff
}
