//! `tls renew`: the next pair under the same names, put in place, read by the server, and seen to be served; else the old one again.

use super::files::Pair;
use super::make::{self, Names};
use super::see;
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::output::{self, Output};
use crate::commands::stop::Stop;
use crate::config::{Config, plain_address};
use crate::session;
use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(250);
/// How long a program may take to tell the server.
const LIMIT: Duration = Duration::from_mins(1);

/// `tls renew`.
#[derive(Args, Clone, Debug)]
pub struct Renew {
    /// The server's name, which names its files, too
    pub name: String,
    /// Where its files are
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// Where the authority's are; without it, the same folder
    #[arg(long, value_name = "DIR")]
    pub authority: Option<PathBuf>,
    /// The node that serves it; without it, the configured address
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
    /// The file with the server's process id, for SIGHUP
    #[arg(long, value_name = "FILE", required_unless_present = "tell", conflicts_with = "tell")]
    pub pid_file: Option<PathBuf>,
    /// How long the server may take to serve it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,
    /// A program that tells the server, with its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub tell: Vec<String>,
}

/// Renews.
///
/// # Errors
/// There is no pair to renew, or the new one is not served; the old one stands then.
pub async fn run(config: &Config, wish: Renew, out: Output) -> Result<Exit> {
    let pair = Pair::of(&wish.folder, &wish.name);
    let mended = pair.mend()?;
    if mended && out == Output::Text {
        output::line(&format!("mended    {}: a run was killed between its certificate and its key", pair.certificate.display()));
    }
    let old = see::read(&pair.certificate)?;
    let authority_folder = wish.authority.as_deref().unwrap_or(&wish.folder);
    if !authority_folder.join("ca.pem").exists() {
        let text =
            format!("there is no authority in {}; say --authority DIR, the folder with ca.pem and ca.key", authority_folder.display());
        return Err(Declined::usage(text).into());
    }
    let address = address(config, wish.node.as_deref())?;
    let now = Timestamp::now();
    let (authority, _) = make::authority(authority_folder, now)?;
    let leaf = authority.sign(&Names(old.names.clone()), now, wish.days)?;
    let mut stop = Stop::listen()?;
    pair.replace(&leaf)?;
    let new = see::read(&pair.certificate)?;
    let served = stop.unless_asked("it was not seen to be served", serve(&wish, config, &address, &new.serial)).await;
    if let Err(error) = served {
        pair.put_back()?;
        // It may have read the new one all the same.
        let told = tell(&wish).await;
        let more = if told.is_ok() { "the old pair stands again" } else { "the old pair stands again, and the server could not be told" };
        return Err(error.context(more));
    }
    pair.settle()?;
    if out == Output::Json {
        output::json(&serde_json::json!({
            "certificate": pair.certificate, "server": address, "before": old.serial, "serial": new.serial, "until": new.until,
            "mended": mended
        }));
    } else {
        output::line(&format!("changed   {}: serial {}, until {}", pair.certificate.display(), new.serial, new.until));
        output::line(&format!("served    by {address} instead of {}", old.serial));
    }
    Ok(Exit::Ok)
}

fn address(config: &Config, node: Option<&str>) -> Result<String> {
    let Some(name) = node else { return Ok(plain_address(&config.vault.address)) };
    let found = config.vault.nodes.iter().find(|n| n.name == name);
    let none = || Declined::usage(format!("there is no node \"{name}\" in the configuration"));
    Ok(plain_address(&found.ok_or_else(none)?.url))
}

/// Tells the server, and asks it until it serves this serial.
async fn serve(wish: &Renew, config: &Config, address: &str, serial: &str) -> Result<()> {
    tell(wish).await?;
    let (began, limit) = (Instant::now(), Duration::from_secs(wish.wait));
    loop {
        // A connection that is open already keeps the certificate that it began with, so each look is a client of its own.
        let seen = session::client(&config.vault)?.health(address).await;
        let served = seen.certificate.as_deref().and_then(|der| see::of(der, Timestamp::now()));
        if served.as_ref().is_some_and(|s| s.serial == serial) {
            return Ok(());
        }
        if began.elapsed() > limit {
            let what = served.map_or_else(|| "nothing that could be read".to_owned(), |s| format!("serial {}", s.serial));
            return Err(Declined::failed(format!("{address} still serves {what} after {} s", limit.as_secs())).into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn tell(wish: &Renew) -> Result<()> {
    if let Some(path) = &wish.pid_file {
        return hang_up(path);
    }
    let Some((program, arguments)) = wish.tell.split_first() else { bail!("nothing tells the server") };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let status = tokio::time::timeout(LIMIT, command.status()).await.with_context(|| format!("{program} did not end"))?;
    let status = status.with_context(|| format!("cannot run {program}"))?;
    if status.success() { Ok(()) } else { Err(Declined::failed(format!("{program} did not tell the server: {status}")).into()) }
}

fn hang_up(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Declined::data(format!("{} holds no process id", path.display())))?;
    // Where Vault has gone, its number may be another's by now, whom this signal would end.
    let words = std::fs::read(format!("/proc/{}/cmdline", text.trim())).unwrap_or_default();
    if !words.is_empty() && !words.split(|byte| *byte == 0).any(|word| word == b"server") {
        return Err(
            Declined::data(format!("process {} is no server of Vault: {} is not its own any more", text.trim(), path.display())).into()
        );
    }
    kill_process(pid, Signal::HUP).map_err(std::io::Error::from).with_context(|| format!("cannot tell process {}", text.trim()))
}
