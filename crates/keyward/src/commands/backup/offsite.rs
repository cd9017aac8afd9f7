//! A copy elsewhere: a program of the configuration gets the file on its standard input.
//!
//! It never starts a shell, never hands on our environment, and puts nothing into the arguments but the file's name.

use crate::commands::by_hand::Declined;
use crate::config::Copy;
use anyhow::Result;
use keyward_targets::process_group::ProcessGroup;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Copies a file. What the program says goes to standard error, for whoever reads the journal.
///
/// # Errors
/// It cannot be started, ended without success, or did not end in time and was killed with its children.
pub async fn copy(how: &Copy, path: &Path) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut argv = how.argv.iter().map(|argument| argument.replace("{name}", &name));
    let program = argv.next().unwrap_or_default();
    let failed = |why: String| Declined::failed(format!("no copy went elsewhere: {program} {why}"));
    let file = File::open(path).map_err(|e| failed(format!("gets nothing, because {} cannot be opened: {e}", path.display())))?;
    let mut command = Command::new(&program);
    command.args(argv).env_clear().stdin(Stdio::from(file)).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.envs(how.env.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // A group of its own, so that the limit ends its children too.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be run: {e}")))?;
    let group = ProcessGroup::of(&child);
    let ended = tokio::time::timeout(how.limit, child.wait()).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            Err(failed(format!("ended with {}", status.code().map_or("a signal".to_owned(), |c| format!("exit code {c}")))).into())
        }
        Ok(Err(error)) => Err(failed(format!("is lost: {error}")).into()),
        Err(_) => Err(failed(format!("did not end within {} s and was killed with its children", how.limit.as_secs())).into()),
    }
}
