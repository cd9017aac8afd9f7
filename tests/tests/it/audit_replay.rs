//! A dry run over the archived log comes to what the daemon counted live.

use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(2);

/// Every series of a metric that is not zero, by these labels, node apart.
pub fn series(page: &str, metric: &str, labels: &[&str]) -> BTreeMap<Vec<String>, u64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} "));
    let label = |of: &str, name: &str| {
        let (_, rest) = of.split_once(&format!("{name}=\""))?;
        let (mut value, mut rest) = (String::new(), rest.chars());
        loop {
            match rest.next()? {
                '"' => return Some(value),
                '\\' => value.push(rest.next()?),
                plain => value.push(plain),
            }
        }
    };
    let counted =
        lines.filter_map(|(of, count)| Some((labels.iter().map(|name| label(of, name)).collect::<Option<_>>()?, count.parse().ok()?)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// The same from the dry run.
fn entries(replayed: &Value, labels: &[&str]) -> BTreeMap<Vec<String>, u64> {
    let entry = |entry: &Value| {
        let key = labels.iter().map(|label| entry[*label].as_str().unwrap().to_owned()).collect();
        (key, entry["count"].as_u64().unwrap())
    };
    replayed["entries"].as_array().unwrap().iter().map(entry).collect()
}

/// `{label: count}` as series.
fn named(counts: &Value) -> BTreeMap<Vec<String>, u64> {
    counts.as_object().unwrap().iter().map(|(label, count)| (vec![label.clone()], count.as_u64().unwrap())).collect()
}

/// Waits until the daemon has read these files to their end, and more; how many lines they have.
pub fn wait_until_read(shop: &Shop<'_>, archived: &[PathBuf]) -> u64 {
    let lines = archived.iter().map(|file| fs::read_to_string(file).unwrap().lines().count() as u64).sum();
    let counted = |page: &str| series(page, "keyward_audit_lines_total", &["kind"]).values().sum::<u64>();
    wait_until("the archived files to be read", LONG, || shop.http("/metrics").ok().filter(|(_, page)| counted(page) > lines));
    lines
}

/// A page of metrics and what a dry run says over the same lines: those of the archived files, and of the present one as far as the daemon
/// had come. The two are the same.
///
/// The daemon goes on calling Vault, so that a page belongs to so many lines and no more; one that was drawn in the middle of a look at
/// the file belongs to none.
pub fn live_and_replayed(shop: &Shop<'_>, archived: &[PathBuf], lines_before: u64) -> (String, Value) {
    let present = shop.path("present.log");
    let (page, replayed) = wait_until("a page that was drawn between two looks", LONG, || {
        let page = shop.http("/metrics").ok()?.1;
        let rest = series(&page, "keyward_audit_lines_total", &["kind"]).values().sum::<u64>().checked_sub(lines_before)?;
        let text = fs::read_to_string(&shop.vault.audit_log).unwrap();
        let text: Vec<&str> = text.split_inclusive('\n').take(usize::try_from(rest).unwrap()).collect();
        fs::write(&present, text.concat()).unwrap();
        let files: Vec<&str> = archived.iter().chain([&present]).map(|file| file.to_str().unwrap()).collect();
        let out = shop.must(&[&["audit", "replay", "--output", "json"], &files[..]].concat()).unwrap();
        let replayed: Value = serde_json::from_str(&out).unwrap();
        (series(&page, "keyward_audit_lines_total", &["kind"]) == named(&replayed["lines"])).then_some((page, replayed))
    });
    let labels = ["operation", "mount", "mount_type", "result"];
    assert_eq!(series(&page, "keyward_audit_entries_total", &labels), entries(&replayed, &labels));
    assert_eq!(series(&page, "keyward_audit_errors_total", &["reason"]), named(&replayed["errors"]));
    assert_eq!(series(&page, "keyward_audit_bad_lines_total", &["reason"]), named(&replayed["bad_lines"]));
    (page, replayed)
}

/// Calls of every kind that a rule or a label tells apart.
fn work(vault: &VaultServer, mount: &str, secret: &str) {
    for n in 0..60 {
        let path = format!("{mount}/data/it/{}", n % 7);
        vault.api("POST", &path, Some(json!({ "data": { "k": n.to_string() } }))).unwrap();
        vault.api("GET", &path, None).unwrap();
        vault.api_as("hvs.wrong", "GET", &path, None).unwrap();
        vault.api("LIST", &format!("{mount}/metadata/it"), None).unwrap();
    }
    vault
        .api("POST", &format!("sys/policies/acl/{mount}"), Some(json!({ "policy": "path \"none/*\" { capabilities = [\"read\"] }" })))
        .unwrap();
    vault.api("GET", secret, None).unwrap();
    vault.api("GET", "no-such-mount/x", None).unwrap();
    vault.api("POST", &format!("{mount}/data/it/0"), Some(json!({ "data": {}, "options": { "cas": 1 } }))).unwrap();
    vault.api("DELETE", &format!("{mount}/data/it/1"), None).unwrap();
    vault.api("POST", "auth/token/create-orphan", Some(json!({ "ttl": "1m" }))).unwrap();
}

#[test]
fn live_counters_equal_a_dry_run_over_the_same_files() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let mount = keyward_harness::unique("replayed");
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "kv", "options": { "version": "2" } }))).unwrap();
    let probe = || vault.api("GET", &format!("{mount}/data/it/0"), None).ok().filter(|(status, _)| *status == 404);
    wait_until("the mount", LONG, probe);
    let _daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let secret = format!("{}/data/shop/database", shop.kv);
    let archived: Vec<_> = ["2.gz", "1"].map(|end| vault.audit_log.with_extension(format!("log.{end}"))).into();
    work(&vault, &mount, &secret);
    let first = vault.audit_log.with_extension("log.2");
    fs::rename(&vault.audit_log, &first).unwrap();
    vault.reopen_audit().unwrap();
    work(&vault, &mount, &secret);
    fs::rename(&vault.audit_log, &archived[1]).unwrap();
    vault.reopen_audit().unwrap();
    work(&vault, &mount, &secret);
    let lines_before = wait_until_read(&shop, &[first.clone(), archived[1].clone()]);
    assert!(Command::new("gzip").arg(&first).status().unwrap().success());
    let (page, replayed) = live_and_replayed(&shop, &archived, lines_before);
    let live = series(&page, "keyward_findings_total", &["rule"]);
    for rule in ["root-token-used", "policy-changed", "orphan-token-created", "enumeration", "mass-read", "mount-changed", "denied-burst"] {
        let dry: u64 = replayed["findings_total"][rule].as_object().map_or(0, |by| by.values().map(|n| n.as_u64().unwrap()).sum());
        assert_eq!(live.get(&vec![rule.to_owned()]).copied().unwrap_or(0), dry, "{rule}");
    }
    assert!(live.contains_key(&vec!["policy-changed".to_owned()]), "{live:?}");
}

