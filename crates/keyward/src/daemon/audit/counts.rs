//! What was counted of one audit log, shown as metrics. The counting itself is `keyward-audit`'s, which knows no metrics.

use crate::metrics::registry::{BUCKETS, Series};
use crate::metrics::{Metrics, families as f};
use jiff::Timestamp;
use keyward_audit::{BadReason, ErrorClass, LATENCY_BOUNDS, LINE_KINDS, Operation, Outcome, Row, RuleId, Severity, Tally};
use keyward_tail::Counters;

/// The series of one audit log.
pub struct Counts {
    metrics: Metrics,
    node: String,
    /// By the tally's row, then by operation and outcome; made when first needed.
    rows: Vec<[[Option<Series>; Outcome::ALL.len()]; Operation::ALL.len()]>,
    latencies: Vec<Series>,
    errors: [Series; ErrorClass::ALL.len()],
    lines: [Series; LINE_KINDS.len()],
    bad: [Series; BadReason::ALL.len()],
    unmatched: [Series; 2],
    findings: Findings,
}

/// The registry's histograms have the tally's bounds.
const _: () = {
    let mut bound = 0;
    while bound < BUCKETS.len() {
        assert!(BUCKETS[bound].to_bits() == LATENCY_BOUNDS[bound].to_bits());
        bound += 1;
    }
};

impl Counts {
    /// The series of this node, at zero until something is shown. Whatever the registry held of the node before is forgotten, so that a
    /// task that is started again counts nothing twice.
    pub fn new(metrics: &Metrics, node: &str) -> Self {
        for family in f::ALL.iter().filter(|family| family.name.starts_with("keyward_audit_")) {
            metrics.registry().retain(family, "node", |label| label != node);
        }
        for gauge in [&f::AUDIT_LAST_ENTRY, &f::AUDIT_LAG_SECONDS, &f::AUDIT_LAG_BYTES, &f::AUDIT_READABLE, &f::AUDIT_CANARY_LAG] {
            metrics.series(gauge, &[node]);
        }
        let counts = Self {
            rows: Vec::new(),
            latencies: Vec::new(),
            errors: ErrorClass::ALL.map(|class| metrics.series(&f::AUDIT_ERRORS, &[node, class.label()])),
            lines: LINE_KINDS.map(|kind| metrics.series(&f::AUDIT_LINES, &[node, kind])),
            bad: BadReason::ALL.map(|reason| metrics.series(&f::AUDIT_BAD_LINES, &[node, reason.label()])),
            unmatched: ["request", "response"].map(|kind| metrics.series(&f::AUDIT_UNMATCHED, &[node, kind])),
            findings: Findings::new(metrics),
            metrics: metrics.clone(),
            node: node.to_owned(),
        };
        counts.file(&Counters::default());
        counts
    }

    /// Shows what was counted. Costs what has changed, not what there is.
    pub fn show(&mut self, tally: &mut Tally) {
        for (number, row) in tally.changed_rows() {
            if self.rows.len() <= number {
                self.rows.resize_with(number + 1, Default::default);
            }
            if let Some(cells) = self.rows.get_mut(number) {
                show_row(&self.metrics, &self.node, row, cells);
            }
        }
        for (mount_type, _) in tally.latencies().iter().skip(self.latencies.len()) {
            self.latencies.push(self.metrics.series(&f::AUDIT_SECONDS, &[&self.node, mount_type]));
        }
        for (series, (_, latency)) in self.latencies.iter().zip(tally.latencies()) {
            series.set_histogram(&latency.buckets, latency.count, latency.seconds());
        }
        set_all(&self.errors, tally.errors());
        set_all(&self.lines, tally.lines());
        set_all(&self.bad, tally.bad());
        set_all(&self.unmatched, &[tally.unmatched_requests(), tally.unmatched_responses()]);
        self.findings.show(tally.findings());
        self.gauge(&f::AUDIT_LAST_ENTRY, tally.last_entry().map_or(0.0, seconds));
    }

    /// How long after the last entry's own time it was counted.
    pub fn lag(&self, entry: Timestamp, counted: Timestamp) {
        self.gauge(&f::AUDIT_LAG_SECONDS, counted.duration_since(entry).as_secs_f64().max(0.0));
    }

    /// How long after it was sent a canary was found.
    pub fn canary(&self, lag: std::time::Duration) {
        self.gauge(&f::AUDIT_CANARY_LAG, lag.as_secs_f64());
        self.metrics.inc(&f::AUDIT_CANARIES_FOUND, &[&self.node]);
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
        self.findings.shown = Default::default();
    }

    fn gauge(&self, family: &crate::metrics::registry::Family, value: f64) {
        self.metrics.set(family, &[&self.node], value);
    }
}

/// A mount's cells that are not zero; its reads are there from the start.
fn show_row(metrics: &Metrics, node: &str, row: &Row, cells: &mut [[Option<Series>; Outcome::ALL.len()]; Operation::ALL.len()]) {
    for ((operation, counts), cells) in Operation::ALL.into_iter().zip(&row.cells).zip(cells) {
        for ((outcome, count), cell) in Outcome::ALL.into_iter().zip(counts).zip(cells) {
            let from_the_start = (operation, outcome) == (Operation::Read, Outcome::Ok);
            if *count > 0 || from_the_start {
                let labels = [node, operation.label(), &row.mount, row.mount_type, outcome.label()];
                cell.get_or_insert_with(|| metrics.series(&f::AUDIT_ENTRIES, &labels)).set(as_float(*count));
            }
        }
    }
}

fn set_all(series: &[Series], counts: &[u64]) {
    for (series, count) in series.iter().zip(counts) {
        series.set(as_float(*count));
    }
}

/// Findings, whose series all nodes share: what this node has added is known, and is taken back when it is followed no longer.
struct Findings {
    series: [[Series; Severity::ALL.len()]; RuleId::ALL.len()],
    shown: [[u64; Severity::ALL.len()]; RuleId::ALL.len()],
}

impl Findings {
    fn new(metrics: &Metrics) -> Self {
        let series = RuleId::ALL.map(|rule| Severity::ALL.map(|severity| metrics.series(&f::FINDINGS, &[rule.name(), severity.label()])));
        Self { series, shown: Default::default() }
    }

    fn show(&mut self, findings: &[[u64; Severity::ALL.len()]; RuleId::ALL.len()]) {
        if self.shown == *findings {
            return;
        }
        for ((series, shown), count) in self.series.iter().flatten().zip(self.shown.iter().flatten()).zip(findings.iter().flatten()) {
            series.add(as_float(*count) - as_float(*shown));
        }
        self.shown = *findings;
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        // Whoever follows the node next, in this process, adds what was committed.
        for (series, shown) in self.series.iter().flatten().zip(self.shown.iter().flatten()) {
            series.add(-as_float(*shown));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
