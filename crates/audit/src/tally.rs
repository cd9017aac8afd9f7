//! What is counted of one log: plain numbers under bounded labels. Never a path, an identity, an address; never a metric.

mod labels;
mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::finding::Severity;
use crate::label::{LabelBook, NO_MOUNT, OTHER};
use crate::latency::Latency;
use crate::pairs::Paired;
use crate::parse::BadReason;
use crate::pipeline::Place;
use crate::rules::RuleId;
use crate::words::{ErrorClass, Operation, Outcome};

use labels::Labels;
pub use snapshot::{TallySnapshot, TallyV1};

/// How many rows there are at most: every mount that has a label, each with a type, and room for some that change it.
pub const MAX_ROWS: usize = 1_024;

/// How many places of bad lines are remembered, the newest.
pub const MAX_BAD_PLACES: usize = 16;
/// The kinds of lines. Bad ones are `other`.
pub const LINE_KINDS: [&str; 3] = ["request", "response", "other"];

/// Counts of one mount and mount type, by operation and outcome.
pub type Cells = [[u64; Outcome::ALL.len()]; Operation::ALL.len()];

/// The calls of one mount.
#[derive(Debug)]
pub struct Row {
    /// The label of the mount point.
    pub mount: String,
    /// The label of its type.
    pub mount_type: &'static str,
    /// How many calls, by operation and outcome.
    pub cells: Cells,
    /// Whether anything changed since [`Tally::changed_rows`] was asked.
    changed: bool,
}

/// Where a line stands that is no entry; never what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadPlace {
    /// Why it is none.
    pub reason: BadReason,
    /// Where it begins.
    #[serde(flatten)]
    pub place: Place,
    /// Its length in bytes.
    pub length: u64,
    /// When it was read.
    pub seen: Timestamp,
}

/// The figures of one log.
#[derive(Debug)]
pub struct Tally {
    labels: Labels,
    rows: Vec<Row>,
    /// The numbers of a mount's rows, by its label.
    by_mount: HashMap<String, Vec<usize>>,
    /// How long calls took, by the label of the mount type.
    latencies: Vec<(&'static str, Latency)>,
    errors: [u64; ErrorClass::ALL.len()],
    lines: [u64; LINE_KINDS.len()],
    bad: [u64; BadReason::ALL.len()],
    bad_places: VecDeque<BadPlace>,
    findings: [[u64; Severity::ALL.len()]; RuleId::ALL.len()],
    unmatched_requests: u64,
    unmatched_responses: u64,
    last_entry: Option<Timestamp>,
}

impl Default for Tally {
    fn default() -> Self {
        let mut tally = Self {
            labels: Labels::default(),
            rows: Vec::new(),
            by_mount: HashMap::new(),
            latencies: Vec::new(),
            errors: Default::default(),
            lines: Default::default(),
            bad: Default::default(),
            bad_places: VecDeque::new(),
            findings: Default::default(),
            unmatched_requests: 0,
            unmatched_responses: 0,
            last_entry: None,
        };
        for label in [OTHER, NO_MOUNT] {
            tally.row(label, label, MAX_ROWS);
        }
        tally
    }
}

impl Tally {
    /// Mounts that the server has, with their types, as the log names them: each has a row from now on.
    pub fn know<'m>(&mut self, mounts: impl IntoIterator<Item = (&'m str, &'m str)>) {
        for (mount, mount_type) in mounts {
            self.labels.know(mount);
            self.row(mount, LabelBook::type_label(mount_type), MAX_ROWS);
        }
    }

    /// One line of a kind.
    pub(crate) fn line(&mut self, kind: &str) {
        let index = match kind {
            "request" => 0,
            "response" => 1,
            _ => 2,
        };
        add(&mut self.lines, index);
    }

    /// One line that is no entry.
    pub(crate) fn bad_line(&mut self, place: BadPlace) {
        self.line("other");
        add(&mut self.bad, place.reason as usize);
        if self.bad_places.len() >= MAX_BAD_PLACES {
            self.bad_places.pop_front();
        }
        self.bad_places.push_back(place);
    }

    /// One call, counted by the line that counts.
    pub(crate) fn call(&mut self, fact: &Fact<'_>, paired: Paired) {
        let index = self.labels.find(fact).unwrap_or_else(|| self.first_of(fact));
        let Some(row) = self.rows.get_mut(index) else { return };
        row.changed = true;
        if let Some(cell) = row.cells.get_mut(fact.operation as usize).and_then(|cells| cells.get_mut(fact.outcome as usize)) {
            *cell += 1;
        }
        if let Some(class) = fact.error {
            add(&mut self.errors, class as usize);
        }
        match paired {
            Paired::After(took) => {
                let mount_type = row.mount_type;
                self.latency(mount_type).observe(took);
            }
            Paired::Orphan => self.unmatched_responses += 1,
            Paired::Nothing => {}
        }
    }

