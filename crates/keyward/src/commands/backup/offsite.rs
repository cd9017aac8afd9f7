//! A copy elsewhere: a program of the configuration gets the file on its standard input.
//!
//! It never starts a shell, never hands on our environment, and puts nothing into the arguments but the file's name.

use crate::commands::by_hand::Declined;
use crate::config::Copy;
use anyhow::Result;
use keyward_targets::process_group::ProcessGroup;
use std::fs::File;
use std::io::{self, PipeReader};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Copies a file. What the program says goes to standard error, for whoever reads the journal.
///
/// # Errors
/// It cannot be started, ended without success or before it had read everything, or did not end in time and was killed with its children.
pub async fn copy(how: &Copy, path: &Path) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut argv = how.argv.iter().map(|argument| argument.replace("{name}", &name));
    let program = argv.next().unwrap_or_default();
    let failed = |why: String| Declined::failed(format!("no copy went elsewhere: {program} {why}"));
    let given = Given::open(path).map_err(|e| failed(format!("gets nothing, because {} cannot be opened: {e}", path.display())))?;
    let mut command = Command::new(&program);
    command.args(argv).env_clear().stdout(Stdio::null()).stderr(Stdio::inherit());
    command.stdin(given.end().map_err(|e| failed(format!("gets nothing: {e}")))?);
    command.envs(how.env.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // A group of its own, so that the limit ends its children too.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be run: {e}")))?;
    // It holds the end that the program reads from.
    drop(command);
    let group = ProcessGroup::of(&child);
    let ended = tokio::time::timeout(how.limit, child.wait()).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => match given.left().await {
            Ok(0) => Ok(()),
            Ok(left) => Err(failed(format!("ended well, but left {left} bytes of the backup unread")).into()),
            Err(error) => Err(failed(format!("did not get the whole backup: {error}")).into()),
        },
        Ok(Ok(status)) => {
            Err(failed(format!("ended with {}", status.code().map_or("a signal".to_owned(), |c| format!("exit code {c}")))).into())
        }
        Ok(Err(error)) => Err(failed(format!("is lost: {error}")).into()),
        Err(_) => Err(failed(format!("did not end within {} s and was killed with its children", how.limit.as_secs())).into()),
    }
}

/// A file on its way through a pipe, so that what nobody took out is seen. When it is let go, the way ends.
struct Given {
    reader: PipeReader,
    writing: JoinHandle<io::Result<u64>>,
}

impl Given {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (reader, mut writer) = io::pipe()?;
        Ok(Self { reader, writing: tokio::task::spawn_blocking(move || io::copy(&mut file, &mut writer)) })
    }

    /// The end for a program.
    fn end(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.reader.try_clone()?))
    }

    /// How much was left when nobody else reads any more.
    async fn left(self) -> io::Result<u64> {
        let Self { mut reader, writing } = self;
        let left = tokio::task::spawn_blocking(move || io::copy(&mut reader, &mut io::sink())).await??;
        writing.await??;
        Ok(left)
    }
}
