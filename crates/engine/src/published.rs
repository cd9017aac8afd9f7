//! The published path: publishing, the race that decides between forward and back, and reading it again.

use crate::drive::{Engine, Spec};
use crate::failure::{Class, Failure};
use crate::job::Job;
use crate::kind::Trouble;
use crate::ports::{Document, WriteFailure};
use crate::recording::Put;
use crate::stored::Held;
use keyward_rotation::saga::{Event, Live};
use keyward_secret::Fields;

/// What the named fields of a published document are, compared with what an attempt holds.
pub(crate) fn judge(live: &Document, held: &Held) -> Live {
    match &live.fields {
        None => Live::Gone,
        Some(fields) if !held.publish.is_empty() && held.publish.contained_in(fields) => Live::Candidate,
        Some(fields) if held.old.contained_in(fields) => Live::Old,
        Some(_) => Live::Foreign,
    }
}

/// The named fields of a document as they are, `null` where one is absent.
pub(crate) fn named(live: &Document, names: &[String]) -> Fields {
    let mut old = Fields::new();
    for name in names {
        let json = live.fields.as_ref().and_then(|f| f.json(name));
        old.set_json(name, json.map_or_else(|| "null".to_owned().into(), keyward_secret::Secret::duplicate));
    }
    old
}

impl Engine {
    /// Reads the published document of a kind; an empty one where the kind publishes nothing.
    pub(crate) async fn live(&self, spec: &Spec) -> Result<Document, Failure> {
        match spec.kind.path() {
            None => Ok(Document { version: 0, fields: Some(Fields::new()) }),
            Some(path) => self.vault.read(path).await.map_err(|f| f.during(&format!("reading {path}"))),
        }
    }

    /// The step `Publish`: a PATCH of the named fields with check-and-set.
    pub(crate) async fn publish(&self, spec: &Spec, job: &mut Job) -> (Event, Option<Failure>) {
        if let Err(refused) = self.refresh_copy(spec, job).await {
            return refused;
        }
        self.patch(spec, job, false).await
    }

    /// The race: an empty PATCH with check-and-set. If it wins, a publisher frozen before its own PATCH is refused for ever.
    pub(crate) async fn race(&self, spec: &Spec, job: &mut Job) -> (Event, Option<Failure>) {
        self.patch(spec, job, true).await
    }

    async fn patch(&self, spec: &Spec, job: &mut Job, empty: bool) -> (Event, Option<Failure>) {
        let Some((path, base)) = spec.kind.path().zip(job.base) else {
            let failure = Failure::lasting(Class::Invalid, "the record names no published version to check against");
            return (failure.event(), Some(failure));
        };
        let fields = if empty { Fields::new() } else { job.held.publish.duplicate() };
        match self.vault.patch(path, base, &fields).await {
            Ok(version) => {
                job.base = Some(version);
                (Event::Done, None)
            }
            // Deleted and conflicting both mean: read it again.
            Err(WriteFailure::Conflict | WriteFailure::Gone) => (Event::Conflict, None),
            Err(WriteFailure::Failed(failure)) => (failure.event(), Some(failure.during(&format!("patching {path}")))),
        }
    }

    /// For a copy of what Vault itself rotates: stages the credential as it is now, so that the PATCH publishes no stale one.
    async fn refresh_copy(&self, spec: &Spec, job: &mut Job) -> Result<(), (Event, Option<Failure>)> {
        let told = |failure: Failure| (failure.event(), Some(failure));
        let Some(fields) = spec.kind.copy().await.map_err(told)? else { return Ok(()) };
        if fields.contained_in(&job.held.publish) && !job.held.publish.is_empty() {
            return Ok(());
        }
        let live = self.live(spec).await.map_err(told)?;
        let mut held = job.held.duplicate();
        if judge(&live, &held) == Live::Candidate {
            held.old = held.publish.duplicate(); // our own earlier copy, now stale
        }
        held.publish = fields;
        match self.put_own(&spec.name, &mut job.grip, &job.record, &held).await {
            Put::Won(_) => {
                job.held = held;
                Ok(())
            }
            Put::Lost => Err((Event::Lost, None)),
            Put::Failed(failure) => Err((Event::Unreachable, Some(failure))),
        }
    }

    /// What stands on the published path; remembers its version for the next try.
    pub(crate) async fn reread(&self, spec: &Spec, job: &mut Job) -> (Event, Option<Failure>) {
        match self.live(spec).await {
            Err(failure) => (failure.event(), Some(failure)),
            Ok(live) => {
                job.seen = Some(live.version);
                (Event::Live(judge(&live, &job.held)), None)
            }
        }
    }

    /// The step `Confirm`: what consumers read holds the candidate, and the kind proves it.
    pub(crate) async fn confirm(&self, spec: &Spec, job: &Job) -> Result<(), Trouble> {
        let live = self.live(spec).await?;
        let holds = live.fields.as_ref().is_some_and(|f| job.held.publish.contained_in(f));
        if spec.kind.path().is_some() && !holds {
            let text = "the published fields were changed by somebody else right after the rotation published them";
            return Err(Failure::lasting(Class::Foreign, text).into());
        }
        if job.tends() {
            return Ok(());
        }
        spec.kind.act(keyward_rotation::table::Step::Confirm, job.work()?, &live).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_secret::Secret;

    fn fields(text: &str) -> Fields {
        Fields::parse(&Secret::new(text)).unwrap_or_else(|e| panic!("{e}"))
    }

    fn held() -> Held {
        Held { old: fields(r#"{"password":"old","url":null}"#), publish: fields(r#"{"password":"new","url":"x"}"#), ..Held::default() }
    }

    fn check(live: Option<&str>, expected: Live) {
        let live = Document { version: 4, fields: live.map(fields) };
        assert_eq!(judge(&live, &held()), expected);
    }

    #[test]
    fn the_named_fields_alone_decide() {
        check(Some(r#"{"password":"old","other":1}"#), Live::Old);
        check(Some(r#"{"password":"new","url":"x","other":2}"#), Live::Candidate);
        check(Some(r#"{"password":"theirs"}"#), Live::Foreign);
        check(Some(r#"{"password":"new"}"#), Live::Foreign);
        check(Some(r#"{"password":"old","url":"theirs"}"#), Live::Foreign);
        check(None, Live::Gone);
    }

    #[test]
    fn absent_fields_are_remembered_as_absent() {
        let live = Document { version: 1, fields: Some(fields(r#"{"password":"p"}"#)) };
        let old = named(&live, &["password".into(), "url".into()]);
        assert_eq!(old.json("url").map(Secret::expose), Some("null"));
    }
}
