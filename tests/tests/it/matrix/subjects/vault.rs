//! What Vault's own engines make.

use super::super::bench::NAME;
use super::{Place, Subject, logs_in};
use crate::world_of_vault::{dynamic_role, let_alter, users};
use keyward_harness::{DatabaseMount, VaultServer, servers, unique, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

/// A lease whose revocation was lost is gone by itself in this time.
const LONGEST_LEASE: Duration = Duration::from_mins(2);

pub struct StaticRole {
    pub copy: bool,
}

impl Subject for StaticRole {
    fn secret(&mut self, at: Place<'_>) -> String {
        let (mount, _) = at.shop.static_role.split_once("/static-roles/").unwrap();
        hashes(at.shop.vault, &format!("{mount}/config/postgres"));
        let copy = if self.copy { format!("path = \"{}/shop/copy\"\n", at.shop.kv) } else { String::new() };
        format!("kind = \"vault-static-role\"\nrole = \"{}\"\n{copy}login = {{ url = \"{}\" }}\n", at.shop.static_role, at.login())
    }

    fn names(&self, at: Place<'_>) -> Vec<(String, &'static str)> {
        let (mount, role) = at.shop.static_role.split_once("/static-roles/").unwrap();
        vec![(mount.to_owned(), "database"), (role.to_owned(), "reporting")]
    }

    fn judge(&mut self, at: Place<'_>) {
        let creds = at.shop.static_role.replacen("/static-roles/", "/static-creds/", 1);
        let read = at.shop.vault.must("GET", &creds, None).unwrap();
        let text = |read: &Value, field: &str| read[field].as_str().unwrap_or_default().to_owned();
        let (user, password) = (text(&read["data"], "username"), text(&read["data"], "password"));
        assert!(logs_in(&user, &password, &at.shop.database), "static-creds hands out what does not log in");
        if self.copy {
            let copy = at.shop.published("shop/copy").unwrap();
            assert_eq!((text(&copy, "username"), text(&copy, "password")), (user, password), "the copy is stale");
        }
    }
}

pub struct DynamicLease {
    mount: DatabaseMount,
    token_role: String,
}

impl DynamicLease {
    pub fn new(vault: &VaultServer) -> Self {
        let mount = vault.database_mount(servers().postgres());
        hashes(vault, &format!("{}/config/{}", mount.path, mount.connection));
        dynamic_role(vault, &mount, "orders", "1h", "200h");
        let token_role = unique("orders");
        let policy = format!("path \"{}/creds/orders\" {{ capabilities = [\"read\"] }}", mount.path);
        vault.must("PUT", &format!("sys/policies/acl/{token_role}"), Some(json!({ "policy": policy }))).unwrap();
        let role = json!({ "orphan": true, "renewable": true, "token_period": "1h", "allowed_policies": [token_role], "token_no_default_policy": true });
        vault.must("POST", &format!("auth/token/roles/{token_role}"), Some(role)).unwrap();
        Self { mount, token_role }
    }
}

impl Subject for DynamicLease {
    fn policy(&self) -> String {
        let (mount, role) = (&self.mount.path, &self.token_role);
        format!(
            "path \"{mount}/roles/orders\" {{ capabilities = [\"read\"] }}\npath \"auth/token/roles/{role}\" {{ capabilities = [\"read\"] }}\n"
        ) + &update(&[
            &format!("auth/token/create/{role}"),
            "auth/token/renew-accessor",
            "auth/token/revoke-accessor",
            "sys/leases/lookup",
            "sys/leases/renew",
            "sys/leases/revoke",
        ])
    }

    fn names(&self, _at: Place<'_>) -> Vec<(String, &'static str)> {
        vec![(self.mount.path.clone(), "database"), (self.token_role.clone(), "minting")]
    }

    fn secret(&mut self, at: Place<'_>) -> String {
        let login = at.login().replacen(&format!("/{}?", at.shop.database), &format!("/{}?", self.mount.database), 1);
        format!(
            "kind = \"vault-dynamic-lease\"\npath = \"{}/shop/orders\"\nrole = \"{}/roles/orders\"\ntoken_role = \"{}\"\nlogin = {{ url = \"{login}\" }}\n",
            at.shop.kv, self.mount.path, self.token_role
        )
    }

    fn judge(&mut self, at: Place<'_>) {
        let read = at.shop.published("shop/orders").unwrap();
        let text = |name: &str| read[name].as_str().unwrap().to_owned();
        assert!(logs_in(&text("username"), &text("password"), &self.mount.database), "what is published does not log in");
        // A revocation that Vault was asked for is carried out by it, and tried again, after it has answered.
        let left = || Some(users(&self.mount)).filter(|users| *users == [text("username")]);
        wait_until("every other user to be gone", LONGEST_LEASE, left);
    }
}

pub struct Root {
    mount: DatabaseMount,
    method: &'static str,
}

impl Root {
    pub fn new(vault: &VaultServer, method: &'static str) -> Self {
        let mount = vault.database_mount(servers().postgres());
        hashes(vault, &format!("{}/config/{}", mount.path, mount.connection));
        dynamic_role(vault, &mount, "canary", "10s", "20s");
        Self { mount, method }
    }
}

impl Subject for Root {
    fn policy(&self) -> String {
        let (path, connection) = (&self.mount.path, &self.mount.connection);
        format!(
            "path \"{path}/config/{connection}\" {{ capabilities = [\"read\", \"update\"] }}
             path \"{path}/roles/canary\" {{ capabilities = [\"read\"] }}
             path \"{path}/creds/canary\" {{ capabilities = [\"read\"] }}
             path \"{path}/rotate-root/{connection}\" {{ capabilities = [\"update\"] }}
             path \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}
            "
        )
    }

    fn names(&self, _at: Place<'_>) -> Vec<(String, &'static str)> {
        vec![(self.mount.path.clone(), "database")]
    }

    fn secret(&mut self, at: Place<'_>) -> String {
        let shop = at.shop;
        let admin = shop.admin();
        let_alter(&admin, &shop.database, &self.mount);
        let here = at.login();
        format!(
            "kind = \"vault-root\"\nconnection = \"{path}/config/{connection}\"\ncanary = \"{path}/roles/canary\"\nmethod = \"{}\"\n\
             admin = {{ url = \"{}\", password = {{ file = \"{}/admin-password\" }} }}\nlogin = {{ url = \"{here}\" }}\n",
            self.method,
            here.replacen("postgresql://", &format!("postgresql://{admin}@"), 1),
            shop.dir.display(),
            path = self.mount.path,
            connection = self.mount.connection,
        )
    }

    fn settle_in(&self, at: Place<'_>) {
        at.shop.must(&["init", "postgres", NAME]).unwrap();
    }

    fn judge(&mut self, at: Place<'_>) {
        let made = at.shop.vault.must("GET", &format!("{}/creds/canary", self.mount.path), None);
        let made = made.unwrap_or_else(|e| panic!("Vault cannot make users any more: {e:#}"));
        let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
        assert!(logs_in(&text("username"), &text("password"), &self.mount.database), "a user that Vault made does not log in");
        at.shop.vault.must("PUT", "sys/leases/revoke", Some(json!({ "lease_id": made["lease_id"], "sync": true }))).unwrap();
        wait_until("every canary to be gone", LONGEST_LEASE, || users(&self.mount).is_empty().then_some(()));
    }
}

