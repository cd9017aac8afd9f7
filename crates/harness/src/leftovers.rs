//! Finds processes and folders that a run left behind; never ends or removes them, so that the fault can be seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::run::RUN_ENV;

/// What is still there of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Process id and command line of each.
    pub processes: Vec<(u32, String)>,
    /// Run folders in the temporary folder.
    pub folders: Vec<PathBuf>,
}

impl Leftovers {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.folders.is_empty()
    }
}

/// What is left of the run named `id`, apart from this process. Watchers end a moment after the process they watch, so this looks
/// again until nothing is left or `patience` is over.
pub fn leftovers(id: &str, patience: Duration) -> Result<Leftovers> {
    let deadline = Instant::now() + patience;
    loop {
        let found = Leftovers { processes: processes(id)?, folders: folders(id)? };
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        std::thread::sleep(crate::POLL);
    }
}

fn folders(id: &str) -> Result<Vec<PathBuf>> {
    let dir = std::env::temp_dir();
    let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    let names = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&format!("keyward-{id}-")));
    Ok(names.map(|e| e.path()).collect())
}

/// Those who have the run's name in their environment, and those who live in one of its folders: PostgreSQL overwrites its
/// environment, but never leaves its folder.
fn processes(id: &str) -> Result<Vec<(u32, String)>> {
    let mark = format!("{RUN_ENV}={id}");
    let home = std::env::temp_dir().join(format!("keyward-{id}-"));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ends while we look is none that was left.
        if pid != std::process::id() && (named(&entry.path(), &mark) || lives_in(&entry.path(), &home)) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned()));
        }
    }
    Ok(found)
}

fn named(process: &Path, mark: &str) -> bool {
    fs::read(process.join("environ")).is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == mark.as_bytes()))
}

fn lives_in(process: &Path, home: &Path) -> bool {
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.to_string_lossy().starts_with(&*home.to_string_lossy()))
}
