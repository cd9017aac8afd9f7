//! What a kind of secret is to the engine: its table, and what its steps mean. One kind is one file in [`crate::kinds`].

use crate::failure::{Class, Failure};
use crate::kinds::{Laggards, Readers};
use crate::ports::Document;
use crate::stored::Held;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_rotation::record::{Attempt, Later, Record};
use keyward_rotation::table::{Step, Table};
use keyward_secret::{Fields, Source, Values};
use std::collections::BTreeMap;
use std::time::Duration;

/// A rotation on its way, as a kind sees it.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The record; its number is what the fence is asked with.
    pub record: &'a Record,
    /// The attempt.
    pub attempt: &'a Attempt,
    /// Its values.
    pub held: &'a Held,
}

impl Work<'_> {
    /// The name under which somebody else is asked to make a value, so that it is found again. One per rotation, never used twice.
    pub fn label(&self) -> String {
        format!("keyward-{}-{}", self.record.secret, self.attempt.rotation)
    }

    /// How often Issue has been begun.
    pub fn asked(&self) -> u32 {
        self.attempt.facts.get(ASKED).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Whether a person let it go on after it was stuck: then what that person was asked to look for has been looked for.
    pub fn was_resumed(&self) -> bool {
        self.attempt.facts.contains_key(RESUMED)
    }
}

/// In an attempt's facts: how often Issue has been begun. Written before the first call.
pub(crate) const ASKED: &str = "asked";
/// In an attempt's facts: when a person resumed it.
pub(crate) const RESUMED: &str = "resumed";

/// What a candidate is made from.
pub struct DraftInput<'a> {
    /// The published document as read for this very stage.
    pub live: &'a Document,
    /// Now.
    pub now: Timestamp,
    /// Randomness.
    pub random: &'a dyn Source,
    /// Values that a person brought.
    pub supplied: Option<&'a Values>,
    /// The rotation's id: a label for what others make.
    pub rotation: &'a str,
    /// What is known of the present value, from [`Kind::keeps`].
    pub kept: &'a BTreeMap<String, String>,
}

/// A candidate, not yet stored.
#[derive(Debug, Default)]
pub struct Draft {
    /// Its own values.
    pub new: Values,
    /// The named fields as they will be published.
    pub publish: Fields,
    /// What was seen and is needed later; never a value.
    pub facts: BTreeMap<String, String>,
}

/// What kept a step from being done.
#[derive(Debug)]
pub enum Trouble {
    /// It failed.
    Failed(Failure),
    /// The fence in the target holds this higher number.
    Fenced(Number),
    /// Vault's own engine rotated once more: publish again.
    Stale,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What housekeeping on an older value came to.
#[derive(Debug)]
pub enum Tended {
    /// Done, or there is nothing left to do; the entry goes.
    Done,
    /// These fields are to be published for it (`null` removes one), and this is to be done later still.
    Publish(Fields, Vec<Later>),
    /// Not yet, and why.
    NotYet(String),
    /// Done, though it was still used; by whom, as far as can be seen.
    DoneInUse(String),
}

/// Who still uses an older value, as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillUsed {
    /// What is used: a user, a key.
    pub what: String,
    /// Its sessions at the target, a line each; an error where the target could not be asked.
    pub sessions: Result<Vec<String>, Failure>,
    /// Who read the secret before it was replaced and has not read it since.
    pub readers: Laggards,
}

impl StillUsed {
    /// Of `what`, whose successor was published at `published`: `sessions` as its target shows them, and the readers of `secret`.
    pub async fn ask(
        what: impl Into<String>,
        sessions: Result<Vec<String>, Failure>,
        readers: &dyn Readers,
        secret: &str,
        published: Timestamp,
    ) -> Self {
        Self { what: what.into(), sessions, readers: readers.laggards(secret, published).await }
    }

    /// What is seen to speak against making it invalid.
    pub fn seen(&self) -> Option<String> {
        let sessions = self.sessions.as_deref().unwrap_or_default();
        if let Some(first) = sessions.first() {
            return Some(format!("{} still has {} session(s), one {first}", self.what, sessions.len()));
        }
        match &self.readers {
            Laggards::Known(who) if !who.is_empty() => Some(format!("not read since by {}", who.join(", "))),
            Laggards::Known(_) | Laggards::Unknown(_) => None,
        }
    }

    /// What could not be seen of its use, and why.
    pub fn unseen(&self) -> Option<String> {
        if let Err(failure) = &self.sessions {
            return Some(format!("whether {} still has sessions is unknown: {failure}", self.what));
        }
        match &self.readers {
            Laggards::Unknown(why) => Some(format!("who still holds the old value is unknown: {why}")),
            Laggards::Known(_) => None,
        }
    }

    /// What speaks against making it invalid; `None`: nobody uses it, and all of it was seen.
    pub fn objection(&self) -> Option<String> {
        self.seen().or_else(|| self.unseen())
    }
}

