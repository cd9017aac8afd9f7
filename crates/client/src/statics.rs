//! The credential of a static role: one database user whose password Vault changes. A rotation is noticed by its time.

use crate::live::{Live, Origin, backoff};
use crate::{Client, Error, Secret};
use jiff::Timestamp;
use keyward_secret::{Template, Values};
use std::time::Duration;

/// A look right after Vault's own rotation, and not before.
const AFTER_ITS_END: Duration = Duration::from_millis(500);
/// Between two looks at one that is past its end, at most.
const OVERDUE: Duration = Duration::from_secs(10);
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
    /// So many looks in a row found it past its end: Vault cannot rotate it, as where the database is away.
    late: u32,
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
            late: 0,
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
        self.late = if read.ttl.is_zero() { self.late + 1 } else { 0 };
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
        pause(self.interval, self.until_its_end, self.late)
    }
}

/// At its end at once, and then more and more seldom: every look is a call to Vault, by each instance of a service.
fn pause(interval: Duration, until_its_end: Duration, late: u32) -> Duration {
    let overdue = if late == 0 { Duration::ZERO } else { backoff(late - 1, OVERDUE) };
    interval.min(until_its_end.saturating_add(AFTER_ITS_END).max(overdue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_vault_cannot_rotate_is_looked_at_more_and_more_seldom() {
        let check = |until_its_end: u64, late, milliseconds| {
            let found = pause(Duration::from_mins(1), Duration::from_secs(until_its_end), late);
            assert_eq!(found, Duration::from_millis(milliseconds), "{until_its_end} {late}");
        };
        check(90, 0, 60_000);
        check(3, 0, 3_500);
        check(0, 1, 500);
        check(0, 2, 1_000);
        check(0, 9, 10_000);
        assert_eq!(pause(Duration::from_secs(2), Duration::ZERO, 9), Duration::from_secs(2), "never more seldom than wished");
    }
}
