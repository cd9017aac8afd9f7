//! One process's run: its temporary folder, its servers, and the watcher that ends both when the process is gone.
//!
//! The watcher is a small shell that holds the read end of a pipe whose write end only this process has. However this process
//! ends (return, panic, Ctrl-C, SIGKILL), the kernel closes the pipe; the watcher then kills the registered process groups and
//! removes the folder. It never depends on a destructor. A parent-death signal would not do: it is tied to the thread that forked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::process::Stop;

/// The environment variable that names the run to which processes and folders belong; `cargo xtask test` sets it.
pub const RUN_ENV: &str = "KEYWARD_TEST_RUN";

const WATCHER: &str = include_str!("watcher.sh");
/// How long the watcher may take to end servers and remove the folder: a hundred databases are many files.
const WATCHER_LIMIT: Duration = Duration::from_mins(10);

static RUN: OnceLock<Result<Run, String>> = OnceLock::new();
static RUN_ID: OnceLock<String> = OnceLock::new();

/// The folder and the children of this process.
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pipe: Mutex<Option<PipeWriter>>,
    watcher: Mutex<Child>,
    pub(crate) children: Mutex<BTreeMap<u32, (Child, Stop)>>,
    folders: AtomicU32,
}

/// Gives this process's run a name, for a command that must find afterwards what belonged to it. Without it the name is taken
/// from [`RUN_ENV`], else made up. Only the first call counts.
pub fn run_id() -> Result<&'static str> {
    if let Some(id) = RUN_ID.get() {
        return Ok(id);
    }
    let id = match std::env::var(RUN_ENV) {
        Ok(id) if !id.is_empty() => id,
        _ => crate::random::nonce()?.to_owned(),
    };
    Ok(RUN_ID.get_or_init(|| id))
}

/// The folder of this process's run, made on first use; it is removed when the process ends, however it ends.
pub fn run_folder() -> Result<&'static Path> {
    Ok(&run()?.dir)
}

/// Ends everything that this process started and waits until it is gone. Afterwards nothing can be started any more.
pub fn end_run() -> Result<()> {
    match RUN.get() {
        Some(Ok(run)) => run.end(),
        _ => Ok(()),
    }
}

pub(crate) fn run() -> Result<&'static Run> {
    RUN.get_or_init(|| Run::begin().map_err(|e| format!("{e:#}"))).as_ref().map_err(|e| anyhow!("{e}"))
}

impl Run {
    fn begin() -> Result<Self> {
        let id = run_id()?.to_owned();
        let dir = std::env::temp_dir().join(format!("keyward-{id}-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
        // Others may pass through (PostgreSQL runs as another user when we are root), but not look around.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).with_context(|| format!("set the mode of {}", dir.display()))?;
        let (reader, writer) = std::io::pipe().context("make the watcher's pipe")?;
        let watcher = Command::new("/bin/sh")
            .args(["-c", WATCHER, "keyward-watcher"])
            .arg(&dir)
            .current_dir("/")
            .env(RUN_ENV, &id)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the watcher (/bin/sh)")?;
        Ok(Self {
            id,
            dir,
            pipe: Mutex::new(Some(writer)),
            watcher: Mutex::new(watcher),
            children: Mutex::default(),
            folders: AtomicU32::new(0),
        })
    }

    /// A fresh folder for one server.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(format!("{name}-{number}"));
        fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
        Ok(dir)
    }

    /// Tells the watcher to end the process group `pid` with us (`+`), or that it is gone already (`-`).
    pub(crate) fn tell(&self, verb: char, stop: Stop, pid: u32) -> Result<()> {
        self.write(&format!("{verb} {} {pid}\n", stop.name()))
    }

    /// Has the watcher remove the folder `path` too, which lies outside the run's own.
    pub(crate) fn remove_at_end(&self, path: &Path) -> Result<()> {
        self.write(&format!("rm - {}\n", path.display()))
    }

    fn write(&self, line: &str) -> Result<()> {
        let mut pipe = lock(&self.pipe);
        let pipe = pipe.as_mut().context("this process's servers were ended already")?;
        pipe.write_all(line.as_bytes()).context("tell the watcher")
    }

    fn end(&self) -> Result<()> {
        let children = std::mem::take(&mut *lock(&self.children));
        for (mut child, stop) in children.into_values() {
            crate::process::end(&mut child, stop);
        }
        drop(lock(&self.pipe).take());
        let mut watcher = lock(&self.watcher);
        crate::poll(WATCHER_LIMIT, || watcher.try_wait().ok().flatten()).context("the watcher did not end")?;
        Ok(())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