pub struct SecretId {
    role: String,
    /// Where it is delivered to, if it is.
    file: Option<tempfile::TempDir>,
}

impl SecretId {
    pub fn new(vault: &VaultServer, to_a_file: bool) -> Self {
        let mount = unique("approle");
        vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
        let role = format!("auth/{mount}/role/backend");
        vault.must("POST", &role, Some(json!({ "token_policies": "default" }))).unwrap();
        Self { role, file: to_a_file.then(|| tempfile::tempdir().unwrap()) }
    }
}

impl Subject for SecretId {
    fn policy(&self) -> String {
        let role = &self.role;
        format!(
            "path \"{role}\" {{ capabilities = [\"read\"] }}
             path \"{role}/role-id\" {{ capabilities = [\"read\"] }}
             path \"{role}/secret-id\" {{ capabilities = [\"update\", \"list\"] }}\n"
        ) + &update(&[
            &format!("{role}/secret-id/lookup"),
            &format!("{role}/secret-id-accessor/lookup"),
            &format!("{role}/secret-id-accessor/destroy"),
            "auth/token/revoke-self",
        ])
    }

    fn names(&self, _at: Place<'_>) -> Vec<(String, &'static str)> {
        let mount = self.role.split('/').nth(1).unwrap();
        vec![(mount.to_owned(), "approle")]
    }

