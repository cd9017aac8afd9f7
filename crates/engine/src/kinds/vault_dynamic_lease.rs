//! `vault-dynamic-lease`: a database user that Vault makes for one lease, published for consumers that cannot ask Vault themselves.
//!
//! A lease dies with the token that minted it, so each is minted by an orphan periodic token of its own, which is made for one rotation
//! and stands in the record before anything is leased with it. That makes recovery exact: whatever a lost answer may have leased ends
//! with that token, whose accessor the record has, and an actor that was frozen before the call is refused once it is revoked. A token
//! whose making was not answered has leased nothing, and ends by itself after one period.
//!
//! A published lease lives only as long as the daemon renews it and its token; `later` names what is still renewed for the grace.

use super::postgres_two_users::{Laggards, Readers, RetireWhen};
use super::{no_such_step, published_must_work, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::{ConsumerDatabase, Document, Leases};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{Step, Table, VAULT_DYNAMIC_LEASE};
use keyward_secret::{Secret, Source, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One secret of this kind.
pub struct VaultDynamicLease {
    /// The secret's name, by which its tokens and its readers are known.
    pub secret: String,
    /// Vault.
    pub vault: Arc<dyn Leases>,
    /// The database.
    pub target: Arc<dyn ConsumerDatabase>,
    /// Where consumers read.
    pub path: String,
    /// What they read; one field is the user name and nothing else, one the password.
    pub shape: Shape,
    /// For how long a lease must be able to live: until its successor is published, and the grace after that.
    pub needs: Duration,
    /// When the old lease is revoked.
    pub retire: RetireWhen,
    /// Not before this long after the finish.
    pub grace: Duration,
    /// Who still reads.
    pub readers: Arc<dyn Readers>,
}

/// In an attempt's facts and in what is kept of the present value.
const ACCESSOR: &str = "accessor";
const LEASE: &str = "lease";
const USER: &str = "user";
/// The minting token, while it has leased nothing yet.
const TOKEN: &str = "token";

impl VaultDynamicLease {
    fn published(&self, live: &Document) -> Result<(Secret, Secret), Failure> {
        let absent = |what: &str| Failure::lasting(Class::Invalid, format!("the published secret holds no {what} as a text"));
        let user = self.shape.published("username", live).ok_or_else(|| absent("user name"))?;
        Ok((user, self.shape.published("password", live).ok_or_else(|| absent("password"))?))
    }

    async fn login_as_read(&self, live: &Document) -> Result<(), Failure> {
        let (user, password) = self.published(live)?;
        self.target.login(user.expose(), &password).await
    }

    /// Revokes an older lease, unless it is published (again) or somebody still lives on it, and sees that its user is gone.
    async fn revoke(&self, old: &Old<'_>, live: &Document) -> Result<Tended, Failure> {
        let (user, password) = self.published(live)?;
        if user.expose() == old.user {
            return Ok(Tended::NotYet(format!("the user {} of the older lease is published again", old.user)));
        }
        self.target.login(user.expose(), &password).await.map_err(|f| f.during("what is published now"))?;
        let sessions = async || self.target.sessions(user.expose(), &password, old.user).await;
        if self.retire == RetireWhen::WhenUnused {
            if let Some(first) = sessions().await?.unwrap_or_default().first() {
                return Ok(Tended::NotYet(format!("{} still has sessions, one at {}", old.user, first.endpoint)));
            }
            match self.readers.laggards(&self.secret, old.replaced).await {
                Laggards::Known(who) if who.is_empty() => {}
                Laggards::Known(who) => return Ok(Tended::NotYet(format!("not read since by {}", who.join(", ")))),
                Laggards::Unknown(why) => return Ok(Tended::NotYet(format!("who still holds the old value is unknown: {why}"))),
            }
        }
        self.vault.revoke(old.accessor, Some(old.lease)).await?;
        match sessions().await? {
            None => Ok(Tended::Done),
            Some(_) => Err(Failure::passing(Class::InUse, format!("Vault revoked the lease, but its user {} still exists", old.user))),
        }
    }
}

/// A lease that was replaced.
struct Old<'a> {
    accessor: &'a str,
    lease: &'a str,
    user: &'a str,
    replaced: Timestamp,
}

#[async_trait]
impl Kind for VaultDynamicLease {
    fn table(&self) -> &'static Table {
        &VAULT_DYNAMIC_LEASE
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, live: &Document, _now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        let lasting = |text: String| Err(Failure::lasting(Class::Invalid, text));
        let Some(role) = self.vault.token_role().await? else { return lasting("there is no such token role".into()) };
        if !(role.orphan && role.renewable && role.period.is_some() && role.end.is_none()) {
            return lasting(
                "the token role must make orphan, periodic tokens without an end: orphan=true, renewable=true, token_period=24h, no \
                 token_explicit_max_ttl; else the lease ends when Keyward's token does"
                    .into(),
            );
        }
        let Some(longest) = self.vault.longest().await? else { return lasting("there is no such dynamic role".into()) };
        if longest < self.needs {
            let (longest, needs) = (longest.as_secs(), self.needs.as_secs());
            return lasting(format!(
                "a lease lives {longest} s at most, but must live {needs} s: from one rotation to the next, with the grace and a late \
                 start; raise max_ttl of the role (and max_lease_ttl of its mount), or rotate more often"
            ));
        }
        if self.published(live).is_ok() {
            // An expired lease is what a scheduled rotation is to mend: nobody can be locked out any further.
            published_must_work(self.login_as_read(live).await, true)?;
        }
        Ok(())
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        Some(self.login_as_read(live).await)
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let notes = BTreeMap::from([("keyward_secret", self.secret.as_str()), ("keyward_rotation", input.rotation)]);
        let minted = self.vault.mint(&format!("keyward-{}", self.secret), &notes).await?;
        let facts = BTreeMap::from([(ACCESSOR.to_owned(), minted.accessor)]);
        Ok(Draft { new: Values::from([(TOKEN.to_owned(), minted.token)]), facts, ..Draft::default() })
    }

    async fn issue(&self, work: Work<'_>) -> Result<Draft, Trouble> {
        let leased = self.vault.issue(value(&work.held.new, TOKEN)?).await?;
        let user = value(&leased.values, "username")?.expose().to_owned();
        let facts = BTreeMap::from([(LEASE.to_owned(), leased.lease), (USER.to_owned(), user)]);
        Ok(Draft { publish: self.shape.render(&leased.values)?, new: leased.values, facts })
    }

    async fn recall(&self, _work: Work<'_>) -> Result<(), Failure> {
        let text = "an earlier call may have leased a credential whose answer was lost; its token is revoked, and the next try begins anew";
        Err(Failure::lasting(Class::Timeout, text))
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Verify => {
                let user = value(&work.held.new, "username")?.expose();
                Ok(self.target.login(user, value(&work.held.new, "password")?).await?)
            }
            Step::Confirm => Ok(self.login_as_read(live).await?),
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Issue {
            return Err(no_such_step(step));
        }
        let facts = &work.attempt.facts;
        let Some(accessor) = facts.get(ACCESSOR) else {
            return Err(Failure::lasting(Class::Invalid, "the record holds no accessor").into());
        };
        Ok(self.vault.revoke(accessor, facts.get(LEASE).map(String::as_str)).await?)
    }

    fn keeps(&self, work: Work<'_>) -> BTreeMap<String, String> {
        let known = [ACCESSOR, LEASE, USER].map(|key| Some((key.to_owned(), work.attempt.facts.get(key)?.clone())));
        known.into_iter().flatten().collect()
    }

    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        let Some(lease) = work.record.kept.get(LEASE) else { return Vec::new() };
        vec![Later::Revoke {
            what: lease.clone(),
            facts: work.record.kept.clone(),
            number: work.record.number,
            not_before: now.saturating_add(self.grace).unwrap_or(Timestamp::MAX),
        }]
    }

    fn needs_renewal(&self) -> bool {
        true
    }

    async fn renew(&self, facts: &BTreeMap<String, String>) -> Option<Result<Option<Duration>, Failure>> {
        let accessor = facts.get(ACCESSOR)?;
        Some(self.vault.renew(accessor, facts.get(LEASE).map(String::as_str)).await)
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, _now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        let Later::Revoke { what, facts, not_before, .. } = later else { return Ok(Tended::Done) };
        let (Some(accessor), Some(user)) = (facts.get(ACCESSOR), facts.get(USER)) else { return Ok(Tended::Done) };
        let replaced = not_before.saturating_sub(self.grace).unwrap_or(Timestamp::MIN);
        self.revoke(&Old { accessor, lease: what, user, replaced }, live).await
    }
}
