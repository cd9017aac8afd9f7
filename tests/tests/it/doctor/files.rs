//! Troubles of this machine: files that lie about, ports, the state folder, the disk of the audit log.

use super::{Found, POLICY, Small, shared};
use serde_json::json;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

#[test]
fn what_lies_about_on_this_machine() {
    let vault = shared();
    let small = Small::new();
    let (kv, records) = (vault.kv_mount(), vault.kv_mount());
    let value = "the-value-in-use-0123456789";
    vault.must("POST", &format!("{kv}/data/app/hook"), Some(json!({ "data": { "token": value } }))).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = small.path("nobody-writes-here.log");
    fs::write(&log, "").unwrap();
    let more = format!(
        "record_mount = \"{records}\"\ninsecure = true\nskip_verify = true\n[[vault.node]]\nname = \"vault-1\"\nurl = \"{}\"\naudit_log = \"{}\"\n\
         [[secret]]\nname = \"hook\"\nclass = \"api-key\"\nkind = \"random\"\npath = \"{kv}/app/hook\"\nissuer = \"self\"\n\
         set = {{ token = \"{{value}}\" }}\n[alert]\nto = [\"oncall@example.com\"]\n[alert.smtp]\nurl = \"smtp://127.0.0.1:{}\"\n\
         from = \"keyward@example.com\"\n",
        vault.address,
        log.display(),
        super::closed_port(),
    );
    small.configure(&vault.address, &vault.ca_pem_path, &more);
    let text = fs::read_to_string(small.path("keyward.toml")).unwrap();
    fs::write(small.path("keyward.toml"), text.replace("127.0.0.1:0\"", &format!("{}\"", taken.local_addr().unwrap()))).unwrap();
    let policy = format!(
        "{POLICY}path \"{kv}/data/app/hook\" {{ capabilities = [\"read\", \"patch\"] }}\n\
         path \"{records}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n"
    );
    small.token(&vault.token(&policy, json!({ "period": "1h" })));
    fs::set_permissions(small.path("token"), fs::Permissions::from_mode(0o644)).unwrap();

    // Nothing of it lies about yet.
    let before = small.doctor().has_not(&[
        "keys-lying",
        "plain-values",
        "token-in-file",
        "vault-switched-off",
        "server-files-mixed",
        "state-folder",
    ]);
    before.has(&["tls-unverified", "secret-file-open", "port-taken", "alert-way-broken", "audit-log-silent"]);

    // A folder that is not there is not one in which nothing lies.
    let absent = Found::by(small.command().arg("--look-in").arg(small.path("no-such-folder")));
    let files = absent.answer["groups"].as_array().unwrap().iter().find(|group| group["subject"] == "Files").unwrap();
    let unknown = files["findings"].as_array().unwrap().iter().find(|finding| finding["mark"] == "unknown").unwrap();
    assert!(unknown["says"].as_str().unwrap().contains("no-such-folder"), "{files:#}");

    let folder = small.path("empty");
    fs::write(folder.join(".env"), format!("HOOK_TOKEN={value}\nVAULT_TOKEN=hvs.CAESIJ\nVAULT_ENABLED=false\n")).unwrap();
    fs::write(folder.join(".vault-keys.json"), "{\"keys_base64\": [\"c2hhcmU=\"], \"root_token\": \"hvs.root\"}").unwrap();
    for (name, storage) in [("vault.hcl", "file"), ("vault-dev.hcl", "inmem")] {
        fs::write(folder.join(name), format!("storage \"{storage}\" {{\n}}\n")).unwrap();
    }
    fs::create_dir(small.path("state")).unwrap();
    let lock = File::create(small.path("state/lock")).unwrap();
    lock.lock().unwrap();
    let found =
        small.doctor().has(&["keys-lying", "plain-values", "token-in-file", "vault-switched-off", "server-files-mixed", "state-folder"]);
    let found = found.says("HOOK_TOKEN").says(&format!("{kv}/app/hook#token"));
    let said = found.answer.to_string();
    assert!(!said.contains(value) && !said.contains("hvs."), "a value was shown: {said}");
}

#[test]
fn an_audit_log_that_is_not_there_and_a_disk_that_is_full() {
    let vault = shared();
    let small = Small::new();
    let node = |log: &str| format!("[[vault.node]]\nname = \"vault-1\"\nurl = \"{}\"\naudit_log = \"{log}\"\n", vault.address);
    small.configure(&vault.address, &vault.ca_pem_path, &node("/nowhere/audit.log"));
    small.doctor().has(&["audit-log-missing"]).has_not(&["audit-disk-full", "audit-log-unset"]);

    // A disk of one mebibyte, in a mount namespace of the command's own, and Vault's log grown until nothing is left.
    let disk = small.path("disk");
    fs::create_dir(&disk).unwrap();
    small.configure(&vault.address, &vault.ca_pem_path, &node(disk.join("audit.log").to_str().unwrap()));
    let script = format!("mount -t tmpfs -o size=1m none {0} && head -c 1040000 /dev/zero > {0}/audit.log && exec \"$@\"", disk.display());
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(keyward_harness::keyward_binary());
    small.arrange(&mut command);
    Found::by(&mut command).has(&["audit-disk-full"]);
}
