//! A real Vault (or OpenBao) server: Raft storage, Shamir 5/3, TLS, a file audit device.
//!
//! Never in dev mode: its storage behaves otherwise, and it is born unsealed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit_device;
use crate::http::Http;
use crate::ports::{free_port, retry_bind};
use crate::postgres::PostgresServer;
use crate::process::{Folder, Process, Signal, Stop, clean_command, start_server};
use crate::random::unique;
use crate::run::{lock, run};
use crate::tls::Tls;
use crate::vault_binary::{Product, product, vault_binary};

const START_LIMIT: Duration = Duration::from_mins(1);
const ACTIVE_LIMIT: Duration = Duration::from_mins(1);
const SHARES: usize = 5;
const THRESHOLD: usize = 3;

/// The server's own configuration, in its folder.
pub(crate) const SERVER_FILE: &str = "server.hcl";

/// How a server of one's own shall be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Initialise and unseal it; without it the server has no root token, no unseal keys and no audit device by API.
    pub initialise: bool,
    /// Give it a file audit device.
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { initialise: true, audit: true }
    }
}

/// A server on 127.0.0.1.
#[derive(Debug, Serialize, Deserialize)]
pub struct VaultServer {
    /// `https://127.0.0.1:PORT`.
    pub address: String,
    /// The authority that signed the server's certificate (valid for `localhost` and 127.0.0.1).
    pub ca_pem_path: PathBuf,
    /// The root token; empty on a server that is not initialised.
    pub root_token: String,
    /// Five Shamir shares, three of which unseal.
    pub unseal_keys: Vec<String>,
    /// The audit device `file/` writes here.
    pub audit_log: PathBuf,
    /// What it is.
    pub product: Product,
    /// Its process id.
    pub pid: u32,
    /// The server binary, which is also the whole command-line tool.
    pub binary: PathBuf,
    #[serde(skip)]
    http: Mutex<Option<Http>>,
    #[serde(skip)]
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Mutex<Option<Process>>,
    folder: Folder,
}

/// A database secrets engine that is connected to a PostgreSQL server.
#[derive(Clone, Debug)]
pub struct DatabaseMount {
    /// The mount's path.
    pub path: String,
    /// The connection's name (`<path>/config/<connection>`); every role may use it.
    pub connection: String,
    /// The database that the connection logs in to.
    pub database: String,
    /// Vault's own login in PostgreSQL, which may create and alter roles.
    pub user: String,
    /// Its first password.
    pub password: String,
}

impl VaultServer {
    /// Starts a server of one's own, for tests which seal or kill it; it ends when dropped. Takes some ten seconds.
    pub fn start(options: &Options) -> Result<Self> {
        let binary = vault_binary()?;
        retry_bind(|| start_with(&binary, options))
    }

    /// Calls the API with the root token. `path` goes without `/v1/`. Gives the status and the body, `Null` where it is empty.
    /// Retries nothing; an error means that no answer came.
    pub fn api(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        self.api_as(&self.root_token, method, path, body)
    }

    /// As [`Self::must`], with both bodies as they travel: for what no JSON value of ours can hold, such as large numbers.
    pub fn must_text(&self, method: &str, path: &str, body: Option<&str>) -> Result<String> {
        let headers = [("x-vault-token", self.root_token.as_str())];
        let (status, answer) = self.http()?.text(method, &format!("/v1/{path}"), &headers, body.map(str::to_owned))?;
        ensure!(status < 400, "{method} {path} answered {status}: {answer}");
        Ok(answer)
    }

