//! `import`: values that lie about in a `.env` file, a JSON document or another secret go to where they belong in Vault.
//!
//! source + map → what each field shall be (`plan`, pure) → compared with Vault → written where Vault has none (`apply`) → read back → the
//! plaintext, which is offered to be removed.

mod apply;
pub(super) mod dotenv;
mod map;
mod plaintext;
mod plan;
mod source;
mod told;
pub(super) mod url;

use super::alone::Alone;
use super::by_hand::{Declined, Place, configuration};
use super::confirm::{Agreement, ask};
use super::output::{self, Output};
use super::secret::{shown, text_of};
use super::stop::did;
use crate::cli::Exit;
use crate::config::{Environment, SecretRef, loose_permissions};
use anyhow::Result;
use apply::Compared;
use clap::{Args, ValueEnum};
use map::Map;
use plan::{Settings, Verdict, Wanted};
use source::Source;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use told::Row;
use zeroize::Zeroizing;

/// Larger files hold something else than settings and passwords.
const LARGEST_SOURCE_BYTES: u64 = 4 << 20;

/// The end of the command's help.
pub const EXAMPLES: &str = "\
Shows which variable goes where, asks, writes, and reads back. A value that stands in Vault already is never overwritten: what the file
says may be older. What the file does not have is skipped, and said. Running it again changes nothing; broken off in the middle, it goes
on. Where a URL and a password of its own disagree, nothing is written. Without a terminal it needs --yes.

Examples:
  keyward import .env --dry-run
  keyward import .env --mount kv --settings apart
  keyward import .env --map map.toml --yes --remove-plaintext
  keyward import config.json --into secret/backend/app
  keyward import --from-vault secret/old/database --into secret/backend/database";

/// How a source is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// NAME=value, a line each
    Env,
    /// A JSON object
    Json,
}

/// `import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A .env or .json file, or - for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["from_vault", "print_map"], conflicts_with = "from_vault")]
    pub file: Option<PathBuf>,
    /// Take the fields of this secret in Vault instead of a file
    #[arg(long, value_name = "PATH")]
    pub from_vault: Option<String>,
    /// How the file is written; by its name unless said: json where it ends in .json, else env
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Which variable goes where (TOML); without it, the shipped map
    #[arg(long, value_name = "FILE", conflicts_with = "into")]
    pub map: Option<PathBuf>,
    /// No map: every variable becomes a field of its own name in this one secret
    #[arg(long, value_name = "PATH")]
    pub into: Option<String>,
    /// The KV mount to write to, instead of the map's
    #[arg(long, value_name = "MOUNT", conflicts_with = "into")]
    pub mount: Option<String>,
    /// What becomes of settings, which are no secrets
    #[arg(long, value_enum, default_value_t = Settings::With)]
    pub settings: Settings,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write without asking
    #[arg(long)]
    pub yes: bool,
    /// Afterwards take the variables that stand in Vault out of the .env file, without asking
    #[arg(long)]
    pub remove_plaintext: bool,
    /// Print the shipped map, to be changed and used with --map
    #[arg(long)]
    pub print_map: bool,
}

