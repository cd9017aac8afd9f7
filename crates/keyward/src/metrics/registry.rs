//! A registry keyed by the real label values.
//!
//! The vectors of the `prometheus` crate key a series by a hash over the label values joined without a separator and
//! never compared, so that distinct label sets can share one series. Here a series is its labels; `prometheus` renders.

use prometheus::proto;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The upper bounds of every histogram, in seconds.
pub const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Beyond so many series of one family, new label sets fall into one series whose every label is `other`.
pub const MOST_SERIES: usize = 10_000;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only ever goes up.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts observations by [`BUCKETS`].
    Histogram,
}

/// The description of a family: one constant each in `families.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// With prefix and unit.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Its type.
    pub kind: Type,
    /// The labels' names.
    pub labels: &'static [&'static str],
}

/// One series; cheap to keep and to add to.
#[derive(Clone, Debug)]
pub struct Series(Arc<Cells>);

#[derive(Debug)]
enum Cells {
    /// A counter's or gauge's value as the bits of an `f64`.
    Value(AtomicU64),
    Histogram {
        buckets: [AtomicU64; BUCKETS.len()],
        count: AtomicU64,
        sum: AtomicU64,
    },
}

impl Series {
    fn new(kind: Type) -> Self {
        Self(Arc::new(match kind {
            Type::Counter | Type::Gauge => Cells::Value(AtomicU64::new(0)),
            Type::Histogram => Cells::Histogram { buckets: Default::default(), count: AtomicU64::new(0), sum: AtomicU64::new(0) },
        }))
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Adds; to a histogram, observes.
    pub fn add(&self, amount: f64) {
        match self.0.as_ref() {
            Cells::Value(cell) => add_to(cell, amount),
            Cells::Histogram { buckets, count, sum } => {
                if let Some(bucket) = BUCKETS.iter().position(|bound| amount <= *bound).and_then(|i| buckets.get(i)) {
                    bucket.fetch_add(1, Ordering::Relaxed);
                }
                count.fetch_add(1, Ordering::Relaxed);
                add_to(sum, amount);
            }
        }
    }

    /// Sets a gauge (or restores a counter from its checkpoint).
    pub fn set(&self, value: f64) {
        if let Cells::Value(cell) = self.0.as_ref() {
            cell.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Sets a histogram to what was counted elsewhere: `below` holds, for each of [`BUCKETS`], how many fell below it and above the
    /// bound before it.
    pub fn set_histogram(&self, below: &[u64; BUCKETS.len()], count: u64, sum: f64) {
        if let Cells::Histogram { buckets, count: all, sum: total } = self.0.as_ref() {
            for (cell, below) in buckets.iter().zip(below) {
                cell.store(*below, Ordering::Relaxed);
            }
            all.store(count, Ordering::Relaxed);
            total.store(sum.to_bits(), Ordering::Relaxed);
        }
    }

    /// A counter's or gauge's value; a histogram's count.
    pub fn get(&self) -> f64 {
        match self.0.as_ref() {
            Cells::Value(cell) => f64::from_bits(cell.load(Ordering::Relaxed)),
            #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is out of reach")]
            Cells::Histogram { count, .. } => count.load(Ordering::Relaxed) as f64,
        }
    }

    fn to_proto(&self) -> proto::Metric {
        let mut metric = proto::Metric::default();
        match self.0.as_ref() {
            Cells::Value(_) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(self.get());
                metric.set_gauge(gauge);
                let mut counter = proto::Counter::default();
                counter.set_value(self.get());
                metric.set_counter(counter);
            }
            Cells::Histogram { buckets, count, sum } => {
                let mut below = 0;
                let mut histogram = proto::Histogram::default();
                let mut all = Vec::with_capacity(buckets.len());
                for (bound, cell) in BUCKETS.iter().zip(buckets) {
                    below += cell.load(Ordering::Relaxed);
                    let mut bucket = proto::Bucket::default();
                    bucket.set_upper_bound(*bound);
                    bucket.set_cumulative_count(below);
                    all.push(bucket);
                }
                histogram.set_bucket(all);
                histogram.set_sample_count(count.load(Ordering::Relaxed));
                histogram.set_sample_sum(f64::from_bits(sum.load(Ordering::Relaxed)));
                metric.set_histogram(histogram);
            }
        }
        metric
    }
}

fn add_to(cell: &AtomicU64, amount: f64) {
    let mut seen = cell.load(Ordering::Relaxed);
    while let Err(now) = cell.compare_exchange_weak(seen, (f64::from_bits(seen) + amount).to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
        seen = now;
    }
}

type SeriesMap = BTreeMap<Vec<String>, Series>;

/// All families and their series.
#[derive(Debug, Default)]
pub struct Registry {
    families: RwLock<BTreeMap<&'static str, (Family, SeriesMap)>>,
}

impl Registry {
    /// The series with these label values, made at zero if it is new. Keep it where it is used often.
    pub fn series(&self, family: &Family, labels: &[&str]) -> Series {
        let key: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        {
            let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(series) = families.get(family.name).and_then(|(_, map)| map.get(&key)) {
                return series.clone();
            }
        }
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        let (_, map) = families.entry(family.name).or_insert_with(|| (*family, SeriesMap::new()));
        let key = if map.len() < MOST_SERIES || map.contains_key(&key) { key } else { vec!["other".to_owned(); key.len()] };
        map.entry(key).or_insert_with(|| Series::new(family.kind)).clone()
    }

    /// Whether there is no series with these label values yet.
    pub fn is_new(&self, family: &Family, labels: &[&str]) -> bool {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        let same = |key: &Vec<String>| key.iter().map(String::as_str).eq(labels.iter().copied());
        families.get(family.name).is_none_or(|(_, map)| !map.keys().any(same))
    }

    /// Makes a family known although it has no series yet, so that its name exists from the start.
    pub fn declare(&self, family: &Family) {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        families.entry(family.name).or_insert_with(|| (*family, SeriesMap::new()));
    }

    /// Forgets series whose label `label` has a value that `keep` refuses (a secret that is configured no more).
    pub fn retain(&self, family: &Family, label: &str, keep: impl Fn(&str) -> bool) {
        let Some(at) = family.labels.iter().position(|l| *l == label) else { return };
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, map)) = families.get_mut(family.name) {
            map.retain(|labels, _| labels.get(at).is_none_or(|value| keep(value)));
        }
    }