    /// Calls the API with `token`, or with none where it is empty.
    pub fn api_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let headers: &[_] = if token.is_empty() { &[] } else { &[("x-vault-token", token)] };
        self.api_with(headers, method, path, body)
    }

    /// Calls the API with these headers: a token, or the wish to have the answer wrapped.
    pub fn api_with(&self, headers: &[(&str, &str)], method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let path = path.trim_start_matches('/').trim_start_matches("v1/");
        self.http()?.call(method, &format!("/v1/{path}"), headers, body.as_ref())
    }

    /// As [`Self::api`], for calls that must succeed: an answer of 400 or more is an error. Gives the body.
    pub fn must(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, answer) = self.api(method, path, body)?;
        ensure!(status < 400, "{method} {path} answered {status}: {answer}");
        Ok(answer)
    }

    /// Seals it; returns once it says that it is sealed.
    pub fn seal(&self) -> Result<()> {
        self.must("PUT", "sys/seal", None)?;
        crate::poll(ACTIVE_LIMIT, || self.health().is_ok_and(|status| status == 503).then_some(())).context("Vault did not seal")
    }

    /// Unseals it; returns once it is active.
    pub fn unseal(&self) -> Result<()> {
        for key in self.unseal_keys.iter().take(THRESHOLD) {
            self.must("PUT", "sys/unseal", Some(json!({ "key": key })))?;
        }
        crate::poll(ACTIVE_LIMIT, || self.health().is_ok_and(|status| status == 200).then_some(())).context("Vault did not become active")
    }

    /// The status that `sys/health` answers: 200 active, 429 standby, 501 not initialised, 503 sealed.
    pub fn health(&self) -> Result<u16> {
        Ok(self.api_as("", "GET", "sys/health", None)?.0)
    }

    /// A token that has just the policy `policy_hcl`, without the default policy. `extra` is merged into the request to
    /// `auth/token/create` (`Null` for nothing).
    ///
    /// # Panics
    /// When the server refuses.
    pub fn token(&self, policy_hcl: &str, extra: Value) -> String {
        crate::or_panic(self.make_token(policy_hcl, extra))
    }

    fn make_token(&self, policy_hcl: &str, extra: Value) -> Result<String> {
        let name = unique("policy");
        self.must("PUT", &format!("sys/policies/acl/{name}"), Some(json!({ "policy": policy_hcl })))?;
        let mut request = json!({ "policies": [name], "no_default_policy": true, "no_parent": true });
        if let (Value::Object(request), Value::Object(extra)) = (&mut request, extra) {
            request.extend(extra);
        }
        text(&self.must("POST", "auth/token/create", Some(request))?, "/auth/client_token")
    }

    /// A new KV version 2 mount; returns its path.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn kv_mount(&self) -> String {
        let path = unique("kv");
        crate::or_panic(self.mount_kv(&path));
        path
    }

    fn mount_kv(&self, path: &str) -> Result<()> {
        self.must("POST", &format!("sys/mounts/{path}"), Some(json!({ "type": "kv", "options": { "version": "2" } })))?;
        // Vault sets up a version 2 store after it has answered, and refuses (400) until then.
        let ready = || self.api("GET", &format!("{path}/config"), None).is_ok_and(|(status, _)| status == 200).then_some(());
        crate::poll(ACTIVE_LIMIT, ready).with_context(|| format!("the KV mount {path} did not become ready"))
    }

    /// A new database secrets engine, connected over TLS to a new database of `postgres` with a login of Vault's own.
    ///
    /// # Panics
    /// When either server refuses.
    pub fn database_mount(&self, postgres: &PostgresServer) -> DatabaseMount {
        crate::or_panic(self.mount_database(postgres))
    }

    fn mount_database(&self, postgres: &PostgresServer) -> Result<DatabaseMount> {
        let path = unique("database");
        let database = postgres.fresh_database();
        let (user, password) = postgres.fresh_role("vault");
        postgres.psql(&format!("ALTER ROLE \"{user}\" CREATEROLE"))?;
        self.must("POST", &format!("sys/mounts/{path}"), Some(json!({ "type": "database" })))?;
        let (host, port, ca) = (&postgres.host, postgres.port, postgres.ca_pem_path.display());
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={ca}");
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": url,
            "username": user,
            "password": password,
            "allowed_roles": "*",
        });
        self.must("POST", &format!("{path}/config/postgres"), Some(config))?;
        Ok(DatabaseMount { path, connection: "postgres".to_owned(), database, user, password })
    }

    /// Makes `role` a static role for the PostgreSQL user `username`; Vault changes that user's password at once.
    pub fn static_role(&self, mount: &DatabaseMount, role: &str, username: &str) -> Result<()> {
        let body = json!({ "db_name": mount.connection, "username": username, "rotation_period": "8760h" });
        self.must("POST", &format!("{}/static-roles/{role}", mount.path), Some(body)).map(drop)
    }

    /// Saves a Raft snapshot of the whole server into a file.
    pub fn save_snapshot(&self, to: &Path) -> Result<()> {
        self.operate(&["operator", "raft", "snapshot", "save"], to)
    }

    /// Puts a snapshot of this very server back: time runs backwards for everything in it. Returns once it is active again.
    pub fn restore_snapshot(&self, from: &Path) -> Result<()> {
        self.operate(&["operator", "raft", "snapshot", "restore"], from)?;
        crate::poll(ACTIVE_LIMIT, || match self.health() {
            Ok(200) => Some(()),
            Ok(503) => self.unseal().ok(),
            _ => None,
        })
        .context("Vault did not come back after the restore")
    }

    /// Runs the server's own command-line tool as root, on one file.
    fn operate(&self, arguments: &[&str], file: &Path) -> Result<()> {
        let mut command = clean_command(&self.binary, file.parent().unwrap_or(Path::new("/")));
        command.env("VAULT_ADDR", &self.address).env("VAULT_CACERT", &self.ca_pem_path).env("VAULT_TOKEN", &self.root_token);
        let output = command.args(arguments).arg(file).output().context("run Vault's command-line tool")?;
        ensure!(output.status.success(), "{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Kills a server of one's own without warning (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        *lock(&self.own.as_ref().context("a shared Vault cannot be killed; start one of your own")?.process) = None;
        Ok(())
    }

    /// Kills it without warning when called, from whatever thread. [`Self::relaunch`] starts it again.
    pub fn killer(&self) -> impl FnOnce() + Send + 'static {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        move || {
            // One that is gone already is what was wanted.
            let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::KILL));
        }
    }

    /// As [`Self::restart`], for a server that somebody else holds on to; [`Self::pid`] stays what it was.
    pub fn relaunch(&self) -> Result<()> {
        let own = self.own.as_ref().context("a shared Vault cannot be restarted; start one of your own")?;
        *lock(&own.process) = None;
        let process = self.launch(&own.folder.0)?;
        *lock(&own.process) = Some(process);
        Ok(())
    }

    /// Starts a killed server again on the same port with its data; it is sealed then.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let own = self.own.as_ref().context("a shared Vault cannot be restarted; start one of your own")?;
        let process = self.launch(&own.folder.0)?;
        self.pid = process.pid();
        if let Some(own) = &self.own {
            *lock(&own.process) = Some(process);
        }
        Ok(())
    }

    /// The folder of a server of one's own.
    pub(crate) fn folder(&self) -> Result<&Path> {
        Ok(&self.own.as_ref().context("a shared Vault's own file stays as it is; start one of your own")?.folder.0)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw).context("Vault's process id is out of range")?;
        rustix::process::kill_process(pid, signal).context("send a signal to Vault")
    }

    fn http(&self) -> Result<Http> {
        let mut http = lock(&self.http);
        if http.is_none() {
            *http = Some(Http::new(&self.address, Some(&self.ca_pem_path))?);
        }
        http.clone().context("no HTTP client")
    }

    fn launch(&self, dir: &Path) -> Result<Process> {
        let mut command = clean_command(&self.binary, dir);
        command.arg("server").arg(format!("-config={SERVER_FILE}"));
        let ready = || self.health().is_ok();
        start_server("Vault", command, Stop::Kill, &dir.join("server.log"), START_LIMIT, ready)
    }

    /// Initialises and unseals a server that was started without.
    pub fn initialise(&mut self) -> Result<()> {
        let request = json!({ "secret_shares": SHARES, "secret_threshold": THRESHOLD });
        let answer = self.must("PUT", "sys/init", Some(request)).context("initialise Vault")?;
        self.root_token = text(&answer, "/root_token")?;
        let keys = answer.pointer("/keys_base64").and_then(Value::as_array).context("Vault gave no unseal keys")?;
        self.unseal_keys = keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
        self.unseal()
    }
}

