//! Looks for secret values where none may stand: what Keyward wrote, said, served and mailed, and what PostgreSQL logged of it.
//!
//! Every [`Shop`](crate::Shop) looks when it closes, so that each test of the whole is a test of this too.

use crate::postgres::PostgresServer;
use crate::shop::Shop;
use crate::smtp::SmtpServer;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Shorter strings are names and settings: they stand in logs with every right.
const SHORTEST: usize = 16;

/// A secret value that was found where none may stand. Never the value itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Which value: the path and field, or the file, that holds it rightly.
    pub value: String,
    /// Where it was found.
    pub place: String,
}

/// Values with the names under which they are told.
pub(crate) type Values = BTreeSet<(String, String)>;

/// Looks for `values` in every file of `dir` but the ones that hold them rightly, in every mail, and in PostgreSQL's log.
pub(crate) fn look(values: &Values, dir: &Path, rightly: &[PathBuf], smtp: &SmtpServer, postgres: &PostgresServer) -> Result<Vec<Leak>> {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for file in files(dir)?.into_iter().filter(|file| !rightly.contains(file)) {
        places.push((file.display().to_string(), fs::read(&file).unwrap_or_default()));
    }
    places.extend(
        smtp.messages().into_iter().map(|m| (format!("the mail {:?}", m.subject), format!("{}\n{}", m.subject, m.body).into_bytes())),
    );
    places.push(("PostgreSQL's log".into(), not_by_us(&postgres.log()?)));
    let mut leaks = Vec::new();
    for (name, value) in values {
        for (place, bytes) in &places {
            if memchr::memmem::find(bytes, value.as_bytes()).is_some() {
                leaks.push(Leak { value: name.clone(), place: place.clone() });
            }
        }
    }
    Ok(leaks)
}

/// The log without what tests typed themselves, as the superuser, in clear.
fn not_by_us(log: &str) -> Vec<u8> {
    log.lines().filter(|line| !line.contains(" postgres@")).flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())?),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}

impl Shop<'_> {
    /// Where secret values stand that may not: in the shop's folder, what Keyward said and served, mails, PostgreSQL's log.
    pub fn leaks(&self) -> Result<Vec<Leak>> {
        look(&self.values()?, &self.dir, &self.private_files(), self.smtp, self.postgres)
    }

    /// Every value that was ever published in this shop, as far as Vault still has it, and those in its own files.
    pub fn values(&self) -> Result<BTreeSet<(String, String)>> {
        let mut values = Values::new();
        // A Vault that a test has sealed or killed cannot be asked any more.
        let is_open = self.vault.health().is_ok_and(|status| status == 200);
        for path in if is_open { self.paths("")? } else { Vec::new() } {
            let newest = self.vault.must("GET", &format!("{}/metadata/{path}", self.kv), None)?;
            let newest = newest.pointer("/data/current_version").and_then(Value::as_u64).unwrap_or(0);
            for version in 1..=newest {
                let (_, answer) = self.vault.api("GET", &format!("{}/data/{path}?version={version}", self.kv), None)?;
                if let Some(data) = answer.pointer("/data/data") {
                    gather(&path, data, &mut values);
                }
            }
        }
        for file in self.private_files() {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if text.trim().len() >= SHORTEST {
                values.insert((file.display().to_string(), text.trim().to_owned()));
            }
        }
        Ok(values)
    }

    /// The files of the shop that hold a secret rightly.
    pub(crate) fn private_files(&self) -> Vec<PathBuf> {
        ["admin-password", "smtp-password", "secret-id", "token"].iter().map(|name| self.path(name)).filter(|path| path.is_file()).collect()
    }

    fn paths(&self, below: &str) -> Result<Vec<String>> {
        let (_, answer) = self.vault.api("LIST", &format!("{}/metadata/{below}", self.kv), None)?;
        let keys = answer.pointer("/data/keys").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for key in keys.iter().filter_map(Value::as_str) {
            let path = format!("{below}{key}");
            if key.ends_with('/') { found.extend(self.paths(&path)?) } else { found.push(path) }
        }
        Ok(found)
    }
}

/// Every string that can be a secret: long, no moment in time, and not the public name of a key.
fn gather(name: &str, value: &Value, into: &mut Values) {
    match value {
        Value::String(text) if text.len() >= SHORTEST && !is_time(text) => drop(into.insert((name.to_owned(), text.clone()))),
        Value::Array(all) => all.iter().for_each(|inner| gather(name, inner, into)),
        Value::Object(all) => {
            let public = ["kid", "username", "jwks", "x", "y", "n", "accessor", "secret_id_accessor", "lease_id"];
            for (key, inner) in all.iter().filter(|(key, _)| !public.contains(&key.as_str())) {
                gather(&format!("{name}.{key}"), inner, into);
            }
        }
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.starts_with("20") && text.contains('T') && text.ends_with('Z') && text.len() <= 30
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_can_be_a_secret_is_told_from_what_cannot() {
        let mut values = Values::new();
        let document = json!({
            "password": "a-password-long-enough", "region": "eu-1", "rotated": "2026-11-24T08:00:00.123Z", "username": "a-very-long-user-name",
            "keys": [{ "kid": "0123456789abcdef0123", "k": "c2VjcmV0LXNpZ25pbmcta2V5" }],
        });
        gather("shop/it", &document, &mut values);
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["shop/it.keys.k", "shop/it.password"]);
    }

    #[test]
    fn a_statement_of_the_superuser_is_our_own() {
        let log = "12:00 [7] postgres@postgres ALTER ROLE a PASSWORD 'typed'\n12:01 [8] keeper@shop SELECT 'leaked'\n";
        let kept = String::from_utf8_lossy(&not_by_us(log)).into_owned();
        assert!(kept.contains("leaked") && !kept.contains("typed"), "{kept}");
    }
}
