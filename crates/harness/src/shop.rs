//! A small company to look after: a database with consumers, its secrets in Vault, and a configuration of Keyward over them.
//!
//! The demo and the tests of the whole stand on it. Everything has names of its own, so several shops share the servers.

use crate::postgres::PostgresServer;
use crate::process::{Process, Stop, clean_command};
use crate::smtp::SmtpServer;
use crate::vault::VaultServer;
use crate::{keyward_binary, ports, random, run_folder, unique};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const ROTATION_LIMIT: Duration = Duration::from_mins(2);

/// Pieces of the configuration that a test or a scene may want otherwise; each is TOML.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The body of `[class.database]`.
    pub database_class: String,
    /// Further text at the end.
    pub more: String,
    /// Whether the audit log of the server is followed.
    pub audit: bool,
    /// Further rules of Keyward's policy (HCL).
    pub policy: String,
}

impl Default for Wishes {
    fn default() -> Self {
        let class = "grace = \"1s\"\nretire_deadline = \"10s\"\nproof = \"5s\"\nbackoff = { first = \"2s\", longest = \"10s\" }\n";
        Self { database_class: class.to_owned(), more: String::new(), audit: true, policy: String::new() }
    }
}

/// The company.
pub struct Shop<'a> {
    /// Its Vault.
    pub vault: &'a VaultServer,
    /// Its PostgreSQL.
    pub postgres: &'a PostgresServer,
    /// Where its mail goes.
    pub smtp: &'a SmtpServer,
    /// Keyward's folder here: configuration, credentials, state.
    pub dir: PathBuf,
    /// Keyward's configuration.
    pub config: PathBuf,
    /// The KV mount that consumers read.
    pub kv: String,
    /// The mount of Keyward's records.
    pub records: String,
    /// The database.
    pub database: String,
    /// The two users of `shop-database`.
    pub users: [String; 2],
    /// The single user of `legacy`.
    pub legacy: String,
    /// The user behind the static role of `reporting`.
    pub reporting: String,
    /// The static role's path.
    pub static_role: String,
    /// Where Keyward serves HTTP.
    pub port: u16,
}

impl<'a> Shop<'a> {
    /// Sets it up: mounts, policy, AppRole, database, users, what is published today, and the configuration.
    pub fn open(vault: &'a VaultServer, postgres: &'a PostgresServer, smtp: &'a SmtpServer, wishes: &Wishes) -> Result<Self> {
        let dir = run_folder()?.join(unique("shop"));
        fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
        let mount = vault.database_mount(postgres);
        let mut shop = Shop {
            vault,
            postgres,
            smtp,
            config: dir.join("keyward.toml"),
            dir,
            kv: vault.kv_mount(),
            records: vault.kv_mount(),
            database: postgres.fresh_database(),
            users: [unique("shop_a"), unique("shop_b")],
            legacy: unique("legacy"),
            reporting: unique("reporting"),
            static_role: String::new(),
            port: ports::free_port()?,
        };
        shop.make_database()?;
        let role = unique("reporting");
        shop.postgres.psql(&format!("CREATE ROLE \"{}\" LOGIN PASSWORD '{}'", shop.reporting, random::password()?))?;
        vault.static_role(&mount, &role, &shop.reporting)?;
        shop.static_role = format!("{}/static-roles/{role}", mount.path);
        shop.let_keyward_in(&wishes.policy)?;
        fs::write(shop.dir.join("smtp-password"), &smtp.password)?;
        fs::write(&shop.config, shop.configuration(smtp, wishes))?;
        Ok(shop)
    }