#[test]
fn rules_of_a_file_are_tried_without_touching_anything() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let line = |n: usize| {
        let time = format!("2026-03-02T09:15:{:02}Z", n % 60);
        json!({ "time": time, "type": "response", "auth": { "display_name": "token-bob", "policies": ["p"], "policy_results": { "allowed": true } },
                "request": { "id": n.to_string(), "operation": "read", "path": format!("secret/data/{n}"), "mount_point": "secret/", "mount_type": "kv", "remote_address": "10.0.0.1" },
                "response": {} })
    };
    let log: String = (0..40).map(|n| format!("{}\n", line(n))).collect();
    let (archive, rules) = (shop.path("made-up.log"), shop.path("rules.toml"));
    fs::write(&archive, format!("{log}torn")).unwrap();
    fs::write(&rules, "[[audit.rule]]\nname = \"mass-read\"\nthreshold = 30\nquiet = \"00:00-24:00\"\n").unwrap();
    let archive = archive.to_str().unwrap();
    let out = shop.must(&["audit", "replay", archive]).unwrap();
    assert!(out.contains("40 lines, and it ends in the middle of one") && out.contains("No rule would have spoken."), "{out}");
    let out = shop.must(&["audit", "replay", archive, "--rules", rules.to_str().unwrap()]).unwrap();
    assert!(out.contains("mass-read: somebody reads many secrets") && out.contains("(in quiet hours)"), "{out}");
    fs::write(&rules, "[[audit.rule]]\nname = \"mass-read\"\nhours = \"00:00-24:00\"\n").unwrap();
    let refused = shop.run(&["audit", "replay", archive, "--rules", rules.to_str().unwrap()]).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("rules.toml:2") && error.contains("access-off-hours"), "{error}");
    let missing = shop.run(&["audit", "replay", "/no/such/file"]).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/file"));
    let page = shop.must(&["audit", "explain", "mass-read"]).unwrap();
    assert!(page.contains("## What can fool it") && page.contains("threshold = 200"), "{page}");
}
