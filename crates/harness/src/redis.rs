//! A real Redis server with an ACL file, so that passwords set at run time can be kept.
//!
//! Never saves its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ports::{free_port, retry_bind};
use crate::process::{Folder, Process, Stop, clean_command, find_program, start_server};
use crate::random::password;
use crate::run::{lock, run};

const START_LIMIT: Duration = Duration::from_secs(20);
const CLI_WAIT_SECONDS: &str = "10";

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
    own: Mutex<Option<(Process, Folder)>>,
}

impl RedisServer {
    /// Starts a server of one's own; it ends when dropped.
    pub fn start() -> Result<Self> {
        let missing = "Redis is not installed; `cargo xtask setup` installs it";
        let server = find_program(&["redis-server"], &["/usr/bin/redis-server"]).context(missing)?;
        let cli = find_program(&["redis-cli"], &["/usr/bin/redis-cli"]).context(missing)?;
        retry_bind(|| {
            let run = run()?;
            let folder = Folder::new(run, "redis")?;
            let tls = crate::tls::tls(run)?;
            let redis = Self {
                port: free_port()?,
                tls_port: free_port()?,
                password: password()?,
                ca_pem_path: tls.ca_pem.clone(),
                cli: cli.clone(),
                own: Mutex::default(),
            };
            fs::write(folder.0.join("users.acl"), format!("user default on >{} ~* &* +@all\n", redis.password))
                .context("write users.acl")?;
            fs::write(folder.0.join("redis.conf"), redis.settings(tls)).context("write redis.conf")?;
            let mut command = clean_command(&server, &folder.0);
            command.arg("redis.conf");
            let ready = || redis.cli(&["PING"]).is_ok_and(|answer| answer == "PONG");
            let process = start_server("Redis", command, Stop::Kill, &folder.0.join("server.log"), START_LIMIT, ready)?;
            *lock(&redis.own) = Some((process, folder));
            Ok(redis)
        })
    }

    /// Runs one command as the user `default`; gives its answer as `redis-cli` prints it. An error answer is an error.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        // Debian 12's redis-cli has no time limit of its own.
        let mut command = clean_command("timeout", Path::new("/"));
        command.arg(CLI_WAIT_SECONDS).arg(&self.cli).args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-e", "--raw"]);
        command.args(arguments).env("REDISCLI_AUTH", &self.password).stdin(Stdio::null());
        let output = command.output().context("run redis-cli")?;
        let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if !output.status.success() {
            bail!("redis-cli {}: {said} {}", arguments.first().unwrap_or(&""), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(said)
    }

    fn settings(&self, tls: &crate::tls::Tls) -> String {
        let (port, tls_port) = (self.port, self.tls_port);
        let (ca, cert, key) = (tls.ca_pem.display(), tls.server_pem.display(), tls.server_key.display());
        format!(
            "bind 127.0.0.1\nport {port}\ntls-port {tls_port}\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\n\
             tls-auth-clients no\naclfile users.acl\nsave \"\"\nappendonly no\ndaemonize no\n"
        )
    }
}