    /// One finding.
    pub(crate) fn finding(&mut self, rule: RuleId, severity: Severity) {
        if let Some(row) = self.findings.get_mut(rule as usize) {
            add(row, severity as usize);
        }
    }

    /// An entry of this time was read.
    pub(crate) fn reached(&mut self, time: Timestamp) {
        self.last_entry = self.last_entry.max(Some(time));
    }

    /// So many requests more were given up.
    pub(crate) fn unmatched(&mut self, requests: u64) {
        self.unmatched_requests += requests;
    }

    /// The calls, by mount.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows that changed since this was last asked, each with its number, which it keeps.
    pub fn changed_rows(&mut self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter_mut().enumerate().filter(|(_, row)| row.changed).map(|(index, row)| {
            row.changed = false;
            (index, &*row)
        })
    }

    /// How long calls took, by mount type.
    pub fn latencies(&self) -> &[(&'static str, Latency)] {
        &self.latencies
    }

    /// Calls by the kind of their error, as [`ErrorClass::ALL`] lists them.
    pub fn errors(&self) -> &[u64; ErrorClass::ALL.len()] {
        &self.errors
    }

    /// Lines by kind, as [`LINE_KINDS`] lists them.
    pub fn lines(&self) -> &[u64; LINE_KINDS.len()] {
        &self.lines
    }

    /// Lines that are no entries by reason, as [`BadReason::ALL`] lists them.
    pub fn bad(&self) -> &[u64; BadReason::ALL.len()] {
        &self.bad
    }

    /// Where the newest of them stand, oldest first.
    pub fn bad_places(&self) -> impl Iterator<Item = &BadPlace> {
        self.bad_places.iter()
    }

    /// Findings by rule and severity, as [`RuleId::ALL`] and [`Severity::ALL`] list them.
    pub fn findings(&self) -> &[[u64; Severity::ALL.len()]; RuleId::ALL.len()] {
        &self.findings
    }

    /// Requests that never had a response.
    pub fn unmatched_requests(&self) -> u64 {
        self.unmatched_requests
    }

    /// Responses whose request was not seen.
    pub fn unmatched_responses(&self) -> u64 {
        self.unmatched_responses
    }

    /// The latest time of an entry, never later than when it was read.
    pub fn last_entry(&self) -> Option<Timestamp> {
        self.last_entry
    }

    /// The row of a fact whose labels are not at hand.
    fn first_of(&mut self, fact: &Fact<'_>) -> usize {
        let (mount, mount_type) = self.labels.of(fact);
        // The other half of the room is kept for what the server lists.
        let index = self.row(&mount, mount_type, MAX_ROWS / 2);
        self.labels.keep(fact, index);
        index
    }

    /// The row with these labels, made if it is new; where there is no room, the row of all others, which is the first.
    fn row(&mut self, mount: &str, mount_type: &'static str, most: usize) -> usize {
        let known = self
            .by_mount
            .get(mount)
            .and_then(|rows| rows.iter().find(|row| self.rows.get(**row).is_some_and(|row| row.mount_type == mount_type)));
        if let Some(known) = known {
            return *known;
        }
        if self.rows.len() >= most {
            return 0;
        }
        self.rows.push(Row { mount: mount.to_owned(), mount_type, cells: Cells::default(), changed: true });
        let index = self.rows.len() - 1;
        self.by_mount.entry(mount.to_owned()).or_default().push(index);
        self.latency(mount_type);
        index
    }

    fn latency(&mut self, mount_type: &'static str) -> &mut Latency {
        let index = self.latencies.iter().position(|(label, _)| *label == mount_type).unwrap_or_else(|| {
            self.latencies.push((mount_type, Latency::default()));
            self.latencies.len() - 1
        });
        // In bounds: found there, or pushed.
        &mut self.latencies[index].1
    }
}

fn add<const N: usize>(counts: &mut [u64; N], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

fn add_many<const N: usize>(counts: &mut [u64; N], labels: [&str; N], saved: &BTreeMap<String, u64>) {
    for (count, label) in counts.iter_mut().zip(labels) {
        *count += saved.get(label).copied().unwrap_or_default();
    }
}
