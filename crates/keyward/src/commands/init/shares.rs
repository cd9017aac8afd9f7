//! The first initialisation: whose hands the shares come into, and that they are there before anybody is told.
//!
//! Keyward keeps no share. The files are made beforehand, so that a full disk or a wrong path is found while nothing has happened yet.

use super::files;
use crate::commands::by_hand::Declined;
use crate::commands::output;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_secret::Secret;
use keyward_vault::{Client, Initialisation, Initialised, VaultError};
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No public key that people use is larger.
const LARGEST_KEY_BYTES: u64 = 1 << 20;
/// Longer than any share or token in clear; encrypted ones take a block more.
const RESERVED_BYTES: usize = 4096;

/// What to do with a Vault whose shares are lost before anything is in it.
pub const NOBODYS: &str = "nobody has them, and it is empty: stop it, clear its storage, start it, and run this again";

/// Where the root token goes beside the shares.
pub const ROOT_TOKEN: &str = "root-token";

/// Whose hands the shares come into.
#[derive(Clone, Debug)]
pub enum Hands {
    /// One file each in this folder, in clear.
    Folder(PathBuf),
    /// One file each in this folder, encrypted to these public keys.
    Pgp(PathBuf, Vec<PathBuf>),
    /// Shown once at the terminal.
    Screen,
}

/// What the person asked for, checked.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How many shares, how many of them open, and for whom.
    pub how: Initialisation,
    /// Where they go.
    pub hands: Hands,
}

impl Wish {
    /// Checks what was asked for; reads the public keys.
    ///
    /// # Errors
    /// No way to people, more than one, or numbers that cannot be.
    pub fn check(shares: u8, threshold: u8, folder: Option<PathBuf>, keys: Vec<PathBuf>, on_screen: bool) -> Result<Self> {
        if threshold > shares || shares == 0 || threshold == 0 || (shares > 1 && threshold == 1) {
            bail!(Declined::usage(format!(
                "--threshold {threshold} of --shares {shares} is not possible: at least 2 of the shares, and no more than there are (or 1 of 1)"
            )));
        }
        let hands = match (folder, keys.is_empty(), on_screen) {
            (Some(folder), true, false) => Hands::Folder(folder),
            (Some(folder), false, false) => Hands::Pgp(folder, keys),
            (None, true, true) => Hands::Screen,
            (None, false, _) => {
                bail!(Declined::usage("--pgp-key needs --shares-to: the folder that gets the encrypted shares and the root token"))
            }
            (Some(_), _, true) => {
                bail!(Declined::usage("the shares go to a folder or onto the screen: say --shares-to or --show-shares, not both"))
            }
            (None, true, false) => {
                bail!(Declined::usage(
                    "say where the shares go: --shares-to DIR (one file each), with --pgp-key FILE for each person, or --show-shares"
                ))
            }
        };
        let mut pgp_keys = Vec::new();
        match &hands {
            Hands::Folder(folder) => files::outside_work_trees(folder)?,
            Hands::Pgp(folder, keys) => {
                files::outside_work_trees(folder)?;
                if keys.len() != usize::from(shares) {
                    bail!(Declined::usage(format!("there are {} --pgp-key for {shares} shares; name one for each", keys.len())));
                }
                pgp_keys = keys.iter().map(|key| public_key(key)).collect::<Result<_>>()?;
            }
            Hands::Screen if !std::io::stderr().is_terminal() => {
                bail!(Declined::usage("--show-shares needs a terminal: what is written into a file or a pipe is kept somewhere"))
            }
            Hands::Screen => {}
        }
        Ok(Self { how: Initialisation { shares, threshold, pgp_keys }, hands })
    }

