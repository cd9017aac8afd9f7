//! The database engine's own login (`database/config/<name>`): who it is, setting its password, having Vault make a new one.

use crate::call::{Call, Raw, checked};
use crate::client::Client;
use crate::{Kind, VaultError};
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use zeroize::Zeroizing;

/// A connection of the database engine, without its password, which Vault never shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The database user that Vault logs in as.
    pub username: String,
    /// The plug-in: `postgresql-database-plugin`.
    pub plugin: String,
    /// The roles that may use it; `*`: all.
    pub allowed_roles: Vec<String>,
}

#[derive(Deserialize)]
struct ConnectionData {
    #[serde(default)]
    plugin_name: String,
    allowed_roles: Option<Vec<String>>,
    #[serde(default)]
    connection_details: Details,
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    username: String,
}

impl Client {
    /// A connection; `None` where there is none of this name.
    pub async fn database_connection(&self, mount: &str, name: &str) -> Result<Option<Connection>, VaultError> {
        let (mount, name) = checked("GET database config", mount, name)?;
        let call = Call::read(Raw::get(format!("{mount}/config/{name}")));
        let attempted = call.attempted.clone();
        let answer = match self.run(call).await {
            // With a message: no such mount.
            Err(error) if error.kind == Kind::NotFound && error.errors.is_empty() => return Ok(None),
            other => other?,
        };
        let data: ConnectionData = answer.data(&attempted)?;
        let allowed_roles = data.allowed_roles.unwrap_or_default();
        Ok(Some(Connection { username: data.connection_details.username, plugin: data.plugin_name, allowed_roles }))
    }

    /// Gives a connection another password, which Vault tries before it keeps it; every other setting stays.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the database does not let Vault in with it; then the former password goes on being used.
    pub async fn set_connection_password(&self, mount: &str, name: &str, password: &Secret) -> Result<(), VaultError> {
        let (mount, name) = checked("POST database config", mount, name)?;
        let mut body = Fields::new();
        body.set_text("password", password);
        body.set_json("verify_connection", Secret::new("true"));
        let body = Zeroizing::new(body.to_json_text().expose().as_bytes().to_vec());
        let call = Call::write(Raw::new(RequestMethod::POST, format!("{mount}/config/{name}")).body(body)).database().hide(password);
        self.run(call).await.map(drop)
    }

    /// Has Vault make a new password for its own login. Sent once; after a failure with [`VaultError::outcome_unknown`] look at the database.
    ///
    /// # Errors
    /// [`Kind::Timeout`] after [`crate::Timeouts::database`].
    pub async fn rotate_root(&self, mount: &str, name: &str) -> Result<(), VaultError> {
        let (mount, name) = checked("POST database rotate-root", mount, name)?;
        self.run(Call::write(Raw::new(RequestMethod::POST, format!("{mount}/rotate-root/{name}"))).database()).await.map(drop)
    }
}
