//! Bad input to commands: one clear error, the right exit code, nothing done.

use crate::world::{ASKING, Ended, LONG, check_says, edit, edit_all, move_to, refused, run, shop, use_token};
use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, foreign_ca, servers, unique, wait_until};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

/// Every command reads the configuration first.
const ALL: [&[&str]; 6] = [&["check"], &["plan"], &["status"], &["rotate", "legacy"], &["rotate", "legacy", "--dry-run"], &["serve"]];

#[test]
fn a_wrong_configuration_is_said_with_file_line_and_the_nearest_word() {
    let shop = shop();
    let mail_password = format!("password = {{ file = \"{}\" }}", shop.path("smtp-password").display());
    for (from, to, says) in [
        ("owner = \"shop\"", "ownr = \"shop\"", "owner"),
        ("kind = \"jwt-hmac\"", "kind = \"jwt-hmc\"", "jwt-hmac"),
        ("class = \"jwt\"", "class = \"jwtt\"", "jwt"),
        ("[class.database]\n", "[class.database]\nschedule = \"99 * * * *\"\n", "schedule"),
        (&mail_password, "password = { vault = \"secret/smtp\", field = \"password\" }", "must go out while Vault is sealed"),
    ] {
        edit(&shop, from, to);
        for arguments in ALL {
            let ended = run(&shop, arguments);
            assert_eq!(ended.code, Some(64), "{to}: {ended:?}");
            assert!(ended.err.contains("keyward.toml:") && ended.error().contains(says), "{to}: {}", ended.err);
            assert_eq!(ended.err.lines().count(), 1, "one problem is one line: {}", ended.err);
            assert_eq!(ended.out, "", "{arguments:?}");
        }
        edit(&shop, to, from);
    }
}

#[test]
fn a_missing_configuration_is_named_with_what_to_do() {
    let shop = shop();
    fs::remove_file(&shop.config).unwrap();
    refused(&shop, &ALL, 64, "keyward.toml: cannot read the configuration: No such file or directory");
    let ended = run(&shop, &["check"]);
    assert!(ended.err.contains("--config or KEYWARD_CONFIG"), "{}", ended.err);
}

#[test]
fn a_name_that_no_secret_has_is_answered_with_the_nearest() {
    let shop = shop();
    refused(&shop, &[&["rotate", "shop-databas"], &["status", "shop-databas"]], 1, "did you mean \"shop-database\"?");
}

#[test]
fn a_vault_that_nobody_answers_for_is_unavailable() {
    let shop = shop();
    edit_all(&shop, &servers().vault().address, "https://127.0.0.1:1");
    check_says(&shop, 69, &["https://127.0.0.1:1 cannot be reached", "nothing between here and there refuses the connection"]);
    refused(&shop, &ASKING, 69, "https://127.0.0.1:1");
}

#[test]
fn a_certificate_that_does_not_verify_is_said_to_be_the_trouble() {
    let shop = shop();
    let ours = format!("ca_cert = \"{}\"", servers().vault().ca_pem_path.display());
    edit(&shop, &ours, &format!("ca_cert = \"{}\"", foreign_ca(&shop.dir).unwrap().display()));
    check_says(&shop, 69, &["cannot be trusted", "holds the authority that signed the server's certificate"]);
    refused(&shop, &ASKING, 69, "check the CA file");
}

#[test]
fn a_ca_file_that_is_not_there_is_named() {
    let shop = shop();
    let ours = format!("ca_cert = \"{}\"", servers().vault().ca_pem_path.display());
    edit(&shop, &ours, "ca_cert = \"/nowhere/ca.pem\"");
    check_says(&shop, 1, &["cannot read the CA certificate /nowhere/ca.pem"]);
    refused(&shop, &ASKING, 1, "cannot read the CA certificate /nowhere/ca.pem");
}

#[test]
fn a_sealed_vault_is_said_to_be_sealed() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    vault.seal().unwrap();
    check_says(&shop, 69, &["is sealed", "vault operator unseal -address="]);
    refused(&shop, &ASKING, 69, "sealed");
}

#[test]
fn a_vault_without_data_is_said_to_be_uninitialised() {
    let empty = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let shop = shop();
    move_to(&shop, &empty);
    check_says(&shop, 69, &["was never initialised", "if it is new: keyward init"]);
    refused(&shop, &ASKING, 69, "not initialised");
}

#[test]
fn an_expired_token_is_refused() {
    let shop = shop();
    let vault = servers().vault();
    let token = vault.token("path \"auth/token/lookup-self\" { capabilities = [\"read\"] }", json!({ "ttl": "1s" }));
    use_token(&shop, &token);
    let is_dead = || vault.api_as(&token, "GET", "auth/token/lookup-self", None).ok().filter(|(status, _)| *status == 403);
    wait_until("the token's end", LONG, is_dead);
    check_says(&shop, 77, &["it has expired, was revoked", "vault token create"]);
    refused(&shop, &ASKING, 77, "permission denied");
}

#[test]
fn a_token_file_that_is_not_there_is_named() {
    let shop = shop();
    use_token(&shop, "x");
    fs::remove_file(shop.path("token")).unwrap();
    check_says(&shop, 1, &["cannot read the secret in", "token"]);
    refused(&shop, &ASKING, 64, "token");
}

