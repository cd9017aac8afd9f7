//! The README's ten minutes, with this place's names for the example's.

use super::page::{Block, blocks};
use super::place::Place;
use keyward_harness::{servers, unique};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// What came of it.
pub struct Shop {
    pub database: String,
    /// The two users that take turns.
    pub users: [String; 2],
}

impl Shop {
    /// Logs in with what is published, as a consumer does.
    pub fn consume(&self, place: &Place) -> Result<String, String> {
        let read = place.get("secret/data/backend/database");
        let text = |name: &str| read.pointer(&format!("/data/data/{name}")).and_then(Value::as_str).unwrap().to_owned();
        servers().postgres().psql_as(&text("username"), &text("password"), &self.database, "SELECT 1").map_err(|e| e.to_string())
    }
}

/// Follows it to the first rotation.
pub fn follow(place: &Place) -> Shop {
    let all = blocks("README.md");
    let the = |language: &str, with: &str| -> Block {
        let found = all.iter().find(|block| block.language == language && block.text.contains(with));
        found.unwrap_or_else(|| panic!("the README has no {language} block with {with}")).clone()
    };
    let postgres = servers().postgres();
    let (database, keyward, a, b) = (postgres.fresh_database(), unique("keyward"), unique("app_a"), unique("app_b"));
    let folder = place.path("keyward").to_str().unwrap().to_owned();

    let mut vaults = the("sh", "vault secrets enable");
    vaults.text = vaults.text.replace("/etc/keyward", &folder);
    place.run(&vaults);

    // A password is asked for at the terminal; here it is set beside.
    let sql = the("sql", "CREATE ROLE keyward").text.replace("\\password keyward", "");
    let sql = sql
        .replace("keyward", &keyward)
        .replace("app_a", &a)
        .replace("app_b", &b)
        .replace("DATABASE app ", &format!("DATABASE \"{database}\" "));
    let password = unique("of-keyward");
    postgres.psql_in(&database, &sql).unwrap();
    postgres.psql(&format!("ALTER ROLE \"{keyward}\" PASSWORD '{password}'")).unwrap();
    let file = place.path("keyward/admin-password");
    fs::write(&file, &password).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    let (host, port, ca) = (&postgres.host, postgres.port, postgres.ca_pem_path.display());
    let tail = format!("{host}:{port}/{database}?sslmode=verify-full&sslrootcert={ca}\"");
    let (address, ca) = (&place.variables["VAULT_ADDR"], &place.variables["VAULT_CACERT"]);
    let configuration = the("toml", "[vault]").text;
    let configuration = configuration
        .replace("\"https://vault.example.com:8200\"", &format!("\"{address}\"\nca_cert = \"{ca}\""))
        .replace("/etc/keyward", &folder)
        .replace("keyward@", &format!("{keyward}@"))
        .replace("db.example.com/app\"", &tail)
        .replace("app_a", &a)
        .replace("app_b", &b);
    let log = &place.variables["AUDIT_LOG"];
    // Nobody holds on to the port until the daemon has it; the least configuration names none because a machine has one Keyward.
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rest = format!("\n[http]\nlisten = \"{http}\"\n[[vault.node]]\nname = \"vault-1\"\nurl = \"{address}\"\naudit_log = \"{log}\"\n");
    fs::write(&place.variables["KEYWARD_CONFIG"], format!("state_dir = \"{folder}/state\"\n{configuration}{rest}")).unwrap();

    let said = place.run(&the("sh", "keyward check"));
    assert!(said.contains("backend-database"), "{said}");
    let ended = place.shell("keyward rotate backend-database");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shop = Shop { database, users: [a, b] };
    shop.consume(place).unwrap();
    shop
}
