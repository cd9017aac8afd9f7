//! The shipped Vault Agent file, run by the real agent while Keyward rotates.

use crate::world::{LONG, shop};
use keyward_harness::{Process, Stop, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

const AGENT: &str = include_str!("../../../config/vault-agent.hcl");

#[test]
fn the_agent_renders_what_is_rotated_and_reloads_the_service() {
    let shop = shop();
    shop.must(&["init", "postgres", "legacy"]).unwrap();
    // Outside the shop's folder: the file holds the password, and rightly so.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let reload = path("reload");
    fs::write(&reload, format!("#!/bin/sh\necho reloaded >> {}\n", path("reloads"))).unwrap();
    fs::set_permissions(&reload, fs::Permissions::from_mode(0o755)).unwrap();
    let mut text = AGENT.to_owned();
    for (from, to) in [
        ("https://vault.example.com:8200", shop.vault.address.clone()),
        ("/etc/app/vault-ca.pem", shop.vault.ca_pem_path.display().to_string()),
        ("auth/approle", format!("auth/{}", fs::read_to_string(shop.path("approle-mount")).unwrap())),
        ("/etc/app/role-id", shop.path("role-id").display().to_string()),
        ("/etc/app/secret-id", shop.path("secret-id").display().to_string()),
        ("= \"1m\"", "= \"1s\"".to_owned()),
        ("/run/app/database.env", path("database.env")),
        ("secret/data/backend/database", format!("{}/data/shop/legacy", shop.kv)),
        ("\"/usr/bin/systemctl\", \"reload\", \"app\"", format!("\"{reload}\"")),
    ] {
        assert!(text.contains(from), "the shipped file has no {from}");
        text = text.replace(from, &to);
    }
    fs::write(path("agent.hcl"), text).unwrap();
    let mut command = Command::new(&shop.vault.binary);
    command.args(["agent", &format!("-config={}", path("agent.hcl"))]).env_clear().env("HOME", folder.path()).env("PATH", "/usr/bin:/bin");
    let log = fs::File::create(path("agent.log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let _agent = Process::start("vault agent", command, Stop::Terminate).unwrap();

    let rendered = || {
        let published = shop.published("shop/legacy").unwrap();
        let (user, password) = (published["username"].as_str().unwrap(), published["password"].as_str().unwrap());
        format!("DATABASE_USER={user}\nDATABASE_PASSWORD={password}\n")
    };
    let began = Instant::now();
    let is_there = |expected: &str| {
        let found = fs::read_to_string(path("database.env")).is_ok_and(|text| text == expected);
        assert!(found || began.elapsed() < LONG, "the agent says:\n{}", fs::read_to_string(path("agent.log")).unwrap());
        found.then_some(())
    };
    let reloads = || fs::read_to_string(path("reloads")).unwrap_or_default().lines().count();
    let before = rendered();
    wait_until("what is published, in the file", LONG * 2, || is_there(&before));
    assert_eq!(fs::metadata(path("database.env")).unwrap().permissions().mode() & 0o777, 0o600);
    wait_until("the first reload", LONG, || (reloads() == 1).then_some(()));
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    let after = rendered();
    assert_ne!(before, after);
    wait_until("the new password, in the file", LONG * 2, || is_there(&after));
    wait_until("the second reload", LONG, || (reloads() == 2).then_some(()));
    shop.consume("shop/legacy").unwrap();
}
