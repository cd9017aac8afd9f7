//! `init`: from an empty server to one that Keyward can work with. It can be run any number of times.
//!
//! ```text
//! wait → initialise (only if asked) → unseal → look at each thing → compare → the list of changes → one after the other
//! ```
//!
//! What is wanted (`wanted`) and what is to be changed (`plan`) are pure; a dry run ends with the list. Nothing is remembered anywhere,
//! so that whatever was interrupted is taken up by the next run.

mod apply;
pub(super) mod files;
mod gather;
pub(super) mod plan;
mod server;
mod shares;
pub(super) mod wanted;

use super::alone::Alone;
use super::output::{self, Output};
use super::policy;
use super::stop::did;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::ports::failure_of;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use gather::Eyes;
use keyward_vault::VaultError;
use plan::{State, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use wanted::Item;

/// What `keyward help init` says at its end.
pub const HELP: &str = "\
Waits for the server, and then makes what the configuration needs, unless it is there: the audit device, engines, transit keys,
policies, Keyward's AppRole with its ids in the configured files, and with [init] database connections with a user of their own,
their roles with their rights. Every thing is one line: unchanged, created, changed, held back, not touched. Nothing that somebody
else made is overwritten. The token is the first root token, VAULT_TOKEN, or one with what `keyward policy admin` prints.
Ends with 1 if something is left for you, 2 if Vault is sealed, 3 if it was never initialised and --initialise was not said.

Examples:
  keyward init --dry-run
  keyward init --initialise --shares-to /media/usb/vault --revoke-root
  keyward init --initialise --shares 3 --threshold 2 --pgp-key ann.asc --pgp-key bob.asc --pgp-key eve.asc --shares-to ./shares
  keyward init --unseal < /dev/shm/shares
  keyward init --initialise --server-only --shares-to /dev/shm/new       before keyward restore --force
  keyward init --rotate-now reporting
  keyward init postgres backend-database       only the function that changes passwords";

/// `init`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Init {
    /// Only a part of it
    #[command(subcommand)]
    pub only: Option<Part>,
    /// What to do, and how
    #[command(flatten)]
    pub wish: Wish,
}

/// A part of `init` by itself.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Part {
    /// Install the function by which Keyward changes passwords, in the databases of the named secrets
    #[command(after_help = "\
Connects as `admin` of each secret and creates the schema `keyward` with one function and one table. The function
refuses a change that is older than the last one, so that a process that was frozen cannot undo a newer
password. Running it again changes nothing. No superuser is needed.

