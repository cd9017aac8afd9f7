//! The command line: what can be typed, in words that a newcomer can follow, and what the exit codes mean.
//!
//! It never does anything: `main` and the commands act on what was typed.

mod changes;
#[cfg(test)]
mod guide;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::Timestamp;
use std::path::PathBuf;

/// Where the configuration is looked for unless somebody says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/keyward/keyward.toml";

const EXIT_CODES: &str = "\
Exit codes:
   0  done, or everything is well
   1  done, and something is wrong: a check failed, a rotation was rolled back or is stuck
   2  Vault is sealed (init, unseal, restore, backup drill)
   3  Vault was never initialised (init, unseal)
  64  wrong usage, or the configuration is not sound
  65  bad data: the value or record at hand cannot be used
  69  not available: Vault, the daemon or a target cannot be reached, or the port cannot be had
  70  a defect in Keyward
  75  not now: deferred, broken off (Ctrl-C), answered with no, or another one is at work
  77  denied: a token or a user lacks a permission

Environment:
  KEYWARD_CONFIG   the configuration file, as --config
  VAULT_ADDR, VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_NAMESPACE, VAULT_CACERT, VAULT_SKIP_VERIFY
                   mean what they mean to Vault's own tools and fill what the file leaves out;
                   one that contradicts the file is an error unless --address decides

Times are RFC 3339 in UTC. With --output json a command prints one JSON document on standard
output; messages for people go to standard error.

First steps:
  keyward check                      can this configuration work? changes nothing
  keyward doctor                     what is wrong, and what is the safe cure? changes nothing
  keyward plan                       what will be rotated when
  keyward rotate NAME --dry-run      which steps a rotation would take
  keyward serve                      run the daemon";

/// What the process ends with (`sysexits.h` where it has a word for it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or everything is well.
    Ok = 0,
    /// Done, and something is wrong.
    Failed = 1,
    /// Vault is sealed, for commands that could change that.
    Sealed = 2,
    /// Vault was never initialised, for commands that could change that.
    Uninitialised = 3,
    /// Wrong usage, or the configuration is not sound (`EX_USAGE`).
    Usage = 64,
    /// The value or record at hand cannot be used (`EX_DATAERR`).
    BadData = 65,
    /// Vault, the daemon or a target cannot be reached, or the port cannot be had (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A defect in Keyward (`EX_SOFTWARE`).
    Internal = 70,
    /// Deferred, broken off, or another one is at work (`EX_TEMPFAIL`).
    Temporary = 75,
    /// A token or a user lacks a permission (`EX_NOPERM`).
    Denied = 77,
}

impl Exit {
    /// All of them, for documentation and tests.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Failed,
        Self::Sealed,
        Self::Uninitialised,
        Self::Usage,
        Self::BadData,
        Self::Unavailable,
        Self::Internal,
        Self::Temporary,
        Self::Denied,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Keeps the secrets in HashiCorp Vault (or OpenBao) fresh, and watches who uses them.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, max_term_width = 100, after_help = EXIT_CODES, propagate_version = true, subcommand_required = true)]
pub struct Cli {
    /// What all commands understand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, env = "KEYWARD_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    pub config: PathBuf,
    /// Vault's address: needed only where VAULT_ADDR and the file contradict each other, to say which is meant
    #[arg(long, global = true, value_name = "URL")]
    pub address: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as `keyward=debug,warn`;
    /// by default info for `serve`, error for everything else
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// One JSON document, for programs
    Json,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: rotate what is due, follow the audit logs, watch, alert
    #[command(after_help = "\
The daemon starts even when Vault or a database is away: it is then not ready (/readyz), says why, tells
people, and recovers by itself. SIGHUP reads the configuration again, and keeps the old one when the new one
is not sound. SIGTERM stops it: the step under way is finished or left where it can be taken up again.

Examples:
  keyward serve --config ./keyward.toml
  keyward serve --log debug")]
    Serve,
    /// Say whether the configuration can work, without changing anything
    #[command(after_help = "\
Looks at everything a rotation will need: the server, the token's permissions path by path (with the policy
line that grants what is missing), mounts and roles, audit files, databases, and the ways out for alerts.
Ends with 0 if it can work; else with 69 where something cannot be reached, 77 where something is denied, and 1
for all the rest.

