//! What somebody else issues, whoever that is: `http-api-key`, `exec` and `approle-secret-id` differ in their issuer only.
//!
//! The issuer's id of the current value is published beside it: it says which one must never be ended.

use super::postgres_two_users::{Laggards, Readers, RetireWhen};
use super::{fresh, no_such_step, published_must_work, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::{Delivery, Document, Issued, Issuer};
use crate::shape::Shape;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{Step, Table};
use keyward_secret::{Generator, Secret, Source, SystemRandom, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The name under which templates know the issuer's id.
pub const ID: &str = "id";
/// In an attempt's facts: the id of what was issued, and that of what it replaces.
const NEW: &str = "id";
const OLD: &str = "old";

/// One secret that somebody else issues.
pub struct FromIssuer {
    /// Which kind it is.
    pub table: &'static Table,
    /// The secret's name, under which its readers are known.
    pub secret: String,
    /// Who makes it.
    pub issuer: Arc<dyn Issuer>,
    /// Where consumers read.
    pub path: String,
    /// What they read. One field is `{id}` and nothing else.
    pub shape: Shape,
    /// Whether preflight shows that what nobody made is refused. Not where refusals lock somebody out.
    pub tries_wrong: bool,
    /// A file that gets one of the values, and which.
    pub delivery: Option<(Arc<dyn Delivery>, String)>,
    /// What becomes of the old one.
    pub retire: RetireWhen,
    /// Not before this long after the finish.
    pub grace: Duration,
    /// Who still reads.
    pub readers: Arc<dyn Readers>,
}

impl FromIssuer {
    fn id(&self, live: &Document) -> Option<Secret> {
        self.shape.published(ID, live)
    }

    /// Whether what is published is good. A value that was put there before Keyward has no id, and can be good all the same.
    async fn known(&self, values: &Values) -> Result<(), Failure> {
        let mut needed = self.shape.plain();
        if needed.len() > 1 {
            needed.remove(ID);
        }
        if let Some(missing) = needed.into_iter().find(|name| !values.contains_key(*name)) {
            return Err(Failure::lasting(Class::Invalid, format!("the published secret holds no {missing} as a text")));
        }
        self.issuer.knows(values).await
    }

    /// A proof by use means something only if what nobody made is refused.
    async fn refuses_what_nobody_made(&self) -> Result<(), Failure> {
        let mut wrong = Values::new();
        for name in self.shape.0.values().flat_map(keyward_secret::Template::names) {
            wrong.insert(name.to_owned(), fresh(&Generator::password(), &SystemRandom)?);
        }
        match self.issuer.accepts(&wrong).await {
            Ok(()) => Err(Failure::lasting(Class::TrustsAnyone, "a value that nobody made is accepted: nothing can be proved this way")),
            Err(failure) if matches!(failure.class, Class::WrongPassword | Class::Refused) => Ok(()),
            Err(failure) => Err(failure.during("trying a value that nobody made")),
        }
    }

    /// Ends everything under a label but `keep`.
    async fn end_labelled(&self, label: &str, keep: Option<&str>) -> Result<bool, Failure> {
        let Some(ids) = self.issuer.labelled(label).await? else { return Ok(false) };
        for id in ids.iter().filter(|id| Some(id.as_str()) != keep) {
            self.issuer.revoke(id).await?;
        }
        Ok(true)
    }

    /// Ends the old one, unless it is the current one again, or somebody still lives on it.
    async fn revoke(&self, id: &str, not_before: Timestamp, live: &Document) -> Result<Tended, Failure> {
        match self.id(live) {
            Some(current) if current.expose() == id => return Ok(Tended::Done),
            Some(_) => {}
            None => return Ok(Tended::NotYet(format!("{} names no id, so nobody can say which one is in use", self.path))),
        }
        if self.retire == RetireWhen::WhenUnused {
            let published = not_before.saturating_sub(self.grace).unwrap_or(Timestamp::MIN);
            match self.readers.laggards(&self.secret, published).await {
                Laggards::Known(who) if who.is_empty() => {}
                Laggards::Known(who) => return Ok(Tended::NotYet(format!("not read since by {}", who.join(", ")))),
                Laggards::Unknown(why) => return Ok(Tended::NotYet(format!("who still holds the old value is unknown: {why}"))),
            }
        }
        self.issuer.revoke(id).await?;
        Ok(Tended::Done)
    }

    fn delivered<'a>(&self, work: &Work<'a>) -> Result<Option<(&dyn Delivery, &'a Secret)>, Failure> {
        let Some((delivery, name)) = &self.delivery else { return Ok(None) };
        Ok(Some((delivery.as_ref(), value(&work.held.new, name)?)))
    }

    async fn confirm(&self, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match self.delivered(&work)? {
            None => Ok(self.known(&self.shape.read(live)).await.map_err(again_if_refused)?),
            Some((delivery, value)) if delivery.holds(value).await? => Ok(self.issuer.knows(&work.held.new).await?),
            Some(_) => Err(Failure::lasting(Class::Foreign, "the file holds something else than what was delivered").into()),
        }
    }
}

/// An issuer may need a moment until what it made is accepted everywhere: the saga bounds the tries.
fn again_if_refused(failure: Failure) -> Failure {
    Failure { again: failure.again || failure.class == Class::WrongPassword, ..failure }
}

#[async_trait]
impl Kind for FromIssuer {
    fn table(&self) -> &'static Table {
        self.table
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.shape.names()
    }

    async fn preflight(&self, live: &Document, _now: Timestamp, by_person: bool) -> Result<(), Failure> {
        self.issuer.ready().await?;
        if let Some((delivery, _)) = &self.delivery {
            delivery.ready().await?;
        }
        if self.tries_wrong {
            self.refuses_what_nobody_made().await?;
        }
        let published = self.shape.read(live);
        if published.is_empty() {
            return Ok(());
        }
        match self.known(&published).await {
            // A field that was added to the configuration is not there yet: a person who asks puts it there.
            Err(failure) if failure.class == Class::Invalid && by_person => Ok(()),
            outcome => published_must_work(outcome, by_person),
        }
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        let published = self.shape.read(live);
        if published.is_empty() { None } else { Some(self.known(&published).await) }
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let old = self.id(input.live).map(|id| id.expose().to_owned()).unwrap_or_default();
        Ok(Draft { facts: BTreeMap::from([(OLD.into(), old)]), ..Draft::default() })
    }

    async fn issue(&self, work: Work<'_>) -> Result<Draft, Trouble> {
        let Issued { id, mut values } = self.issuer.create(&work.label()).await?;
        values.insert(ID.into(), Secret::new(id.as_str()));
        let publish = self.shape.render(&values);
        let draft = Draft { publish: publish.unwrap_or_default(), new: values, facts: BTreeMap::from([(NEW.into(), id)]) };
        if draft.publish.is_empty() {
            self.disown(&draft).await;
            let text = "what was issued lacks a value that the published fields need; it was ended again";
            return Err(Failure { unknown: true, ..Failure::lasting(Class::Invalid, text) }.into());
        }
        Ok(draft)
    }

    async fn recall(&self, work: Work<'_>) -> Result<(), Failure> {
        if self.end_labelled(&work.label(), None).await? || work.was_resumed() {
            return Ok(());
        }
        let text = format!(
            "an answer was lost and the issuer can list nothing: look there for {}, end it, then `keyward resume {}`",
            work.label(),
            self.secret
        );
        Err(Failure::lasting(Class::Timeout, text))
    }

    async fn disown(&self, made: &Draft) {
        if let Some(id) = made.facts.get(NEW) {
            let _ = self.issuer.revoke(id).await; // the label finds it again if this fails
        }
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Verify => Ok(self.issuer.accepts(&work.held.new).await.map_err(again_if_refused)?),
            Step::Handover => match self.delivered(&work)? {
                Some((delivery, value)) => Ok(delivery.deliver(value).await?),
                None => Err(no_such_step(step)),
            },
            Step::Confirm => self.confirm(work, live).await,
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Issue {
            return Err(no_such_step(step));
        }
        let made = work.attempt.facts.get(NEW);
        if let Some(id) = made {
            self.issuer.revoke(id).await?;
        }
        // More may have been made than the record knows of: by a call whose answer was lost, or by an actor that was frozen.
        if work.asked() > u32::from(made.is_some()) {
            self.recall(work).await?;
        }
        Ok(())
    }

    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        let facts = &work.attempt.facts;
        let not_before = now.saturating_add(self.grace).unwrap_or(Timestamp::MAX);
        let old = facts.get(OLD).filter(|old| !old.is_empty() && self.retire != RetireWhen::Never);
        let mut later: Vec<Later> = old
            .map(|id| Later::Revoke { what: id.clone(), facts: BTreeMap::new(), number: work.record.number, not_before })
            .into_iter()
            .collect();
        if let (2.., Some(keep)) = (work.asked(), facts.get(NEW)) {
            later.push(Later::Sweep { label: work.label(), keep: keep.clone(), not_before });
        }
        later
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, _now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        match later {
            Later::Revoke { what, not_before, .. } => self.revoke(what, *not_before, live).await,
            Later::Sweep { label, keep, .. } => self.end_labelled(label, Some(keep)).await.map(|_| Tended::Done),
            _ => Ok(Tended::Done),
        }
    }
}
