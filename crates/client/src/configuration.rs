//! A service's configuration: from Vault, or openly from the environment. Every fallback is logged and can be asked about; none is silent.

use crate::{Client, Error, Secret, Settings};
use std::collections::BTreeMap;

/// What becomes of a value that Vault does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It is an error.
    Never,
    /// It is taken from the variable, which is logged each time.
    Environment,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameFrom {
    /// A field of a secret in Vault.
    Vault {
        /// Mount first.
        path: String,
        /// Its version.
        version: u64,
    },
    /// The environment, and why.
    Environment {
        /// Why not Vault.
        why: String,
    },
}

/// A value with where it came from.
#[derive(Debug)]
pub struct Setting {
    /// The value.
    pub value: Secret,
    /// Where it came from.
    pub from: CameFrom,
}

/// Reads settings one by one; nothing is cached, so a rotated value is seen by the next read.
pub struct Configuration {
    vault: Result<Client, String>,
    fallback: Fallback,
    variables: BTreeMap<String, Secret>,
}

impl Configuration {
    /// From the process's environment: `VAULT_ENABLED` (`true`, `1` or `yes`) says whether Vault is used at all, the other `VAULT_*` how.
    ///
    /// # Errors
    /// With [`Fallback::Never`]: that Vault is not enabled, or cannot be reached.
    pub async fn from_environment(fallback: Fallback) -> Result<Self, Error> {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_variables(variables.collect(), fallback).await
    }

    /// From these variables.
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub async fn from_variables(variables: BTreeMap<String, String>, fallback: Fallback) -> Result<Self, Error> {
        let vault = if is_enabled(variables.get("VAULT_ENABLED").map(String::as_str)) {
            let settings = Settings::from_variables(|name| variables.get(name).cloned());
            let connected = match settings {
                Ok(settings) => Client::connect(settings).await,
                Err(error) => Err(error),
            };
            match connected {
                Err(error) if fallback == Fallback::Environment => {
                    tracing::warn!(%error, "Vault cannot be used: every setting comes from the environment until this service is started again.");
                    Err(error.to_string())
                }
                other => Ok(other?),
            }
        } else if fallback == Fallback::Environment {
            tracing::info!("VAULT_ENABLED is not true: every setting comes from the environment.");
            Err("VAULT_ENABLED is not true".to_owned())
        } else {
            return Err(Error::Settings("VAULT_ENABLED is not true, and this service takes no setting from elsewhere".to_owned()));
        };
        let variables = variables.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Ok(Self { vault, fallback, variables })
    }

    /// The client, where Vault is in use: for what changes by itself.
    pub fn client(&self) -> Option<&Client> {
        self.vault.as_ref().ok()
    }

    /// A setting: the field of a secret, or where that is allowed and Vault does not give it, the variable.
    ///
    /// # Errors
    /// What Vault answered, or that the variable is not set either.
    pub async fn get(&self, variable: &str, path: &str, field: &str) -> Result<Setting, Error> {
        let why = match &self.vault {
            Ok(client) => match read(client, path, field).await {
                Ok(setting) => return Ok(setting),
                Err(error) if self.fallback == Fallback::Environment => {
                    tracing::warn!(%error, variable, path, field, "Vault does not give this setting: it comes from the environment.");
                    error.to_string()
                }
                Err(error) => return Err(error),
            },
            Err(why) => why.clone(),
        };
        match self.variables.get(variable).filter(|value| !value.expose().is_empty()) {
            Some(value) => Ok(Setting { value: value.duplicate(), from: CameFrom::Environment { why } }),
            None => Err(Error::Settings(format!("{variable} is not set, and Vault does not give it: {why}"))),
        }
    }
}

async fn read(client: &Client, path: &str, field: &str) -> Result<Setting, Error> {
    let document = client.get(path).await?;
    let value = document.field(field)?;
    Ok(Setting { value, from: CameFrom::Vault { path: document.path, version: document.version } })
}

fn is_enabled(value: Option<&str>) -> bool {
    value.is_some_and(|value| matches!(value.trim().to_lowercase().as_str(), "true" | "1" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(pairs: &[(&str, &str)], fallback: Fallback) -> Result<Configuration, Error> {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Configuration::from_variables(variables, fallback).await
    }

    #[tokio::test]
    async fn without_vault_a_setting_is_openly_the_environments_or_an_error() {
        let pairs = [("DATABASE_URL", "hunter2"), ("VAULT_ENABLED", "false")];
        let configuration = open(&pairs, Fallback::Environment).await.unwrap();
        let setting = configuration.get("DATABASE_URL", "secret/db", "url").await.unwrap();
        assert_eq!(setting.value.expose(), "hunter2");
        assert_eq!(setting.from, CameFrom::Environment { why: "VAULT_ENABLED is not true".into() });
        assert!(configuration.client().is_none());
        let error = configuration.get("OTHER", "secret/db", "url").await.unwrap_err();
        assert!(error.to_string().contains("OTHER is not set"), "{error}");
        assert!(open(&pairs, Fallback::Never).await.is_err());
        let nowhere = [("VAULT_ENABLED", "yes"), ("DATABASE_URL", "hunter2"), ("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", "t")];
        assert!(open(&nowhere, Fallback::Never).await.is_err());
        let fallen = open(&nowhere, Fallback::Environment).await.unwrap();
        let setting = fallen.get("DATABASE_URL", "secret/db", "url").await.unwrap();
        assert!(matches!(setting.from, CameFrom::Environment { why } if why.contains("no answer")));
    }
}
