//! The metrics page: a registry keyed by real label values, rendered by `prometheus`, beside the process's own figures.

pub mod families;
pub mod registry;

use families as f;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, TextEncoder};
use registry::{Family, Registry, Series};
use std::sync::Arc;

/// The daemon's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self { registry: Arc::default() };
        for family in f::ALL {
            metrics.registry.declare(family);
            if family.labels.is_empty() {
                metrics.series(family, &[]);
            }
        }
        metrics
    }
}

impl Metrics {
    /// A series, made at zero if it is new.
    pub fn series(&self, family: &Family, labels: &[&str]) -> Series {
        self.registry.series(family, labels)
    }

    /// Sets a gauge.
    pub fn set(&self, family: &Family, labels: &[&str], value: f64) {
        self.series(family, labels).set(value);
    }

    /// Counts one.
    pub fn inc(&self, family: &Family, labels: &[&str]) {
        self.series(family, labels).inc();
    }

    /// Makes exactly one of `states` 1 for the given leading labels, the others 0.
    pub fn one_of(&self, family: &Family, leading: &[&str], states: &[&str], is: &str) {
        for state in states {
            let labels: Vec<&str> = leading.iter().copied().chain([*state]).collect();
            self.set(family, &labels, f64::from(u8::from(*state == is)));
        }
    }

    /// The registry, for checkpoints.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The page in Prometheus's text format, version 0.0.4.
    pub fn page(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(ProcessCollector::for_self().collect());
        let mut page = Vec::new();
        match TextEncoder::new().encode(&families, &mut page) {
            Ok(()) => String::from_utf8_lossy(&page).into_owned(),
            Err(error) => format!("# the metrics could not be rendered: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_the_prefix_a_unit_and_a_sentence() {
        for family in f::ALL {
            assert!(family.name.starts_with("keyward_"), "{}", family.name);
            assert_eq!(family.kind == registry::Type::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}: {}", family.name, family.help);
        }
    }

    #[test]
    fn what_has_no_labels_is_there_from_the_start() {
        let page = Metrics::default().page();
        assert!(page.contains("\nkeyward_ready 0\n"), "{page}");
        assert!(page.contains("process_resident_memory_bytes"), "{page}");
    }
}
