//! A real Redis server; where it writes its users down is the caller's choice.
//!
//! Never saves its data.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ports::{free_port, retry_bind};
use crate::postgres::Held;
use crate::process::{Folder, Process, Stop, clean_command, find_program, start_server};
use crate::random::password;
use crate::run::{lock, run};

const START_LIMIT: Duration = Duration::from_secs(20);
const LINK_LIMIT: Duration = Duration::from_secs(20);
const CLI_WAIT_SECONDS: &str = "10";

/// Where a server writes its users down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisUsers {
    /// In an ACL file, by `ACL SAVE`.
    AclFile,
    /// In its configuration file, by `CONFIG REWRITE`.
    ConfigFile,
    /// Nowhere: a restart forgets them.
    Nowhere,
}

/// A Redis server on 127.0.0.1.
#[derive(Debug, Serialize, Deserialize)]
pub struct RedisServer {
    /// Its TCP port, without TLS.
    pub port: u16,
    /// Its TCP port with TLS.
    pub tls_port: u16,
    /// The password of the user `default`, who may do everything.
    pub password: String,
    /// The authority that signed the server's certificate.
    pub ca_pem_path: PathBuf,
    cli: PathBuf,
    #[serde(skip)]
    own: Mutex<Option<Own>>,
}

#[derive(Debug)]
struct Own {
    /// Ends before its folder is removed.
    process: Option<Process>,
    folder: Folder,
    server: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server of one's own, with an ACL file; it ends when dropped.
    pub fn start() -> Result<Self> {
        Self::start_with(RedisUsers::AclFile)
    }

    /// The same, with its users written where they are wished.
    pub fn start_with(users: RedisUsers) -> Result<Self> {
        start(users, None)
    }

    /// Starts a replica of this server; returns once it follows. It has the user `default` of this server, and no other.
    pub fn replica(&self, users: RedisUsers) -> Result<Self> {
        let replica = start(users, Some(self))?;
        let follows = || replica.cli(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up")).then_some(());
        crate::poll(LINK_LIMIT, follows).context("the replica does not follow its master")?;
        Ok(replica)
    }

    /// Ends a server of one's own without warning and starts it again on the same ports.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Ends a server of one's own without warning (SIGKILL).
    pub fn stop(&self) -> Result<()> {
        lock(&self.own).as_mut().context("a shared Redis cannot be stopped; start one of your own")?.process = None;
        Ok(())
    }

    /// Starts a server again that was stopped.
    pub fn launch(&self) -> Result<()> {
        let (command, log) = {
            let own = lock(&self.own);
            let own = own.as_ref().context("a shared Redis cannot be started; start one of your own")?;
            let mut command = clean_command(&own.server, &own.folder.0);
            command.args(&own.arguments);
            (command, own.folder.0.join("server.log"))
        };
        let ready = || self.cli(&["PING"]).is_ok_and(|answer| answer == "PONG");
        let process = start_server("Redis", command, Stop::Kill, &log, START_LIMIT, ready)?;
        if let Some(own) = lock(&self.own).as_mut() {
            own.process = Some(process);
        }
        Ok(())
    }

    /// Runs one command as the user `default`; gives its answer as `redis-cli` prints it. An error answer is an error.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        self.cli_as("default", &self.password, arguments)
    }

    /// The same as another user.
    pub fn cli_as(&self, user: &str, password: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command_as(user, password);
        let output = command.args(arguments).output().context("run redis-cli")?;
        let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let warned = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // A refused login is a warning to redis-cli, which then goes on as nobody.
        if !output.status.success() || warned.contains("AUTH failed") {
            bail!("redis-cli {}: {said} {warned}", arguments.first().unwrap_or(&""));
        }
        Ok(said)
    }

