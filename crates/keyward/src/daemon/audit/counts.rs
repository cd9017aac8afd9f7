//! What is counted of one audit log. It keeps its series at hand: no line pays for finding them by their labels' texts.

use crate::metrics::registry::Series;
use crate::metrics::{Metrics, families as f};
use foldhash::fast::RandomState;
use jiff::Timestamp;
use keyward_audit::{BadReason, ErrorClass, Fact, LabelBook, MAX_MOUNTS, NO_MOUNT, OTHER, Operation, Outcome, RuleId, Severity};
use keyward_tail::Counters;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The figures of one audit log.
pub struct Counts {
    metrics: Metrics,
    node: String,
    known: Vec<String>,
    book: LabelBook,
    mounts: HashMap<String, Vec<Cells>, RandomState>,
    errors: [Series; ErrorClass::ALL.len()],
    lines: [Series; KINDS.len()],
    bad: [Series; BadReason::ALL.len()],
    findings: Findings,
}

/// The series of one mount and mount type, made when first needed.
struct Cells {
    mount_type: String,
    cells: [[Option<Series>; Outcome::ALL.len()]; Operation::ALL.len()],
}

/// The values of the label `kind`.
const KINDS: [&str; 3] = ["request", "response", "other"];

/// Figures at rest, so that they move with the place in the log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Saved {
    /// The first format.
    #[serde(rename = "1")]
    V1(SavedV1),
}

