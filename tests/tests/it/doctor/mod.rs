//! `keyward doctor`: every trouble is caused for real, and found by its name.
//!
//! Many troubles stand in one world at once where they do not hide each other. That no other trouble is named in a sound world is shown first.

mod files;
mod login;
mod server;
mod shop;

use keyward_harness::{VaultServer, keyward_binary, servers};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What `doctor` found: the exit code, and the names of the troubles.
pub struct Found {
    pub code: Option<i32>,
    pub ids: BTreeSet<String>,
    pub answer: Value,
}

impl Found {
    /// Runs the command, which is to print one JSON document.
    pub fn by(command: &mut Command) -> Self {
        let output = command.args(["--output", "json"]).stdin(Stdio::null()).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let findings = answer["groups"].as_array().unwrap().iter().flat_map(|g| g["findings"].as_array().unwrap());
        let named: Vec<&Value> = findings.filter(|f| f["id"].is_string()).collect();
        assert!(named.iter().all(|f| f["cure"].is_string()), "a trouble is without a cure: {answer:#}");
        let ids = named.iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect();
        Self { code: output.status.code(), ids, answer }
    }

    /// All of these are among what was found.
    #[track_caller]
    pub fn has(self, ids: &[&str]) -> Self {
        for id in ids {
            assert!(self.ids.contains(*id), "{id} was not found: {:#}", self.answer);
        }
        self
    }

    /// None of these is among what was found.
    #[track_caller]
    pub fn has_not(self, ids: &[&str]) -> Self {
        for id in ids {
            assert!(!self.ids.contains(*id), "{id} was found: {:#}", self.answer);
        }
        self
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.answer.to_string().contains(part), "{part} is not in {:#}", self.answer);
        self
    }
}

/// A configuration without a secret: what can be wrong with the server and the login alone.
pub struct Small {
    dir: TempDir,
}

impl Small {
    /// Of the shared Vault, with a token that is enough.
    pub fn new() -> Self {
        let small = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(small.path("empty")).unwrap();
        let vault = servers().vault();
        small.token(&vault.token(POLICY, serde_json::json!({ "period": "1h" })));
        small.configure(&vault.address, &vault.ca_pem_path, "");
        small
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Keyward's own token.
    pub fn token(&self, token: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path("token"), token).unwrap();
        fs::set_permissions(self.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// `more`: further lines of `[vault]`, and what follows it.
    pub fn configure(&self, address: &str, ca: &Path, more: &str) {
        let auth = format!("auth = {{ token = {{ file = \"{}\" }} }}", self.path("token").display());
        self.configure_with(address, ca, &auth, more);
    }

    pub fn configure_with(&self, address: &str, ca: &Path, auth: &str, more: &str) {
        let (dir, ca) = (self.dir.path().display(), ca.display());
        let text = format!(
            "state_dir = \"{dir}/state\"\n[http]\nlisten = \"127.0.0.1:0\"\n[vault]\naddress = \"{address}\"\nca_cert = \"{ca}\"\n{auth}\n{more}\n"
        );
        fs::write(self.path("keyward.toml"), text).unwrap();
    }

    /// `keyward doctor`, without anything in the environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(keyward_binary());
        self.arrange(&mut command);
        command
    }

    /// Arguments and environment, behind whatever program starts it.
    pub fn arrange(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.arg("--config").arg(self.path("keyward.toml")).arg("doctor").arg("--look-in").arg(self.path("empty"));
    }

    pub fn doctor(&self) -> Found {
        Found::by(&mut self.command())
    }

    /// With a token of the person's own.
    pub fn doctor_as(&self, token: &str) -> Found {
        Found::by(self.command().env("VAULT_TOKEN", token))
    }
}

/// What a configuration without secrets needs.
pub const POLICY: &str = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\n\
    path \"auth/token/renew-self\" { capabilities = [\"update\"] }\n\
    path \"sys/capabilities-self\" { capabilities = [\"update\"] }\n\
    path \"sys/leases/count\" { capabilities = [\"read\"] }\n";

/// What is always said of such a configuration.
pub const ALWAYS: [&str; 4] = ["alerts-unset", "audit-log-unset", "daemon-down", "records-missing"];

/// A port of this machine on which nobody listens.
pub fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn shared() -> &'static VaultServer {
    servers().vault()
}

/// Every trouble of the page is caused by one of these tests, but for those that no server of a test can be brought into.
#[test]
fn every_trouble_of_the_page_is_caused() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/doctor.md")).unwrap();
    let ids = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let tests = [
        include_str!("files.rs"),
        include_str!("login.rs"),
        include_str!("server.rs"),
        include_str!("shop.rs"),
        include_str!("../cluster/mod.rs"),
        include_str!("../documents/runbooks.rs"),
        include_str!("../reconcile.rs"),
    ]
    .concat();
    let uncaused: Vec<&str> = ids.clone().filter(|id| !tests.contains(&format!("\"{id}\""))).collect();
    assert_eq!(uncaused, UNCAUSED);
    assert!(ids.count() - UNCAUSED.len() >= 30);
}

/// Vault Enterprise alone has these.
const UNCAUSED: [&str; 1] = ["vault-secondary"];
