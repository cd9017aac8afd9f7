//! The protocol with one rule broken: each must be caught by the judge, or the judge is worth nothing.
//!
//! No mutant touches the engine: each is a lie of a port, a wrong table or a kind that does too little, put around the real
//! thing. So what is tested is the engine that is shipped.

use crate::world::kv::Body;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_engine::ports::Document;
use keyward_engine::{Draft, DraftInput, Failure, Kind, StillUsed, Tended, Trouble, Work};
use keyward_rotation::Number;
use keyward_rotation::record::{Later, Phase, Record};
use keyward_rotation::table::{Row, Step, Table};
use keyward_secret::{Fields, Source, Values};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Publish stands before Verify in the table.
    PublishBeforeVerify,
    /// The record that is staged holds no values.
    NothingStaged,
    /// The fence lets everybody through.
    NoFence,
    /// The empty PATCH is answered, and not done.
    UndoWithoutTheRace,
    /// The undo asks the fence as if it were the apply.
    UndoWithoutItsPhase,
    /// The undo goes past the fence.
    UndoWithoutTheFence,
    /// A rollback gives its number back.
    NumberNotRaised,
    /// The record's metadata is deleted when a rotation ends.
    RecordDeletedAtTheEnd,
    /// A rotation ends without saying for which slot.
    SlotNotRecorded,
    /// An owner is judged to be silent by the wall clock.
    TakeoverByWallClock,
    /// Whoever takes over makes a candidate of its own.
    FreshCandidateOnTakeover,
    /// A role is retired without a look at what is published.
    RetireWithoutReading,
    /// The PATCH that publishes asks for no version.
    PublishWithoutCheck,
    /// The decision to roll back is not recorded.
    DirectionNotRecorded,
    /// A process believes its own last write of a record, without reading it.
    OwnWordForTheRecord,
    /// Publishing writes the whole document.
    WholeDocumentWritten,
    /// A restarted daemon calls itself as another one that is still alive.
    OwnerNotUnique,
    /// Versions of the record that held values stay.
    NothingDestroyed,
    /// An error repeats the password that was refused.
    ErrorShowsThePassword,
    /// The idle user's password is changed although somebody uses it.
    NoGate,
    /// The idle user is retired although somebody uses it.
    RetireInUse,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::PublishBeforeVerify,
        Self::NothingStaged,
        Self::NoFence,
        Self::UndoWithoutTheRace,
        Self::UndoWithoutItsPhase,
        Self::UndoWithoutTheFence,
        Self::NumberNotRaised,
        Self::RecordDeletedAtTheEnd,
        Self::SlotNotRecorded,
        Self::TakeoverByWallClock,
        Self::FreshCandidateOnTakeover,
        Self::RetireWithoutReading,
        Self::PublishWithoutCheck,
        Self::DirectionNotRecorded,
        Self::OwnWordForTheRecord,
        Self::WholeDocumentWritten,
        Self::OwnerNotUnique,
        Self::NothingDestroyed,
        Self::ErrorShowsThePassword,
        Self::NoGate,
        Self::RetireInUse,
    ];

    /// Its name on the command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    /// Changes a record on its way to Vault, where that is how the rule is broken.
    pub(crate) fn rewrite_record(self, before: Option<&Record>, body: &mut Body) {
        let record = body.get("record").and_then(|text| serde_json::from_str::<Record>(text).ok());
        let Some(mut record) = record else { return };
        let under_way = before.and_then(Record::attempt).is_some();
        match (self, record.phase.clone()) {
            (Self::NothingStaged, Phase::Staged(_)) => {
                body.insert("new".into(), "{}".into());
                body.insert("publish".into(), "{}".into());
                return;
            }
            (Self::NumberNotRaised, Phase::Idle) if under_way && record.last_failure.is_some() => {
                record.number = record.number.saturating_sub(1);
            }
            (Self::SlotNotRecorded, Phase::Idle) if under_way => record.last_slot = before.and_then(|b| b.last_slot),
            (Self::DirectionNotRecorded, Phase::Back(attempt)) => record.phase = Phase::Staged(attempt),
            _ => return,
        }
        if let Ok(text) = serde_json::to_string(&record) {
            body.insert("record".into(), text);
        }
    }

    /// A kind that breaks the rule, where that is where it is broken.
    pub(crate) fn around(self, kind: Arc<dyn Kind>) -> Arc<dyn Kind> {
        match self {
            Self::PublishBeforeVerify | Self::RetireWithoutReading | Self::NoGate => Arc::new(Mutated {
                table: if self == Self::PublishBeforeVerify { published_first(kind.table()) } else { kind.table() },
                mutant: self,
                kind,
            }),
            _ => kind,
        }
    }
}