/// Imports. `configuration`: see [`configuration`].
///
/// # Errors
/// What is wrong with source or map, or what Vault answered; nothing was written before all of it was looked at.
pub async fn run(wanted: Import, file: &Path, environment: &Environment, out: Output) -> Result<Exit> {
    if wanted.print_map {
        output::line(map::SHIPPED.trim_end());
        return Ok(Exit::Ok);
    }
    let text = wanted.file.as_deref().map(|file| text_of(file, LARGEST_SOURCE_BYTES)).transpose()?;
    let named =
        wanted.map.as_deref().map(|file| Ok::<_, anyhow::Error>((text_of(file, LARGEST_SOURCE_BYTES)?, shown(file)))).transpose()?;
    let map = match &named {
        Some((text, name)) => Map::parse(text, name)?,
        None => Map::parse(map::SHIPPED, "the shipped map")?,
    };
    let local = match (&text, &wanted.file) {
        (Some(text), Some(file)) => Some(read_file(text, file, wanted.format)?),
        _ => None,
    };
    let alone = Alone::log_in(configuration(file, environment)?, environment).await?;
    let source = match local {
        Some(source) => source,
        None => read_vault(&alone, wanted.from_vault.as_deref().unwrap_or_default()).await?,
    };
    let map = directed(&alone, &wanted, map, &source).await?;
    let all = plan::resolve(&map, &source, wanted.settings).map_err(|problems| {
        let text = problems.iter().map(|p| format!("{}: {p}", source.name)).collect::<Vec<_>>().join("\n");
        Declined::data(format!("{text}\nNothing was written."))
    })?;
    if all.iter().all(|secret| secret.fields.is_empty()) {
        let text =
            format!("{} has none of the variables of the map: nothing was written; --print-map shows a map to begin with", source.name);
        return Err(Declined::failed(text).into());
    }
    Box::pin(carry_out(&alone, &wanted, &map, &source, &all, text, out)).await
}

fn read_file(text: &str, file: &Path, format: Option<Format>) -> Result<Source, Declined> {
    let by_name = || if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) { Format::Json } else { Format::Env };
    match format.unwrap_or_else(by_name) {
        Format::Env => Source::from_env(text, &shown(file)),
        Format::Json => Source::from_json(text, &shown(file)),
    }
}

async fn read_vault(alone: &Alone, path: &str) -> Result<Source> {
    let place = Place::of_secret(alone, path).await?;
    let read = place.read(alone.live.vault.client()).await?;
    let fields = read.fields.ok_or_else(|| place.nothing_there())?;
    Ok(Source::from_fields(&fields, &place.to_string()))
}

/// The map as the command line directs it.
async fn directed(alone: &Alone, wanted: &Import, map: Map, source: &Source) -> Result<Map> {
    if let Some(into) = &wanted.into {
        let place = Place::of_secret(alone, into).await?;
        if place.to_string() == source.name {
            return Err(Declined::usage(format!("{place} cannot be imported into itself")).into());
        }
        return Ok(Map::all_into(&place.mount, &place.path, source.names()));
    }
    // Asked once, for an error that says what is wrong with the mount, rather than one per secret.
    let mount = Place::of_folder(alone, wanted.mount.as_deref().unwrap_or(&map.mount)).await?.to_string();
    Ok(Map { mount, ..map })
}

async fn carry_out(
    alone: &Alone,
    wanted: &Import,
    map: &Map,
    source: &Source,
    all: &[Wanted],
    text: Option<Zeroizing<String>>,
    out: Output,
) -> Result<Exit> {
    let client = alone.live.vault.client();
    let mut compared = Vec::new();
    for secret in all {
        compared.push(Compared::read(client, &map.mount, secret).await?);
    }
    let preview: Vec<Row> = compared.iter().flat_map(|c| told::rows(c, None)).collect();
    let new = compared.iter().filter(|c| c.is_new()).count();
    if out == Output::Text {
        output::line(&told::as_table(&preview));
    }
    if new > 0 && !wanted.dry_run {
        match ask(&format!("Write to {new} secret(s)?"), wanted.yes)? {
            Agreement::Yes => {}
            Agreement::No => return Ok(Exit::Temporary),
            Agreement::NobodyToAsk => return Ok(Exit::Usage),
        }
    }
    let mut rows = preview;
    if !wanted.dry_run {
        rows = Vec::new();
        for one in &mut compared {
            let before = one.verdicts.clone();
            one.apply(client).await?;
            let after = told::rows(one, Some(&before));
            if before.contains(&Verdict::New) {
                let said = format!("{}, version {}: {}", one.place, one.version, told::done(&after));
                if out == Output::Text {
                    output::note(&format!("  ✓ {said}"));
                } else {
                    did(said);
                }
            }
            rows.extend(after);
        }
    }
    let removed = if wanted.dry_run { Vec::new() } else { offer_removal(wanted, source, &compared, text.as_deref(), out)? };
    Ok(finish(wanted, map, source, &rows, &removed, out))
}

