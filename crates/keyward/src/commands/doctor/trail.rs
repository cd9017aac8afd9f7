//! The audit logs as they are used: whether Vault writes into the ones that are configured, and whether their disks have room.

use crate::commands::check::report::Finding;
use crate::commands::check::trouble::Trouble;
use crate::config::VaultConfig;
use crate::daemon::watch::free_disk;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a line may take from Vault's answer to this machine's file.
const ARRIVAL: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
/// Below this share of free space somebody has to look.
const FEW: f64 = 0.10;
/// Below this share, at once.
const NONE: f64 = 0.03;

/// The configured audit logs that can be measured, with their lengths.
pub fn lengths(config: &VaultConfig) -> Vec<(PathBuf, u64)> {
    let logs = config.nodes.iter().filter_map(|node| node.audit_log.clone());
    logs.filter_map(|log| Some((log.clone(), std::fs::metadata(log).ok()?.len()))).collect()
}

/// Whether any of them has grown by the calls that were made since. A standby's own log grows by nothing.
pub async fn grown(before: &[(PathBuf, u64)]) -> Vec<Finding> {
    if before.is_empty() {
        return Vec::new();
    }
    let has_grown = |(log, length): &(PathBuf, u64)| std::fs::metadata(log).is_ok_and(|m| m.len() != *length);
    let began = Instant::now();
    loop {
        if before.iter().any(has_grown) {
            return vec![Finding::well("calls to Vault leave lines in the configured audit log")];
        }
        if began.elapsed() > ARRIVAL {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let logs: Vec<String> = before.iter().map(|(log, _)| log.display().to_string()).collect();
    vec![Finding::wrong(format!("calls to Vault leave no line in {}", logs.join(", "))).is(Trouble::AuditLogSilent)]
}

/// The room on the disks of the audit logs.
pub fn disks(config: &VaultConfig) -> Vec<Finding> {
    let logs = config.nodes.iter().filter_map(|node| Some((&node.name, node.audit_log.as_ref()?)));
    // Where it cannot be measured, the log itself is the trouble, and was told.
    logs.filter_map(|(node, log)| Some(room(node, &log.display().to_string(), free_disk(log).ok()?))).collect()
}

fn room(node: &str, log: &str, free: f64) -> Finding {
    let says = format!("{:.0} % of the disk with the audit log of {node}, {log}, are free", free * 100.0);
    if free < NONE {
        Finding::wrong(says).is(Trouble::AuditDiskFull)
    } else if free < FEW {
        Finding::warning(says).is(Trouble::AuditDiskFull)
    } else {
        Finding::well(says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Mark;

    #[test]
    fn a_disk_that_fills_is_first_a_warning() {
        let marks = [0.5, 0.09, 0.02].map(|free| room("n", "/log", free).mark);
        assert_eq!(marks, [Mark::Well, Mark::Warning, Mark::Wrong]);
    }
}