Examples:
  keyward check
  keyward check --output json")]
    Check,
    /// Show what will be rotated when, and why other secrets will not
    #[command(after_help = "\
Examples:
  keyward plan
  keyward plan --from 2027-01-01T00:00:00Z --to 2027-02-01T00:00:00Z")]
    Plan(Plan),
    /// Show how the secrets are, or one of them in detail
    #[command(after_help = "\
Examples:
  keyward status
  keyward status backend-database
  keyward status --output json")]
    Status {
        /// One secret; without it, all
        name: Option<String>,
    },
    /// Rotate a secret now; in an emergency a whole class, or all
    #[command(after_help = "\
The running daemon does it, and records who asked; where none runs, this command does it alone, by the same
steps and the same record. The value is proved before consumers see it, and rolled back if it is refused.

With --class or --all it names every secret and what its consumers will notice, and asks. Secrets that others
name in `after` go first. It stops at the first that fails. Without a terminal it needs --yes.

Examples:
  keyward rotate backend-database --dry-run    show the steps and what preflight finds; changes nothing
  keyward rotate backend-database
  keyward rotate --class database --now
  keyward rotate --all --now --yes --keep-going --output json")]
    Rotate(Rotate),
    /// Hold the schedule of a secret, or of a whole class
    #[command(after_help = "\
Nothing of it is rotated until `keyward resume`; it is still proved, and becomes overdue when its time is over. The pause stands
in Vault, so every daemon keeps it and no restart forgets it. A rotation that is under way is brought to its end.

Examples:
  keyward pause backend-database --why \"until the release is out\"
  keyward pause --class database --why \"release freeze\"")]
    Pause {
        /// The secret
        #[arg(required_unless_present = "class", conflicts_with = "class")]
        name: Option<String>,
        /// Every secret of this class
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Why; it stands in `keyward status` and `keyward plan`
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        /// Do it in this process even if a daemon runs
        #[arg(long)]
        alone: bool,
    },
    /// Go on with a rotation that stands still, after its cause was removed; or end a pause
    #[command(after_help = "\
A rotation stands still (is stuck) when its retries are used up or when going on could do harm. `keyward status NAME`
says why.

Examples:
  keyward resume backend-database
  keyward resume --class database              end the pause of a class")]
    Resume {
        /// The secret
        #[arg(required_unless_present = "class", conflicts_with = "class")]
        name: Option<String>,
        /// The class whose pause is to end
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Do it in this process even if a daemon runs
        #[arg(long)]
        alone: bool,
    },
    /// Say what is true where Vault and a target may disagree, and make it true again
    #[command(after_help = "\
After a restored Vault, a restored database, a password changed by hand. Each secret is proved, its record is compared with the
target's fence, and what would mend it is said. On confirmation the target is made to accept what Vault hands out, or the
secret is rotated where that cannot be. Ends with 1 if something is wrong and was not mended. Without a terminal it needs --yes to act.

Examples:
  keyward reconcile                            all secrets
  keyward reconcile backend-database
  keyward reconcile --yes --output json")]
    Reconcile {
        /// Secrets; without them, all
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Act without asking
        #[arg(long)]
        yes: bool,
        /// Do it in this process even if a daemon runs
        #[arg(long)]
        alone: bool,
    },
    /// Bring the new value of a secret of kind `manual`
    #[command(after_help = "\
The value is asked for without being shown, or read from standard input when that is not a terminal. It is never
taken from the arguments, which other users of the machine can see. It is proved, then published.

