//! Nothing outlives the process that asked for it, however that process ends.
#![expect(clippy::unwrap_used, reason = "a test has nobody to hand an error to")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward_harness::{Process, RUN_ENV, Stop, VAULT_ENV, leftovers, run_folder, unique, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A process that runs all shared servers.
struct Holder {
    id: String,
    child: Child,
    description: PathBuf,
}

impl Holder {
    fn start() -> Self {
        let id = unique("held");
        let mut child = command(&id).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let description = PathBuf::from(line.trim_end());
        assert!(description.is_file(), "{line:?}");
        let found = leftovers(&id, Duration::ZERO).unwrap();
        for name in ["vault", "postgres", "aiosmtpd", "redis-server", "keyward-watcher"] {
            let wanted = if name == "aiosmtpd" { "server.py" } else { name };
            assert!(found.processes.iter().any(|(_, command)| command.contains(wanted)), "no {name} in {found:#?}");
        }
        assert_eq!(found.folders.len(), 1, "{found:#?}");
        Self { id, child, description }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn leaves_nothing(&mut self) {
        wait_until("the end of the process", PATIENCE, || self.child.try_wait().unwrap());
        let left = leftovers(&self.id, PATIENCE).unwrap();
        assert!(left.is_empty(), "{left:#?}");
        assert!(!self.description.exists());
    }
}

fn command(id: &str) -> Command {
    // A shell that runs the tests in the background has them ignore SIGINT, and that would be inherited.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_keyward-servers")]).env(RUN_ENV, id).stdin(Stdio::piped());
    command
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    let mut holder = Holder::start();
    holder.signal("KILL");
    holder.leaves_nothing();
}

#[test]
fn an_interrupted_process_leaves_nothing_behind() {
    let mut holder = Holder::start();
    holder.signal("INT");
    holder.leaves_nothing();
}

#[test]
fn an_orderly_end_waits_until_nothing_is_left() {
    let mut holder = Holder::start();
    drop(holder.child.stdin.take());
    assert!(holder.child.wait().unwrap().success());
    let left = leftovers(&holder.id, Duration::ZERO).unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_server_that_cannot_start_is_named_and_leaves_nothing_behind() {
    let id = unique("failed");
    let output = command(&id).env(VAULT_ENV, "/bin/true").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("start Vault") && said.contains("/bin/true"), "{said}");
    let left = leftovers(&id, PATIENCE).unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_dropped_process_takes_its_children_along() {
    let file = run_folder().unwrap().join(unique("pid"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 1000 & echo $! >\"$1.new\" && mv \"$1.new\" \"$1\"; wait", "sh"]).arg(&file);
    let process = Process::start("a shell with a child", shell, Stop::Kill).unwrap();
    let child = wait_until("the child's process id", PATIENCE, || std::fs::read_to_string(&file).ok());
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    assert!(stat.exists());
    drop(process);
    // Gone, or a zombie until somebody reaps it.
    wait_until("the child's end", PATIENCE, || std::fs::read_to_string(&stat).map_or(true, |s| s.contains(") Z ")).then_some(()));
}