Examples:
  keyward init postgres backend-database
  keyward init postgres backend-database reporting-app")]
    Postgres {
        /// Secrets of the postgres kinds
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// What is asked of `init`.
#[derive(Args, Clone, Debug)]
pub struct Wish {
    /// Show what would be changed; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Initialise a server that never was
    #[arg(long)]
    pub initialise: bool,
    /// How many shares the server's key is split into
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub shares: u8,
    /// How many of them unseal it
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub threshold: u8,
    /// A folder for one file per share and the root token, outside of any work tree
    #[arg(long, value_name = "DIR")]
    pub shares_to: Option<PathBuf>,
    /// A public PGP key for each share, so that only its owner can read it; once per share
    #[arg(long, value_name = "FILE")]
    pub pgp_key: Vec<PathBuf>,
    /// Show the shares and the root token once, at the terminal
    #[arg(long)]
    pub show_shares: bool,
    /// Unseal the server with shares from standard input, one a line
    #[arg(long)]
    pub unseal: bool,
    /// Initialise and unseal it, and make nothing in it: for a server that a backup is restored into
    #[arg(long, conflicts_with_all = ["rotate_now", "revoke_root"])]
    pub server_only: bool,
    /// Make this static role even though Vault changes its user's password at once; may be said more than once
    #[arg(long, value_name = "ROLE")]
    pub rotate_now: Vec<String>,
    /// When all is done, end the root token that was used
    #[arg(long)]
    pub revoke_root: bool,
    /// How long to wait for the server, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,
}

/// How one thing ended.
#[derive(Clone, Debug, Serialize)]
struct Line {
    what: String,
    state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// Everything that is said, in order.
struct Told {
    out: Output,
    dry_run: bool,
    lines: Vec<Line>,
}

impl Told {
    fn add(&mut self, what: impl Into<String>, state: State, details: Vec<String>) {
        let line = Line { what: what.into(), state, details };
        if self.out == Output::Text {
            output::line(&format!("{:<15} {}", word(line.state, self.dry_run), line.what));
            for text in line.details.iter().flat_map(|detail| detail.lines()) {
                output::line(&format!("{:<15} {text}", ""));
            }
        } else if matches!(line.state, State::Created | State::Changed) && !self.dry_run {
            did(format!("{}: {}", line.what, word(line.state, false)));
        }
        self.lines.push(line);
    }

    fn count(&self, state: State) -> usize {
        self.lines.iter().filter(|line| line.state == state).count()
    }

    fn changes(&self) -> usize {
        self.count(State::Created) + self.count(State::Changed)
    }

    /// What a program hears of a run that ends before anything is set up; a person saw it go by.
    fn end(&self, exit: Exit) {
        if self.out == Output::Json {
            let ok = exit == Exit::Ok;
            output::json(&serde_json::json!({ "dry_run": self.dry_run, "ok": ok, "changes": self.changes(), "lines": self.lines }));
        }
    }

    fn finish(self) -> Exit {
        let count = |state| self.count(state);
        let changes = self.changes();
        let wrong = count(State::Refused) + count(State::Failed) + count(State::ByHand);
        let exit = if wrong == 0 { Exit::Ok } else { Exit::Failed };
        self.end(exit);
        if self.out == Output::Text {
            let verb = if self.dry_run { "would be changed" } else { "changed" };
            let held = if count(State::Held) > 0 { format!(", {} held back", count(State::Held)) } else { String::new() };
            let rest = if wrong > 0 { format!(", {wrong} left for you") } else { String::new() };
            output::line(&format!("{changes} {verb}, {} unchanged{held}{rest}.", count(State::Unchanged)));
        }
        exit
    }
}

pub(super) const fn word(state: State, dry_run: bool) -> &'static str {
    match (state, dry_run) {
        (State::Unchanged, _) => "unchanged",
        (State::Created, false) => "created",
        (State::Created, true) => "would create",
        (State::Changed, false) => "changed",
        (State::Changed, true) => "would change",
        (State::Held, _) => "held back",
        (State::ByHand, _) => "by hand",
        (State::Refused, _) => "not touched",
        (State::Failed, _) => "failed",
        (State::NotTried, _) => "not tried",
    }
}

/// Sets the server up.
///
/// # Errors
/// It cannot be reached, is sealed or not initialised, or there is no token for it.
pub async fn run(config: Config, environment: &Environment, wish: Wish, out: Output) -> Result<Exit> {
    let asked = if wish.initialise {
        Some(shares::Wish::check(wish.shares, wish.threshold, wish.shares_to.clone(), wish.pgp_key.clone(), wish.show_shares)?)
    } else {
        None
    };
    let alone = Alone::offline(config, environment)?;
    let (config, client) = (&alone.live.config, alone.live.vault.client());
    let mut told = Told { out, dry_run: wish.dry_run, lines: Vec::new() };
    let found = server::ready(client, Duration::from_secs(wish.wait), asked.as_ref(), &wish, &mut told).await?;
    match found {
        server::Ready::Ended(Exit::Ok) if wish.dry_run && !wish.server_only => return Ok(would_make(config, told)),
        server::Ready::Ended(Exit::Ok) => return Ok(told.finish()),
        server::Ready::Ended(exit) => {
            told.end(exit);
            return Ok(exit);
        }
        // Whatever were made in it, passwords in databases first of all, the backup would know nothing of.
        server::Ready::Open(_) if wish.server_only => return Ok(told.finish()),
        server::Ready::Open(None) => {
            server::log_in(client, config, environment, wish.shares_to.as_deref()).await?;
        }
        server::Ready::Open(Some(root)) => client.set_token(&root)?,
    }
    let eyes = Eyes { client, resolver: &alone.live.resolver };
    let tables = eyes.tables().await.context("cannot see what is mounted; the token needs what `keyward policy admin` prints")?;
    let items = wanted::wanted(config, &tables.engines(), &policy::signing(&alone).await);
    let may_rotate: BTreeSet<String> = wish.rotate_now.iter().cloned().collect();
    let mut verdicts = Vec::new();
    for item in &items {
        verdicts.push(plan::judge(item, &eyes.look(item, &tables).await, &may_rotate));
    }
    carry_out(&eyes, &items, &verdicts, &mut told).await;
    if wish.revoke_root && told.lines.iter().any(|line| matches!(line.state, State::Failed | State::Refused)) {
        told.add("root token", State::NotTried, vec!["it is not revoked, because the rest is not as it should be".to_owned()]);
    } else if wish.revoke_root {
        server::revoke_root(client, wish.shares_to.as_deref(), &mut told).await?;
    }
    Ok(told.finish())
}

/// On a server that has nothing, everything is to be made.
fn would_make(config: &Config, mut told: Told) -> Exit {
    for item in wanted::wanted(config, &BTreeMap::new(), &BTreeSet::new()) {
        told.add(item.name, State::Created, Vec::new());
    }
    told.finish()
}

/// One after the other; what cannot be made ends it, since the rest may need it.
async fn carry_out(eyes: &Eyes<'_>, items: &[Item], verdicts: &[Verdict], told: &mut Told) {
    let mut failed = false;
    for (item, verdict) in items.iter().zip(verdicts) {
        if !verdict.is_change() || told.dry_run {
            told.add(&item.name, verdict.state(), verdict.details());
        } else if failed {
            told.add(&item.name, State::NotTried, Vec::new());
        } else {
            match apply::apply(eyes, item, verdict).await {
                Ok((state, details)) => told.add(&item.name, state, details),
                Err(error) => {
                    failed = true;
                    told.add(&item.name, State::Failed, vec![format!("{error:#}")]);
                }
            }
        }
    }
}

/// A refusal of Vault as an error of this command, whose exit code follows from its class.
fn refused(error: VaultError) -> anyhow::Error {
    anyhow::Error::new(failure_of(&error))
}