/// A kind with one rule broken.
struct Mutated {
    mutant: Mutant,
    kind: Arc<dyn Kind>,
    table: &'static Table,
}

/// The table with Publish right before Verify. Kept for good, one per kind, as the real ones are.
fn published_first(table: &'static Table) -> &'static Table {
    static MADE: Mutex<BTreeMap<&str, &'static Table>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(table.kind).or_insert_with(|| reordered(table))
}

fn reordered(table: &'static Table) -> &'static Table {
    let mut rows: Vec<Row> = table.rows.to_vec();
    let at = |rows: &[Row], step| rows.iter().position(|r| r.step == step);
    if let (Some(verify), Some(publish)) = (at(&rows, Step::Verify), at(&rows, Step::Publish))
        && at(&rows, Step::Stage) < Some(verify)
        && verify < publish
    {
        let row = rows.remove(publish);
        rows.insert(verify, row);
    }
    Box::leak(Box::new(Table { kind: table.kind, rows: Box::leak(rows.into_boxed_slice()) }))
}

#[async_trait]
impl Kind for Mutated {
    fn table(&self) -> &'static Table {
        self.table
    }
    fn path(&self) -> Option<&str> {
        self.kind.path()
    }
    fn fields(&self) -> Vec<String> {
        self.kind.fields()
    }
    async fn preflight(&self, live: &Document, now: Timestamp, by_person: bool) -> Result<(), Failure> {
        self.kind.preflight(live, now, by_person).await
    }
    async fn gate(&self, live: &Document, record: &Record, now: Timestamp) -> Result<(), Failure> {
        if self.mutant == Mutant::NoGate { Ok(()) } else { self.kind.gate(live, record, now).await }
    }
    async fn fences(&self) -> Result<Number, Failure> {
        self.kind.fences().await
    }
    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        self.kind.draft(input).await
    }
    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        self.kind.act(step, work, live).await
    }
    async fn probe(&self, step: Step, work: Work<'_>) -> Result<bool, Failure> {
        self.kind.probe(step, work).await
    }
    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        self.kind.undo(step, work).await
    }
    async fn renamed(&self, from: &str) -> Result<(), Failure> {
        self.kind.renamed(from).await
    }
    async fn issue(&self, work: Work<'_>) -> Result<Draft, Trouble> {
        self.kind.issue(work).await
    }
    fn keeps(&self, work: Work<'_>) -> BTreeMap<String, String> {
        self.kind.keeps(work)
    }
    async fn bar(&self, pivot: Step, work: Work<'_>) -> Result<bool, Failure> {
        self.kind.bar(pivot, work).await
    }
    async fn announce(&self, work: Work<'_>, now: Timestamp) -> Result<Fields, Trouble> {
        self.kind.announce(work, now).await
    }
    async fn recall(&self, work: Work<'_>) -> Result<(), Failure> {
        self.kind.recall(work).await
    }
    async fn disown(&self, made: &Draft) {
        self.kind.disown(made).await;
    }
    fn current(&self, live: &Document) -> Option<Values> {
        self.kind.current(live)
    }
    async fn still_used(&self, later: &Later, live: &Document, now: Timestamp) -> Result<Option<StillUsed>, Failure> {
        self.kind.still_used(later, live, now).await
    }
    async fn copy(&self) -> Result<Option<Fields>, Failure> {
        self.kind.copy().await
    }
    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        self.kind.prove(live).await
    }
    fn later(&self, work: Work<'_>, now: Timestamp) -> Vec<Later> {
        self.kind.later(work, now)
    }
    async fn tend(&self, secret: &str, later: &Later, live: &Document, now: Timestamp, random: &dyn Source) -> Result<Tended, Failure> {
        let blind = Document { version: live.version, fields: Some(Fields::new()) };
        let live = if self.mutant == Mutant::RetireWithoutReading { &blind } else { live };
        self.kind.tend(secret, later, live, now, random).await
    }
}