fn finish(wanted: &Import, map: &Map, source: &Source, rows: &[Row], removed: &[String], out: Output) -> Exit {
    let unmapped = plan::unmapped(map, source);
    match out {
        Output::Json => output::json(&serde_json::json!({
            "source": source.name, "dry_run": wanted.dry_run, "fields": rows, "unmapped": unmapped, "plaintext_removed": removed,
        })),
        Output::Text => {
            output::line(&told::sum(rows, &source.name));
            if !unmapped.is_empty() {
                output::line(&format!("Not in the map, and left where they are: {}.", unmapped.join(", ")));
            }
        }
    }
    if rows.iter().any(|row| row.outcome == "deleted") { Exit::Failed } else { Exit::Ok }
}

/// Takes the plaintext out where somebody wants it; which variables.
fn offer_removal(wanted: &Import, source: &Source, compared: &[Compared<'_>], text: Option<&String>, out: Output) -> Result<Vec<String>> {
    let Some(file) = wanted.file.as_deref().filter(|file| *file != Path::new("-")) else { return Ok(Vec::new()) };
    let pairs: Vec<(&Wanted, Vec<Verdict>)> = compared.iter().map(|c| (c.wanted, c.verdicts.clone())).collect();
    let settled = plan::settled(&pairs);
    let needed = source.needed(&settled);
    let may_go = settled.iter().filter(|name| !needed.contains_key(*name) && !source.lines(name).is_empty());
    let gone: plaintext::Gone = may_go.map(|name| (name.clone(), (source.lines(name).to_vec(), went_to(name, compared)))).collect();
    if settled.is_empty() {
        return Ok(Vec::new());
    }
    if out == Output::Text {
        let names: Vec<&str> = settled.iter().map(String::as_str).collect();
        output::note(&format!("In Vault, and in plain text in {} still: {}.", file.display(), names.join(", ")));
        if let Some(loose) = loose_permissions(&SecretRef::File(file.to_owned())) {
            output::note(&format!("keyward: {loose}"));
        }
    }
    for (name, by) in &needed {
        output::note(&format!(
            "keyward: {name} stays in the file, because {by} there is made of it; write {by} out, or bring it into Vault too"
        ));
    }
    if gone.is_empty() && !needed.is_empty() {
        return Ok(Vec::new());
    }
    if gone.is_empty() {
        output::note(&format!("keyward: only .env files are edited; take the values out of {} yourself", file.display()));
        return Ok(Vec::new());
    }
    if !wanted.remove_plaintext {
        if !std::io::stdin().is_terminal() || out == Output::Json {
            output::note("--remove-plaintext takes them out of the file.");
            return Ok(Vec::new());
        }
        if ask("Take them out of the file? Whoever still reads them there must read Vault first.", false)? != Agreement::Yes {
            return Ok(Vec::new());
        }
    }
    plaintext::remove(file, text.map(String::as_str).unwrap_or_default(), &gone)?;
    output::note("Taken out. If the file was ever committed, copied or backed up, the values are known there still: rotate them.");
    Ok(gone.into_keys().collect())
}

/// Where a variable's whole value stands now.
fn went_to(name: &str, compared: &[Compared<'_>]) -> String {
    let fields = compared.iter().flat_map(|c| c.wanted.fields.iter().map(move |field| (c, field)));
    let whole = |(_, field): &(&Compared<'_>, &plan::Field)| field.from.iter().any(|o| o.variable == name && o.part.is_none());
    fields.filter(whole).map(|(c, field)| format!("{} {}", c.place, field.name)).collect::<Vec<_>>().join(", ")
}