    /// What a person should know of the way that was chosen.
    pub fn risk(&self) -> Option<String> {
        let who_opens = if self.how.threshold == 1 { "One share opens Vault, so that whoever has it has everything. " } else { "" };
        match &self.hands {
            Hands::Folder(folder) => Some(format!(
                "{who_opens}All shares and the root token lie in {} on this machine: whoever reads it owns Vault. Hand each share to another person, \
                 then remove the files here (shred -u). With --pgp-key each share can be read by its owner alone.",
                folder.display()
            )),
            Hands::Screen => {
                Some(format!("{who_opens}The shares are shown once. Keep them with different people, and not in this terminal's history."))
            }
            Hands::Pgp(..) => (!who_opens.is_empty()).then(|| who_opens.trim_end().to_owned()),
        }
    }
}

/// A public key as Vault takes it: binary, in base64.
fn public_key(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("cannot read the public key {}", path.display()))?;
    file.take(LARGEST_KEY_BYTES).read_to_end(&mut bytes).with_context(|| format!("cannot read the public key {}", path.display()))?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(STANDARD.encode(&bytes)) };
    if text.contains("PRIVATE KEY BLOCK") {
        bail!(Declined::usage(format!("{} is a private key; give the public one: gpg --export WHO > FILE", path.display())));
    }
    let armoured =
        unarmoured(text).with_context(|| format!("{} is no PGP public key; make one: gpg --export WHO > FILE", path.display()))?;
    Ok(armoured)
}

/// The base64 inside an ASCII armour; or a text that is base64 itself.
fn unarmoured(text: &str) -> Option<String> {
    let body: String = match text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        Some((_, rest)) => {
            let inside = rest.split_once("-----END").map_or(rest, |(inside, _)| inside).replace('\r', "");
            // Headers end with a blank line, and a line that begins with = is the checksum.
            let (_, body) = inside.split_once("\n\n")?;
            body.lines().map(str::trim).filter(|line| !line.starts_with('=')).collect()
        }
        None => text.split_whitespace().collect(),
    };
    let is_key = STANDARD.decode(&body).is_ok_and(|bytes| !bytes.is_empty());
    is_key.then_some(body)
}

/// Initialises the server, and brings the shares to where they belong. What is needed to go on is handed back.
///
/// # Errors
/// Nothing was done, or the error says that the shares may be lost.
pub async fn initialise(client: &Client, wish: &Wish) -> Result<Initialised> {
    let places = reserve(wish)?;
    let made = match client.initialise(&wish.how).await {
        Ok(made) => made,
        Err(error) => return Err(not_initialised(client, &places, error).await?),
    };
    if made.shares.len() != usize::from(wish.how.shares) {
        let (came, asked) = (made.shares.len(), wish.how.shares);
        bail!(
            "Vault is initialised and answered with {came} shares where {asked} were asked for; it is empty: clear its storage, and begin again"
        );
    }
    let all = made.shares.iter().chain(std::iter::once(&made.root_token));
    match wish.hands {
        Hands::Screen => show(&made),
        _ => {
            for (place, value) in places.iter().zip(all) {
                fill(place, value)
                    .context("Vault is initialised and its shares could not be written; it is empty: clear its storage, and begin again")?;
            }
        }
    }
    Ok(made)
}

/// Why there are no shares. Where Vault is initialised all the same, the blank files stay: they tell the next run what happened.
async fn not_initialised(client: &Client, places: &[PathBuf], error: VaultError) -> Result<anyhow::Error> {
    if error.outcome_unknown() && client.seal_status(client.address()).await.is_ok_and(|status| status.is_initialised) {
        let text = format!("Vault was initialised, but its answer with the shares was lost; {NOBODYS}");
        return Ok(anyhow::Error::new(error).context(text));
    }
    for place in places {
        files::remove(place)?;
    }
    Ok(anyhow::Error::new(error).context("Vault was not initialised"))
}

/// Whether a run of before made these files for shares that never came.
pub fn never_came(wish: &Wish) -> bool {
    let (Hands::Folder(folder) | Hands::Pgp(folder, _)) = &wish.hands else { return false };
    places(wish, folder).iter().all(|place| fs::read(place).is_ok_and(|text| !text.is_empty() && text.trim_ascii().is_empty()))
}

