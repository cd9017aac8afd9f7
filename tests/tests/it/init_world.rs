//! A configuration of its own for `keyward init`: names that nobody else has, on whatever Vault.

use crate::world::Ended;
use keyward_harness::{Moment, VaultProxy, VaultServer, keyward_binary, servers, unique};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tempfile::TempDir;

pub struct World {
    dir: TempDir,
    token: String,
    /// The name of Keyward's AppRole and policies.
    pub name: String,
    pub records: String,
    pub kv: String,
    pub transit: String,
    pub approle: String,
    pub database_mount: String,
    pub static_role: String,
    pub dynamic_role: String,
    /// Vault's own login.
    pub engine_user: String,
    /// The user of the static role.
    pub user: String,
    pub database: String,
    /// The administrator of the database, and the password.
    pub admin: (String, String),
}

impl World {
    /// `node`: what stands in the node's table besides its name and address.
    pub fn on(address: &str, vault: &VaultServer, node: &str) -> Self {
        let postgres = servers().postgres();
        let database = postgres.fresh_database();
        let (admin, password) = postgres.fresh_role("keeper");
        postgres
            .psql(&format!("ALTER ROLE \"{admin}\" CREATEROLE; GRANT CREATE ON DATABASE \"{database}\" TO \"{admin}\"; ALTER DATABASE \"{database}\" OWNER TO \"{admin}\""))
            .unwrap();
        postgres
            .psql_in(&database, &format!("ALTER SCHEMA public OWNER TO \"{admin}\"; GRANT CREATE ON SCHEMA public TO \"{admin}\""))
            .unwrap();
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            token: vault.root_token.clone(),
            name: unique("kw"),
            records: unique("records"),
            kv: unique("kv"),
            transit: unique("transit"),
            approle: unique("approle"),
            database_mount: unique("database"),
            static_role: unique("static"),
            dynamic_role: unique("dynamic"),
            engine_user: unique("vault"),
            user: unique("reporting"),
            database,
            admin: (admin, password),
        };
        fs::write(world.path("admin-password"), &world.admin.1).unwrap();
        fs::write(world.path("keyward.toml"), world.configuration(address, vault, node)).unwrap();
        world
    }

    fn configuration(&self, address: &str, vault: &VaultServer, node: &str) -> String {
        let postgres = servers().postgres();
        let (dir, vault_ca) = (self.dir.path().display(), vault.ca_pem_path.display());
        let (host, port, ca) = (&postgres.host, postgres.port, postgres.ca_pem_path.display());
        let ca_cert = if address.starts_with("https") { format!("ca_cert = \"{vault_ca}\"") } else { String::new() };
        let tail = format!("{host}:{port}/{}?sslmode=verify-full&sslrootcert={ca}", self.database);
        let Self { name, records, kv, transit, approle, database_mount, static_role, dynamic_role, engine_user, user, admin, .. } = self;
        let admin = format!("admin = {{ url = \"postgresql://{}@{tail}\", password = {{ file = \"{dir}/admin-password\" }} }}", admin.0);
        format!(
            r#"state_dir = "{dir}/state"
[vault]
address = "{address}"
{ca_cert}
record_mount = "{records}"
auth = {{ approle = {{ mount = "{approle}", role_id = {{ file = "{dir}/role-id" }}, secret_id = {{ file = "{dir}/secret-id" }} }} }}
[[vault.node]]
name = "vault-1"
url = "{address}"
{node}

[init]
name = "{name}"
transit_keys = ["{transit}/keys/backend"]
[[init.connection]]
name = "{database_mount}/config/postgres"
url = "postgresql://{tail}"
user = "{engine_user}"
{admin}
[[init.role]]
name = "{database_mount}/static-roles/{static_role}"
connection = "postgres"
user = "{user}"
access = "read"
[[init.role]]
name = "{database_mount}/roles/{dynamic_role}"
connection = "postgres"
access = "read-write"

[[secret]]
name = "reporting"
class = "database"
kind = "vault-static-role"
role = "{database_mount}/static-roles/{static_role}"
login = {{ url = "postgresql://{tail}" }}
[[secret]]
name = "legacy"
class = "database"
kind = "postgres-password"
path = "{kv}/legacy"
user = "{user}_legacy"
{admin}
login = {{ url = "postgresql://{tail}" }}
[[secret]]
name = "webhook"
class = "api-key"
kind = "random"
path = "{kv}/webhook"
issuer = "self"
set = {{ token = "{{value}}" }}
[[secret]]
name = "orders"
class = "root"
kind = "transit-key"
key = "{transit}/keys/orders"
"#
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// From now on with another token; empty: with none, so that Keyward's own login is used.
    pub fn use_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(keyward_binary());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path());
        if !self.token.is_empty() {
            command.env("VAULT_TOKEN", &self.token);
        }
        command.arg("--config").arg(self.path("keyward.toml")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// With these lines on standard input.
    pub fn with_input(&self, arguments: &[&str], input: &str) -> Ended {
        Ended::with_input(self.command(arguments), input)
    }

    /// The exit code, and the answer for programs.
    pub fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        let answer = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {ended:?}"));
        (ended.code, answer)
    }

    /// Runs a command that is killed at this call. Whether it came to that call.
    pub fn dies_at(&self, proxy: &VaultProxy, arguments: &[&str], call: &str, moment: Moment) -> bool {
        let pid = Arc::new(AtomicI32::new(0));
        let victim = Arc::clone(&pid);
        proxy.act(call, 0, moment, move || {
            let pid =
                keyward_harness::wait_until("the victim", crate::world::LONG, || Some(victim.load(Ordering::SeqCst)).filter(|p| *p > 0));
            let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            assert!(status.is_ok_and(|s| s.success()), "the victim was gone");
        });
        let child = self.command(arguments).spawn().unwrap();
        pid.store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
        let _ = child.wait_with_output().unwrap();
        !proxy.clear()
    }

    /// A call with this world's names, as it is in another.
    pub fn as_in(&self, other: &Self, call: &str) -> String {
        let names = |world: &Self| {
            [
                &world.records,
                &world.kv,
                &world.transit,
                &world.approle,
                &world.database_mount,
                &world.static_role,
                &world.dynamic_role,
                &world.name,
            ]
            .map(Clone::clone)
        };
        let mut text = call.to_owned();
        for (ours, theirs) in names(self).iter().zip(&names(other)) {
            text = replace_name(&text, ours, theirs);
        }
        text
    }

    /// A key pair of its own; the public half, armoured.
    pub fn pgp_key(&self) -> PathBuf {
        let home = self.path("gpg");
        fs::create_dir(&home).unwrap();
        let made = self.gpg(&["--quick-generate-key", "--passphrase", "", "somebody@example.com", "rsa2048", "encr", "never"], b"");
        assert!(made.0, "{}", made.1);
        let (ok, public) = self.gpg(&["--armor", "--export"], b"");
        assert!(ok && public.contains("PUBLIC KEY"), "{public}");
        fs::write(self.path("somebody.asc"), public).unwrap();
        self.path("somebody.asc")
    }

    /// What Vault encrypted to that key, as base64.
    pub fn decrypt(&self, base64: &str) -> String {
        let (ok, bytes) = self.pipe(Command::new("base64").arg("-d"), base64.as_bytes());
        assert!(ok);
        let (ok, clear) = self.pipe(self.gpg_command().args(["--decrypt"]), &bytes);
        assert!(ok);
        // Vault encrypts a share's hexadecimal text.
        String::from_utf8(clear).unwrap()
    }

    fn gpg_command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--homedir"]).arg(self.path("gpg")).args(["--batch", "--yes", "--quiet", "--no-permission-warning"]);
        command
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> (bool, String) {
        let (ok, out) = self.pipe(self.gpg_command().args(arguments), input);
        (ok, String::from_utf8_lossy(&out).into_owned())
    }

    fn pipe(&self, command: &mut Command, input: &[u8]) -> (bool, Vec<u8>) {
        let mut child = command.current_dir(self.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output.stdout)
    }
}

