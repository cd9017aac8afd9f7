//! The values that a person brings: typed without being shown, by standard input, or in files. Never by the arguments, which other users
//! of the machine can see.

use super::super::by_hand::Declined;
use super::super::exact;
use super::super::rotate::hidden;
use super::super::stop;
use crate::config::LARGEST_VALUE_BYTES;
use anyhow::{Context, Result};
use clap::Args;
use keyward_secret::{Fields, Secret};
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the values come from.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// A field whose value is asked for without being shown, or is a line of standard input, in the order of the fields
    #[arg(long = "field", value_name = "NAME")]
    pub fields: Vec<String>,
    /// A field whose value is what a file holds, without the newline at its end
    #[arg(long = "file", value_name = "NAME=FILE")]
    pub files: Vec<String>,
    /// All fields from a JSON object: a file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fields", "files"])]
    pub json: Option<PathBuf>,
    /// Catches a value that was typed where everybody can see it
    #[arg(hide = true)]
    pub in_the_open: Vec<String>,
}

/// Vault takes requests up to 32 MiB; a document that people write is smaller.
const LARGEST_DOCUMENT_BYTES: u64 = 1 << 20;

impl Given {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.files.is_empty() && self.json.is_none()
    }

    /// The values.
    ///
    /// # Errors
    /// What cannot be read, or was given in a way that shows it. No value is repeated.
    pub fn read(&self) -> Result<Fields> {
        if !self.in_the_open.is_empty() || self.fields.iter().any(|field| field.contains('=')) {
            let text = "a value in the arguments can be seen by every user of this machine and stays in the shell's history: it was not \
                        used, and should be changed; say --field NAME, which asks for it, or --file NAME=FILE";
            return Err(Declined::usage(text).into());
        }
        if self.is_empty() {
            return Err(Declined::usage("there is nothing to write: say --field NAME, --file NAME=FILE or --json FILE").into());
        }
        if let Some(file) = &self.json {
            return read_json(file);
        }
        if self.fields.iter().any(String::is_empty) {
            return Err(Declined::usage("--field takes a field's name").into());
        }
        let files = self.files.iter().map(|text| split(text)).collect::<Result<Vec<_>>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.fields.iter().map(String::as_str).chain(files.iter().map(|(n, _)| *n)).find(|name| !seen.insert(*name)) {
            return Err(Declined::usage(format!("the field {twice} is named twice")).into());
        }
        let mut fields = Fields::new();
        for (name, file) in files {
            fields.set_text(name, &whole_file(file)?);
        }
        read_fields(&self.fields, &mut fields)?;
        Ok(fields)
    }
}

fn split(text: &str) -> Result<(&str, &Path)> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name, Path::new(file))),
        _ => Err(Declined::usage("--file takes NAME=FILE, such as key=server.key").into()),
    }
}

fn whole_file(path: &Path) -> Result<Secret> {
    let text = text_of(path, LARGEST_VALUE_BYTES)?;
    Ok(Secret::new(text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t))))
}

fn read_json(path: &Path) -> Result<Fields> {
    let text = text_of(path, LARGEST_DOCUMENT_BYTES)?;
    let fields = Fields::parse(&Secret::new(text.as_str()));
    // The parser's own words would quote the text.
    let fields = fields.map_err(|_| Declined::data(format!("{} holds no JSON object of fields", shown(path))))?;
    match exact::trouble(&text) {
        Some(why) => Err(Declined::data(format!("{} {why}", shown(path))).into()),
        None => Ok(fields),
    }
}

/// A file's text, or that of standard input as `-`, of at most `limit` bytes.
pub fn text_of(path: &Path, limit: u64) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        stop::while_reading(|| std::io::stdin().lock().take(limit + 1).read_to_string(&mut text))
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text))
    };
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(Declined::data(format!("{} is no UTF-8 text", shown(path))).into());
        }
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory) => {
            return Err(Declined::usage(format!("cannot read {}: {error}", shown(path))).into());
        }
        other => other.with_context(|| format!("cannot read {}", shown(path)))?,
    };
    if text.len() as u64 > limit {
        return Err(Declined::data(format!("{} is larger than {limit} bytes", shown(path))).into());
    }
    Ok(text)
}

/// A file's name for people.
pub fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// One value per name: typed, or a line of standard input each.
fn read_fields(names: &[String], into: &mut Fields) -> Result<()> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        for name in names {
            into.set_text(name, &hidden(&format!("Value of {name}: "))?);
        }
        return Ok(());
    }
    if names.is_empty() {
        return Ok(());
    }
    let mut lines = stdin.lock();
    for (i, name) in names.iter().enumerate() {
        let Some(value) = line_of(&mut lines, name)? else {
            let text = format!("standard input has no line {} for the field {name}; it takes a line per --field, in their order", i + 1);
            return Err(Declined::data(text).into());
        };
        into.set_text(name, &value);
    }
    nothing_after(&mut lines, "it takes a line per --field; a value of several lines comes by --file NAME=FILE")
}

/// The next line of standard input, `None` where it is empty. What is too long is not cut off in silence.
///
/// # Errors
/// It cannot be read, or is too long for a value.
pub fn line_of(lines: &mut impl BufRead, name: &str) -> Result<Option<Secret>> {
    let mut line = Zeroizing::new(String::new());
    let read = stop::while_reading(|| lines.by_ref().take(LARGEST_VALUE_BYTES + 2).read_line(&mut line));
    read.context("cannot read standard input")?;
    let value = line.trim_end_matches(['\n', '\r']);
    if value.len() as u64 > LARGEST_VALUE_BYTES {
        return Err(Declined::data(format!("the value of {name} is larger than {LARGEST_VALUE_BYTES} bytes; nothing was done")).into());
    }
    Ok((!value.is_empty()).then(|| Secret::new(value)))
}

/// Refuses what else stands on standard input: a key of several lines, of which the first alone would be taken in silence.
///
/// # Errors
/// There is more than blanks.
pub fn nothing_after(lines: &mut impl BufRead, takes: &str) -> Result<()> {
    let mut rest = Zeroizing::new(Vec::new());
    stop::while_reading(|| lines.take(LARGEST_VALUE_BYTES).read_to_end(&mut rest)).context("cannot read standard input")?;
    if rest.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    Err(Declined::data(format!("standard input goes on where it should end: {takes}; nothing was done")).into())
}
