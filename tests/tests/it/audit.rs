//! The audit log counted to the line: three renames with SIGHUP and a restart of the daemon under a counted workload.

use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// Calls of the workload: each leaves two lines.
const CALLS: u64 = 10_000;
const WORKERS: u64 = 4;
const LONG: Duration = Duration::from_mins(2);

/// The sum of the workload's mount for one operation and result.
fn counted(shop: &Shop<'_>, mount: &str, operation: &str, result: &str) -> Option<u64> {
    let (_, page) = shop.http("/metrics").ok()?;
    let wanted = [format!("operation=\"{operation}\""), format!("mount=\"{mount}/\""), format!("result=\"{result}\"")];
    let lines = page.lines().filter(|l| l.starts_with("keyward_audit_entries_total{") && wanted.iter().all(|w| l.contains(w)));
    lines.map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_counted_workload_is_counted_exactly() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    // Mounted here, so that nobody reads it but the workload.
    let mount = keyward_harness::unique("counted");
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "kv", "options": { "version": "2" } }))).unwrap();
    let write = || vault.api("POST", &format!("{mount}/data/it"), Some(json!({ "data": { "k": "v" } })));
    wait_until("the mount", LONG, || write().ok().filter(|(status, _)| *status == 200));
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let phase = |reads: u64| {
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    for _ in 0..reads / WORKERS {
                        assert_eq!(vault.api("GET", &format!("{mount}/data/it"), None).unwrap().0, 200);
                    }
                });
            }
        });
    };
    let mut daemon = Some(daemon);
    for turn in 0..4 {
        phase(CALLS / 4);
        if turn < 3 {
            fs::rename(&vault.audit_log, vault.audit_log.with_extension(format!("log.{}", 3 - turn))).unwrap();
            vault.reopen_audit().unwrap();
        }
        if turn == 1 {
            drop(daemon.take()); // stopped in the middle; the next two phases begin while nobody follows
            phase(CALLS / 10);
            daemon = Some(shop.serve().unwrap());
        }
    }
    let reads = CALLS + CALLS / 10;
    let _ = wait_until_counted(&shop, &mount, reads);
    assert_eq!(counted(&shop, &mount, "read", "ok"), Some(reads), "every read once, none twice");
}

/// Waits until the reads are there, or until the count stands still short of them.
fn wait_until_counted(shop: &Shop<'_>, mount: &str, reads: u64) -> Option<u64> {
    let mut last = None;
    wait_until("the workload's lines to be counted", LONG, || {
        last = counted(shop, mount, "read", "ok");
        last.filter(|seen| *seen >= reads)
    });
    last
}