Examples:
  keyward supply openai
  keyward supply openai < /run/secrets/new-key")]
    Supply {
        /// The secret
        name: String,
        /// Do it in this process even if a daemon runs
        #[arg(long)]
        alone: bool,
    },
    /// Read and change secrets by hand: with check-and-set, values by standard input and files
    #[command(subcommand, arg_required_else_help = true)]
    Secret(crate::commands::secret::Secret),
    /// Bring what lies about in a .env file, a JSON document or another secret into Vault
    #[command(after_help = crate::commands::import::EXAMPLES)]
    Import(Box<crate::commands::import::Import>),
    /// Propose the configuration for a secret that exists
    #[command(after_help = crate::commands::adopt::EXAMPLES)]
    Adopt(crate::commands::adopt::Adopt),
    /// The audit log: dry runs over archives, what the rules mean
    #[command(subcommand, arg_required_else_help = true)]
    Audit(crate::commands::audit::Audit),
    /// Alerts
    #[command(subcommand, arg_required_else_help = true)]
    Alert(crate::commands::Alert),
    /// Set Vault up, from an empty server to one that Keyward can work with; can be run any number of times
    #[command(after_help = crate::commands::init::HELP)]
    Init(crate::commands::init::Init),
    /// Find every trouble that has a name, and say the safe cure; changes nothing
    #[command(after_help = crate::commands::doctor::HELP)]
    Doctor(crate::commands::doctor::Doctor),
    /// Print the least that each role must be allowed to do, as policies
    #[command(after_help = crate::commands::policy::HELP)]
    Policy(crate::commands::policy::Policy),
    /// Tokens of services and people
    #[command(subcommand, arg_required_else_help = true)]
    Token(crate::commands::token::Token),
    /// AppRoles of services
    #[command(subcommand, arg_required_else_help = true)]
    Approle(crate::commands::approle::Approle),
    /// Unseal nodes with shares from standard input
    Unseal(crate::commands::unseal::Unseal),
    /// Make a checked snapshot of Vault, and look after those there are
    Backup(crate::commands::backup::Backup),
    /// Put a backup back: Vault becomes as it was
    Restore(crate::commands::backup::Restore),
    /// Certificates of Vault's servers: made, looked at, renewed while they run
    #[command(subcommand, arg_required_else_help = true)]
    Tls(crate::commands::tls::Tls),
    /// Say whether the daemon is alive; for health checks of containers
    #[command(after_help = "\
Asks /livez on the configured address. A sealed Vault does not make the daemon unhealthy. Ends with 0 if it
answers, else with 69.

Examples:
  keyward health
  HEALTHCHECK CMD [\"/keyward\", \"health\"]        in a Dockerfile")]
    Health,
    /// List every path of the configuration, its fields, and who reads it
    #[command(after_help = crate::commands::paths::HELP)]
    Paths(crate::commands::paths::Paths),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  keyward completions bash > /etc/bash_completion.d/keyward")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages, one for each command, into a folder
    #[command(after_help = "\
Examples:
  keyward man /usr/local/share/man/man1
  keyward man ./man && man -l ./man/keyward-rotate.1")]
    Man {
        /// The folder; it is made if it is not there
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `plan`.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From this time on (RFC 3339); default now
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Up to this time (RFC 3339); default 90 days later
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
}

/// `rotate`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// The secret
    #[arg(required_unless_present_any = ["class", "all"], conflicts_with_all = ["class", "all"])]
    pub name: Option<String>,
    /// Every secret of this class; may be said more than once
    #[arg(long, value_name = "CLASS", requires = "now", conflicts_with = "all")]
    pub class: Vec<String>,
    /// Every secret
    #[arg(long, requires = "now")]
    pub all: bool,
    /// Out of turn: no slot, window or jitter is waited for
    #[arg(long)]
    pub now: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Go on past a secret that fails
    #[arg(long)]
    pub keep_going: bool,
    /// Show the steps and what preflight finds (with --class or --all: which secrets, in which order); change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do it in this process even if a daemon runs; the record in Vault keeps the two from colliding
    #[arg(long)]
    pub alone: bool,
}

impl Cli {
    /// What was typed.
    ///
    /// # Errors
    /// With the exit code to end with: [`Exit::Ok`] when help or the version was asked for, which is printed to standard
    /// output, else [`Exit::Usage`], with the reason on standard error.
    pub fn read() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| {
            // Nothing can be told to anybody when standard error is closed.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        })
    }
}
