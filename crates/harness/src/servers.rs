//! The servers that the tests of one process, or of one `cargo xtask test`, share.
//!
//! Never starts a server before somebody asks for it, except for [`Servers::start_all`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::json;

use crate::postgres::PostgresServer;
use crate::redis::RedisServer;
use crate::smtp::SmtpServer;
use crate::vault::{Options, VaultServer};

/// The environment variable with the path of a description of servers that run already; [`servers`] joins them.
pub const SERVERS_ENV: &str = "KEYWARD_TEST_SERVERS";

/// Each is started on first use, once; what went wrong then is what every later use says too.
#[derive(Debug, Default)]
pub struct Servers {
    vault: OnceLock<Result<VaultServer, String>>,
    postgres: OnceLock<Result<PostgresServer, String>>,
    smtp: OnceLock<Result<SmtpServer, String>>,
    redis: OnceLock<Result<RedisServer, String>>,
}

/// What [`Servers::start_all`] writes and [`servers`] reads.
#[derive(Deserialize)]
struct Description {
    vault: VaultServer,
    postgres: PostgresServer,
    smtp: SmtpServer,
    redis: RedisServer,
}

/// The servers that this process shares: those described in the file that [`SERVERS_ENV`] names, else its own.
///
/// # Panics
/// When that file cannot be read.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| match std::env::var_os(SERVERS_ENV).filter(|v| !v.is_empty()) {
        Some(path) => crate::or_panic(Servers::join(Path::new(&path))),
        None => Servers::default(),
    })
}

impl Servers {
    /// Vault.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn vault(&self) -> &VaultServer {
        get(&self.vault, "Vault", || VaultServer::start(&Options::default()))
    }

    /// PostgreSQL.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn postgres(&self) -> &PostgresServer {
        get(&self.postgres, "PostgreSQL", PostgresServer::start)
    }

    /// SMTP.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn smtp(&self) -> &SmtpServer {
        get(&self.smtp, "the SMTP server", SmtpServer::start)
    }

    /// Redis.
    ///
    /// # Panics
    /// When it cannot be started; the message says why.
    pub fn redis(&self) -> &RedisServer {
        get(&self.redis, "Redis", RedisServer::start)
    }

    /// Starts all shared servers and describes them in a file of this process's run, which only its owner can read; returns the
    /// file's path, which is what [`SERVERS_ENV`] takes.
    pub fn start_all() -> Result<PathBuf> {
        // Vault takes ten seconds to initialise; the others start meanwhile.
        let (vault, others) = std::thread::scope(|scope| {
            let vault = scope.spawn(|| VaultServer::start(&Options::default()).context("start Vault"));
            let others = start_others();
            (vault.join(), others)
        });
        let vault = vault.map_err(|_| anyhow!("starting Vault panicked"))?;
        let shared = (vault?, others?);
        let path = crate::run::run_folder()?.join("servers.json");
        let (vault, (postgres, smtp, redis)) = &shared;
        let text = json!({ "vault": vault, "postgres": postgres, "smtp": smtp, "redis": redis });
        crate::tls::write_private(&path, text.to_string().as_bytes())?;
        // They live until the run ends.
        std::mem::forget(shared);
        Ok(path)
    }

    fn join(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}, which {SERVERS_ENV} names", path.display()))?;
        let described: Description = serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
        Ok(Self {
            vault: Ok(described.vault).into(),
            postgres: Ok(described.postgres).into(),
            smtp: Ok(described.smtp).into(),
            redis: Ok(described.redis).into(),
        })
    }
}

fn start_others() -> Result<(PostgresServer, SmtpServer, RedisServer)> {
    Ok((
        PostgresServer::start().context("start PostgreSQL")?,
        SmtpServer::start().context("start the SMTP server")?,
        RedisServer::start().context("start Redis")?,
    ))
}

fn get<'a, T>(cell: &'a OnceLock<Result<T, String>>, name: &str, start: impl FnOnce() -> Result<T>) -> &'a T {
    match cell.get_or_init(|| start().map_err(|e| format!("{e:#}"))) {
        Ok(server) => server,
        Err(error) => panic!("cannot start {name} for the tests: {error}"),
    }
}
