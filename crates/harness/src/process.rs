//! A child process in a group of its own that cannot outlive this process.
//!
//! Never leaves a zombie, and never signals a process id that was reaped already.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::run::{RUN_ENV, Run, lock, run};

const STOP_LIMIT: Duration = Duration::from_secs(10);
const TAIL_BYTES: u64 = 4_000;

/// How a process group is ended when its owner is done with it, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGKILL at once: for a server that leaves nothing outside its folder.
    Kill,
    /// SIGQUIT first: PostgreSQL's immediate shutdown, which also frees its shared memory.
    Quit,
    /// SIGTERM first: for a program whose orderly end is part of the test.
    Terminate,
}

impl Stop {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
            Self::Terminate => "TERM",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Quit => Signal::QUIT,
            Self::Terminate => Signal::TERM,
        }
    }
}

/// A running child; dropping it ends its whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    stop: Stop,
}

impl Process {
    /// Starts `command` as the leader of its own process group. Standard input is empty; where output goes is the caller's choice.
    pub fn start(name: &str, mut command: Command, stop: Stop) -> Result<Self> {
        let run = run()?;
        let child = command
            .env(RUN_ENV, &run.id)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        let pid = child.id();
        lock(&run.children).insert(pid, (child, stop));
        let process = Self { name: name.to_owned(), pid, stop };
        run.tell('+', stop, pid)?;
        Ok(process)
    }

    /// The process id, which is also the id of its group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `signal` to the process alone, not to its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = self.with(|child| match child.try_wait()? {
            Some(status) => bail!("it has ended already ({status})"),
            None => Ok(kill_process(pid(child)?, signal)?),
        });
        sent.with_context(|| format!("signal {}", self.name))
    }

    /// How it ended, when it has.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        let status = self.with(|child| Ok(child.try_wait()?))?;
        if status.is_some() {
            // Reaped: its id may become somebody else's, whom the watcher must leave alone.
            run()?.tell('-', self.stop, self.pid)?;
        }
        Ok(status)
    }

    /// Waits until it has ended by itself; `None` when it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        crate::poll(limit, || self.exited().ok().flatten()).ok()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Child) -> Result<T>) -> Result<T> {
        let mut children = lock(&run()?.children);
        let (child, _) = children.get_mut(&self.pid).with_context(|| format!("{} was ended already", self.name))?;
        f(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(run) = run() else { return };
        let taken = lock(&run.children).remove(&self.pid);
        if let Some((mut child, stop)) = taken {
            end(&mut child, stop);
            // When the pipe is closed, the run was ended and the watcher needs no telling.
            let _ = run.tell('-', self.stop, self.pid);
        }
    }
}

fn pid(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")
}

/// Ends the group of `child` and reaps it. A child that was reaped before is left alone: its id may be somebody else's by now.
pub(crate) fn end(child: &mut Child, stop: Stop) {
    let Ok(group) = pid(child) else { return };
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    // Until it is reaped, its id stays its own; errors mean that it has just ended, which is what we want.
    let _ = kill_process_group(group, stop.signal());
    if stop != Stop::Kill && crate::poll(STOP_LIMIT, || child.try_wait().ok().flatten()).is_ok() {
        return;
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// A command with an environment of its own: what the caller's shell sets for Vault, PostgreSQL or Python must not reach a server.
pub fn clean_command(program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C.UTF-8").env("HOME", dir);
    command.current_dir(dir);
    command
}

/// Starts a server whose output goes to `log`, and waits until `ready` says so. The error carries the end of the log.
pub(crate) fn start_server(
    name: &str,
    mut command: Command,
    stop: Stop,
    log: &Path,
    limit: Duration,
    mut ready: impl FnMut() -> bool,
) -> Result<Process> {
    let out = File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
    command.stdout(out.try_clone().context("duplicate the log's handle")?).stderr(out);
    let process = Process::start(name, command, stop)?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = process.exited()? {
            bail!("{name} ended at once ({status}); its log ends:\n{}", tail(log));
        }
        if ready() {
            return Ok(process);
        }
        if Instant::now() > deadline {
            bail!("{name} was not ready after {} s; its log ends:\n{}", limit.as_secs(), tail(log));
        }
        std::thread::sleep(crate::POLL);
    }
}

fn tail(log: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |m| m.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)));
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The first of `names` that is an executable on `PATH`, or one of `places`.
pub(crate) fn find_program(names: &[&str], places: &[&str]) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = names.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)).collect::<Vec<_>>());
    on_path.chain(places.iter().map(std::path::PathBuf::from)).find(|p| is_executable(p))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// A folder of the run for one server, removed with it.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new(run: &Run, name: &str) -> Result<Self> {
        Ok(Self(run.folder(name)?))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now goes with the run's folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