/// The first format of [`Saved`].
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedV1 {
    entries: Vec<SavedEntry>,
    errors: BTreeMap<String, f64>,
    lines: BTreeMap<String, f64>,
    bad: BTreeMap<String, f64>,
    /// By rule, then by severity.
    findings: BTreeMap<String, BTreeMap<String, u64>>,
    /// The time of the last entry.
    pub last_entry: Option<Timestamp>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedEntry {
    operation: String,
    mount: String,
    mount_type: String,
    result: String,
    count: f64,
}

impl Counts {
    /// The figures of this node: as they were at rest, or at zero. Whatever the registry held of the node before is forgotten, so
    /// that a task that is started again counts nothing twice.
    pub fn new(metrics: &Metrics, node: &str, saved: SavedV1) -> Self {
        for family in f::ALL.iter().filter(|family| family.name.starts_with("keyward_audit_")) {
            metrics.registry().retain(family, "node", |label| label != node);
        }
        let restored = |saved: &BTreeMap<String, f64>, family, label: &str| {
            let series = metrics.series(family, &[node, label]);
            series.set(saved.get(label).copied().unwrap_or_default());
            series
        };
        let mut counts = Self {
            errors: ErrorClass::ALL.map(|class| restored(&saved.errors, &f::AUDIT_ERRORS, class.label())),
            lines: KINDS.map(|kind| restored(&saved.lines, &f::AUDIT_LINES, kind)),
            bad: BadReason::ALL.map(|reason| restored(&saved.bad, &f::AUDIT_BAD_LINES, reason.label())),
            findings: Findings::new(metrics, &saved.findings),
            metrics: metrics.clone(),
            node: node.to_owned(),
            known: Vec::new(),
            book: LabelBook::default(),
            mounts: HashMap::default(),
        };
        for gauge in [&f::AUDIT_LAST_ENTRY, &f::AUDIT_LAG_SECONDS, &f::AUDIT_LAG_BYTES, &f::AUDIT_READABLE] {
            metrics.series(gauge, &[node]);
        }
        counts.learn(saved.entries.iter().map(|entry| entry.mount.clone()));
        for entry in &saved.entries {
            counts.restore(entry);
        }
        for mount in [OTHER, NO_MOUNT] {
            counts.series(mount, mount, Operation::Read, Outcome::Ok);
        }
        counts.last_entry(saved.last_entry);
        counts.file(&Counters::default());
        counts
    }

    /// Mounts that the server has, with their types: each is there from now on, at zero.
    pub fn know(&mut self, mounts: &BTreeMap<String, String>) {
        self.learn(mounts.keys().cloned());
        for (mount, kind) in mounts {
            if self.known.contains(mount) {
                self.series(mount, LabelBook::type_label(kind), Operation::Read, Outcome::Ok);
            }
        }
    }

    /// One line's kind.
    pub fn line(&self, kind: &str) {
        let index = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1);
        if let Some(series) = self.lines.get(index) {
            series.inc();
        }
    }

    /// One line that is no entry.
    pub fn bad_line(&self, reason: BadReason) {
        if let Some(series) = self.bad.get(reason as usize) {
            series.inc();
        }
    }

    /// One call. Its mount is learnt if it is new: the server writes a mount only where it routed to one.
    pub fn call(&mut self, fact: &Fact<'_>) {
        let mut mount = self.book.mount_point(fact);
        if mount == OTHER && self.known.len() < MAX_MOUNTS {
            self.learn([format!("{}{}", fact.namespace, fact.mount_point)]);
            mount = self.book.mount_point(fact);
        }
        let mount_type = LabelBook::mount_type(fact);
        let at_hand = self.mounts.get(mount).and_then(|kinds| kinds.iter().find(|kind| kind.mount_type == mount_type));
        if let Some(series) = at_hand.and_then(|kind| kind.cells.get(fact.operation as usize)?.get(fact.outcome as usize)?.as_ref()) {
            series.inc();
        } else {
            let mount = mount.to_owned();
            self.series(&mount, mount_type, fact.operation, fact.outcome).inc();
        }
        if let Some(series) = fact.error.and_then(|class| self.errors.get(class as usize)) {
            series.inc();
        }
    }

    /// One finding.
    pub fn finding(&mut self, rule: RuleId, severity: Severity) {
        self.findings.count(rule, severity);
    }

    /// The time of the last entry.
    pub fn last_entry(&self, time: Option<Timestamp>) {
        self.gauge(&f::AUDIT_LAST_ENTRY, time.map_or(0.0, seconds));
    }

    /// How long after the last entry's own time it was counted.
    pub fn lag(&self, entry: Timestamp, counted: Timestamp) {
        self.gauge(&f::AUDIT_LAG_SECONDS, counted.duration_since(entry).as_secs_f64().max(0.0));
    }

    /// How many bytes are still to be read.
    pub fn behind(&self, bytes: u64) {
        self.gauge(&f::AUDIT_LAG_BYTES, as_float(bytes));
    }

    /// Whether the file can be read.
    pub fn readable(&self, readable: bool) {
        self.gauge(&f::AUDIT_READABLE, f64::from(u8::from(readable)));
    }

    /// What happened to the file, as the follower counts it.
    pub fn file(&self, counters: &Counters) {
        let counted =
            [(&f::AUDIT_ROTATIONS, counters.rotations), (&f::AUDIT_TRUNCATIONS, counters.truncations), (&f::AUDIT_GAPS, counters.gaps)];
        for (family, count) in counted {
            self.gauge(family, as_float(count));
        }
    }

    /// The process ends: what was counted stays on the page to the last.
    pub fn leave_standing(&mut self) {
        self.findings.added = Default::default();
    }

    /// These figures at rest.
    pub fn saved(&self, last_entry: Option<Timestamp>) -> Saved {
        let named = |labels: &[&'static str], series: &[Series]| {
            labels.iter().map(|l| (*l).to_owned()).zip(series.iter().map(Series::get)).collect()
        };
        Saved::V1(SavedV1 {
            entries: self.saved_entries(),
            errors: named(&ErrorClass::ALL.map(ErrorClass::label), &self.errors),
            lines: named(&KINDS, &self.lines),
            bad: named(&BadReason::ALL.map(BadReason::label), &self.bad),
            findings: self.findings.saved(),
            last_entry,
        })
    }

    fn saved_entries(&self) -> Vec<SavedEntry> {
        let mut entries = Vec::new();
        for (mount, kinds) in &self.mounts {
            for kind in kinds {
                for (operation, cells) in Operation::ALL.iter().zip(&kind.cells) {
                    for (outcome, series) in Outcome::ALL.iter().zip(cells) {
                        let Some(series) = series else { continue };
                        entries.push(SavedEntry {
                            operation: operation.label().to_owned(),
                            mount: mount.clone(),
                            mount_type: kind.mount_type.clone(),
                            result: outcome.label().to_owned(),
                            count: series.get(),
                        });
                    }
                }
            }
        }
        entries
    }

    fn restore(&mut self, entry: &SavedEntry) {
        let operation = Operation::ALL.into_iter().find(|o| o.label() == entry.operation).unwrap_or(Operation::Other);
        let Some(outcome) = Outcome::ALL.into_iter().find(|o| o.label() == entry.result) else { return };
        self.series(&entry.mount, &entry.mount_type, operation, outcome).set(entry.count);
    }

    fn series(&mut self, mount: &str, mount_type: &str, operation: Operation, outcome: Outcome) -> Series {
        let labels = [self.node.as_str(), operation.label(), mount, mount_type, outcome.label()];
        let series = self.metrics.series(&f::AUDIT_ENTRIES, &labels);
        let kinds = self.mounts.entry(mount.to_owned()).or_default();
        if !kinds.iter().any(|kind| kind.mount_type == mount_type) {
            kinds.push(Cells { mount_type: mount_type.to_owned(), cells: Default::default() });
        }
        let kind = kinds.iter_mut().find(|kind| kind.mount_type == mount_type);
        if let Some(cell) = kind.and_then(|kind| kind.cells.get_mut(operation as usize)?.get_mut(outcome as usize)) {
            *cell = Some(series.clone());
        }
        series
    }

    fn learn(&mut self, mounts: impl IntoIterator<Item = String>) {
        let before = self.known.len();
        for mount in mounts {
            let is_label = mount.is_empty() || mount == OTHER || mount == NO_MOUNT;
            if !is_label && self.known.len() < MAX_MOUNTS && !self.known.contains(&mount) {
                self.known.push(mount);
            }
        }
        if self.known.len() > before {
            self.book = LabelBook::new(self.known.iter().cloned());
        }
    }

    fn gauge(&self, family: &crate::metrics::registry::Family, value: f64) {
        self.metrics.set(family, &[&self.node], value);
    }
}