/// As many shares as open Vault, in clear, from the folder that an earlier run of the same command was given. None where they are not there.
pub fn written(wish: &Wish) -> Vec<Secret> {
    let Hands::Folder(folder) = &wish.hands else { return Vec::new() };
    let read = |place: &PathBuf| fs::read_to_string(place).map(zeroize::Zeroizing::new).ok();
    let texts = places(wish, folder).into_iter().take(wish.how.threshold.into()).map(|place| read(&place));
    let shares: Option<Vec<_>> = texts.map(|text| text.filter(|text| !text.trim().is_empty()).map(|t| Secret::new(t.trim()))).collect();
    shares.unwrap_or_default()
}

/// One file per share, and the root token's.
fn places(wish: &Wish, folder: &Path) -> Vec<PathBuf> {
    let suffix = if matches!(wish.hands, Hands::Pgp(..)) { ".pgp" } else { "" };
    let names = (1..=wish.how.shares).map(|n| format!("share-{n}{suffix}")).chain([ROOT_TOKEN.to_owned()]);
    names.map(|name| folder.join(name)).collect()
}

/// The files, one per share and one for the root token, each made and filled up, so that writing them later needs nothing new.
fn reserve(wish: &Wish) -> Result<Vec<PathBuf>> {
    let (Hands::Folder(folder) | Hands::Pgp(folder, _)) = &wish.hands else { return Ok(Vec::new()) };
    files::private_folder(folder)?;
    let places = places(wish, folder);
    for place in &places {
        // What an interrupted run reserved is blank, and may be taken; anything else is somebody's.
        if fs::read(place).is_ok_and(|text| !text.trim_ascii().is_empty()) {
            bail!(Declined::usage(format!(
                "{} is there already; name another folder, or see whether that is this Vault's",
                place.display()
            )));
        }
    }
    for place in &places {
        let blank = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(place)?;
            file.write_all(&[b'\n'; RESERVED_BYTES])?;
            file.sync_all()
        };
        blank().with_context(|| format!("cannot write {}; nothing was done", place.display()))?;
    }
    Ok(places)
}

/// Over what was reserved, which is cut off only when the value is on the disk.
fn fill(place: &Path, value: &Secret) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(place)?;
        file.write_all(value.expose().as_bytes())?;
        file.sync_all()?;
        file.set_len(value.expose().len() as u64 + 1)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", place.display()))
}

/// Onto the terminal, and nowhere else.
fn show(made: &Initialised) {
    for (number, share) in made.shares.iter().enumerate() {
        output::note(&format!("Share {}: {}", number + 1, share.expose()));
    }
    output::note(&format!("Root token: {}", made.root_token.expose()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_with_and_without_their_armour() {
        let armoured = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nbWFk\nZSB1cA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(unarmoured(armoured).as_deref(), Some("bWFkZSB1cA=="));
        assert_eq!(unarmoured(&armoured.replace('\n', "\r\n")).as_deref(), Some("bWFkZSB1cA=="));
        assert_eq!(unarmoured("bWFkZSB1cA==\n").as_deref(), Some("bWFkZSB1cA=="));
        assert_eq!(unarmoured("not a key"), None);
        assert_eq!(unarmoured(""), None);
    }

    #[test]
    fn wishes_that_cannot_be_are_refused() {
        let there = || Some(PathBuf::from("/nowhere/shares"));
        for (shares, threshold, folder, on_screen) in
            [(5, 6, there(), false), (5, 1, there(), false), (0, 0, there(), false), (5, 3, None, false), (5, 3, there(), true)]
        {
            assert!(
                Wish::check(shares, threshold, folder.clone(), Vec::new(), on_screen).is_err(),
                "{shares} {threshold} {folder:?} {on_screen}"
            );
        }
        assert!(Wish::check(5, 3, there(), vec![PathBuf::from("/k")], false).is_err());
        assert!(Wish::check(5, 3, there(), Vec::new(), false).is_ok_and(|wish| wish.risk().is_some()));
    }
}
