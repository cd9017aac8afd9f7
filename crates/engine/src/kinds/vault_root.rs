//! `vault-root`: the password of the login that Vault's database engine itself has (`database/config/NAME`).
//!
//! By default it is **set**: Keyward stages a candidate, the administrator gives it to the user through the fence, Vault is handed it and
//! tries it before keeping it, and a canary proves that Vault can still make users. The old password is known to Vault alone, so the change
//! is the pivot; a crash rolls forward with the candidate, and a change whose answer was lost is barred in the fence before anything is
//! called off. Between the change and the handover Vault cannot open new connections; those it has go on.
//!
//! `rotate-root` leaves the value to Vault alone. A server that is killed between the database's COMMIT and its own write loses it for
//! good (Vault 1.21.0, OpenBao 2.6.2), so a candidate is staged here too: where the row of the user moved and Vault is refused, Keyward
//! waits two minutes for the server's own rollback, and then sets the candidate as above.
//!
//! Vault offers no precondition on either call. A handover that was frozen brings a password that the database refuses by then, and Vault
//! keeps what it has; a frozen `rotate-root` is one harmless rotation more.

use super::{fenced, fresh, no_such_step, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Trouble, Work};
use crate::ports::{Clock, Document, FenceCall, FencePhase, Root, RootDatabase};
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_rotation::table::{Step, Table, VAULT_ROOT_ROTATE, VAULT_ROOT_SET};
use keyward_secret::{Generator, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Who makes the new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootMethod {
    /// Keyward, and the administrator sets it.
    Set,
    /// Vault.
    RotateRoot,
}

/// One secret of this kind.
pub struct VaultRoot {
    /// The secret's name, which the fence asks for.
    pub secret: String,
    /// Vault's connection.
    pub vault: Arc<dyn Root>,
    /// The database.
    pub target: Arc<dyn RootDatabase>,
    /// Who makes the password.
    pub method: RootMethod,
    /// How a password is made.
    pub generator: Generator,
    /// Time, for the server's own rollback.
    pub clock: Arc<dyn Clock>,
}

/// In an attempt's facts: the database user, and the version of its row before.
const USER: &str = "user";
const ROW: &str = "row";

/// A canary whose revocation was lost may stay so long.
const LONGEST_CANARY: Duration = Duration::from_hours(1);

/// Looks at the canary while the server may still mend itself: two minutes in all.
const LOOKS: u32 = 12;
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

impl VaultRoot {
    async fn user(&self) -> Result<String, Failure> {
        let absent = || Failure::lasting(Class::NotFound, "there is no such connection (database/config/NAME) in Vault");
        let user = self.vault.user().await?.ok_or_else(absent)?;
        if user.is_empty() { Err(Failure::lasting(Class::Invalid, "Vault shows no user name for this connection")) } else { Ok(user) }
    }

    fn fact<'a>(work: &Work<'a>, name: &str) -> Result<&'a str, Failure> {
        let absent = || Failure::lasting(Class::Invalid, format!("the record holds no {name}"));
        work.attempt.facts.get(name).map(String::as_str).ok_or_else(absent)
    }

    fn call<'a>(&'a self, work: &Work<'a>) -> Result<FenceCall<'a>, Failure> {
        let role = Self::fact(work, USER)?;
        let (number, rotation) = (work.record.number, work.attempt.rotation.as_str());
        Ok(FenceCall { role, secret: &self.secret, number, phase: FencePhase::Apply, rotation })
    }

    async fn apply(&self, work: &Work<'_>) -> Result<(), Trouble> {
        let call = self.call(work)?;
        fenced(self.target.apply(call, value(&work.held.new, "password")?).await?, call.role)
    }

    async fn hand_over(&self, work: &Work<'_>) -> Result<(), Failure> {
        self.vault.hand_over(value(&work.held.new, "password")?).await
    }

    async fn moved(&self, work: &Work<'_>) -> Result<bool, Failure> {
        Ok(self.target.row_version(Self::fact(work, USER)?).await? != Self::fact(work, ROW)?)
    }

    /// The proof of a `rotate-root`, and the way out where the server lost the password.
    async fn verify_rotated(&self, work: &Work<'_>) -> Result<(), Trouble> {
        if !self.moved(work).await? {
            let text = "Vault was asked to rotate its password, but the database user was not altered";
            return Err(Failure::passing(Class::Invalid, text).into());
        }
        match self.vault.try_canary().await {
            Err(failure) if failure.class == Class::WrongPassword => {}
            other => return Ok(other?),
        }
        for _ in 0..LOOKS {
            self.clock.sleep(BETWEEN_LOOKS).await;
            if self.vault.try_canary().await.is_ok() {
                return Ok(());
            }
        }
        match self.apply(work).await {
            Err(Trouble::Fenced(number)) => {
                return Err(Failure::lasting(Class::Foreign, format!("the fence in the target holds number {number}")).into());
            }
            other => other?,
        }
        self.hand_over(work).await?;
        let text = "Vault lost its password in rotate-root, and its own rollback did not mend that in two minutes; the administrator set \
                    another one, which Vault has now";
        Err(Failure::passing(Class::WrongPassword, text).into())
    }
}