/// Findings, whose series all nodes share: what this node has added is known, and is taken back when it is followed no longer.
struct Findings {
    series: [[Series; Severity::ALL.len()]; RuleId::ALL.len()],
    added: [[u64; Severity::ALL.len()]; RuleId::ALL.len()],
}

impl Findings {
    fn new(metrics: &Metrics, saved: &BTreeMap<String, BTreeMap<String, u64>>) -> Self {
        let series = RuleId::ALL.map(|rule| Severity::ALL.map(|severity| metrics.series(&f::FINDINGS, &[rule.name(), severity.label()])));
        let added = RuleId::ALL.map(|rule| {
            Severity::ALL.map(|severity| saved.get(rule.name()).and_then(|s| s.get(severity.label())).copied().unwrap_or_default())
        });
        let all = Self { series, added };
        all.each(|series, added| series.add(as_float(added)));
        all
    }

    fn count(&mut self, rule: RuleId, severity: Severity) {
        let (rule, severity) = (rule as usize, severity as usize);
        if let Some(added) = self.added.get_mut(rule).and_then(|row| row.get_mut(severity)) {
            *added += 1;
        }
        if let Some(series) = self.series.get(rule).and_then(|row| row.get(severity)) {
            series.inc();
        }
    }

    fn saved(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let row = |row: &[u64; Severity::ALL.len()]| {
            let counted = Severity::ALL.into_iter().zip(row).filter(|(_, count)| **count > 0);
            counted.map(|(severity, count)| (severity.label().to_owned(), *count)).collect::<BTreeMap<_, _>>()
        };
        let rows = RuleId::ALL.into_iter().zip(&self.added).map(|(rule, counts)| (rule.name().to_owned(), row(counts)));
        rows.filter(|(_, counts)| !counts.is_empty()).collect()
    }

    fn each(&self, apply: impl Fn(&Series, u64)) {
        for (series, added) in self.series.iter().flatten().zip(self.added.iter().flatten()) {
            apply(series, *added);
        }
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        // Whoever follows the node next, in this process, adds what was committed.
        self.each(|series, added| series.add(-as_float(added)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