#[test]
fn a_token_without_a_capability_is_denied() {
    let shop = shop();
    let policy =
        "path \"auth/token/lookup-self\" { capabilities = [\"read\"] } path \"sys/capabilities-self\" { capabilities = [\"update\"] }";
    use_token(&shop, &servers().vault().token(policy, json!(null)));
    let said = check_says(&shop, 77, &["/data/shop/legacy\" { capabilities = [\"read\", \"patch\"] }"]);
    assert!(said.contains(&format!("path \"{}/data/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}", shop.records)), "{said}");
    // Those of many secrets are answered secret by secret.
    let is_of_many = |command: &&&[&str]| command.contains(&"--class") || command.contains(&"reconcile");
    let (of_many, others): (Vec<&[&str]>, Vec<&[&str]>) = ASKING.iter().partition(is_of_many);
    refused(&shop, &others, 77, "permission denied");
    for command in of_many {
        let ended = run(&shop, command);
        assert_eq!(ended.code, Some(77), "{ended:?}");
        assert!(ended.err.contains("permission denied") || ended.out.contains("permission denied"), "{ended:?}");
    }
}

/// A KV version 1 mount of a fresh name.
fn kv1() -> String {
    let mount = unique("kv1");
    servers().vault().must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "kv", "options": { "version": "1" } }))).unwrap();
    mount
}

#[test]
fn a_mount_of_version_1_is_said_to_be_one() {
    let shop = shop();
    let mount = kv1();
    edit_all(&shop, &format!("path = \"{}/shop/", shop.kv), &format!("path = \"{mount}/shop/"));
    let vault = servers().vault();
    use_token(&shop, &vault.root_token);
    check_says(&shop, 1, &["Keyward needs KV version 2", "vault kv enable-versioning"]);
    refused(&shop, &[&["rotate", "legacy", "--alone"]], 1, "Keyward needs KV version 2");
    edit_all(&shop, &format!("path = \"{mount}/shop/"), &format!("path = \"{}/shop/", shop.kv));
    edit(&shop, &format!("record_mount = \"{}\"", shop.records), &format!("record_mount = \"{mount}\""));
    check_says(&shop, 1, &["is KV version 1, which has no check-and-set"]);
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let shop = shop();
    edit_all(&shop, &format!("/{}?", shop.database), "/nowhere?");
    check_says(&shop, 1, &["nowhere"]);
    refused(&shop, &[&["rotate", "legacy", "--alone"]], 1, "nowhere");
}

#[test]
fn a_database_server_that_is_away_is_unavailable() {
    let shop = shop();
    edit_all(&shop, &format!("{}:{}/", servers().postgres().host, servers().postgres().port), "127.0.0.1:1/");
    check_says(&shop, 69, &["127.0.0.1:1"]);
    refused(&shop, &[&["rotate", "legacy", "--alone"]], 69, "127.0.0.1:1");
}

#[test]
fn an_audit_log_that_cannot_be_read_is_said_with_the_way_to_let_it() {
    let shop = shop();
    let ours = format!("audit_log = \"{}\"", servers().vault().audit_log.display());
    let log = shop.path("audit.log");
    edit(&shop, &ours, &format!("audit_log = \"{}\"", log.display()));
    check_says(&shop, 1, &["does not exist", "vault audit enable file"]);
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o000)).unwrap();
    let ended = unprivileged(shop.command(&["check"]));
    assert!(ended.out.contains("cannot be read: Permission denied") && ended.out.contains("setfacl"), "{ended:?}");
    assert_ne!(ended.code, Some(0), "{ended:?}");
}

/// Runs a command as somebody whom file modes bind: root reads everything, but not without these two capabilities.
fn unprivileged(mut command: Command) -> Ended {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut within = Command::new("setpriv");
        within.env_clear().args(["--bounding-set", "-dac_override,-dac_read_search"]);
        within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        within.arg(command.get_program()).args(command.get_args());
        command = within;
    }
    command.output().unwrap().into()
}

#[test]
fn a_port_that_is_taken_is_said_by_check_and_ends_the_daemon() {
    let shop = shop();
    let taken = TcpListener::bind(("127.0.0.1", shop.port)).unwrap();
    check_says(&shop, 69, &[&format!("HTTP cannot be served on 127.0.0.1:{}", shop.port), "ss -ltnp"]);
    let ended = run(&shop, &["serve"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.error().contains(&format!("cannot listen on 127.0.0.1:{}", shop.port)), "{}", ended.err);
    drop(taken);
}

#[test]
fn a_mail_server_that_refuses_is_said_by_check() {
    let shop = shop();
    fs::write(shop.path("smtp-password"), "not the password").unwrap();
    check_says(&shop, 1, &["mail to oncall@example.com", "keyward alert test"]);
    let ended = run(&shop, &["alert", "test"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    edit_all(&shop, &format!("127.0.0.1:{}", servers().smtp().tls_port), "127.0.0.1:1");
    check_says(&shop, 69, &["mail to oncall@example.com"]);
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let shop = shop();
    let _daemon = shop.serve().unwrap();
    wait_until("the first daemon", LONG, || shop.http("/livez").ok());
    let ended = run(&shop, &["serve"]);
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(ended.error().contains("another keyward"), "{}", ended.err);
}
