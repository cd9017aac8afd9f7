//! References to secrets: where a password can be found, instead of the password.
//!
//! A configuration never holds a value. Nothing is resolved while a configuration is read; whoever needs the value
//! resolves it then, so that a file that was replaced is read anew.

use super::Environment;
use super::problem::Problems;
use super::section::{Section, must_be};
use super::shape::kv_path;
use keyward_secret::Secret;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;
use zeroize::Zeroizing;

/// A file or variable larger than this holds no password, but something put there by mistake.
pub const LARGEST_VALUE_BYTES: u64 = 64 * 1024;

/// Where a secret value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `{ file = "/run/secrets/x" }`: the whole file, but for one newline at its end.
    File(PathBuf),
    /// `{ env = "NAME" }`: a variable of the process's environment.
    Env(String),
    /// `{ vault = "secret/app", field = "password" }`: a field of a KV version 2 secret.
    Vault {
        /// The path as `vault kv get` takes it, mount first.
        path: String,
        /// The field's name.
        field: String,
    },
}

/// Why a reference yields no value. Says where, never what.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The file cannot be read.
    #[error("cannot read the secret in {}; see that the file exists and that Keyward's user may read it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {name} is not set, which the configuration names as the place of a secret")]
    Env {
        /// The variable.
        name: String,
    },
    /// Nothing in it, no text, or far too much.
    #[error("{place} holds no usable secret: {why}")]
    Unusable {
        /// The file or variable.
        place: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Vault's references need a client; the caller has one.
    #[error("the secret stands in Vault at {path}; it cannot be read without a connection to Vault")]
    NeedsVault {
        /// The path.
        path: String,
    },
}

/// The value of a reference to a file or a variable. One newline at the end of a file is not part of the value.
///
/// # Errors
/// [`ReferenceError`]; [`ReferenceError::NeedsVault`] for a reference into Vault, which the caller resolves.
pub fn resolve_local(reference: &SecretRef, environment: &Environment) -> Result<Secret, ReferenceError> {
    match reference {
        SecretRef::File(path) => {
            let failed = |source| ReferenceError::File { path: path.clone(), source };
            let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(LARGEST_VALUE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
            let unusable = |why| ReferenceError::Unusable { place: path.display().to_string(), why };
            let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not UTF-8 text"))?;
            usable(text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t))).map_err(unusable)
        }
        SecretRef::Env(name) => {
            let text = environment.get(name).ok_or_else(|| ReferenceError::Env { name: name.clone() })?;
            usable(text).map_err(|why| ReferenceError::Unusable { place: format!("the environment variable {name}"), why })
        }
        SecretRef::Vault { path, .. } => Err(ReferenceError::NeedsVault { path: path.clone() }),
    }
}

fn usable(text: &str) -> Result<Secret, &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else if text.len() as u64 > LARGEST_VALUE_BYTES {
        Err("it is larger than 64 KiB")
    } else {
        Ok(Secret::new(text))
    }
}

/// What is to be said about a secret's file that others than its owner may read; `None` when all is well or it cannot be seen.
pub fn loose_permissions(reference: &SecretRef) -> Option<String> {
    let SecretRef::File(path) = reference else { return None };
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("{} may be read by others than its owner (mode {mode:03o}); chmod 600 it", path.display()))
}

/// The references' cure, in every error about one.
const FORMS: &str = "write { file = \"/path\" }, { env = \"NAME\" } or { vault = \"mount/path\", field = \"name\" }";

impl Section<'_> {
    /// A reference to a secret; a literal one is refused, and never repeated.
    pub(super) fn reference(&mut self, key: &'static str) -> Option<SecretRef> {
        let value = self.value(key)?;
        one(key, value, self.label(), self.problems())
    }

    /// Every entry that is left as a reference, for tables whose keys are names; the section is done with. `None` for one that is wrong.
    pub(super) fn references(self) -> BTreeMap<String, Option<SecretRef>> {
        let (label, problems) = (self.label().to_owned(), self.problems());
        let read = |(name, value): (Spanned<String>, _)| (name.get_ref().clone(), one(name.get_ref(), value, &label, problems));
        self.entries().map(read).collect()
    }

    /// A reference that must not lead into Vault; `why` ends the sentence `"key" in [section] …`.
    pub(super) fn local_reference(&mut self, key: &'static str, why: &str) -> Option<SecretRef> {
        let reference = self.reference(key)?;
        if matches!(reference, SecretRef::Vault { .. }) {
            self.wrong(&self.span().clone(), key, why);
            return None;
        }
        Some(reference)
    }
}

fn one<'d>(key: &str, value: Spanned<DeValue<'d>>, label: &str, problems: &'d Problems<'d>) -> Option<SecretRef> {
    let span = value.span();
    let what = match value.into_inner() {
        DeValue::Table(table) => return read(Section::new(format!("{key} of {label}"), Spanned::new(span, table), problems)),
        DeValue::String(_) => "must say where the secret is, not what it is".to_owned(),
        other => must_be("a reference to a secret", &other),
    };
    problems.at(&span, format!("\"{key}\" in {label} {what}; {FORMS}"));
    None
}

fn read(mut section: Section<'_>) -> Option<SecretRef> {
    let file = section.parsed("file", absolute_path);
    let variable = section.parsed("env", variable_name);
    let vault = section.parsed("vault", kv_path);
    let field = section.text("field");
    let (span, label, problems) = (section.span().clone(), section.label().to_owned(), section.problems());
    let said = [section.has_taken("file"), section.has_taken("env"), section.has_taken("vault")];
    let with_field = section.has_taken("field");
    let misspelt = section.has_more();
    section.finish(&[]);
    match said.iter().filter(|s| **s).count() {
        1 if said[2] && !with_field => problems.at(&span, format!("\"field\" is missing in {label}; name the field that holds the secret")),
        1 if !said[2] && with_field => problems.at(&span, format!("\"field\" in {label} belongs to a `vault` reference only")),
        1 => {
            let in_vault = || Some(SecretRef::Vault { path: vault?.into_inner(), field: field?.into_inner() });
            return file.map(|f| SecretRef::File(f.into_inner())).or(variable.map(|v| SecretRef::Env(v.into_inner()))).or_else(in_vault);
        }
        0 if misspelt => {}
        _ => problems.at(&span, format!("{label} must say exactly one place; {FORMS}")),
    }
    None
}

/// An absolute path: a daemon's working directory is nobody's to know.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("must be an absolute path, not \"{text}\"")) }
}

fn variable_name(text: &str) -> Result<String, String> {
    let good = !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    // The text is not repeated: a password put here by mistake must not come out again.
    if good { Ok(text.to_owned()) } else { Err("must be the name of an environment variable: letters, digits and _".to_owned()) }
}
