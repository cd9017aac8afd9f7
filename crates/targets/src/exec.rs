//! One question to a program: a JSON document in, a JSON document out, over pipes.
//!
//! It never starts a shell, never hands our environment on, never lets what the program prints on standard error anywhere, and never repeats what it
//! answered: any of it may hold a value. A program that does not end in time, or says too much, is killed with all its children.

use crate::process_group::ProcessGroup;
use keyward_secret::Secret;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// More than this is no answer.
pub const LARGEST_ANSWER: usize = 1 << 20;

/// A program that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's absolute path and its arguments.
    pub argv: Vec<String>,
    /// Names of our variables that it gets; no others.
    pub env: Vec<String>,
    /// From start to end.
    pub limit: Duration,
}

/// Why there is no answer. Holds nothing that the program said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecFailure {
    /// There is no program in the list.
    #[error("no program is named")]
    NoProgram,
    /// It could not be started: nothing happened.
    #[error("{program} cannot be run: {why}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        why: String,
    },
    /// It did not end in time and was killed: what it did is unknown.
    #[error("{program} did not end within {} s and was killed with its children", limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// It said more than an answer can hold and was killed: what it did is unknown.
    #[error("{program} wrote more than {LARGEST_ANSWER} bytes and was killed with its children")]
    TooMuch {
        /// The program.
        program: String,
    },
    /// It ended without success: what it did is unknown. `None`: by a signal.
    #[error("{program} ended with {}", code.map_or("a signal".to_owned(), |c| format!("exit code {c}")))]
    Exit {
        /// The program.
        program: String,
        /// Its exit code.
        code: Option<i32>,
    },
    /// It ended well, and what it wrote is no JSON document: what it did is unknown.
    #[error("{program} ended well, but what it wrote is not one JSON document")]
    Answer {
        /// The program.
        program: String,
    },
}

impl Program {
    /// Asks once.
    ///
    /// # Errors
    /// [`ExecFailure`]; after any but [`ExecFailure::Start`] and [`ExecFailure::NoProgram`] the program may have done what it was asked.
    pub async fn ask(&self, question: &Secret) -> Result<serde_json::Value, ExecFailure> {
        let (program, arguments) = self.argv.split_first().ok_or(ExecFailure::NoProgram)?;
        let program = program.clone();
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs(self.env.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // A group of its own, so that the limit ends its children too.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| ExecFailure::Start { program: program.clone(), why: e.to_string() })?;
        let group = ProcessGroup::of(&child);
        let outcome = tokio::time::timeout(self.limit, exchange(&mut child, question)).await;
        let timeout = || ExecFailure::Timeout { program: program.clone(), limit: self.limit };
        // Whatever it started in its group ends with it.
        drop(group);
        let (status, answer) = match outcome {
            Ok(Ok(Some(done))) => done,
            Ok(Ok(None)) => return Err(ExecFailure::TooMuch { program }),
            Ok(Err(_)) => return Err(ExecFailure::Exit { program, code: None }),
            Err(_) => return Err(timeout()),
        };
        if !status.success() {
            return Err(ExecFailure::Exit { program, code: status.code() });
        }
        serde_json::from_slice(&answer).map_err(|_| ExecFailure::Answer { program })
    }
}

/// Writes the question and reads the answer at once, so that neither side waits for the other; `None` for more than an answer can hold.
async fn exchange(child: &mut Child, question: &Secret) -> std::io::Result<Option<(ExitStatus, Zeroizing<Vec<u8>>)>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its question may still answer: that it does not is no failure of ours.
            let _ = stdin.write_all(question.expose().as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let read = async {
        let mut answer = Zeroizing::new(Vec::with_capacity(4096));
        if let Some(stdout) = stdout {
            stdout.take(LARGEST_ANSWER as u64 + 1).read_to_end(&mut answer).await?;
        }
        std::io::Result::Ok(answer)
    };
    let ((), answer) = tokio::join!(write, read);
    let answer = answer?;
    if answer.len() > LARGEST_ANSWER {
        return Ok(None);
    }
    Ok(Some((child.wait().await?, answer)))
}
