//! The example in Python, run while Keyward rotates what it uses.

use crate::world::{LONG, shop};
use keyward_harness::{Process, Stop, hvac_python, wait_until};
use std::fs;
use std::process::{Command, Stdio};

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/client/examples/hvac_service.py");

#[test]
fn a_service_in_python_goes_on_while_its_password_rotates() {
    let shop = shop();
    shop.must(&["init", "postgres", "shop-database"]).unwrap();
    let said = shop.path("python.log");
    let text = |name: &str| fs::read_to_string(shop.path(name)).unwrap();
    let mut command = Command::new(hvac_python());
    let place = format!("host={} port={} dbname={}", shop.postgres.host, shop.postgres.port, shop.database);
    command.args([SERVICE, &shop.kv, "shop/database", &place, "SELECT count(*) FROM orders"]);
    command.env("VAULT_ADDR", &shop.vault.address).env("VAULT_CACERT", &shop.vault.ca_pem_path);
    command.env("VAULT_ROLE_ID", text("role-id")).env("VAULT_APPROLE_MOUNT", text("approle-mount"));
    command.env("VAULT_SECRET_ID_FILE", shop.path("secret-id"));
    let log = fs::File::create(&said).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let _service = Process::start("the service in Python", command, Stop::Kill).unwrap();
    let answered = |version: u64| {
        let expected = format!("ok {version} 2");
        wait_until(&format!("an answer with version {version}"), LONG, || {
            let lines = fs::read_to_string(&said).unwrap();
            assert!(!lines.contains("failed") && !lines.contains("Traceback"), "{lines}");
            lines.lines().any(|line| line == expected).then_some(())
        });
    };
    answered(1);
    shop.must(&["rotate", "shop-database", "--alone"]).unwrap();
    answered(2);
}
