//! `transit-key`: a key that never leaves Vault gets a new version. What older versions sealed stays readable, unless a policy of the
//! configuration closes them after the grace.
//!
//! Vault offers no precondition on `rotate`: an actor that was frozen right before the call may cause one version more, which harms nobody.

use super::no_such_step;
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::{Document, Transit};
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{Step, TRANSIT_KEY, Table};
use keyward_secret::Source;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One secret of this kind.
pub struct TransitKey {
    /// The key.
    pub key: Arc<dyn Transit>,
    /// Its name, for messages.
    pub name: String,
    /// How many versions stay readable; `None`: all of them.
    pub keep_versions: Option<u64>,
    /// How long after a rotation the older ones are closed.
    pub grace: Duration,
    /// The shortest time between two of our slots: a period of Vault's own must be at least twice that.
    pub interval: Duration,
}

/// In an attempt's facts: the newest version at stage.
const BEFORE: &str = "version";

impl TransitKey {
    fn before(work: Work<'_>) -> Result<u64, Failure> {
        let known = work.attempt.facts.get(BEFORE).and_then(|version| version.parse().ok());
        known.ok_or_else(|| Failure::lasting(Class::Invalid, "the record does not say which version was the newest"))
    }

    async fn moved(&self, work: Work<'_>) -> Result<Option<u64>, Failure> {
        let (latest, before) = (self.key.state().await?.latest, Self::before(work)?);
        Ok((latest > before).then_some(latest))
    }
}

#[async_trait]
impl Kind for TransitKey {
    fn table(&self) -> &'static Table {
        &TRANSIT_KEY
    }

    fn path(&self) -> Option<&str> {
        None
    }

    fn fields(&self) -> Vec<String> {
        Vec::new()
    }

    async fn preflight(&self, _live: &Document, _now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        let state = self.key.state().await?;
        if let Some(period) = state.auto.filter(|period| *period < self.interval.saturating_mul(2)) {
            let text = format!(
                "Vault rotates {} by itself every {period:?}, beside our schedule; set its auto_rotate_period to 0 or to at least {:?}",
                self.name,
                self.interval.saturating_mul(2)
            );
            return Err(Failure::lasting(Class::Invalid, text));
        }
        self.key.probe(state.latest).await.map_err(|f| f.during("the present version"))
    }

    async fn draft(&self, _input: DraftInput<'_>) -> Result<Draft, Failure> {
        let latest = self.key.state().await?.latest;
        Ok(Draft { facts: BTreeMap::from([(BEFORE.into(), latest.to_string())]), ..Draft::default() })
    }

    async fn act(&self, step: Step, work: Work<'_>, _live: &Document) -> Result<(), Trouble> {
        match step {
            // Looked at first: whoever goes on after a crash must not make a second version.
            Step::Rotate => match self.moved(work).await? {
                Some(_) => Ok(()),
                None => Ok(self.key.rotate().await?),
            },
            Step::Verify => {
                let unmoved = || {
                    Failure::passing(
                        Class::Invalid,
                        format!("Vault was asked to rotate {}, but its newest version did not move", self.name),
                    )
                };
                let version = self.moved(work).await?.ok_or_else(unmoved)?;
                Ok(self.key.probe(version).await?)
            }
            other => Err(no_such_step(other)),
        }
    }

    async fn probe(&self, step: Step, work: Work<'_>) -> Result<bool, Failure> {
        if step == Step::Rotate { Ok(self.moved(work).await?.is_some()) } else { Ok(false) }
    }

    async fn prove(&self, _live: &Document) -> Option<Result<(), Failure>> {
        let proof = async { self.key.probe(self.key.state().await?.latest).await };
        Some(proof.await)
    }

    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        // The version that was proved is at least the next one; a later one closes less than could be closed, never more.
        let newest = Self::before(work).map_or(0, |before| before + 1);
        let oldest = self.keep_versions.map(|keep| newest.saturating_sub(keep.saturating_sub(1)));
        let not_before = now.saturating_add(self.grace).unwrap_or(Timestamp::MAX);
        oldest.filter(|oldest| *oldest > 1).map(|version| Later::Close { version, not_before }).into_iter().collect()
    }

    async fn tend(&self, _secret: &str, later: &Later, _live: &Document, _now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        let Later::Close { version, .. } = later else { return Ok(Tended::Done) };
        // The policy may have changed since, and a person may have closed more: it is only ever raised.
        if self.keep_versions.is_some() && self.key.state().await?.oldest < *version {
            self.key.close_before(*version).await?;
        }
        Ok(Tended::Done)
    }
}