fn start_with(binary: &Path, options: &Options) -> Result<VaultServer> {
    let run = run()?;
    let folder = Folder::new(run, "vault")?;
    let tls = crate::tls::tls(run)?;
    let (port, cluster_port) = (free_port()?, free_port()?);
    let product = product(binary)?;
    for name in ["raft", "audit"] {
        fs::create_dir(folder.0.join(name)).with_context(|| format!("make the folder {name} for Vault"))?;
    }
    let mut server = VaultServer {
        address: format!("https://127.0.0.1:{port}"),
        ca_pem_path: tls.ca_pem.clone(),
        root_token: String::new(),
        unseal_keys: Vec::new(),
        audit_log: folder.0.join("audit/audit.log"),
        product,
        pid: 0,
        binary: binary.to_owned(),
        http: Mutex::default(),
        own: None,
    };
    fs::write(folder.0.join(SERVER_FILE), server_file(&folder.0, tls, port, cluster_port)).context("write Vault's server file")?;
    if options.audit && product == Product::OpenBao {
        audit_device::declare(&folder.0, Some(&server.audit_log))?;
    }
    let process = server.launch(&folder.0)?;
    server.pid = process.pid();
    server.own = Some(Own { process: Mutex::new(Some(process)), folder });
    if options.initialise {
        server.initialise()?;
        if options.audit {
            server.add_audit()?;
        }
    }
    Ok(server)
}

/// The multiplier is the one for production: a node that is alone elects itself within two seconds instead of ten.
fn server_file(dir: &Path, tls: &Tls, port: u16, cluster_port: u16) -> String {
    let (raft, cert, key) = (dir.join("raft"), tls.server_pem.display(), tls.server_key.display());
    format!(
        r#"storage "raft" {{
  path                   = "{}"
  node_id                = "node-1"
  performance_multiplier = 1
}}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file   = "{cert}"
  tls_key_file    = "{key}"
}}
telemetry {{
  prometheus_retention_time = "1h"
  disable_hostname          = true
}}
api_addr      = "https://127.0.0.1:{port}"
cluster_addr  = "https://127.0.0.1:{cluster_port}"
disable_mlock = true
"#,
        raft.display()
    )
}

fn text(answer: &Value, pointer: &str) -> Result<String> {
    match answer.pointer(pointer).and_then(Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => bail!("Vault's answer has no {pointer}"),
    }
}