    fn secret(&mut self, at: Place<'_>) -> String {
        let file = self.file.as_ref().map(|folder| format!("file = \"{}\"\n", folder.path().join("secret-id").display()));
        let file = file.unwrap_or_default();
        format!("kind = \"approle-secret-id\"\nrole = \"{}\"\npath = \"{}/shop/app\"\n{file}", self.role, at.shop.kv)
    }

    fn judge(&mut self, at: Place<'_>) {
        let (vault, role) = (at.shop.vault, &self.role);
        let published = at.shop.published("shop/app").unwrap();
        let secret_id = match &self.file {
            Some(folder) => std::fs::read_to_string(folder.path().join("secret-id")).unwrap(),
            None => published["secret_id"].as_str().unwrap().to_owned(),
        };
        let id = vault.must("GET", &format!("{role}/role-id"), None).unwrap();
        let credentials = json!({ "role_id": id["data"]["role_id"], "secret_id": secret_id });
        let (mount, _) = role.split_once("/role/").unwrap();
        let (status, _) = vault.api("POST", &format!("{mount}/login"), Some(credentials)).unwrap();
        assert_eq!(status, 200, "what is published does not log in");
        let listed = vault.must("GET", &format!("{role}/secret-id?list=true"), None).unwrap();
        assert_eq!(listed["data"]["keys"].as_array().map(Vec::len), Some(1), "secret ids are left over");
    }
}

pub struct Key {
    path: String,
    versions: u64,
}

impl Key {
    pub fn new(vault: &VaultServer) -> Self {
        let mount = unique("transit");
        vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "transit" }))).unwrap();
        let path = format!("{mount}/keys/orders");
        vault.must("POST", &path, Some(json!({}))).unwrap();
        Self { path, versions: 1 }
    }
}

impl Subject for Key {
    fn policy(&self) -> String {
        let path = &self.path;
        let calls = ["encrypt", "decrypt", "sign", "verify"].map(|call| path.replacen("/keys/", &format!("/{call}/"), 1));
        let own = ["rotate", "config"].map(|call| format!("{path}/{call}"));
        let all: Vec<&str> = calls.iter().chain(&own).map(String::as_str).collect();
        format!("path \"{path}\" {{ capabilities = [\"read\"] }}\n") + &update(&all)
    }

    fn names(&self, _at: Place<'_>) -> Vec<(String, &'static str)> {
        vec![(self.path.split('/').next().unwrap().to_owned(), "transit")]
    }

    fn secret(&mut self, _at: Place<'_>) -> String {
        format!("kind = \"transit-key\"\nkey = \"{}\"\nkeep_versions = 1\n", self.path)
    }

    fn judge(&mut self, at: Place<'_>) {
        let read = at.shop.vault.must("GET", &self.path, None).unwrap();
        let [latest, oldest] = ["latest_version", "min_decryption_version"].map(|field| read["data"][field].as_u64().unwrap());
        assert_eq!(latest, oldest, "older versions are open still");
        assert!(latest <= self.versions + 2, "{} versions were made at once", latest - self.versions);
        self.versions = latest;
    }
}

/// Else Vault sends its users' passwords in clear, and the server's log shows them.
fn hashes(vault: &VaultServer, connection: &str) {
    vault.must("POST", connection, Some(json!({ "password_authentication": "scram-sha-256" }))).unwrap();
}

fn update(paths: &[&str]) -> String {
    paths.iter().map(|path| format!("path \"{path}\" {{ capabilities = [\"update\"] }}\n")).collect()
}