    /// Tables, users with their rights, and an administrator who is no superuser.
    fn make_database(&self) -> Result<()> {
        let [a, b] = &self.users;
        let admin = self.admin();
        let (first, admin_password) = (random::password()?, random::password()?);
        fs::write(self.dir.join("admin-password"), &admin_password)?;
        for role in [a, b, &self.legacy] {
            self.postgres.psql(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD '{first}'"))?;
        }
        self.postgres.psql(&format!(
            "CREATE ROLE \"{admin}\" LOGIN CREATEROLE PASSWORD '{admin_password}'; GRANT pg_read_all_stats TO \"{admin}\"; \
             GRANT CREATE ON DATABASE \"{}\" TO \"{admin}\"",
            self.database
        ))?;
        self.postgres.psql_in(
            &self.database,
            &format!(
                "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2); GRANT SELECT ON orders TO \"{a}\", \"{b}\", \"{}\"",
                self.legacy
            ),
        )?;
        let url = |user: &str| format!("postgresql://{user}:{first}@{}/{}", self.postgres.host, self.database);
        let shared = json!({ "username": a, "password": first, "url": url(a), "region": "eu-1", "pool": { "size": 10 } });
        self.publish("shop/database", shared)?;
        self.publish("shop/legacy", json!({ "username": self.legacy, "password": first }))?;
        self.publish("shop/openai", json!({ "api_key": "sk-before", "organization": "org-1" }))
    }

    /// The administrator's name.
    pub fn admin(&self) -> String {
        format!("keeper_of_{}", self.database)
    }

    fn publish(&self, path: &str, data: Value) -> Result<()> {
        self.vault.must("POST", &format!("{}/data/{path}", self.kv), Some(json!({ "data": data }))).map(drop)
    }

    /// A policy of just what Keyward needs, an AppRole with it, and its ids in files.
    fn let_keyward_in(&self, more_policy: &str) -> Result<()> {
        let (approle, role) = (unique("approle"), "keyward");
        self.vault.must("POST", &format!("sys/auth/{approle}"), Some(json!({ "type": "approle" })))?;
        let policy = unique("keyward");
        self.vault.must("PUT", &format!("sys/policies/acl/{policy}"), Some(json!({ "policy": self.policy() + more_policy })))?;
        let settings = json!({ "token_policies": [policy], "token_period": "60s", "token_no_default_policy": true });
        self.vault.must("POST", &format!("auth/{approle}/role/{role}"), Some(settings))?;
        let id = self.vault.must("GET", &format!("auth/{approle}/role/{role}/role-id"), None)?;
        let secret = self.vault.must("POST", &format!("auth/{approle}/role/{role}/secret-id"), Some(json!({})))?;
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).map(str::to_owned).context("Vault's answer lacks an id")
        };
        fs::write(self.dir.join("approle-mount"), &approle)?;
        fs::write(self.dir.join("role-id"), text(&id, "/data/role_id")?)?;
        fs::write(self.dir.join("secret-id"), text(&secret, "/data/secret_id")?)?;
        Ok(())
    }

    fn policy(&self) -> String {
        let (kv, records) = (&self.kv, &self.records);
        let role = self.static_role.replacen("/static-roles/", "/ROTATE/", 1);
        let rules = [
            (format!("{records}/data/*"), "\"create\", \"read\", \"update\""),
            (format!("{records}/destroy/*"), "\"update\""),
            (format!("{records}/config"), "\"read\""),
            (format!("{kv}/data/shop/*"), "\"create\", \"read\", \"patch\""),
            (format!("{kv}/metadata/shop/*"), "\"read\", \"patch\""),
            (self.static_role.clone(), "\"read\""),
            (role.replace("/ROTATE/", "/static-creds/"), "\"read\""),
            (role.replace("/ROTATE/", "/rotate-role/"), "\"update\""),
            ("auth/token/lookup-self".into(), "\"read\""),
            ("auth/token/renew-self".into(), "\"update\""),
            ("auth/token/revoke-self".into(), "\"update\""),
            ("sys/capabilities-self".into(), "\"update\""),
            ("sys/audit-hash/file".into(), "\"update\""),
            ("transit/sign/keyward-audit".into(), "\"update\""),
            ("transit/verify/keyward-audit".into(), "\"update\""),
        ];
        rules.map(|(path, capabilities)| format!("path \"{path}\" {{ capabilities = [{capabilities}] }}\n")).concat()
    }

    fn configuration(&self, smtp: &SmtpServer, wishes: &Wishes) -> String {
        let (dir, ca) = (self.dir.display(), self.vault.ca_pem_path.display());
        let approle = fs::read_to_string(self.dir.join("approle-mount")).unwrap_or_default();
        let (host, port, database, pg_ca) = (&self.postgres.host, self.postgres.port, &self.database, self.postgres.ca_pem_path.display());
        let login = format!("postgresql://{host}:{port}/{database}?sslmode=verify-full&sslrootcert={pg_ca}");
        let admin = format!("postgresql://{}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={pg_ca}", self.admin());
        let audit = if wishes.audit { format!("audit_log = \"{}\"", self.vault.audit_log.display()) } else { String::new() };
        let [a, b] = &self.users;
        let (kv, records, vault, class) = (&self.kv, &self.records, &self.vault.address, &wishes.database_class);
        let (legacy, static_role, http, more) = (&self.legacy, &self.static_role, self.port, &wishes.more);
        let (smtp_ca, smtp_user, smtp_port) = (smtp.ca_pem_path.display(), &smtp.user, smtp.tls_port);
        format!(
            r#"# Keyward's configuration for a small shop.
state_dir = "{dir}/state"

[vault]
address = "{vault}"
ca_cert = "{ca}"
record_mount = "{records}"
auth = {{ approle = {{ mount = "{approle}", role_id = {{ file = "{dir}/role-id" }}, secret_id = {{ file = "{dir}/secret-id" }} }} }}

[[vault.node]]
name = "vault-1"
url = "{vault}"
{audit}

[class.database]
{class}
[[secret]]
name = "shop-database"
class = "database"
kind = "postgres-two-users"
owner = "shop"
path = "{kv}/shop/database"
users = ["{a}", "{b}"]
set = {{ username = "{{username}}", password = "{{password}}", url = "postgresql://{{username}}:{{password}}@{host}/{database}" }}
admin = {{ url = "{admin}", password = {{ file = "{dir}/admin-password" }} }}
login = {{ url = "{login}", probe = "SELECT count(*) FROM orders" }}

[[secret]]
name = "legacy"
class = "database"
kind = "postgres-password"
path = "{kv}/shop/legacy"
user = "{legacy}"
admin = {{ url = "{admin}", password = {{ file = "{dir}/admin-password" }} }}
login = {{ url = "{login}", probe = "SELECT count(*) FROM orders" }}

[[secret]]
name = "reporting"
class = "database"
kind = "vault-static-role"
role = "{static_role}"
login = {{ url = "{login}" }}

[[secret]]
name = "session-signing"
class = "jwt"
kind = "jwt-hmac"
path = "{kv}/shop/jwt"
algorithm = "HS256"
token_lifetime = "1h"

[[secret]]
name = "webhook-token"
class = "api-key"
kind = "random"
path = "{kv}/shop/webhook"
issuer = "self"
set = {{ token = "{{value}}" }}

[[secret]]
name = "openai"
class = "api-key"
kind = "manual"
path = "{kv}/shop/openai"
set = {{ api_key = "{{value}}" }}

[alert]
to = ["oncall@example.com"]

[alert.smtp]
url = "smtps://{smtp_user}@127.0.0.1:{smtp_port}"
password = {{ file = "{dir}/smtp-password" }}
ca_cert = "{smtp_ca}"
from = "Keyward <keyward@example.com>"

[http]
listen = "127.0.0.1:{http}"
{more}"#
        )
    }

    /// The `keyward` program with this shop's configuration and these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean_command(keyward_binary(), &self.dir);
        command.arg("--config").arg(&self.config).args(arguments);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).stdin(Stdio::null()).output().context("run keyward")?;
        self.keep(&[&output.stdout, &output.stderr])?;
        Ok(output)
    }

    /// Keeps what Keyward said to somebody, so that it is looked through for secret values.
    fn keep(&self, said: &[&[u8]]) -> Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path("said.log")).context("open said.log")?;
        said.iter().try_for_each(|bytes| file.write_all(bytes)).context("write said.log")
    }

    /// Runs it with a line on standard input.
    pub fn run_with_input(&self, arguments: &[&str], line: &str) -> Result<Output> {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("run keyward")?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "{line}").context("write to keyward")?;
        }
        let output = child.wait_with_output().context("run keyward")?;
        self.keep(&[&output.stdout, &output.stderr])?;
        Ok(output)
    }

    /// Runs it to its end and demands success; standard output.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "keyward {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// Rotates a secret: now, or as soon as Keyward no longer says "not yet" (75): the grace of the value before must be over, and a daemon
    /// may just be busy with the secret. Standard output of the run that succeeded.
    pub fn rotate(&self, secret: &str) -> Result<String> {
        let rotation = || match self.must(&["rotate", secret]) {
            Err(error) if error.to_string().contains("exit status: 75") => None,
            answer => Some(answer),
        };
        crate::poll(ROTATION_LIMIT, rotation).with_context(|| format!("{secret} may still not be rotated"))?
    }

    /// Starts the daemon; what it logs goes to `keyward.log` in the shop's folder.
    pub fn serve(&self) -> Result<Process> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).context("open keyward's log")?;
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(log);
        Process::start("keyward", command, Stop::Terminate)
    }

    /// Where the daemon logs.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("keyward.log")
    }

    /// GET on the daemon's HTTP side: status and body.
    pub fn http(&self, path: &str) -> Result<(u16, String)> {
        let (status, body) = crate::http::Http::new(&format!("http://127.0.0.1:{}", self.port), None)?.call("GET", path, &[], None)?;
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        self.keep(&[body.as_bytes()])?;
        Ok((status, body))
    }

    /// The value of one metric line that begins with `series`; `None` when there is no such line.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = self.http("/metrics").ok()?;
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// A published document, as a consumer reads it.
    pub fn published(&self, path: &str) -> Result<Value> {
        let answer = self.vault.must("GET", &format!("{}/data/{path}", self.kv), None)?;
        Ok(answer.pointer("/data/data").cloned().unwrap_or_default())
    }

    /// A secret's record, without what it holds beside it.
    pub fn record(&self, secret: &str) -> Result<Value> {
        let answer = self.vault.must("GET", &format!("{}/data/{secret}", self.records), None)?;
        Ok(answer.pointer("/data/data/record").cloned().unwrap_or_default())
    }

    /// Logs in with what is published at `path` and does what consumers do.
    pub fn consume(&self, path: &str) -> Result<()> {
        let read = self.published(path)?;
        let field = |name: &str| read.get(name).and_then(Value::as_str).with_context(|| format!("{path} has no {name}"));
        self.query_as(field("username")?, field("password")?)
    }

    /// Logs in as a user and does what consumers do.
    pub fn query_as(&self, user: &str, password: &str) -> Result<()> {
        let count = self.postgres.psql_as(user, password, &self.database, "SELECT count(*) FROM orders")?;
        if count == "2" { Ok(()) } else { bail!("the orders are gone: {count}") }
    }

    /// The shop's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.dir).join(name)
    }
}

impl Drop for Shop<'_> {
    /// Demands that no secret value stands where none may stand.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        match self.leaks() {
            Ok(leaks) if leaks.is_empty() => {}
            Ok(leaks) => panic!("secret values stand where none may stand: {leaks:#?}"),
            Err(error) => panic!("it could not be looked for leaks: {error:#}"),
        }
    }
}
