//! Where Vault is and how to log in, from the same variables that Vault's own tools and the guide's services know.

use crate::Error;
use keyward_secret::Secret;
use keyward_vault::{Options, Timeouts};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where a value comes from, looked up at every login: what was replaced is read anew.
#[derive(Debug)]
pub enum Source {
    /// Itself.
    Value(Secret),
    /// A file's whole content, without blanks at its ends.
    File(PathBuf),
}

impl Source {
    pub(crate) fn read(&self, what: &str) -> Result<Secret, Error> {
        match self {
            Self::Value(value) => Ok(value.duplicate()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::Settings(format!("cannot read {what} in {}: {error}", path.display())))?;
                let text = Zeroizing::new(text);
                if text.trim().is_empty() {
                    return Err(Error::Settings(format!("{what} in {} is empty", path.display())));
                }
                Ok(Secret::new(text.trim()))
            }
        }
    }
}

/// How to log in.
#[derive(Debug)]
pub enum Login {
    /// A token that somebody else made; renewed while it can be. In a file it may be replaced at any time. It must be allowed to look itself up,
    /// as the default policy lets it.
    Token(Source),
    /// An AppRole: logs in again when its token has come to its end. One whose tokens may not look themselves up finds out that a token was
    /// revoked only when its time is over.
    AppRole {
        /// Where the method is mounted, usually `approle`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The secret id.
        secret_id: Source,
    },
}

/// Everything that a client needs to know.
pub struct Settings {
    /// Address, trust and limits.
    pub options: Options,
    /// The login.
    pub login: Login,
}

impl Settings {
    /// From `VAULT_ADDR`, `VAULT_CACERT`, `VAULT_NAMESPACE`, and for the login `VAULT_ROLE_ID` with `VAULT_SECRET_ID` or `VAULT_SECRET_ID_FILE` (and
    /// `VAULT_APPROLE_MOUNT`), else `VAULT_TOKEN` or `VAULT_TOKEN_FILE`. Certificates are always checked.
    ///
    /// # Errors
    /// [`Error::Settings`] for what is missing or cannot be read.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same from any lookup; an empty variable counts as not set.
    ///
    /// # Errors
    /// [`Error::Settings`] for what is missing or cannot be read.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let missing = |what: &str| Error::Settings(what.to_owned());
        let address = get("VAULT_ADDR").ok_or_else(|| missing("VAULT_ADDR is not set: it says where Vault is"))?;
        if get("VAULT_SKIP_VERIFY").is_some_and(|value| !matches!(value.to_lowercase().as_str(), "0" | "f" | "false")) {
            return Err(missing(
                "VAULT_SKIP_VERIFY is set: a service must know whom it gives its secret id to; name the authority in VAULT_CACERT",
            ));
        }
        let ca_pem = match get("VAULT_CACERT") {
            None => None,
            Some(path) => {
                Some(std::fs::read(&path).map_err(|error| Error::Settings(format!("cannot read VAULT_CACERT, {path}: {error}")))?)
            }
        };
        let either = |value: &str, file: &str| {
            get(value).map(|v| Source::Value(Secret::new(v))).or_else(|| get(file).map(|path| Source::File(PathBuf::from(path))))
        };
        let login = match (get("VAULT_ROLE_ID"), either("VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE")) {
            (Some(role_id), Some(secret_id)) => {
                Login::AppRole { mount: get("VAULT_APPROLE_MOUNT").unwrap_or_else(|| "approle".to_owned()), role_id, secret_id }
            }
            (Some(_), None) => return Err(missing("VAULT_ROLE_ID is set, and neither VAULT_SECRET_ID nor VAULT_SECRET_ID_FILE")),
            (None, _) => match either("VAULT_TOKEN", "VAULT_TOKEN_FILE") {
                Some(token) => Login::Token(token),
                None => {
                    return Err(missing("there is no login: set VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN or VAULT_TOKEN_FILE"));
                }
            },
        };
        let options = Options { address, namespace: get("VAULT_NAMESPACE"), ca_pem, timeouts: Timeouts::default(), ..Options::default() };
        Ok(Self { options, login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: &str) {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let said = match Settings::from_variables(lookup) {
            Ok(settings) => match settings.login {
                Login::Token(Source::Value(_)) => "token".to_owned(),
                Login::Token(Source::File(path)) => format!("token in {}", path.display()),
                Login::AppRole { mount, role_id, .. } => format!("{mount} {role_id}"),
            },
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_login_is_the_first_that_is_whole() {
        let address = ("VAULT_ADDR", "https://vault:8200");
        check(&[], "VAULT_ADDR is not set");
        check(&[address], "there is no login");
        check(&[address, ("VAULT_TOKEN", "")], "there is no login");
        check(&[address, ("VAULT_TOKEN", "hunter2")], "token");
        check(&[address, ("VAULT_TOKEN_FILE", "/t")], "token in /t");
        check(&[address, ("VAULT_ROLE_ID", "r"), ("VAULT_TOKEN", "hunter2")], "neither VAULT_SECRET_ID nor");
        check(&[address, ("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID", "hunter2"), ("VAULT_TOKEN", "x")], "approle r");
        check(&[address, ("VAULT_TOKEN", "hunter2"), ("VAULT_SKIP_VERIFY", "true")], "VAULT_SKIP_VERIFY is set");
        check(&[address, ("VAULT_TOKEN", "hunter2"), ("VAULT_CACERT", "/nowhere/ca.pem")], "cannot read VAULT_CACERT");
    }
}
