//! `restore`: puts a backup back. Checked before, confirmed by a person, seen to be done, and told what comes next.

use super::archive::Archive;
use super::server::{self, Server};
use super::source::{self, Identities};
use super::state::Split;
use super::words;
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::confirm::{Agreement, ask};
use crate::commands::init::files::fresh_label;
use crate::commands::output::{self, Output};
use crate::commands::stop::Stop;
use crate::config::{Config, Environment};
use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use keyward_vault::{Client, Kind, Mark, SealStatus, Upload};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const HELP: &str = "\
Everything in Vault becomes as it was when the backup was made: secrets, policies, tokens, leases, the passwords of static roles. Databases
do not go back, so what Vault says and what they accept may differ afterwards: unseal, then run keyward reconcile, which says what is true and
mends it. The backup is checked before anything is asked; Vault checks it again, and changes nothing if it is not whole. Without --force
Vault takes a backup of its own only; with it one of another Vault (a new one after a loss), and then needs the shares of that one. Without a
terminal it needs --yes. Vault keeps in memory how many shares open it, and does not look again when a backup of another Vault comes in:
where the numbers differ, its process has to be restarted before it takes the right shares. So make the new one with the numbers of the
old, and with nothing in it (keyward init --initialise --server-only); the backup says its own. The token needs `update` on
sys/storage/raft/snapshot, with --force on sys/storage/raft/snapshot-force.
Ends with 2 if Vault is sealed afterwards, which it is after --force, and with 75 if a person said no.

Examples:
  keyward restore /var/backups/vault/vault-20261124T030000000Z.snap
  keyward restore vault.snap.age --identity /media/usb/backup.key --force --yes
  keyward unseal && keyward reconcile";

/// How much is read at once.
const PIECE: usize = 1 << 18;
/// How long Vault may take to put it in place after it has taken it.
const SETTLE: Duration = Duration::from_mins(5);
/// How long the other nodes may take to be sealed once one is.
const OTHERS: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// `restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file with the secret key of age, for an encrypted one
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Also a backup of another Vault; its shares are needed then
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// How Vault is after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Restored, and open.
    Open,
    /// Restored, and sealed with the shares of the backup.
    Sealed,
    /// It took the backup, and nobody can tell whether it is in place.
    Unknown,
}

/// Puts a backup back.
///
/// # Errors
/// The backup is not whole, Vault cannot be reached or refuses it. Nothing was changed then, unless the error says that it is unknown.
pub async fn run(config: &Config, environment: &Environment, wish: Restore, out: Output) -> Result<Exit> {
    let identities = Arc::new(Identities::read(wish.identity.as_deref())?);
    let archive = checked(&wish.file, &identities).await?;
    let (client, server) = server::open(config, environment).await?;
    output::note(&warning(&wish, &archive, &server));
    match ask("Restore it?", wish.yes)? {
        Agreement::Yes => {}
        Agreement::No => return Ok(Exit::Temporary),
        Agreement::NobodyToAsk => return Ok(Exit::Usage),
    }
    let mut stop = Stop::listen()?;
    let lost = "Vault restores only what it was given whole; `keyward status` and its log say how it is";
    let done = async {
        let mark = sent(&client, &server.address, &wish.file, identities, &archive, wish.force, config.backup.limit).await?;
        let after = settled(&client, mark.as_ref(), &server.nodes).await;
        let counts = if after == After::Sealed { counted(&client, &server.nodes, archive.opens_with).await } else { None };
        Ok((after, counts))
    };
    let (after, counts) = stop.unless_asked(lost, done).await?;
    Ok(say(&Told { wish: &wish, archive: &archive, server: &server, after, counts }, out))
}

/// Checks a backup on a thread that may wait.
///
/// # Errors
/// It is not whole.
pub async fn checked(file: &Path, identities: &Arc<Identities>) -> Result<Archive> {
    let (file, identities) = (file.to_owned(), Arc::clone(identities));
    tokio::task::spawn_blocking(move || source::check(&file, &identities)).await.context("the check ended abnormally")?
}

/// Sends a backup to a node. What was written right before, to be seen to be gone; `None` where it could not be.
///
/// # Errors
/// Vault's refusal.
pub async fn sent(
    client: &Client,
    node: &str,
    file: &Path,
    identities: Arc<Identities>,
    archive: &Archive,
    force: bool,
    limit: Duration,
) -> Result<Option<Mark>> {
    let mark = client.mark(&format!("keyward-restore-{}", fresh_label()?)).await.ok();
    let (to, pieces) = mpsc::channel(8);
    let file = file.to_owned();
    let reader = tokio::task::spawn_blocking(move || read_all(&file, &identities, &to));
    let sent = client.restore(node, Upload { length: archive.packed_bytes, pieces }, force, limit).await;
    if let Err(error) = sent {
        if let Some(mark) = &mark {
            client.unmark(mark).await;
        }
        // The reader's own trouble is the better reason.
        reader.await.context("reading the backup ended abnormally")??;
        return Err(if error.says_other_key() { foreign().into() } else { error.into() });
    }
    Ok(mark)
}

fn foreign() -> Declined {
    Declined::failed(
        "Vault refuses the backup, because it was made under another key: by another Vault, or before a rekey of this one. Nothing was changed. \
         With --force it is taken nevertheless, and Vault is then unsealed with the shares of that time",
    )
}

