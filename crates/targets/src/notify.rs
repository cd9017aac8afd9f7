//! Tells consumers that a new value was published: a program, a signal, or a webhook.
//!
//! It never passes a value on: only the secret's name, its number and the rotation's id. Consumers read the value where they always read it.
//! A notification that fails changes nothing about the rotation; the caller alerts.

use crate::http::{HttpFailure, classify, client, safe_url, shown_host};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The secret's name.
    pub secret: String,
    /// The rotation's id.
    pub rotation: String,
    /// The secret's number.
    pub number: u64,
}

/// A signal that programs take for "read again".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadSignal {
    /// `SIGHUP`
    Hup,
    /// `SIGUSR1`
    Usr1,
    /// `SIGUSR2`
    Usr2,
}

/// Whom to tell, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// Runs a program, without a shell. What was published stands in `KEYWARD_SECRET`, `KEYWARD_ROTATION` and `KEYWARD_NUMBER`;
    /// of our own environment it gets `PATH` alone, and what it prints goes nowhere.
    Program {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// Signals the process whose id stands in a file. A stale file may name another process by now: prefer a program that knows better.
    Signal {
        /// The file.
        pid_file: PathBuf,
        /// The signal.
        signal: ReloadSignal,
    },
    /// Posts `{"secret":…,"rotation":…,"number":…}`; any 2xx is success. `https`, or `http` on this machine.
    Webhook {
        /// Where.
        url: String,
    },
}

/// Why a notification failed.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// There is no program in the list.
    #[error("no program is named")]
    NoProgram,
    /// The program could not be started or watched.
    #[error("{program} cannot be run")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The program ended with another code than 0; `None`: by a signal.
    #[error("{program} ended with {}", code.map_or("a signal".to_owned(), |c| format!("exit code {c}")))]
    Exit {
        /// The program.
        program: String,
        /// Its exit code.
        code: Option<i32>,
    },
    /// Not done within the limit; a program and its children were killed.
    #[error("{what} was not done within {} ms", limit.as_millis())]
    Timeout {
        /// Whom we told.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The file does not hold the id of a process that we would signal.
    #[error("{file} holds no process id")]
    PidFile {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be read, or the process cannot be signalled.
    #[error("the process named in {file} cannot be signalled")]
    Signal {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The webhook.
    #[error(transparent)]
    Webhook(#[from] HttpFailure),
}

impl Notify {
    /// Tells them, within `limit`.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub async fn tell(&self, published: &Published, limit: Duration) -> Result<(), NotifyError> {
        match self {
            Self::Program { argv } => run(argv, published, limit).await,
            Self::Signal { pid_file, signal } => {
                let late = || NotifyError::Timeout { what: pid_file.display().to_string(), limit };
                tokio::time::timeout(limit, send_signal(pid_file, *signal)).await.map_err(|_| late())?
            }
            Self::Webhook { url } => post(url, published, limit).await,
        }
    }
}

async fn run(argv: &[String], published: &Published, limit: Duration) -> Result<(), NotifyError> {
    let (program, arguments) = argv.split_first().ok_or(NotifyError::NoProgram)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("KEYWARD_SECRET", &published.secret).env("KEYWARD_ROTATION", &published.rotation);
    command.env("KEYWARD_NUMBER", published.number.to_string());
    // A group of its own, so that the limit ends its children too.
    command.process_group(0).kill_on_drop(true);
    let fail = |source| NotifyError::Start { program: program.clone(), source };
    let mut child = command.spawn().map_err(fail)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Ok(ended) = tokio::time::timeout(limit, child.wait()).await {
        let status = ended.map_err(fail)?;
        return if status.success() { Ok(()) } else { Err(NotifyError::Exit { program: program.clone(), code: status.code() }) };
    }
    if let Some(group) = group {
        // Gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait().await.map_err(fail)?;
    Err(NotifyError::Timeout { what: program.clone(), limit })
}

async fn send_signal(file: &Path, signal: ReloadSignal) -> Result<(), NotifyError> {
    let fail = |source| NotifyError::Signal { file: file.to_owned(), source };
    let mut text = String::new();
    tokio::fs::File::open(file).await.map_err(fail)?.take(32).read_to_string(&mut text).await.map_err(fail)?;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // 1 is the system itself (or a container's only process), 0 and below are whole groups.
    let id = text.trim().parse::<i32>().ok().filter(|id| *id > 1 && *id != own);
    let pid = id.and_then(Pid::from_raw).ok_or_else(|| NotifyError::PidFile { file: file.to_owned() })?;
    let signal = match signal {
        ReloadSignal::Hup => Signal::HUP,
        ReloadSignal::Usr1 => Signal::USR1,
        ReloadSignal::Usr2 => Signal::USR2,
    };
    kill_process(pid, signal).map_err(|e| fail(e.into()))
}

async fn post(url: &str, published: &Published, limit: Duration) -> Result<(), NotifyError> {
    let url = safe_url(url)?;
    let host = shown_host(&url);
    let body = serde_json::json!({ "secret": published.secret, "rotation": published.rotation, "number": published.number });
    let sent = client(limit, &url, None)?.post(url).json(&body).send().await.map_err(|e| classify(&e, &host))?;
    let status = sent.status();
    if status.is_success() { Ok(()) } else { Err(HttpFailure::Refused { host, status: status.as_u16(), expected: 200 }.into()) }
}