/// A kind of secret. Every act is idempotent: after a crash it is done again.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Its steps.
    fn table(&self) -> &'static Table;

    /// The path that consumers read, where Keyward publishes.
    fn path(&self) -> Option<&str>;

    /// The fields of it that may change.
    fn fields(&self) -> Vec<String>;

    /// The step `Preflight`. `by_person`: somebody is watching and asked for it.
    async fn preflight(&self, live: &Document, now: Timestamp, by_person: bool) -> Result<(), Failure>;

    /// The step `Gate`. The record says what is still to be done about older values.
    async fn gate(&self, _live: &Document, _record: &Record, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }

    /// The highest number that any fence of this secret holds.
    async fn fences(&self) -> Result<Number, Failure> {
        Ok(0)
    }

    /// The secret had another name before: what knows it by that name in its targets learns the new one.
    async fn renamed(&self, _from: &str) -> Result<(), Failure> {
        Ok(())
    }

    /// Makes a candidate.
    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure>;

    /// The step `Issue`: what the system made, to be written into the record at once. `new` and `publish` take the place of what was staged,
    /// `facts` are added.
    ///
    /// Called again after a crash or a lost answer, when [`Self::recall`] has found and ended what the earlier call may have left.
    async fn issue(&self, _work: Work<'_>) -> Result<Draft, Trouble> {
        Err(Failure::lasting(Class::Invalid, "this kind issues nothing").into())
    }

    /// What stays known of the present value once this rotation is finished; never a value.
    fn keeps(&self, _work: Work<'_>) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// For a kind whose pivot is no publication: makes the pivot impossible for this rotation from now on. `false`: it has happened already,
    /// and the rotation goes forward.
    async fn bar(&self, pivot: Step, work: Work<'_>) -> Result<bool, Failure> {
        Ok(!self.probe(pivot, work).await?)
    }

    /// Apply, Rotate, Handover or Verify; for Confirm, `live` is what consumers read and already holds the candidate.
    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble>;

    /// The step `Announce`: the fields to publish, now that those who verify know the new value.
    async fn announce(&self, _work: Work<'_>, _now: Timestamp) -> Result<Fields, Trouble> {
        Err(Failure::lasting(Class::Invalid, "this kind announces nothing").into())
    }

    /// Takes back what earlier tries of Issue may have made, by the label or what else was staged. An error where that cannot be told: then
    /// the rotation is rolled back, which asks for the same.
    async fn recall(&self, _work: Work<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes back what Issue has just made, when the record turned out to be somebody else's. Nobody waits for the outcome.
    async fn disown(&self, _made: &Draft) {}

    /// Whether a step whose answer was lost has happened. Idempotent steps may say no.
    async fn probe(&self, _step: Step, _work: Work<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Takes a step back.
    async fn undo(&self, step: Step, _work: Work<'_>) -> Result<(), Trouble> {
        Err(Failure::lasting(Class::Invalid, format!("{} cannot be taken back", step.name())).into())
    }

    /// For a copy of a credential that Vault itself makes: the fields as they must be now.
    async fn copy(&self) -> Result<Option<Fields>, Failure> {
        Ok(None)
    }

    /// The proof watch: whether what consumers read now is accepted now. `None` where no system can be asked.
    async fn prove(&self, _live: &Document) -> Option<Result<(), Failure>> {
        None
    }

    /// The published values as the target would be given them, for a kind whose step Apply can make the target accept a value that is
    /// published already (`keyward reconcile`); `None` where only a new value helps.
    fn current(&self, _live: &Document) -> Option<Values> {
        None
    }

    /// Whether something of this kind lives only while it is renewed.
    fn needs_renewal(&self) -> bool {
        false
    }

    /// Renews what these facts name: those of an attempt, of the present value ([`Self::keeps`]) or of an older one. `None`: they name
    /// nothing that has to be renewed. Else for how long it lives now, or `None` where it is gone.
    async fn renew(&self, _facts: &BTreeMap<String, String>) -> Option<Result<Option<Duration>, Failure>> {
        None
    }

    /// What is left to be done later, once this rotation is finished.
    fn later(&self, _work: Work<'_>, _now: Timestamp) -> Vec<Later> {
        Vec::new()
    }

    /// What is left to be done later about this rotation's own candidate, which is given up without having been published.
    fn abandoned(&self, _work: Work<'_>) -> Vec<Later> {
        Vec::new()
    }

    /// Who still uses the older value that `later` is about; `None` where this kind cannot tell, or nobody can any more.
    async fn still_used(&self, _later: &Later, _live: &Document, _now: Timestamp) -> Result<Option<StillUsed>, Failure> {
        Ok(None)
    }

    /// Does what was left for later.
    async fn tend(
        &self,
        _secret: &str,
        _later: &Later,
        _live: &Document,
        _now: Timestamp,
        _random: &dyn Source,
    ) -> Result<Tended, Failure> {
        Ok(Tended::Done)
    }
}
