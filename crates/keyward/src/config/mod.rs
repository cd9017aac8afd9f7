//! The configuration: one TOML file, the `VAULT_*` variables, and what the command line says, checked into plain data.
//!
//! It never contacts a server, never resolves a secret and never reads the process's environment in place. There is a whole
//! configuration or a list of problems, never half of one.
//!
//! text → `toml` (tables with their places) → one reader per section → checks across sections → [`Config`]

mod address;
mod alert;
mod audit;
mod backup;
mod class;
mod cross;
mod duration;
mod environment;
mod init;
mod kind;
mod kinds;
mod problem;
mod reference;
mod secret;
mod section;
mod shape;
mod vault;

pub use address::network;
pub use alert::{AlertConfig, Alertmanager, Repeat, Smtp, Webhook, WebhookUrl};
pub use audit::{AuditConfig, Evidence};
pub use backup::{BackupConfig, Copy};
pub use class::Class;
pub use duration::{parse as parse_duration, show as show_duration};
pub use environment::Environment;
pub use init::{Access, InitConfig, InitConnection, InitRole, InitRoleKind};
pub use kind::KindConfig;
pub use kinds::{
    Admin, ApproleSecretId, Exec, HmacAlgorithm, HttpApiKey, HttpCheck, JwtHmac, JwtKeypair, Login, Manual, ManualCheck, PostgresPassword,
    PostgresTwoUsers, PublishedCopy, Random, RedisAdmin, RedisPassword, TransitKey, VaultDynamicLease, VaultRoot, VaultStaticRole, kinds,
};
pub use problem::{ConfigErrors, Problem, SHOWN};
pub use reference::{LARGEST_VALUE_BYTES, ReferenceError, SecretRef, loose_permissions, resolve_local};
pub use secret::{SecretConfig, Via};
pub use vault::{Auth, DEFAULT_RECORD_MOUNT, NodeConfig, VaultConfig, plain_address};

use keyward_audit::RuleOverride;
use problem::Problems;
use section::Section;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeTable;

/// Where the daemon keeps what it needs between restarts, unless the file says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/keyward";

/// Where metrics, health and status are served, unless the file says otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9120);

/// No configuration that people write is larger.
const LARGEST_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Whether rotations are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything but acting: plan, watch, prove, alert.
    Observe,
    /// Rotate.
    #[default]
    Act,
}

impl Mode {
    /// As in the file.
    pub(crate) const CHOICES: [(&'static str, Self); 2] = [("observe", Self::Observe), ("act", Self::Act)];
}

/// A whole configuration that was found sound.
#[derive(Clone, Debug)]
pub struct Config {
    /// For every secret that says nothing else; default act.
    pub mode: Mode,
    /// The daemon's folder; default [`DEFAULT_STATE_DIR`].
    pub state_dir: PathBuf,
    /// The unix socket between command line and daemon; default `keyward.sock` in the state folder.
    pub socket: PathBuf,
    /// The server.
    pub vault: VaultConfig,
    /// The classes by name: the shipped ones, and the file's own.
    pub classes: BTreeMap<String, Class>,
    /// The secrets, in the file's order.
    pub secrets: Vec<SecretConfig>,
    /// What the file changes about the audit rules.
    pub audit_rules: Vec<RuleOverride>,
    /// How the audit logs are looked after.
    pub audit: AuditConfig,
    /// Who is told.
    pub alert: AlertConfig,
    /// Where HTTP is served: `[http] listen`; default [`DEFAULT_LISTEN`]. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The local store's file: `[store] url = "sqlite:///path"`; default `keyward.db` in the state folder.
    pub store: PathBuf,
    /// What `keyward init` sets up.
    pub init: InitConfig,
    /// How `keyward backup` keeps snapshots.
    pub backup: Box<BackupConfig>,
    /// What works and should be known nevertheless, each with file and line.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigErrors`] when it cannot be read or is not sound.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| {
            let cure = if error.kind() == std::io::ErrorKind::NotFound {
                "; write one, or name yours with --config or KEYWARD_CONFIG"
            } else {
                ""
            };
            ConfigErrors::whole_file(&name, format!("cannot read the configuration: {error}{cure}"))
        };
        let mut text = String::new();
        std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE_BYTES + 1).read_to_string(&mut text)).map_err(failed)?;
        if text.len() as u64 > LARGEST_FILE_BYTES {
            return Err(ConfigErrors::whole_file(&name, "is larger than 16 MiB; this is no configuration".to_owned()));
        }
        Self::parse(&text, &name, environment)
    }

    /// Checks a text. `file_name` is only repeated in errors.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong.
    pub fn parse(text: &str, file_name: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        // Some editors put a byte order mark there; TOML has none.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let problems = Problems::new(file_name, text);
        let found = match DeTable::parse(text) {
            Ok(table) => read(table, environment, &problems),
            Err(error) => {
                // The error's own display quotes the line, which may hold a secret that was put there by mistake.
                problems.at(&error.span().unwrap_or(0..0), format!("not TOML: {}", one_line(error.message())));
                None
            }
        };
        let warnings = problems.verdict()?;
        // Nothing is left out without a problem; if that should ever be broken, it must not pass as a configuration.
        let missing = || {
            ConfigErrors::whole_file(
                file_name,
                "could not be read, and no problem was found: a defect in Keyward, please report it".to_owned(),
            )
        };
        found.map(|config| Self { warnings, ..config }).ok_or_else(missing)
    }

    /// Only the `[[audit.rule]]` tables of a text; what else stands in it is not looked at.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong with those tables.
    pub fn parse_rules(text: &str, file_name: &str) -> Result<Vec<RuleOverride>, ConfigErrors> {
        let problems = Problems::new(file_name, text);
        let rules = match DeTable::parse(text) {
            Ok(table) => audit::read(Section::new("the top level", table, &problems).section("audit", "[audit]"), &problems).0,
            Err(error) => {
                problems.at(&error.span().unwrap_or(0..0), format!("not TOML: {}", one_line(error.message())));
                Vec::new()
            }
        };
        problems.verdict().map(|_| rules)
    }

    /// A secret by its name.
    pub fn secret(&self, name: &str) -> Option<&SecretConfig> {
        self.secrets.iter().find(|secret| secret.name == name)
    }

    /// What to say of a name that no secret has.
    pub fn unknown_secret(&self, name: &str) -> String {
        let known: Vec<&str> = self.secrets.iter().map(|s| s.name.as_str()).collect();
        format!("no secret is named \"{name}\"; {}", problem::suggestion(name, &known, "secrets"))
    }
}

