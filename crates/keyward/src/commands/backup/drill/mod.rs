//! `backup drill`: a backup restored into a Vault that is thrown away afterwards, in a cell without a network.
//!
//! A restored Vault goes on where it was: it revokes leases and rotates static roles in the very databases that the real one looks after.
//! So it runs where it reaches nothing: in namespaces of its own, with a network that is nothing but loopback, and with a root folder in
//! which its audit files are others than the real ones. This process makes the folder and starts the cell; `inside` is what runs in it.

mod cell;
mod inside;
mod throwaway;

use super::source::{self, Identities};
use super::{kept, take};
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::init::files::fresh_label;
use crate::commands::output::{self, Output};
use crate::commands::stop::Stop;
use crate::config::{Config, Environment};
use anyhow::{Context, Result};
use clap::Args;
pub use inside::{Inside, run as inside};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// What `keyward help backup drill` says at its end.
pub const HELP: &str = "\
Takes the newest backup of the folder, or the one named, and restores it into a Vault of its own, in a network namespace that has no way
out: a restored Vault would otherwise revoke leases and rotate static roles in the databases of the real one. Then it is unsealed with
shares from standard input, one a line, and the field that `canary` in [backup] names is read by the credentials of this configuration.
Where the kernel refuses such a namespace, nothing is run. Nothing is left behind. Ends with 0 if all of it went well, 2 if nobody gave
shares that unseal it, 1 if something else was wrong, 65 if the backup is damaged.

Examples:
  keyward backup drill < /dev/shm/shares
  keyward backup drill vault-20261124T030000000Z.snap.age --identity /media/usb/backup.key";

/// What makes a cell: namespaces whose processes all end with the first of them. As root it works without users of its own, too.
const WALLS: [&str; 5] = ["--net", "--mount", "--pid", "--fork", "--kill-child"];
const OWN_USERS: [&str; 2] = ["--user", "--map-root-user"];
/// How long the end of a killed cell may take.
const END: Duration = Duration::from_secs(20);

/// `backup drill`.
#[derive(Args, Clone, Debug)]
pub struct Drill {
    /// The backup; without it, the newest in the folder
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The file with the secret key of age, for an encrypted one
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The server's program; without it, that of [backup], or `vault` or `bao` on PATH
    #[arg(long, value_name = "FILE")]
    pub vault: Option<PathBuf>,
    /// Run it in the open where the kernel refuses a cell: it may then revoke leases and rotate static roles in the real databases, and write
    /// into the real audit files
    #[arg(long)]
    pub accept_open_network: bool,
}

/// Drills.
///
/// # Errors
/// There is nothing to drill with, or the kernel refuses a cell.
pub async fn run(config: &Config, environment: &Environment, config_file: &Path, wish: Drill, out: Output) -> Result<Exit> {
    let file = chosen(config, wish.file.as_deref())?;
    let (identities, checked) = (Identities::read(wish.identity.as_deref())?, file.clone());
    tokio::task::spawn_blocking(move || source::check(&checked, &identities)).await??;
    let vault = throwaway::program(wish.vault.as_deref().or(config.backup.vault.as_deref()))?;
    let walls = match walls().await {
        Ok(walls) => Some(walls),
        Err(why) if wish.accept_open_network => {
            output::note(&format!("keyward: {why}; it runs in the open, as --accept-open-network says"));
            None
        }
        Err(why) => return Err(refused(&why).into()),
    };
    let mut stop = Stop::listen()?;
    let folder = Folder::new()?;
    let inside = Inside { file, identity: wish.identity, vault, folder: folder.0.clone(), enclosed: walls.is_some() };
    match walls {
        None => stop.unless_asked("nothing is left of the drill", inside::run(config, environment, inside, out)).await,
        Some(walls) => in_cell(&walls, config_file, environment, &inside, out, &mut stop).await,
    }
}

fn refused(why: &str) -> Declined {
    Declined::failed(format!(
        "{why}, so the drill was not run: a restored Vault that reaches the network revokes leases and rotates static roles in your databases, and \
         writes into your audit files. Run it as root, or allow user namespaces, or on a machine that reaches nothing say --accept-open-network"
    ))
}

/// The named backup, else the newest.
fn chosen(config: &Config, named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return std::path::absolute(path).with_context(|| format!("{} is no path", path.display()));
    }
    let folder = take::folder(config)?;
    let found = kept::find(&folder).map_err(|e| take::unreadable(&folder, &e))?;
    let newest = found.last().ok_or_else(|| Declined::failed(format!("there is no backup in {}", folder.display())))?;
    Ok(folder.join(&newest.name))
}

/// The words by which `unshare` makes a cell here, or why it cannot.
async fn walls() -> Result<Vec<&'static str>, String> {
    let with_users: Vec<&str> = OWN_USERS.into_iter().chain(WALLS).collect();
    let mut why = String::new();
    for words in [with_users, WALLS.to_vec()] {
        match Command::new("unshare").args(&words).args(["--", "true"]).output().await {
            Ok(output) if output.status.success() => return Ok(words),
            Ok(output) => why = format!("the kernel refuses a network namespace: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => why = format!("a network namespace needs the program unshare (util-linux): {error}"),
        }
    }
    Err(why)
}

/// Runs this very program again, behind walls.
async fn in_cell(
    walls: &[&str],
    config_file: &Path,
    environment: &Environment,
    inside: &Inside,
    out: Output,
    stop: &mut Stop,
) -> Result<Exit> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("unshare");
    command.args(walls).arg("--").arg(own).arg("--config").arg(config_file);
    command.args(environment.address.iter().flat_map(|address| ["--address", address]));
    command.args(["--output", if out == Output::Json { "json" } else { "text" }, "backup", "drill-inside", "--enclosed"]);
    command.arg("--file").arg(&inside.file).arg("--vault").arg(&inside.vault).arg("--folder").arg(&inside.folder);
    command.args(inside.identity.iter().flat_map(|path| [Path::new("--identity").as_os_str(), path.as_os_str()]));
    let mut child = command.kill_on_drop(true).spawn().context("cannot start the cell")?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let ended = tokio::select! {
        ended = child.wait() => Some(ended.context("the cell is lost")?),
        () = stop.asked() => None,
    };
    let Some(ended) = ended else {
        // What runs behind the walls ends with whoever made them.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        let _ = child.wait().await;
        return Err(Declined { exit: Exit::Temporary, text: "broken off; nothing is left of the drill".to_owned() }.into());
    };
    let code = ended.code().unwrap_or_default();
    Ok(Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code && ended.code().is_some()).unwrap_or(Exit::Internal))
}

/// The drill's folder, for its owner alone; removed when it is let go.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("keyward-drill-{}", fresh_label()?));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let began = Instant::now();
        // A server that was killed may still be on its way out, and write.
        while std::fs::remove_dir_all(&self.0).is_err() && self.0.exists() {
            if began.elapsed() > END {
                output::note(&format!("keyward: {} could not be removed; remove it yourself", self.0.display()));
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
