//! A [`Tally`] at rest, so that the figures move with the place in the log. Versioned from the first day.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BadPlace, LINE_KINDS, Tally, add_many};
use crate::finding::Severity;
use crate::label::LabelBook;
use crate::latency::Latency;
use crate::pairs::Pairs;
use crate::parse::BadReason;
use crate::rules::RuleId;
use crate::words::{ErrorClass, Operation, Outcome};

/// Counts by label.
type Named = BTreeMap<String, u64>;

/// The figures of one log at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum TallySnapshot {
    /// The first format.
    #[serde(rename = "1")]
    V1(TallyV1),
}

impl Default for TallySnapshot {
    fn default() -> Self {
        Self::V1(TallyV1::default())
    }
}

/// The first format of [`TallySnapshot`]: what is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TallyV1 {
    /// Calls.
    entries: Vec<SavedEntry>,
    /// Calls by the kind of their error.
    errors: Named,
    /// Lines by kind.
    lines: Named,
    /// Lines that were no entries, by reason.
    bad: Named,
    /// Where the newest of those stand.
    bad_places: Vec<BadPlace>,
    /// Findings by rule, then by severity.
    findings: BTreeMap<String, Named>,
    /// How long calls took, by mount type.
    latencies: BTreeMap<String, Latency>,
    /// Requests that never had a response.
    unmatched_requests: u64,
    /// Responses whose request was not seen.
    unmatched_responses: u64,
    /// Requests that wait: a hash of the id, and the time.
    waiting: Vec<(u64, Timestamp)>,
    /// The latest time of an entry.
    last_entry: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedEntry {
    operation: String,
    mount: String,
    mount_type: String,
    result: String,
    count: u64,
}

impl Tally {
    pub(crate) fn snapshot(&self, pairs: &Pairs) -> TallySnapshot {
        let row = |counts: &[u64; Severity::ALL.len()]| named(&Severity::ALL.map(Severity::label), counts);
        let findings = RuleId::ALL.into_iter().zip(&self.findings).map(|(rule, counts)| (rule.name().to_owned(), row(counts)));
        TallySnapshot::V1(TallyV1 {
            entries: self.saved_entries(),
            errors: named(&ErrorClass::ALL.map(ErrorClass::label), &self.errors),
            lines: named(&LINE_KINDS, &self.lines),
            bad: named(&BadReason::ALL.map(BadReason::label), &self.bad),
            bad_places: self.bad_places.iter().copied().collect(),
            findings: findings.filter(|(_, counts)| !counts.is_empty()).collect(),
            latencies: self.latencies.iter().filter(|(_, l)| l.count > 0).map(|(label, l)| ((*label).to_owned(), l.clone())).collect(),
            unmatched_requests: self.unmatched_requests,
            unmatched_responses: self.unmatched_responses,
            waiting: pairs.waiting(),
            last_entry: self.last_entry,
        })
    }

    fn saved_entries(&self) -> Vec<SavedEntry> {
        let mut entries = Vec::new();
        for row in &self.rows {
            let before = entries.len();
            for (operation, counts) in Operation::ALL.iter().zip(&row.cells) {
                for (outcome, count) in Outcome::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    entries.push(row.saved(*operation, *outcome, *count));
                }
            }
            if entries.len() == before {
                // A mount that nobody called yet is known all the same.
                entries.push(row.saved(Operation::Read, Outcome::Ok, 0));
            }
        }
        entries
    }

    /// The figures that were at rest, and the requests that waited. Words that this version does not know are left out.
    pub(crate) fn restore(snapshot: TallySnapshot) -> (Self, Pairs) {
        let TallySnapshot::V1(saved) = snapshot;
        let mut tally = Self::default();
        for entry in &saved.entries {
            tally.restore_entry(entry);
        }
        add_many(&mut tally.errors, ErrorClass::ALL.map(ErrorClass::label), &saved.errors);
        add_many(&mut tally.lines, LINE_KINDS, &saved.lines);
        add_many(&mut tally.bad, BadReason::ALL.map(BadReason::label), &saved.bad);
        for (rule, counts) in RuleId::ALL.into_iter().zip(&mut tally.findings) {
            if let Some(saved) = saved.findings.get(rule.name()) {
                add_many(counts, Severity::ALL.map(Severity::label), saved);
            }
        }
        for (mount_type, latency) in saved.latencies {
            *tally.latency(LabelBook::type_label_of(&mount_type)) = latency;
        }
        tally.bad_places = saved.bad_places.into_iter().take(super::MAX_BAD_PLACES).collect();
        tally.unmatched_requests = saved.unmatched_requests;
        tally.unmatched_responses = saved.unmatched_responses;
        tally.last_entry = saved.last_entry;
        (tally, Pairs::restore(saved.waiting))
    }

    fn restore_entry(&mut self, entry: &SavedEntry) {
        let operation = Operation::ALL.into_iter().find(|o| o.label() == entry.operation).unwrap_or(Operation::Other);
        let Some(outcome) = Outcome::ALL.into_iter().find(|o| o.label() == entry.result) else { return };
        self.labels.know(&entry.mount);
        let index = self.row(&entry.mount, LabelBook::type_label_of(&entry.mount_type), super::MAX_ROWS);
        let cells = self.rows.get_mut(index).and_then(|row| row.cells.get_mut(operation as usize));
        if let Some(cell) = cells.and_then(|cells| cells.get_mut(outcome as usize)) {
            *cell += entry.count;
        }
    }
}

impl super::Row {
    fn saved(&self, operation: Operation, outcome: Outcome, count: u64) -> SavedEntry {
        SavedEntry {
            operation: operation.label().to_owned(),
            mount: self.mount.clone(),
            mount_type: self.mount_type.to_owned(),
            result: outcome.label().to_owned(),
            count,
        }
    }
}

fn named(labels: &[&str], counts: &[u64]) -> Named {
    labels.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(label, count)| ((*label).to_owned(), *count)).collect()
}