/// Replaces a name where it ends: `x_1` is no part of `x_12`.
fn replace_name(text: &str, from: &str, to: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = rest.find(from) {
        let after = &rest[at + from.len()..];
        out.push_str(&rest[..at]);
        out.push_str(if after.starts_with(|c: char| c.is_ascii_digit()) { from } else { to });
        rest = after;
    }
    out + rest
}

/// A world where `init` has run once, and the calls of it that changed something, in order.
pub fn set_up_through(proxy: &VaultProxy, vault: &VaultServer) -> (World, Vec<String>) {
    let whole = World::on(&proxy.address, vault, "");
    let (code, done) = whole.json(&["init", "--rotate-now", &whole.static_role]);
    assert_eq!(code, Some(0), "{done:#}");
    let writes = changes(&proxy.seen());
    (whole, writes)
}

/// Those of the calls that change something.
pub fn changes(seen: &[String]) -> Vec<String> {
    const ASK: [&str; 4] = ["sys/capabilities-self", "sys/audit-hash/", "secret-id-accessor/lookup", "secret-id/lookup"];
    let is_change = |call: &&String| {
        let (method, path) = call.split_once(' ').unwrap();
        matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") && !ASK.iter().any(|ask| path.contains(ask))
    };
    seen.iter().filter(is_change).cloned().collect()
}
