//! The server's own settings, as it tells them (`sys/config/state/sanitized`): storage, listeners, redirects, metrics.

use super::unasked;
use crate::commands::check::report::Finding;
use crate::commands::check::server::resolves;
use crate::commands::check::trouble::Trouble;
use crate::config::show_duration;
use keyward_vault::Client;
use serde_json::{Map, Value};
use std::time::Duration;

const PATH: &str = "sys/config/state/sanitized";

/// Asks and judges.
pub async fn look(client: &Client, scrape_interval: Duration) -> Vec<Finding> {
    let settings = match client.object(PATH).await {
        Ok(Some(settings)) => settings,
        Ok(None) => return vec![Finding::unknown("this server does not tell its settings")],
        Err(error) => return vec![unasked("the server's settings", &error, PATH, &["read"])],
    };
    let mut findings = judge(&settings, scrape_interval);
    let address = settings.get("api_addr").and_then(Value::as_str).unwrap_or_default();
    if !address.is_empty() {
        findings.push(redirect(address, resolves(address).await));
    }
    findings
}

fn redirect(address: &str, resolves: bool) -> Finding {
    if resolves {
        Finding::well(format!("others are sent to {address}, whose host has an entry"))
    } else {
        Finding::warning(format!("the server sends others to {address} (api_addr), whose host has no entry here"))
            .is(Trouble::RedirectUnresolved)
    }
}

fn judge(settings: &Map<String, Value>, scrape_interval: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let storage = settings.get("storage").and_then(|s| s.get("type")).and_then(Value::as_str).unwrap_or_default();
    if matches!(storage, "file" | "inmem" | "inmem_ha") {
        findings.push(
            Finding::warning(format!("the storage is of type {storage}: one copy, and no snapshots")).is(Trouble::StorageWithoutSnapshot),
        );
    } else if !storage.is_empty() {
        findings.push(Finding::well(format!("the storage is of type {storage}")));
    }
    for listener in settings.get("listeners").and_then(Value::as_array).into_iter().flatten() {
        let Some(config) = listener.get("config") else { continue };
        if config.get("tls_disable").is_some_and(is_yes) {
            let address = config.get("address").and_then(Value::as_str).unwrap_or("?");
            findings.push(Finding::warning(format!("the listener {address} is without TLS")).is(Trouble::TlsOff));
        }
    }
    findings.extend(metrics(settings, scrape_interval));
    findings
}

/// As server files write it: `true`, `1`, `"1"`, `"true"`.
fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => matches!(text.to_lowercase().as_str(), "1" | "true" | "t" | "yes"),
        _ => false,
    }
}

fn metrics(settings: &Map<String, Value>, scrape_interval: Duration) -> Option<Finding> {
    let nanoseconds = settings.get("telemetry")?.get("prometheus_retention_time")?.as_u64()?;
    let retention = Duration::from_nanos(nanoseconds);
    Some(if retention.is_zero() {
        Finding::warning("the server keeps no metrics for Prometheus").is(Trouble::MetricsOff)
    } else if retention < scrape_interval * 2 {
        let says = format!("metrics are kept for {}, and scraped every {}", show_duration(retention), show_duration(scrape_interval));
        Finding::warning(says).is(Trouble::MetricsRetention)
    } else {
        Finding::well(format!("metrics are kept for {}", show_duration(retention)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn troubles(settings: Value) -> Vec<Trouble> {
        let Value::Object(settings) = settings else { return Vec::new() };
        judge(&settings, Duration::from_secs(30)).into_iter().filter_map(|f| f.trouble).collect()
    }

    #[test]
    fn each_setting_is_its_own_trouble() {
        let well = json!({
            "storage": {"type": "raft"}, "telemetry": {"prometheus_retention_time": 3_600_000_000_000_u64},
            "listeners": [{"config": {"address": "127.0.0.1:8200", "tls_disable": "0"}}],
        });
        assert_eq!(troubles(well), []);
        for (one, expected) in [
            (json!({"storage": {"type": "file"}}), Trouble::StorageWithoutSnapshot),
            (json!({"listeners": [{"config": {"address": "x", "tls_disable": 1}}]}), Trouble::TlsOff),
            (json!({"listeners": [{"config": {"address": "x", "tls_disable": "true"}}]}), Trouble::TlsOff),
            (json!({"telemetry": {"prometheus_retention_time": 0}}), Trouble::MetricsOff),
            (json!({"telemetry": {"prometheus_retention_time": 30_000_000_000_u64}}), Trouble::MetricsRetention),
        ] {
            assert_eq!(troubles(one), [expected]);
        }
    }
}
