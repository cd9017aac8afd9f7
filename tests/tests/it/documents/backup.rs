//! The commands of the page on backups: a drill, and the way back into the same Vault. The way into a new one is a runbook.

use super::page::{Block, blocks};
use super::place::{Place, read};
use super::readme::Shop;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PAGE: &str = "crates/keyward/docs/backup.md";
/// The backup that the page has as its example.
const EXAMPLE: &str = "/var/backups/vault/vault-20261124T030000512Z.snap";

fn the(language: &str, holds: &str) -> Block {
    let found = blocks(PAGE).into_iter().find(|block| block.language == language && block.text.contains(holds));
    found.unwrap_or_else(|| panic!("{PAGE} has no {language} block with {holds}"))
}

/// Follows it, with a Vault that has a canary.
pub fn follow(place: &Place, shop: &Shop) {
    place.vault().must("POST", "secret/data/canary", Some(json!({ "data": { "value": "sings-in-the-dark" } }))).unwrap();
    let backup = made(place);
    drilled(place, &backup);
    restored(place, &backup, shop);
    place.never_said(&["sings-in-the-dark".to_owned()]);
}

/// A backup by the page's settings: it is copied off, too. Its file.
fn made(place: &Place) -> PathBuf {
    let (folder, offsite, copy) = (place.path("backups"), place.path("bin/offsite"), place.path("copied"));
    fs::write(&offsite, format!("#!/bin/sh\ncat > '{}'\n", copy.display())).unwrap();
    fs::set_permissions(&offsite, fs::Permissions::from_mode(0o755)).unwrap();
    // Encrypted ones have a test of their own: whoever drills needs their key.
    let settings = the("toml", "[backup]").text.replace("recipients = [\"age1…\"]\n", "");
    let settings = settings
        .replace("/var/backups/vault", &folder.display().to_string())
        .replace("/usr/local/bin/offsite", &offsite.display().to_string());
    let configuration = &place.variables["KEYWARD_CONFIG"];
    fs::write(configuration, read(Path::new(configuration)) + "\n" + &settings).unwrap();
    let ended = place.shell("keyward backup");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let is_backup = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "snap");
    let file = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(is_backup).unwrap();
    assert_eq!(fs::read(copy).unwrap(), fs::read(&file).unwrap());
    file
}

fn drilled(place: &Place, backup: &Path) {
    let shares = place.path("drilled-with");
    let held = |number: u8| read(&Path::new(&place.variables["SHARES"]).join(format!("share-{number}")));
    fs::write(&shares, [1, 2, 3].map(held).concat()).unwrap();
    let typed = the("sh", "keyward backup drill").text.replace("/dev/shm/shares", &shares.display().to_string());
    let ended = place.shell(&typed);
    fs::remove_file(shares).unwrap();
    if ended.err.contains("the kernel refuses a network namespace") {
        return;
    }
    // What the page shows is what is said, but for where and how far.
    let shown = the("text", "restored").text.replace(EXAMPLE, &backup.display().to_string());
    let any_index = |text: &str| {
        let (before, rest) = text.split_once("index ").unwrap();
        format!("{before}index{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    assert_eq!((ended.code, any_index(&ended.out)), (Some(0), any_index(&shown)), "{ended:?}");
}

fn restored(place: &Place, backup: &Path, shop: &Shop) {
    place.vault().must("DELETE", "secret/metadata/backend/database", None).unwrap();
    let mut block = the("sh", "keyward restore");
    // At a terminal it asks.
    block.text = block.text.replace(EXAMPLE, &backup.display().to_string()).replace("keyward restore", "keyward restore --yes");
    let said = place.run(&block);
    assert!(said.contains("Vault and the targets agree."), "{said}");
    shop.consume(place).unwrap();
}
