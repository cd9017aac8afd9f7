//! `paths`: every path of the configuration, its fields, and who reads it.
//!
//! What there is follows from the configuration alone (`list`); who reads it is asked of the daemon, or of what it left behind.

mod list;
mod page;

use super::output::{self, Output};
use super::usage::Source;
use crate::cli::Exit;
use crate::config::Config;
use anyhow::Result;
use clap::Args;

/// What `keyward help paths` says at its end.
pub const HELP: &str = "\
Made from the configuration, without asking Vault: what Keyward publishes, what it reads itself, its own records, and what the
engines in it hand out. Readers are those that the audit logs show, as far as the daemon has followed them; each log says how far that
reaches. No value is read or shown.

Examples:
  keyward paths
  keyward paths --markdown > paths.md          a page for colleagues
  keyward paths --output json";

/// `paths`.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// As a page in Markdown
    #[arg(long)]
    pub markdown: bool,
}

/// Prints the paths.
///
/// # Errors
/// The daemon answers nonsense.
pub async fn run(config: Config, wish: Paths, out: Output) -> Result<Exit> {
    let mut entries = list::entries(&config);
    let names: Vec<&str> = config.secrets.iter().map(|s| s.name.as_str()).collect();
    let usage = Source::of(&config).all(&names).await;
    let usage = usage.unwrap_or_else(|why| {
        output::note(&format!("keyward: who reads what cannot be said: {why:#}"));
        std::collections::BTreeMap::new()
    });
    for entry in &mut entries {
        entry.usage = entry.secret.as_ref().filter(|_| entry.is_watched).and_then(|name| usage.get(name)).cloned();
    }
    match out {
        Output::Json => output::json(&serde_json::json!({ "paths": entries })),
        Output::Text if wish.markdown => output::line(page::markdown(&entries).trim_end()),
        Output::Text => output::line(page::text(&entries).trim_end()),
    }
    Ok(Exit::Ok)
}
