//! Files that should not lie about: unseal keys, values in clear, tokens, and server files that are merged by accident.
//!
//! A file is judged by its name first and then by what stands in it. Names of variables and files are told, values never.

use super::engine::Connection;
use super::plain::Published;
use crate::commands::check::report::Finding;
use crate::commands::check::trouble::Trouble;
use crate::commands::import::{dotenv, url};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_secret::Secret;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// No file that is looked for is longer.
const LARGEST_BYTES: u64 = 1 << 20;
/// So many entries of folders are looked at.
const MOST_ENTRIES: usize = 20_000;
/// So deep below a folder.
const DEEPEST: usize = 4;
/// Folders that are large and made by tools.
const SKIPPED: [&str; 5] = [".git", "node_modules", "target", "vendor", ".venv"];
/// So many shares in one folder are no longer those of one person.
const SHARES: usize = 2;
/// What Vault's tokens begin with, the older ones too.
const TOKENS: [&str; 3] = ["hvs.", "hvb.", "s."];
/// What `vault operator init` writes, as text and as JSON, and what its API answers.
const KEY_MARKS: [&str; 5] = ["Unseal Key 1:", "\"unseal_keys_b64\"", "\"unseal_keys_hex\"", "\"keys_base64\"", "Initial Root Token:"];

/// What plain files are compared with.
#[derive(Default)]
pub struct Known {
    /// Values in use.
    pub published: Vec<Published>,
    /// As whom Vault logs in to databases.
    pub connections: Vec<Connection>,
}

/// Looks through the folders.
pub async fn look(folders: &[PathBuf], known: Known) -> Vec<Finding> {
    let folders = folders.to_vec();
    let looking = tokio::task::spawn_blocking(move || folders.iter().flat_map(|folder| look_into(folder, &known)).collect());
    looking.await.unwrap_or_else(|error| vec![Finding::unknown(format!("files: looking at them ended abnormally: {error}"))])
}

fn look_into(folder: &Path, known: &Known) -> Vec<Finding> {
    if let Err(error) = fs::read_dir(folder) {
        return vec![Finding::unknown(format!("what lies about in {}: it cannot be looked into: {error}", folder.display()))];
    }
    let (files, is_whole) = files(folder);
    let mut findings = Vec::new();
    let mut server_files: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    let mut shares: BTreeMap<&Path, usize> = BTreeMap::new();
    let mut looked_at = 0;
    for file in &files {
        let Some(kind) = kind(file) else { continue };
        // One that cannot be read, or is no text, holds nothing for whoever runs this.
        let Ok(text) = fs::read_to_string(file) else { continue };
        looked_at += 1;
        match kind {
            Kind::Env => findings.extend(environment(file, &text, known)),
            Kind::Keys if is_share(&text) => *shares.entry(file.parent().unwrap_or(folder)).or_default() += 1,
            Kind::Keys if holds_keys(&text) || is_root_token(file, &text) => {
                findings
                    .push(Finding::wrong(format!("{} holds unseal keys or a root token in clear", file.display())).is(Trouble::KeysLying));
            }
            Kind::Server if has_storage(&text) => {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                server_files.entry(file.parent().unwrap_or(folder)).or_default().push(name);
            }
            Kind::Keys | Kind::Server => {}
        }
    }
    for (folder, count) in shares.iter().filter(|(_, count)| **count >= SHARES) {
        let says = format!("{} holds {count} unseal shares in clear", folder.display());
        findings.push(Finding::wrong(says).is(Trouble::KeysLying));
    }
    for (folder, names) in server_files.iter().filter(|(_, names)| names.len() > 1) {
        let says = format!("{} holds several server files with a storage: {}", folder.display(), names.join(", "));
        findings.push(Finding::warning(says).is(Trouble::ServerFilesMixed));
    }
    findings.insert(0, Finding::well(format!("{looked_at} files in {} were looked at", folder.display())));
    if !is_whole {
        findings.push(Finding::unknown(format!(
            "{} holds more than was looked at; name the folders that matter (--look-in)",
            folder.display()
        )));
    }
    findings
}