fn read<'d>(table: Spanned<DeTable<'d>>, environment: &Environment, problems: &'d Problems<'d>) -> Option<Config> {
    let mut top = Section::new("the top level", table, problems);
    let mode = top.choice("mode", &Mode::CHOICES).map(Spanned::into_inner).unwrap_or_default();
    let state_dir = top.parsed("state_dir", reference::absolute_path).map_or_else(|| PathBuf::from(DEFAULT_STATE_DIR), Spanned::into_inner);
    let socket = top.parsed("socket", reference::absolute_path).map_or_else(|| state_dir.join("keyward.sock"), Spanned::into_inner);
    let vault = vault::read(top.section("vault", "[vault]"), environment, problems);
    let classes = class::read(top.section("class", "[class]"), problems);
    let around = secret::Around { classes: &classes, mode, problems };
    let sections = top.sections("secret", "[[secret]]");
    let count = sections.len();
    let placed = secret::read(sections, &around);
    let (audit_rules, audit) = audit::read(top.section("audit", "[audit]"), problems);
    let alert = alert::read(top.section("alert", "[alert]"), problems);
    let init = init::read(top.section("init", "[init]"), problems);
    let backup = Box::new(backup::read(top.section("backup", "[backup]")));
    let listen = top.section("http", "[http]").and_then(read_http).unwrap_or(DEFAULT_LISTEN);
    let store = top.section("store", "[store]").and_then(read_store).unwrap_or_else(|| state_dir.join("keyward.db"));
    if count == 0 && !top.has_taken("secret") {
        problems.warn(None, "there is no [[secret]]: nothing will be rotated");
    }
    top.finish(&[]);
    cross::check(&placed, vault.as_ref(), &classes, problems);
    let classes = classes.into_iter().map(|(name, class)| Some((name, class?))).collect::<Option<_>>()?;
    if placed.len() != count {
        return None;
    }
    let secrets = placed.into_iter().map(|p| p.secret).collect();
    Some(Config {
        mode,
        state_dir,
        socket,
        vault: vault?,
        classes,
        secrets,
        audit_rules,
        audit,
        alert,
        listen,
        store,
        init,
        backup,
        warnings: Vec::new(),
    })
}

fn read_http(mut s: Section<'_>) -> Option<SocketAddr> {
    let listen = s.parsed("listen", |text| {
        text.parse().map_err(|_| "must be an address and a port, such as \"127.0.0.1:9120\" or \"[::]:9120\"".to_owned())
    });
    s.finish(&[]);
    listen.map(Spanned::into_inner)
}

fn read_store(mut s: Section<'_>) -> Option<PathBuf> {
    let url = s.parsed("url", |text| match text.strip_prefix("sqlite://") {
        Some(path) => {
            reference::absolute_path(path).map_err(|_| "must hold an absolute path: \"sqlite:///var/lib/keyward/keyward.db\"".to_owned())
        }
        None if text.starts_with("postgres") => Err("must be a sqlite:// URL; this version keeps its store in SQLite only".to_owned()),
        None => Err("must be a URL such as \"sqlite:///var/lib/keyward/keyward.db\"".to_owned()),
    });
    s.finish(&[]);
    url.map(Spanned::into_inner)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
