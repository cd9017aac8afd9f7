//! `vault-static-role`: Vault's own database engine makes the password; we ask, prove, and keep a copy if one is wanted.
//!
//! Vault offers no precondition on `rotate-role`: an actor that was frozen right before the call may cause one extra
//! rotation, which harms nobody who reads `static-creds`; a copy that went stale by it is published again.

use super::{no_such_step, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Trouble, Work};
use crate::ports::{Acceptance, Document, Vault};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::table::{Step, Table, VAULT_STATIC_ROLE, VAULT_STATIC_ROLE_COPIED};
use keyward_secret::{Fields, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One secret of this kind.
pub struct VaultStaticRole {
    /// Vault, which both rotates and is read.
    pub vault: Arc<dyn Vault>,
    /// `database/static-roles/NAME`.
    pub role: String,
    /// Logs in with what `static-creds` returns.
    pub login: Arc<dyn Acceptance>,
    /// A copy in KV version 2: its path and shape.
    pub copy: Option<(String, Shape)>,
    /// The shortest time between two of our slots: Vault's own period must be at least twice that.
    pub interval: Duration,
}

const LAST: &str = "last_rotation";

impl VaultStaticRole {
    async fn moved(&self, work: Work<'_>) -> Result<bool, Failure> {
        let now = self.vault.static_role(&self.role).await?.last_rotation.unwrap_or_default();
        Ok(work.attempt.facts.get(LAST).is_none_or(|before| *before != now))
    }

    /// Whether what `static-creds` returns is refused: Vault crashed between the database's COMMIT and its own write, or somebody
    /// changed the password beside it. Rotating once more is the cure.
    async fn dead(&self) -> Result<bool, Failure> {
        let credential = self.vault.static_credential(&self.role).await?;
        match self.login.accepts(&credential.values).await {
            Err(failure) if failure.class == Class::WrongPassword => Ok(true),
            Err(failure) => Err(failure),
            Ok(()) => Ok(false),
        }
    }

    async fn verify(&self, work: Work<'_>) -> Result<(), Trouble> {
        if !self.moved(work).await? {
            let text = format!("Vault was asked to rotate {}, but the time of its last rotation did not move", self.role);
            return Err(Failure::passing(Class::Invalid, text).into());
        }
        let credential = self.vault.static_credential(&self.role).await?;
        Ok(self.login.accepts(&credential.values).await?)
    }

    async fn confirm(&self, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        let now = self.copy().await?.unwrap_or_default();
        if !now.contained_in(&work.held.publish) {
            return Err(Trouble::Stale);
        }
        let Some((_, shape)) = &self.copy else { return Ok(()) };
        Ok(self.login.accepts(&self.as_read(shape, live).await?).await?)
    }

    /// The credential as it stands in the copy; the user's name from Vault where the copy has none.
    async fn as_read(&self, shape: &Shape, live: &Document) -> Result<Values, Failure> {
        let mut read = Values::new();
        for name in ["username", "password"] {
            read.extend(shape.published(name, live).map(|v| (name.to_owned(), v)));
        }
        value(&read, "password")?;
        if !read.contains_key("username") {
            read.extend(self.vault.static_credential(&self.role).await?.values.remove_entry("username"));
        }
        Ok(read)
    }
}

#[async_trait]
impl Kind for VaultStaticRole {
    fn table(&self) -> &'static Table {
        if self.copy.is_some() { &VAULT_STATIC_ROLE_COPIED } else { &VAULT_STATIC_ROLE }
    }

    fn path(&self) -> Option<&str> {
        self.copy.as_ref().map(|(path, _)| path.as_str())
    }

    fn fields(&self) -> Vec<String> {
        self.copy.as_ref().map(|(_, shape)| shape.names()).unwrap_or_default()
    }

    async fn preflight(&self, _live: &Document, _now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        let role = self.vault.static_role(&self.role).await?;
        if role.period.is_some_and(|period| period < self.interval.saturating_mul(2)) {
            let text = format!(
                "Vault rotates {} by itself every {:?}, which would race with our schedule; set its rotation_period to at least {:?}",
                self.role,
                role.period.unwrap_or_default(),
                self.interval.saturating_mul(2)
            );
            return Err(Failure::lasting(Class::Invalid, text));
        }
        Ok(())
    }

    async fn draft(&self, _input: DraftInput<'_>) -> Result<Draft, Failure> {
        let last = self.vault.static_role(&self.role).await?.last_rotation.unwrap_or_default();
        Ok(Draft { facts: BTreeMap::from([(LAST.into(), last)]), ..Draft::default() })
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Rotate => Ok(self.vault.rotate_static_role(&self.role).await?),
            Step::Verify => self.verify(work).await,
            Step::Confirm => self.confirm(work, live).await,
            other => Err(no_such_step(other)),
        }
    }

    async fn probe(&self, step: Step, work: Work<'_>) -> Result<bool, Failure> {
        Ok(step == Step::Rotate && self.moved(work).await? && !self.dead().await?)
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        if let Some((_, shape)) = &self.copy {
            // What consumers read is the copy.
            return Some(match self.as_read(shape, live).await {
                Ok(read) => self.login.accepts(&read).await,
                Err(failure) => Err(failure),
            });
        }
        let credential = match self.vault.static_credential(&self.role).await {
            Ok(credential) => credential,
            Err(failure) => return Some(Err(failure)),
        };
        Some(self.login.accepts(&credential.values).await)
    }

    async fn copy(&self) -> Result<Option<Fields>, Failure> {
        let Some((_, shape)) = &self.copy else { return Ok(None) };
        shape.render(&self.vault.static_credential(&self.role).await?.values).map(Some)
    }
}