#[async_trait]
impl Kind for VaultRoot {
    fn table(&self) -> &'static Table {
        match self.method {
            RootMethod::Set => &VAULT_ROOT_SET,
            RootMethod::RotateRoot => &VAULT_ROOT_ROTATE,
        }
    }

    fn path(&self) -> Option<&str> {
        None
    }

    fn fields(&self) -> Vec<String> {
        Vec::new()
    }

    async fn preflight(&self, _live: &Document, _now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        let user = self.user().await?;
        self.target.preflight(&[&user]).await?;
        if self.method == RootMethod::RotateRoot {
            self.target.row_version(&user).await.map_err(|f| f.during("seeing whether the user was altered (rotate-root)"))?;
        }
        let lasting = |text: String| Err(Failure::lasting(Class::Invalid, text));
        match self.vault.canary().await? {
            None => lasting("the canary role does not exist; make a dynamic role of this connection that may only log in".into()),
            Some(canary) if !canary.is_of_this_connection => lasting("the canary role belongs to another connection".into()),
            Some(canary) if canary.longest > LONGEST_CANARY => lasting(format!(
                "a canary whose revocation is lost would live {} s; give its role max_ttl=1h or less",
                canary.longest.as_secs()
            )),
            Some(_) => Ok(()),
        }
    }

    async fn fences(&self) -> Result<Number, Failure> {
        Ok(self.target.fence(&self.user().await?).await?.unwrap_or(0))
    }

    async fn renamed(&self, from: &str) -> Result<(), Failure> {
        self.target.reassign(&self.user().await?, from, &self.secret).await
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let user = self.user().await?;
        let mut facts = BTreeMap::new();
        if self.method == RootMethod::RotateRoot {
            facts.insert(ROW.to_owned(), self.target.row_version(&user).await?);
        }
        facts.insert(USER.to_owned(), user);
        let new = Values::from([("password".to_owned(), fresh(&self.generator, input.random)?)]);
        Ok(Draft { new, facts, ..Draft::default() })
    }

    async fn act(&self, step: Step, work: Work<'_>, _live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Apply => self.apply(&work).await,
            Step::Handover => Ok(self.hand_over(&work).await?),
            Step::Rotate => Ok(self.vault.rotate().await?),
            Step::Verify if self.method == RootMethod::RotateRoot => self.verify_rotated(&work).await,
            Step::Verify => Ok(self.vault.try_canary().await?),
            other => Err(no_such_step(other)),
        }
    }

    async fn probe(&self, step: Step, work: Work<'_>) -> Result<bool, Failure> {
        match step {
            Step::Apply => self.target.has_passed(self.call(&work)?).await,
            Step::Rotate => self.moved(&work).await,
            _ => Ok(false),
        }
    }

    async fn bar(&self, pivot: Step, work: Work<'_>) -> Result<bool, Failure> {
        match pivot {
            Step::Apply => self.target.bar(self.call(&work)?).await,
            // What was frozen before this call is one rotation more, which Vault itself knows of.
            other => Ok(!self.probe(other, work).await?),
        }
    }

    async fn prove(&self, _live: &Document) -> Option<Result<(), Failure>> {
        Some(self.vault.try_canary().await)
    }
}
