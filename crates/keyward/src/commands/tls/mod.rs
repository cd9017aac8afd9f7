//! `tls`: an authority of one's own and server certificates with the right names; what is served, and for how long yet; the next pair.

mod files;
mod make;
mod renew;
mod see;

use super::by_hand::configuration;
use super::init::files::{outside_work_trees, private_folder};
use super::output::{self, Output};
use crate::cli::Exit;
use crate::config::Environment;
use anyhow::Result;
use clap::{Args, Subcommand};
use files::Pair;
use jiff::Timestamp;
use make::Names;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What can be done with certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum Tls {
    /// Make a certificate for a server, and the authority that signs it where there is none yet
    #[command(after_help = "\
Writes ca.pem and ca.key (once), NAME.pem and NAME.key; keys have mode 0600. Nothing that exists is written over. The name itself,
localhost and the loopback addresses are always in the certificate; say every other name and address by which anybody reaches the server.
Whoever has ca.key can be any server: keep it away from the servers, and clients trust ca.pem (`ca_cert` in [vault]).

Examples:
  keyward tls issue vault-1.example.com --ip 192.0.2.11 --folder /media/usb/vault-tls
  keyward tls issue vault-2.example.com --dns vault.example.com --days 90 --folder /media/usb/vault-tls")]
    Issue(Issue),
    /// Check what the nodes serve, or a certificate's file: chain, names, days left
    #[command(after_help = "\
Without a file every node of the configuration is asked. Ends with 1 if a certificate does not hold, does not fit its name, or has
less than a third of its life (at most 21 days) left, with 69 if a node does not answer.

Examples:
  keyward tls check
  keyward tls check /media/usb/vault-tls/vault-1.example.com.pem --ca /media/usb/vault-tls/ca.pem")]
    Check(Check),
    /// Make the next pair with the same names, have the server read it, and see that it is served
    #[command(after_help = "\
The new pair is written beside the old one and takes its place at once; then the server is told by SIGHUP (--pid-file, or a program after --)
and asked until it serves the new serial. If it does not within --wait, the old pair is put back, and the command ends with 1.
A run that was killed between the two files is put right by the next one.

Examples:
  keyward tls renew vault-1.example.com --folder /etc/vault/tls --node vault-1 --pid-file /run/vault.pid
  keyward tls renew vault-1.example.com --folder /etc/vault/tls --node vault-1 -- /bin/systemctl reload vault")]
    Renew(renew::Renew),
}

/// `tls issue`.
#[derive(Args, Clone, Debug)]
pub struct Issue {
    /// The server's name, which names its files, too
    pub name: String,
    /// A further DNS name; may be said more than once
    #[arg(long, value_name = "NAME")]
    pub dns: Vec<String>,
    /// An address; may be said more than once
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
    /// Where the files are; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
}

/// `tls check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// A certificate's file instead of what the nodes serve
    #[arg(value_name = "FILE", requires = "ca")]
    pub file: Option<PathBuf>,
    /// The authority that a file is checked against
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Runs one of them. `file`: the configuration, of which nothing is needed for what stands in files here.
///
/// # Errors
/// What the command says.
pub async fn run(wish: Tls, file: &Path, environment: &Environment, out: Output) -> Result<Exit> {
    match wish {
        Tls::Issue(wish) => issue(&wish, out),
        Tls::Check(Check { file: Some(file), ca: Some(ca) }) => see::file(&file, &ca, out),
        Tls::Check(_) => see::nodes(&configuration(file, environment)?, out).await,
        Tls::Renew(wish) => renew::run(&configuration(file, environment)?, wish, out).await,
    }
}

fn issue(wish: &Issue, out: Output) -> Result<Exit> {
    let names = Names::of(&wish.name, &wish.dns, &wish.ip)?;
    outside_work_trees(&wish.folder)?;
    private_folder(&wish.folder)?;
    let pair = Pair::of(&wish.folder, &wish.name);
    pair.refuse_if_there()?;
    let now = Timestamp::now();
    let (authority, is_new) = make::authority(&wish.folder, now)?;
    let leaf = authority.sign(&names, now, wish.days)?;
    pair.write_new(&leaf)?;
    let seen = see::read(&pair.certificate)?;
    if out == Output::Json {
        output::json(&serde_json::json!({
            "authority": { "certificate": authority.path, "created": is_new },
            "certificate": pair.certificate, "key": pair.key, "serial": seen.serial, "names": seen.names, "until": seen.until
        }));
        return Ok(Exit::Ok);
    }
    output::line(&format!("{:<9} {}", if is_new { "created" } else { "unchanged" }, authority.path.display()));
    output::line(&format!("created   {}", pair.key.display()));
    output::line(&format!("created   {}: {}, until {}", pair.certificate.display(), seen.names.join(", "), seen.until));
    Ok(Exit::Ok)
}