    /// The label values and value of every series of a family: for checkpoints.
    pub fn snapshot(&self, family: &Family) -> Vec<(Vec<String>, f64)> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.get(family.name).map(|(_, map)| map.iter().map(|(k, s)| (k.clone(), s.get())).collect()).unwrap_or_default()
    }

    /// Every family in the form that `prometheus` renders.
    pub fn gather(&self) -> Vec<proto::MetricFamily> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.values().filter(|(_, map)| !map.is_empty()).map(|(family, map)| to_proto(family, map)).collect()
    }

    /// The names of all families: for the check of dashboards and rules.
    pub fn names(&self) -> Vec<(&'static str, Type)> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.values().map(|(family, _)| (family.name, family.kind)).collect()
    }
}

fn to_proto(family: &Family, map: &SeriesMap) -> proto::MetricFamily {
    let mut out = proto::MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(match family.kind {
        Type::Counter => proto::MetricType::COUNTER,
        Type::Gauge => proto::MetricType::GAUGE,
        Type::Histogram => proto::MetricType::HISTOGRAM,
    });
    let metrics = map.iter().map(|(values, series)| {
        let mut metric = series.to_proto();
        let pairs = family.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.clone());
            pair
        });
        metric.set_label(pairs.collect());
        metric
    });
    out.set_metric(metrics.collect());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    const THREE: Family = Family { name: "t_total", help: "Test.", kind: Type::Counter, labels: &["mount", "op"] };
    const TIMES: Family = Family { name: "t_seconds", help: "Test.", kind: Type::Histogram, labels: &[] };

    fn text(registry: &Registry) -> String {
        let mut out = Vec::new();
        assert!(TextEncoder::new().encode(&registry.gather(), &mut out).is_ok());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn label_sets_whose_values_join_alike_stay_apart() {
        let registry = Registry::default();
        for labels in [["kv", "read"], ["kvr", "ead"], ["", "kvread"]] {
            registry.series(&THREE, &labels).inc();
        }
        let page = text(&registry);
        assert_eq!(page.matches(" 1\n").count(), 3, "{page}");
    }

    #[test]
    fn a_histogram_counts_below_each_bound() {
        let registry = Registry::default();
        let series = registry.series(&TIMES, &[]);
        for seconds in [0.004, 0.3, 500.0] {
            series.add(seconds);
        }
        let page = text(&registry);
        assert!(page.contains("t_seconds_bucket{le=\"0.005\"} 1"), "{page}");
        assert!(page.contains("t_seconds_bucket{le=\"0.5\"} 2"), "{page}");
        assert!(page.contains("t_seconds_bucket{le=\"+Inf\"} 3"), "{page}");
        assert!(page.contains("t_seconds_count 3"), "{page}");
    }

    #[test]
    fn a_family_is_bounded() {
        let registry = Registry::default();
        for i in 0..MOST_SERIES + 5 {
            registry.series(&THREE, &["m", &i.to_string()]).inc();
        }
        assert_eq!(registry.snapshot(&THREE).len(), MOST_SERIES + 1);
        let others = registry.snapshot(&THREE).into_iter().find(|(labels, _)| labels[0] == "other");
        assert_eq!(others.map(|(_, v)| v), Some(5.0));
    }
}