/// Reads the backup in clear; a failure in its place breaks the call off.
fn read_all(file: &Path, identities: &Identities, to: &mpsc::Sender<std::io::Result<Bytes>>) -> Result<()> {
    let mut clear = source::open(file, identities)?;
    loop {
        let mut piece = vec![0; PIECE];
        match clear.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                piece.truncate(count);
                // Whoever takes them has given up and says why.
                if to.blocking_send(Ok(piece.into())).is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                let told = std::io::Error::new(error.kind(), "the backup cannot be read");
                let _ = to.blocking_send(Err(told));
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        }
    }
}

/// Waits until what was written right before the restore is gone: then everything is as in the backup. Or until the nodes are sealed by it:
/// what stands before them does not answer then.
pub async fn settled(client: &Client, mark: Option<&Mark>, nodes: &[String]) -> After {
    let Some(mark) = mark else { return After::Unknown };
    let began = Instant::now();
    while began.elapsed() < SETTLE {
        match client.is_marked(mark).await {
            Ok(false) => return After::Open,
            Err(error) if error.kind == Kind::Sealed => return After::Sealed,
            Ok(true) => {}
            // It does not answer while it changes over.
            Err(_) => {
                if are_sealed(&states(client, nodes).await) {
                    return After::Sealed;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    After::Unknown
}

/// By which numbers the nodes that the restore has sealed count shares: those of their former key, if anybody asked for them before; where
/// they differ from those of the backup on one node, by that one's. `None` where none answers.
async fn counted(client: &Client, nodes: &[String], of_backup: Option<Split>) -> Option<Split> {
    let began = Instant::now();
    loop {
        let states = states(client, nodes).await;
        if are_sealed(&states) || began.elapsed() > OTHERS {
            let mut counts = states.iter().filter(|state| state.sealed).map(server::split);
            let first = counts.next();
            return counts.chain(first).find(|split| Some(*split) != of_backup).or(first);
        }
        // The others are on their way there.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether all that answered are; nobody's silence says so.
fn are_sealed(states: &[SealStatus]) -> bool {
    !states.is_empty() && states.iter().all(|state| state.sealed)
}

/// What those nodes say of themselves that answer.
async fn states(client: &Client, nodes: &[String]) -> Vec<SealStatus> {
    let mut states = Vec::new();
    for node in nodes {
        states.extend(client.seal_status(node).await.ok());
    }
    states
}

fn warning(wish: &Restore, archive: &Archive, server: &Server) -> String {
    let cluster = server.cluster.as_ref().map(|name| format!(" (cluster {name})")).unwrap_or_default();
    let others = archive.opens_with.filter(|split| *split != server.opens_with).map_or_else(String::new, |split| {
        let now = server.opens_with;
        format!("\nThat is {split}. This Vault was made with {now}, and takes the others only after a restart of its process.")
    });
    let shares = if wish.force {
        format!(
            "\nWith --force Vault is sealed afterwards; it then opens with the shares of the time of the backup alone, and not with those of now.{others}"
        )
    } else {
        String::new()
    };
    format!(
        "{} is whole: {}.\nVault at {}{cluster} becomes as it was then. Everything written since is lost: secrets, policies, tokens, leases.\n\
         Databases do not go back: passwords that were rotated since do not fit any more until `keyward reconcile` has mended them.{shares}",
        wish.file.display(),
        words(archive),
        server.address
    )
}

/// What a restore came to.
struct Told<'a> {
    wish: &'a Restore,
    archive: &'a Archive,
    server: &'a Server,
    after: After,
    /// How the sealed node counts shares.
    counts: Option<Split>,
}

impl Told<'_> {
    /// Whether the sealed node counts shares as its former key had them, and refuses those of the backup until it is restarted.
    fn is_stale(&self) -> bool {
        matches!((self.counts, self.archive.opens_with), (Some(counts), Some(split)) if counts != split)
    }

    fn next(&self) -> Vec<&'static str> {
        let mut next = vec!["keyward reconcile"];
        if self.after != After::Open {
            next.insert(0, "keyward unseal");
        }
        if self.is_stale() {
            next.insert(0, "restart the process of Vault");
        }
        next
    }
}

fn say(told: &Told<'_>, out: Output) -> Exit {
    let Told { wish, archive, server, after, counts } = told;
    let (state, exit) = match after {
        After::Open => ("restored", Exit::Ok),
        After::Sealed => ("sealed", Exit::Sealed),
        After::Unknown => ("unknown", Exit::Failed),
    };
    if out == Output::Json {
        output::json(&serde_json::json!({
            "file": wish.file, "server": server.address, "state": state, "index": archive.index, "term": archive.term,
            "opens_with": archive.opens_with, "counts": counts, "restart": told.is_stale(), "next": told.next(),
        }));
        return exit;
    }
    let address = &server.address;
    output::line(&match (after, archive.opens_with, counts) {
        (After::Open, _, _) => format!("restored  Vault at {address} is as it was at index {}", archive.index),
        (After::Unknown, _, _) => format!("sent      Vault at {address} took the backup; whether it is in place, its log says"),
        (After::Sealed, Some(split), Some(counts)) if told.is_stale() => format!(
            "restored  Vault at {address} holds the backup and is sealed. It opens with {split} of that time, but its process still counts \
             {counts} as its former key had it, and refuses them until it is restarted"
        ),
        (After::Sealed, Some(split), Some(_)) => {
            format!("restored  Vault at {address} holds the backup and is sealed; it opens with {split} of that time")
        }
        (After::Sealed, _, _) => format!(
            "restored  Vault at {address} holds the backup and is sealed; it takes the shares of that time. If it refuses those, restart its process: \
             it may still count them as its former key had them"
        ),
    });
    for step in told.next() {
        output::line(&format!("next      {step}"));
    }
    exit
}
