//! Finds or installs the Debian packages that the servers come from.
//!
//! Never installs what is there already, never starts a package's service, and never guesses on another distribution.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Process, Stop, find_program};
use crate::say;

const INSTALL: &str = include_str!("install.sh");
const LIMIT: Duration = Duration::from_mins(30);

/// A Debian package and how to see whether what we need from it is there.
#[derive(Clone, Copy)]
pub struct Package {
    /// Its name in Debian.
    pub name: &'static str,
    /// What we need it for.
    pub purpose: &'static str,
    /// Whether it, or the same from another source, is there.
    pub present: fn() -> bool,
}

/// What the tests need.
pub const FOR_TESTS: &[Package] = &[
    Package { name: "postgresql", purpose: "PostgreSQL", present: || crate::postgres::postgres_bin().is_some() },
    Package { name: "redis-server", purpose: "Redis", present: || on_path(&["redis-server"]) && on_path(&["redis-cli"]) },
    Package { name: "python3-aiosmtpd", purpose: "the SMTP server", present: || crate::smtp::python().is_some() },
    Package { name: "prometheus", purpose: "Prometheus and promtool", present: || on_path(&["prometheus"]) && on_path(&["promtool"]) },
    Package { name: "logrotate", purpose: "rotated audit logs", present: || logrotate_found().is_some() },
    Package { name: "python3-hvac", purpose: "the example in Python", present: || hvac_found().is_some() },
    Package { name: "faketime", purpose: "a clock that is wrong", present: || on_path(&["faketime"]) },
    Package { name: "haproxy", purpose: "HAProxy", present: || haproxy_found().is_some() },
    Package { name: "nginx-light", purpose: "nginx", present: || nginx_found().is_some() },
    Package { name: "libnginx-mod-stream", purpose: "nginx for other protocols than HTTP", present: nginx_has_streams },
    Package { name: "prometheus-alertmanager", purpose: "Alertmanager", present: || on_path(&["alertmanager", "prometheus-alertmanager"]) },
];

/// What the benchmark of the audit log compares with.
pub const FOR_BENCH: &[Package] = &[
    Package { name: "jq", purpose: "jq, to compare with", present: || on_path(&["jq"]) },
    Package { name: "mtail", purpose: "mtail, to compare with", present: || on_path(&["mtail"]) },
];

fn logrotate_found() -> Option<PathBuf> {
    // It stands where only the superuser's PATH leads.
    find_program(&["logrotate"], &["/usr/sbin/logrotate"])
}

/// The `logrotate` program.
///
/// # Panics
/// When it is not installed.
pub fn logrotate() -> PathBuf {
    crate::or_panic(logrotate_found().context("there is no logrotate: run `cargo xtask setup`, or apt-get install logrotate"))
}

fn haproxy_found() -> Option<PathBuf> {
    find_program(&["haproxy"], &["/usr/sbin/haproxy"])
}

/// The `haproxy` program.
///
/// # Panics
/// When it is not installed.
pub fn haproxy() -> PathBuf {
    crate::or_panic(haproxy_found().context("there is no haproxy: run `cargo xtask setup`, or apt-get install haproxy"))
}

fn nginx_found() -> Option<PathBuf> {
    find_program(&["nginx"], &["/usr/sbin/nginx"])
}

/// The `nginx` program.
///
/// # Panics
/// When it is not installed.
pub fn nginx() -> PathBuf {
    crate::or_panic(nginx_found().context("there is no nginx: run `cargo xtask setup`, or apt-get install nginx-light libnginx-mod-stream"))
}

/// Built in, or a module that Debian's own file loads.
fn nginx_has_streams() -> bool {
    let Some(nginx) = nginx_found() else { return false };
    let said = Command::new(nginx).arg("-V").stdin(Stdio::null()).output();
    let is_built_in = said.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).split_whitespace().any(|word| word == "--with-stream"));
    let mut modules = std::fs::read_dir("/etc/nginx/modules-enabled").into_iter().flatten().flatten();
    is_built_in || modules.any(|file| file.file_name().to_string_lossy().ends_with("mod-stream.conf"))
}

fn hvac_found() -> Option<String> {
    let has = |python: &&str| {
        let check = Command::new(python).args(["-c", "import hvac"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"].iter().find(|p| has(p)).map(|p| (*p).to_owned())
}

/// A Python that has hvac, Vault's client library.
///
/// # Panics
/// When it is not installed.
pub fn hvac_python() -> String {
    crate::or_panic(hvac_found().context("there is no hvac for Python: run `cargo xtask setup`, or apt-get install python3-hvac"))
}

/// Whether one of the programs `names` is on `PATH`.
pub fn on_path(names: &[&str]) -> bool {
    find_program(names, &[]).is_some()
}

/// Installs what is missing of `wanted`, as root or through sudo. Says what it does; an error names what cannot be had.
pub fn ensure(wanted: &[Package]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|p| !(p.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|p| p.name).collect();
    let list = missing.iter().map(|p| format!("{} ({})", p.name, p.purpose)).collect::<Vec<_>>().join(", ");
    let by_hand = format!("missing: {list}. By hand: apt-get install {}", names.join(" "));
    if !on_path(&["apt-get"]) {
        bail!("this is no Debian; {by_hand}");
    }
    let Some(mut command) = as_root() else { bail!("installing packages needs root or sudo; {by_hand}") };
    say(&format!("installing Debian packages: {list}; their services are not started"));
    command.args(["sh", "-c", INSTALL, "install"]).args(&names);
    let process = Process::start("apt-get", command, Stop::Terminate)?;
    let status = process.wait(LIMIT).with_context(|| format!("apt-get did not end; {by_hand}"))?;
    let absent: Vec<_> = missing.iter().filter(|p| !(p.present)()).map(|p| p.name).collect();
    if !absent.is_empty() {
        bail!("apt-get ended with {status}, and these are still not there: {}; {by_hand}", absent.join(", "));
    }
    Ok(())
}

/// `env`, as root: directly, or through sudo where that may ask for a password or needs none.
fn as_root() -> Option<Command> {
    if rustix::process::geteuid().is_root() {
        return Some(Command::new("env"));
    }
    let ask: &[&str] = if std::io::stdin().is_terminal() { &[] } else { &["-n"] };
    let may = Command::new("sudo").args(ask).arg("true").stderr(Stdio::null()).status();
    may.is_ok_and(|status| status.success()).then(|| {
        let mut command = Command::new("sudo");
        command.args(["-n", "env"]);
        command
    })
}
