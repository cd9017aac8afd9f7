//! The credential of a static role: one database user whose password Vault changes. A rotation is noticed by its time.

use crate::live::{Live, Origin, backoff};
use crate::{Client, Error, Secret};
use jiff::Timestamp;
use keyward_secret::{Template, Values};
use std::time::Duration;

/// A look right after Vault's own rotation, and not before.
const AFTER_ITS_END: Duration = Duration::from_millis(500);
const SHORTEST: Duration = Duration::from_millis(200);

/// What a static role hands out.
#[derive(Debug)]
pub struct StaticCredential {
    /// The database user.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// When Vault set it.
    pub rotated: Option<Timestamp>,
}

impl StaticCredential {
    /// A connection URL: `postgresql://{username}:{password}@host/database`, percent-encoded where it has to be.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn url(&self, template: &str) -> Result<Secret, Error> {
        render(template, &self.username, &self.password)
    }
}

pub(crate) fn render(template: &str, username: &str, password: &Secret) -> Result<Secret, Error> {
    let values = Values::from([("username".to_owned(), Secret::new(username)), ("password".to_owned(), password.duplicate())]);
    Ok(Template::parse(template)?.render(&values)?)
}

struct Role {
    client: Client,
    mount: String,
    name: String,
    rotated: Option<Timestamp>,
    until_its_end: Duration,
    interval: Duration,
}

impl Client {
    /// The credential of a static role of a database engine at `mount`. It is looked at every `interval`, when Vault's own period ends, and
    /// at once on [`Live::refresh`].
    ///
    /// # Errors
    /// What Vault answered at the first look.
    pub async fn static_credentials(&self, mount: &str, role: &str, interval: Duration) -> Result<Live<StaticCredential>, Error> {
        let mut role = Role {
            client: self.clone(),
            mount: mount.to_owned(),
            name: role.to_owned(),
            rotated: None,
            until_its_end: Duration::MAX,
            interval: interval.max(SHORTEST),
        };
        let first = role.read().await?;
        Ok(Live::start(first, role))
    }
}

impl Role {
    async fn read(&mut self) -> Result<StaticCredential, Error> {
        let read = self.client.call(|| self.client.vault().static_creds(&self.mount, &self.name)).await?;
        self.rotated = read.last_vault_rotation;
        self.until_its_end = read.ttl;
        Ok(StaticCredential { username: read.username, password: read.password, rotated: read.last_vault_rotation })
    }
}

impl Origin for Role {
    type Value = StaticCredential;

    fn name(&self) -> String {
        format!("{}/static-creds/{}", self.mount, self.name)
    }

    async fn look(&mut self, _asked: bool) -> Result<Option<StaticCredential>, Error> {
        let before = self.rotated;
        let read = self.read().await?;
        Ok((read.rotated != before).then_some(read))
    }

    fn pause(&self, failures: u32) -> Duration {
        if failures > 0 {
            return backoff(failures, self.interval.max(Duration::from_secs(5)));
        }
        self.interval.min(self.until_its_end.saturating_add(AFTER_ITS_END))
    }
}
