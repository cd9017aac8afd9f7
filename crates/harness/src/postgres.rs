//! A real PostgreSQL server: scram-sha-256 for everybody, TLS offered, every statement in its log.
//!
//! Never listens on a Unix socket, and never syncs to disk: its data lives as long as the run.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ports::{free_port, retry_bind};
use crate::process::{Folder, Process, Signal, Stop, clean_command, find_program, is_executable, start_server};
use crate::random::{password, unique};
use crate::run::{lock, run};

const START_LIMIT: Duration = Duration::from_mins(1);

/// A PostgreSQL server on 127.0.0.1. Every login needs a password (scram-sha-256); TLS is offered, not demanded.
#[derive(Debug, Serialize, Deserialize)]
pub struct PostgresServer {
    /// Always `127.0.0.1`, for which the certificate is valid too.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The name of the superuser, `postgres`.
    pub superuser: String,
    /// The superuser's password.
    pub superuser_password: String,
    /// The authority that signed the server's certificate.
    pub ca_pem_path: PathBuf,
    /// The server's log, with every statement in it (`log_statement = all`).
    pub log_path: PathBuf,
    bin: PathBuf,
    #[serde(skip)]
    own: std::sync::Mutex<Option<Own>>,
}

#[derive(Debug)]
struct Own {
    process: Option<Process>,
    data: PathBuf,
    _folder: Folder,
}

/// An open transaction; dropping it rolls it back.
pub struct Held {
    child: std::process::Child,
    input: Option<std::process::ChildStdin>,
}

impl Held {
    /// A client that goes on until its input ends.
    pub(crate) fn new(child: std::process::Child, input: std::process::ChildStdin) -> Self {
        Self { child, input: Some(input) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take()); // psql ends with its input, and with it the transaction
        let _ = self.child.wait();
    }
}

impl PostgresServer {
    /// Starts a server of one's own; it ends when dropped.
    pub fn start() -> Result<Self> {
        let bin = postgres_bin().context("PostgreSQL is not installed; `cargo xtask setup` installs it")?;
        retry_bind(|| start_in(&bin))
    }

