//! The evidence over a real log, and the canary that listens whether the log speaks.

use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, servers, wait_until};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(2);

/// A shop whose daemon keeps evidence, has it signed every second, and lets a canary fly every second.
fn shop(vault: &VaultServer) -> Shop<'_> {
    vault.must("POST", "sys/mounts/transit", Some(json!({ "type": "transit" }))).unwrap();
    wait_until("the transit engine", LONG, || {
        vault.api("POST", "transit/keys/keyward-audit", Some(json!({ "type": "ed25519" }))).ok().filter(|(status, _)| *status < 300)
    });
    let shop = Shop::open(vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let config = fs::read_to_string(&shop.config).unwrap();
    let audit = "[audit]\ncanary = \"1s\"\n\n[audit.evidence]\nsign = \"transit/keyward-audit\"\nsign_every = \"1s\"\n";
    fs::write(&shop.config, format!("{config}\n{audit}")).unwrap();
    shop
}

fn verify(shop: &Shop<'_>, files: &[PathBuf]) -> (Option<i32>, Value) {
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let output = shop.run(&[&["audit", "verify", "--output", "json"], &files[..]].concat()).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verified = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), verified)
}

fn work(vault: &VaultServer) {
    for _ in 0..700 {
        assert_eq!(vault.api("GET", "sys/internal/ui/mounts/transit", None).unwrap().0, 200);
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn gzip(path: &Path) -> PathBuf {
    assert!(Command::new("gzip").arg(path).status().unwrap().success());
    PathBuf::from(format!("{}.gz", path.display()))
}

fn zstd(path: &Path) -> PathBuf {
    let packed = PathBuf::from(format!("{}.zst", path.display()));
    fs::write(&packed, compress_to_vec(&fs::read(path).unwrap()[..], CompressionLevel::Fastest)).unwrap();
    fs::remove_file(path).unwrap();
    packed
}

#[test]
fn an_altered_archive_of_several_files_is_found_out_to_the_line() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = shop(&vault);
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let archived: Vec<PathBuf> = ["log.2", "log.1"].map(|end| vault.audit_log.with_extension(end)).into();
    for file in &archived {
        work(&vault);
        fs::rename(&vault.audit_log, file).unwrap();
        vault.reopen_audit().unwrap();
    }
    work(&vault);
    // Every line that is tampered with below must be in the chain by then, however slow the daemon is.
    let total: usize = archived.iter().chain([&vault.audit_log]).map(|file| lines(file).len()).sum();
    let sealed = wait_until("a signed checkpoint over the last file", LONG, || {
        let exported = shop.must(&["audit", "evidence"]).ok()?;
        let seals = exported.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|line| line["kind"] == "seal");
        let reached = seals.filter_map(|seal| seal["lines"].as_u64()).max()?;
        (reached >= total as u64).then_some(exported)
    });
    assert!(sealed.contains("\"signature\":\"vault:v1:"));
    drop(daemon); // it stops, and with it the log
    // Copies to be tampered with, two of them compressed, so that the log itself stays whole.
    let original: Vec<Vec<String>> = archived.iter().chain([&vault.audit_log]).map(|file| lines(file)).collect();
    let folder = shop.path("archive");
    let write = |files: &[Vec<String>]| -> Vec<PathBuf> {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let plain: Vec<PathBuf> = (0..files.len()).map(|n| folder.join(format!("audit.log.{n}"))).collect();
        for (path, lines) in plain.iter().zip(files) {
            fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        vec![gzip(&plain[0]), zstd(&plain[1]), plain[2].clone()]
    };
    let (code, whole) = verify(&shop, &write(&original));
    assert_eq!(
        (code, &whole["is_well"], &whole["first"], &whole["differences"]),
        (Some(0), &json!(true), &json!(1), &json!([])),
        "{whole}"
    );
    assert!(whole["seals"]["signed"].as_u64().unwrap() > 0 && whole["seals"]["signed"] == whole["seals"]["confirmed"], "{whole}");
    for (file, line) in [(0, 0), (0, 700), (1, 3), (1, original[1].len() - 1), (2, 500)] {
        let name = ["audit.log.0.gz", "audit.log.1.zst", "audit.log.2"][file];
        let here = format!("{name}:{}", line + 1);
        let tamper = |change: &dyn Fn(&mut Vec<String>)| {
            let mut altered = original.clone();
            change(&mut altered[file]);
            let (code, verified) = verify(&shop, &write(&altered));
            assert_eq!((code, &verified["is_well"]), (Some(1), &json!(false)), "{verified}");
            let differences =
                verified["differences"].as_array().unwrap().iter().map(|d| d.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            (differences, verified["segments_altered"].as_array().unwrap().len())
        };
        let (changed, segments) =
            tamper(&|lines| lines[line] = lines[line].replacen("\"operation\":\"read\"", "\"operation\":\"list\"", 1) + " ");
        assert!(changed.len() == 1 && changed[0].contains(&format!("{here}: the line was changed")) && segments == 1, "{changed:?}");
        let (added, _) = tamper(&|lines| lines.insert(line, "{}".into()));
        assert!(added.len() == 1 && added[0].contains(&format!("{here}: the line was added")), "{added:?}");
        let (removed, segments) = tamper(&|lines| drop(lines.remove(line)));
        assert!(removed.len() == 1 && removed[0].contains("removed") && segments == 1, "{removed:?}");
    }
    let mut swapped = original.clone();
    swapped[1].swap(10, 20);
    let (_, verified) = verify(&shop, &write(&swapped));
    assert!(verified["differences"].to_string().contains("audit.log.1.zst:11: the line stood elsewhere"), "{verified}");
    let (code, verified) = verify(&shop, &write(&original)[..2]);
    assert_eq!((code, verified["lines_not_given"].as_u64().unwrap() > 0), (Some(0), true), "{verified}");
    a_forged_signature_is_refused(&shop, &sealed, &write(&original));
}

fn a_forged_signature_is_refused(shop: &Shop<'_>, exported: &str, files: &[PathBuf]) {
    let forged: String = exported
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if line["kind"] == "seal" {
                line["at"] = json!("2020-01-01T00:00:00Z");
            }
            format!("{line}\n")
        })
        .collect();
    let path = shop.path("forged.jsonl");
    fs::write(&path, forged).unwrap();
    let arguments = ["audit", "verify", "--evidence", path.to_str().unwrap(), files[0].to_str().unwrap()];
    let output = shop.run(&arguments).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("did not make"), "{text}");
}

#[test]
fn a_canary_is_found_again_and_its_absence_wakes_people() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = shop(&vault);
    let _daemon = shop.serve().unwrap();
    let found = || shop.metric("keyward_audit_canaries_found_total{node=\"vault-1\"}").filter(|count| *count >= 3.0);
    wait_until("canaries in the log", LONG, found);
    let lag = shop.metric("keyward_audit_canary_lag_seconds{node=\"vault-1\"}").unwrap();
    assert!(lag > 0.0 && lag < 5.0, "{lag}");
    vault.remove_audit().unwrap();
    let silent = || shop.must(&["status"]).ok().filter(|status| status.contains("audit-silent/"));
    let status = wait_until("the alarm", LONG, silent);
    assert!(status.contains("the audit log is silent"), "{status}");
    vault.add_audit().unwrap();
    wait_until("the alarm's end", LONG, || shop.must(&["status"]).ok().filter(|status| !status.contains("audit-silent/")));
}