    /// A client that is logged in as this user, and stays until the answer is dropped.
    pub fn hold_as(&self, user: &str, password: &str) -> Result<Held> {
        let mut command = clean_command(&self.cli, Path::new("/"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--user", user]).env("REDISCLI_AUTH", password);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("run redis-cli")?;
        let mut input = child.stdin.take().context("redis-cli has no standard input")?;
        writeln!(input, "PING").context("write to redis-cli")?;
        let mut answer = String::new();
        let output = child.stdout.take().context("redis-cli has no standard output")?;
        BufReader::new(output).read_line(&mut answer).context("read the answer of redis-cli")?;
        let held = Held::new(child, input);
        if answer.trim() == "PONG" { Ok(held) } else { bail!("redis-cli did not log in as {user}") }
    }

    fn command_as(&self, user: &str, password: &str) -> Command {
        // Debian 12's redis-cli has no time limit of its own.
        let mut command = clean_command("timeout", Path::new("/"));
        command.arg(CLI_WAIT_SECONDS).arg(&self.cli).args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-e", "--raw"]);
        command.args(["--user", user]).env("REDISCLI_AUTH", password).stdin(Stdio::null());
        command
    }

    /// Everything that the server has written of itself: its log, its configuration file, its ACL file.
    pub fn written(&self) -> Result<String> {
        let own = lock(&self.own);
        let folder = &own.as_ref().context("a shared Redis keeps its files to itself")?.folder.0;
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        Ok(["server.log", "redis.conf", "users.acl"].map(read).concat())
    }
}

fn start(users: RedisUsers, master: Option<&RedisServer>) -> Result<RedisServer> {
    let missing = "Redis is not installed; `cargo xtask setup` installs it";
    let server = find_program(&["redis-server"], &["/usr/bin/redis-server"]).context(missing)?;
    let cli = find_program(&["redis-cli"], &["/usr/bin/redis-cli"]).context(missing)?;
    retry_bind(|| {
        let run = run()?;
        let folder = Folder::new(run, "redis")?;
        let tls = crate::tls::tls(run)?;
        let redis = RedisServer {
            port: free_port()?,
            tls_port: free_port()?,
            password: master.map_or_else(password, |master| Ok(master.password.clone()))?,
            ca_pem_path: tls.ca_pem.clone(),
            cli: cli.clone(),
            own: Mutex::default(),
        };
        let everyone = format!("user default on >{} ~* &* +@all\n", redis.password);
        let mut settings = settings(&redis, tls, master);
        match users {
            RedisUsers::AclFile => {
                fs::write(folder.0.join("users.acl"), everyone).context("write users.acl")?;
                settings.push_str("aclfile users.acl\n");
            }
            RedisUsers::ConfigFile | RedisUsers::Nowhere => settings.push_str(&everyone),
        }
        let arguments = if users == RedisUsers::Nowhere { as_arguments(&settings) } else { vec!["redis.conf".to_owned()] };
        if users != RedisUsers::Nowhere {
            fs::write(folder.0.join("redis.conf"), settings).context("write redis.conf")?;
        }
        *lock(&redis.own) = Some(Own { process: None, folder, server: server.clone(), arguments });
        redis.launch()?;
        Ok(redis)
    })
}

fn settings(redis: &RedisServer, tls: &crate::tls::Tls, master: Option<&RedisServer>) -> String {
    let (port, tls_port) = (redis.port, redis.tls_port);
    let (ca, cert, key) = (tls.ca_pem.display(), tls.server_pem.display(), tls.server_key.display());
    let follow = master.map_or_else(String::new, |m| format!("replicaof 127.0.0.1 {}\nmasterauth {}\n", m.port, m.password));
    format!(
        "bind 127.0.0.1\nport {port}\ntls-port {tls_port}\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\n\
         tls-auth-clients no\nsave \"\"\nappendonly no\ndaemonize no\nrepl-diskless-sync-delay 0\n{follow}"
    )
}

/// `key words` of every line as `--key words`: a server that was started without a file has none to write to.
fn as_arguments(settings: &str) -> Vec<String> {
    let words = |line: &str| -> Vec<String> {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let values = value.split(' ').map(|word| if word == "\"\"" { String::new() } else { word.to_owned() });
        std::iter::once(format!("--{key}")).chain(values).collect()
    };
    settings.lines().flat_map(words).collect()
}