/// What a file may be, by its name.
enum Kind {
    Env,
    Keys,
    Server,
}

fn kind(file: &Path) -> Option<Kind> {
    let name = file.file_name()?.to_str()?.to_lowercase();
    let has_extension = |wanted: &str| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted));
    if name.starts_with(".env") || has_extension("env") {
        Some(Kind::Env)
    } else if has_extension("hcl") {
        Some(Kind::Server)
    } else if ["vault", "unseal", "key", "share", "token", "init"].iter().any(|part| name.contains(part)) {
        Some(Kind::Keys)
    } else {
        None
    }
}

/// The files below a folder, nearest first; whether these are all. Links are not followed.
fn files(folder: &Path) -> (Vec<PathBuf>, bool) {
    let (mut found, mut seen, mut is_whole) = (Vec::new(), 0_usize, true);
    let mut folders = VecDeque::from([(folder.to_path_buf(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_ENTRIES {
                return (found, false);
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if metadata.is_file() && metadata.len() <= LARGEST_BYTES {
                found.push(entry.path());
            } else if metadata.is_dir() && !is_skipped {
                if depth < DEEPEST {
                    folders.push_back((entry.path(), depth + 1));
                } else {
                    is_whole = false;
                }
            }
        }
    }
    found.sort();
    (found, is_whole)
}

fn holds_keys(text: &str) -> bool {
    KEY_MARKS.iter().any(|mark| text.contains(mark))
}

/// A share alone, as `keyward init` hands one out and `vault operator rekey` too: 33 bytes, unless somebody chose one share only.
fn is_share(text: &str) -> bool {
    let text = text.trim();
    let is_hex = text.len() == 66 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex || (text.len() == 44 && !text.ends_with('=') && STANDARD.decode(text).is_ok())
}

/// A first root token alone, by its file's name and by how tokens begin. Other tokens have files of their own by rights.
fn is_root_token(file: &Path, text: &str) -> bool {
    let is_named = file.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().contains("root"));
    let text = text.trim();
    is_named && !text.contains(char::is_whitespace) && TOKENS.iter().any(|begin| text.starts_with(begin))
}

fn has_storage(text: &str) -> bool {
    let word = |line: &str| line.trim_start().split([' ', '"', '{']).next().map(str::to_owned);
    text.lines().filter_map(word).any(|word| word == "storage" || word == "backend")
}

fn environment(file: &Path, text: &str, known: &Known) -> Vec<Finding> {
    let shown = file.display();
    let variables = match dotenv::parse(text) {
        Ok(variables) => variables,
        Err(faults) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            return vec![Finding::unknown(format!("{shown} cannot be read: {first}"))];
        }
    };
    let mut findings = Vec::new();
    for variable in &variables {
        let (name, value) = (&variable.name, variable.value.expose());
        if (name == "VAULT_TOKEN" && !value.is_empty()) || value.starts_with("hvs.") {
            findings.push(Finding::warning(format!("{shown} holds a token: {name}")).is(Trouble::TokenInFile));
        }
        if name == "VAULT_ENABLED" && matches!(value.to_lowercase().as_str(), "false" | "0" | "no" | "off") {
            findings.push(Finding::warning(format!("{shown} switches Vault off: {name}")).is(Trouble::VaultSwitchedOff));
        }
        // Where a database is, who logs in and by which password often stand in one.
        let [in_url, user] = [url::Part::Password, url::Part::Username].map(|part| url::part(&variable.value, part).ok().flatten());
        let is_it = |value: &Secret| value.same_as(&variable.value) || in_url.as_ref().is_some_and(|part| value.same_as(part));
        findings.extend(shared(file, name, user.as_ref(), &known.connections));
        for found in known.published.iter().filter(|p| is_it(&p.value)) {
            findings.push(
                Finding::wrong(format!("{shown} holds in {name} what is published at {} and in use", found.at))
                    .is(Trouble::PlainValues)
                    .cure(format!("have the service read Vault, then: keyward rotate {}, and shred -u {shown}", found.secret)),
            );
        }
    }
    findings
}

/// A service with that URL and Vault have one login. It may be another server with a user of the same name, so it is no more than a warning.
fn shared(file: &Path, variable: &str, user: Option<&Secret>, connections: &[Connection]) -> Option<Finding> {
    let connection = connections.iter().find(|connection| user.is_some_and(|user| user.expose() == connection.user))?;
    let Connection { path, user } = connection;
    let says =
        format!("{path} logs in as {user}, as a service with {variable} in {} does: a rotation of one locks the other out", file.display());
    Some(Finding::warning(says).is(Trouble::EngineUserShared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_compared_with_what_is_published_and_shows_no_value() {
        let published = vec![Published { secret: "db".into(), at: "kv/db#password".into(), value: Secret::new("correct horse") }];
        let connections = vec![Connection { path: "database/config/pg".into(), user: "superuser".into() }];
        let known = Known { published, connections };
        let text = "A=other\nDB_PASSWORD=\"correct horse\"\nVAULT_TOKEN=hvs.x\nVAULT_ENABLED=False\n";
        let found = environment(Path::new(".env"), text, &known);
        let troubles: Vec<_> = found.iter().filter_map(|f| f.trouble).collect();
        assert_eq!(troubles, [Trouble::PlainValues, Trouble::TokenInFile, Trouble::VaultSwitchedOff]);
        let in_url = environment(Path::new(".env"), "DATABASE_URL=postgres://shop:correct%20horse@db/shop\n", &known);
        assert_eq!(in_url.iter().map(|f| f.trouble).collect::<Vec<_>>(), [Some(Trouble::PlainValues)]);
        assert!(!format!("{found:?}{in_url:?}").contains("horse") && !format!("{found:?}").contains("hvs"));
        assert_eq!(environment(Path::new(".env"), "VAULT_ENABLED=true\nVAULT_TOKEN=\n", &known), []);
        let shared = environment(Path::new(".env"), "DATABASE_URL=postgres://superuser:another@db/shop\nROOT=hvs.x\n", &known);
        assert_eq!(shared.iter().filter_map(|f| f.trouble).collect::<Vec<_>>(), [Trouble::EngineUserShared, Trouble::TokenInFile]);
    }

    #[test]
    fn keys_are_known_by_what_vault_writes() {
        assert!(holds_keys("Unseal Key 1: abc\n") && holds_keys("{\"unseal_keys_b64\": []}") && holds_keys("{\"keys_base64\": []}"));
        assert!(!holds_keys("{\"keys\": []}"));
    }

    #[test]
    fn shares_are_known_by_their_form_and_a_root_token_by_its_name() {
        let share = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJAB";
        assert!(is_share(&format!("{share}\n")) && is_share(&"ab".repeat(33)));
        // A key of 32 bytes, a certificate, words.
        for other in ["q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "-----BEGIN CERTIFICATE-----", "a share is with Ann", ""] {
            assert!(!is_share(other), "{other}");
        }
        let is_it = |name: &str, text: &str| is_root_token(Path::new(name), text);
        assert!(is_it("shares/root-token", "hvs.x\n") && is_it("root_token.txt", "s.x"));
        assert!(!is_it(".vault-token", "hvs.x") && !is_it("root-token", "hvs.x is what it looked like") && !is_it("root-token", ""));
    }

    #[test]
    fn a_server_file_is_known_by_its_storage() {
        assert!(has_storage("ui = true\nstorage \"file\" {\n}\n") && has_storage("  storage{"));
        assert!(!has_storage("path \"secret/storage\" {\n}\n# storage \"file\"\n"));
    }
}
