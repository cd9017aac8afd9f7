//! Runs cargo and other programs so that they end with this command. What they print goes to the terminal, or to a file where two run at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use keyward_harness::{Process, Stop, say};

const LIMIT: Duration = Duration::from_hours(2);

/// The workspace's folder.
pub(crate) fn root() -> Result<PathBuf> {
    // xtask is built in the checkout that it serves, two folders below its root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("xtask lies outside a workspace")?;
    Ok(root.to_owned())
}

/// Where cargo builds.
pub(crate) fn target() -> Result<PathBuf> {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(named.map_or(root()?.join("target"), |dir| dir))
}

/// The cargo that runs us, else the one on `PATH`, with the workspace as its working folder.
///
/// What cargo tells us about ourselves is kept from it: ring's build script asks for the package's name in its surroundings, so that ring
/// and all that stands on it would be compiled once more for every change between a cargo that we call and one that a person does.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs `command` to its end; an error when it fails.
pub(crate) fn run(name: &str, command: Command) -> Result<()> {
    end(name, &Process::start(name, command, Stop::Terminate)?)
}

/// A command that runs beside another one.
pub(crate) struct Aside {
    name: &'static str,
    process: Process,
    log: PathBuf,
}

/// Starts `command`; what it prints goes to the file `log`, so that it does not mix with what runs meanwhile.
pub(crate) fn start_aside(name: &'static str, mut command: Command, log: &Path) -> Result<Aside> {
    let said = fs::File::create(log).with_context(|| format!("make {}", log.display()))?;
    let errors = said.try_clone().with_context(|| format!("share {}", log.display()))?;
    command.stdout(said).stderr(errors);
    Ok(Aside { name, process: Process::start(name, command, Stop::Terminate)?, log: log.to_owned() })
}

impl Aside {
    /// Waits for its end, and prints what it said; an error when it failed.
    pub(crate) fn end(self) -> Result<()> {
        let ended = end(self.name, &self.process);
        let said = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        say(&format!("\n── {}, which ran meanwhile\n{}", self.name, String::from_utf8_lossy(&said)));
        ended
    }
}

fn end(name: &str, process: &Process) -> Result<()> {
    match process.wait(LIMIT) {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} ended with {status}"),
        None => bail!("{name} did not end within {} minutes", LIMIT.as_secs() / 60),
    }
}

/// What cargo knows about the workspace's own packages.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let output = cargo()?.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).output().context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("read what cargo metadata says")
}