    /// Runs SQL statements as the superuser in the database `postgres`; the rows come back unaligned, `|` between columns.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_as(&self.superuser, &self.superuser_password, "postgres", sql)
    }

    /// Runs SQL statements as the superuser in `database`.
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as(&self.superuser, &self.superuser_password, database, sql)
    }

    /// Logs in over TLS as `user` and runs SQL statements, each in a transaction of its own; the first that fails ends it.
    pub fn psql_as(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String> {
        let mut command = clean_command(self.bin.join("psql"), Path::new("/"));
        command.args(["-h", &self.host, "-p", &self.port.to_string(), "-U", user, "-d", database]).env("PGPASSWORD", password);
        self.run_psql(command, &format!("{user} in {database}"), sql)
    }

    /// Logs in with nothing but a connection URL, as libpq reads it, and runs SQL statements.
    pub fn psql_url(&self, url: &str, sql: &str) -> Result<String> {
        let mut command = clean_command(self.bin.join("psql"), Path::new("/"));
        command.args(["-d", url]);
        self.run_psql(command, "the user of a URL", sql)
    }

    fn run_psql(&self, mut command: Command, who: &str, sql: &str) -> Result<String> {
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .env("PGSSLMODE", "verify-ca")
            .env("PGSSLROOTCERT", &self.ca_pem_path)
            .env("PGCONNECT_TIMEOUT", "20")
            .env("PGOPTIONS", "-c statement_timeout=60s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("run {}", self.bin.join("psql").display()))?;
        if let Some(mut input) = child.stdin.take() {
            // A failed login closes the pipe before all is written; its own error is the one to show.
            let _ = input.write_all(sql.as_bytes());
        }
        let output = child.wait_with_output().context("read the answer of psql")?;
        if !output.status.success() {
            bail!("psql as {who}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Runs SQL statements as the superuser in a transaction that stays open until the answer is dropped: to hold a lock.
    pub fn psql_hold(&self, database: &str, sql: &str) -> Result<Held> {
        self.psql_hold_as(&self.superuser, &self.superuser_password, database, sql)
    }

    /// The same as another user: a session that stays.
    pub fn psql_hold_as(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<Held> {
        let mut command = clean_command(self.bin.join("psql"), Path::new("/"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &self.host, "-p", &self.port.to_string()])
            .args(["-U", user, "-d", database])
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "verify-ca")
            .env("PGSSLROOTCERT", &self.ca_pem_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("run {}", self.bin.join("psql").display()))?;
        let mut input = child.stdin.take().context("psql has no standard input")?;
        writeln!(input, "BEGIN;\n{sql};\n\\echo held").context("write to psql")?;
        let mut answer = String::new();
        let output = child.stdout.take().context("psql has no standard output")?;
        BufReader::new(output).read_line(&mut answer).context("read the answer of psql")?;
        let held = Held::new(child, input);
        if answer.trim() == "held" { Ok(held) } else { bail!("psql could not run {sql}") }
    }

    /// Creates the database `name`.
    pub fn database(&self, name: &str) -> Result<()> {
        self.psql(&format!("CREATE DATABASE \"{name}\"")).map(drop)
    }

    /// A new, empty database with a name nobody else uses.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn fresh_database(&self) -> String {
        let name = unique("db");
        crate::or_panic(self.database(&name));
        name
    }

    /// A new role that may log in, and its password: (name, password).
    ///
    /// # Panics
    /// When the server refuses.
    pub fn fresh_role(&self, prefix: &str) -> (String, String) {
        let name = unique(prefix);
        let made = password().and_then(|password| {
            self.psql(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'"))?;
            Ok(password)
        });
        (name, crate::or_panic(made))
    }

    /// A connection string for `user` in the key-value form, with TLS verified against [`Self::ca_pem_path`].
    pub fn connection_string(&self, user: &str, password: &str, database: &str) -> String {
        let (host, port, ca) = (&self.host, self.port, self.ca_pem_path.display());
        format!("host={host} port={port} user={user} password={password} dbname={database} sslmode=verify-full sslrootcert={ca}")
    }

    /// The whole log so far.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log_path).with_context(|| format!("read {}", self.log_path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Stops a server of one's own, cutting off its clients.
    pub fn stop(&self) -> Result<()> {
        let mut own = lock(&self.own);
        let own = own.as_mut().context("a shared PostgreSQL server cannot be stopped; start one of your own")?;
        own.process = None;
        Ok(())
    }

    /// Starts a stopped server again on the same port, with its data.
    pub fn restart(&self) -> Result<()> {
        let mut own = lock(&self.own);
        let own = own.as_mut().context("a shared PostgreSQL server cannot be restarted; start one of your own")?;
        own.process = None;
        own.process = Some(self.launch(&own.data)?);
        Ok(())
    }

    /// Re-reads `pg_hba.conf` after replacing it by `lines`, for tests of other ways to authenticate. Only for a server of one's own.
    pub fn set_hba(&self, lines: &str) -> Result<()> {
        let own = lock(&self.own);
        let own = own.as_ref().context("a shared PostgreSQL server keeps its pg_hba.conf; start one of your own")?;
        fs::write(own.data.join("pg_hba.conf"), lines).context("write pg_hba.conf")?;
        own.process.as_ref().context("the server is stopped")?.signal(Signal::HUP)
    }

    fn launch(&self, data: &Path) -> Result<Process> {
        let mut command = clean_command(self.bin.join("postgres"), data);
        command.arg("-D").arg(data);
        run_unprivileged(&mut command)?;
        start_server("PostgreSQL", command, Stop::Quit, &self.log_path, START_LIMIT, || self.psql("SELECT 1").is_ok())
    }
}

fn start_in(bin: &Path) -> Result<PostgresServer> {
    let run = run()?;
    let folder = Folder::new(run, "postgres")?;
    let tls = crate::tls::tls(run)?;
    let (data, secret) = (folder.0.join("data"), folder.0.join("superuser"));
    let server = PostgresServer {
        host: "127.0.0.1".to_owned(),
        port: free_port()?,
        superuser: "postgres".to_owned(),
        superuser_password: password()?,
        ca_pem_path: tls.ca_pem.clone(),
        log_path: folder.0.join("server.log"),
        bin: bin.to_owned(),
        own: std::sync::Mutex::default(),
    };
    fs::write(&secret, &server.superuser_password).context("write the superuser's password")?;
    give_away(&folder.0)?;
    give_away(&secret)?;
    init(bin, &data, &secret)?;
    for (from, to) in [(&tls.server_pem, "server.crt"), (&tls.server_key, "server.key")] {
        crate::tls::write_private(&data.join(to), &fs::read(from).context("read the server's certificate")?)?;
        give_away(&data.join(to))?;
    }
    let settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
    settings.and_then(|mut file| file.write_all(settings_text(server.port).as_bytes())).context("write postgresql.conf")?;
    fs::write(data.join("pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n").context("write pg_hba.conf")?;
    let process = server.launch(&data)?;
    *lock(&server.own) = Some(Own { process: Some(process), data, _folder: folder });
    Ok(server)
}

/// Shared memory is kept inside the data folder where PostgreSQL lets us choose, so that even SIGKILL leaves little behind.
fn settings_text(port: u16) -> String {
    format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 300\nshared_buffers = 32MB\n\
         dynamic_shared_memory_type = mmap\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\npassword_encryption = scram-sha-256\n\
         ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n\
         log_statement = all\nlog_connections = on\nlog_line_prefix = '%m [%p] %u@%d '\nlog_timezone = UTC\ntimezone = UTC\n"
    )
}

fn init(bin: &Path, data: &Path, password_file: &Path) -> Result<()> {
    let mut command = clean_command(bin.join("initdb"), data.parent().unwrap_or(Path::new("/")));
    command.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    command.arg("--pwfile").arg(password_file).arg("-D").arg(data);
    run_unprivileged(&mut command)?;
    let output = command.output().context("run initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed ({}); the user that PostgreSQL runs as must be able to reach {}: {}",
            output.status,
            data.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// PostgreSQL refuses to run as root; Debian's package makes the user `postgres`, and `nobody` is everywhere.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = |flag: &str, user: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, user]).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let both = ["postgres", "nobody"].iter().find_map(|user| id("-u", user).zip(id("-g", user)));
    both.map(Some).context("found neither the user postgres nor nobody to run PostgreSQL as")
}

fn run_unprivileged(command: &mut Command) -> Result<()> {
    if let Some((uid, gid)) = unprivileged()? {
        command.uid(uid).gid(gid);
    }
    Ok(())
}

fn give_away(path: &Path) -> Result<()> {
    match unprivileged()? {
        Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)).with_context(|| format!("give {} away", path.display())),
        None => Ok(()),
    }
}

/// The folder with `initdb`, `postgres` and `psql`: Debian keeps them off `PATH`, one folder per version; the newest wins.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    let on_path = find_program(&["initdb"], &[]).and_then(|p| p.canonicalize().ok()?.parent().map(Path::to_path_buf));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u32, PathBuf)> =
        versions.filter_map(|dir| Some((dir.file_name()?.to_str()?.parse().ok()?, dir.join("bin")))).collect();
    found.sort();
    let complete = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| is_executable(&bin.join(name)));
    on_path.into_iter().chain(found.into_iter().rev().map(|(_, bin)| bin)).find(complete)
}
