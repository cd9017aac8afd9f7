//! A folder, a way to Vault that is watched, and commands that get SIGINT at one of their calls.

use crate::world::{Ended, LONG, interrupt};
use keyward_harness::{Moment, VaultProxy, VaultServer, keyward_binary, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a command says that does not end yet, because something would be lost.
const WAITS: &str = "Ctrl-C again leaves at once";

/// One call of a command that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `METHOD PATH`.
    pub call: String,
    /// How many like it come before it.
    pub pass: usize,
}

/// Where commands are typed.
pub struct Bench<'v> {
    pub vault: &'v VaultServer,
    pub proxy: VaultProxy,
    /// Its own folder, with the configuration.
    pub dir: PathBuf,
    pub config: PathBuf,
    pub token: String,
}

impl<'v> Bench<'v> {
    /// A folder `dir` with a configuration, in which the address `former` gives way to that of the watched way.
    pub fn new(vault: &'v VaultServer, dir: PathBuf, text: &str, former: &str, token: &str) -> Self {
        let proxy = VaultProxy::start(vault).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let config = dir.join("keyward.toml");
        fs::write(&config, text.replace(former, &proxy.address)).unwrap();
        Self { vault, proxy, dir, config, token: token.to_owned() }
    }

    fn command(&self, arguments: &[String], input: &str) -> Command {
        let given = self.dir.join("input");
        fs::write(&given, input).unwrap();
        let mut command = Command::new(keyward_binary());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.dir)
            .env("VAULT_TOKEN", &self.token);
        command.arg("--config").arg(&self.config).args(arguments).current_dir(&self.dir);
        command.stdin(File::open(given).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, for a program that reads its answer.
    pub fn run(&self, arguments: &[String], input: &str) -> (Ended, Value) {
        let arguments = [arguments, &["--output".to_owned(), "json".to_owned()]].concat();
        let ended = Ended::of(self.command(&arguments, input));
        let answer = serde_json::from_str(&ended.out).unwrap_or(Value::Null);
        (ended, answer)
    }

    /// The calls of a run that change something, in order; the run must end well.
    pub fn recorded(&self, arguments: &[String], input: &str, is_change: impl Fn(&str) -> bool) -> (Vec<Cell>, Value) {
        self.proxy.seen();
        let (ended, answer) = self.run(arguments, input);
        assert!(ended.code == Some(0) && !answer.is_null(), "{arguments:?}: {ended:?}");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut cells = Vec::new();
        for call in self.proxy.seen().into_iter().filter(|call| is_change(call)) {
            let pass = counts.entry(call.clone()).or_default();
            cells.push(Cell { call, pass: *pass });
            *pass += 1;
        }
        (cells, answer)
    }

    /// Runs it, and sends SIGINT at this call: right before Vault gets it, or when Vault has answered and nobody has heard. The call ends
    /// there. How the command ended; as an error where it did not come to that call.
    pub fn interrupted(&self, arguments: &[String], input: &str, cell: &Cell, moment: Moment) -> Result<Ended, Ended> {
        let (pid, err) = (Arc::new(AtomicU32::new(0)), self.dir.join("stderr"));
        let (victim, said) = (Arc::clone(&pid), err.clone());
        self.proxy.act(&cell.call, cell.pass, moment, move || {
            let pid = wait_until("the command", LONG, || Some(victim.load(Ordering::SeqCst)).filter(|pid| *pid > 0));
            interrupt(pid);
            let hears = || fs::read_to_string(&said).is_ok_and(|text| text.contains(WAITS));
            wait_until("the command to hear it", LONG, || (is_over(pid) || hears()).then_some(()));
        });
        let mut command = self.command(arguments, input);
        let child = command.stderr(File::create(&err).unwrap()).spawn().unwrap();
        pid.store(child.id(), Ordering::SeqCst);
        let output = child.wait_with_output().unwrap();
        let mut ended: Ended = output.into();
        ended.err = fs::read_to_string(&err).unwrap();
        if self.proxy.clear() { Err(ended) } else { Ok(ended) }
    }

    /// Runs it while this call is held up, and sends SIGINT twice: the second time it leaves at once, whatever is under way.
    pub fn left(&self, arguments: &[String], cell: &Cell, moment: Moment) -> Ended {
        let (held, err) = (self.proxy.hold(&cell.call, cell.pass, moment), self.dir.join("stderr"));
        let mut child = self.command(arguments, "").stderr(File::create(&err).unwrap()).spawn().unwrap();
        held.has_come();
        interrupt(child.id());
        let hears = || fs::read_to_string(&err).is_ok_and(|text| text.contains(WAITS));
        wait_until("the command to hear it", LONG, || hears().then_some(()));
        interrupt(child.id());
        let code = child.wait().unwrap().code();
        Ended { code, out: String::new(), err: fs::read_to_string(&err).unwrap() }
    }

    /// Files below the folder that only a write on its way has.
    pub fn half_files(&self) -> Vec<PathBuf> {
        let is_half = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let ending = path.extension().unwrap_or_default();
            ending == "new" || ending == "old" || name.contains("partial") || name.starts_with(".env")
        };
        files(&self.dir).into_iter().filter(|path| is_half(path)).collect()
    }

    /// Whether this file is there, for its owner alone.
    pub fn is_private(&self, name: &str) -> bool {
        fs::metadata(self.dir.join(name)).is_ok_and(|file| file.permissions().mode() & 0o777 == 0o600)
    }
}

/// Whether a process has ended. Whoever started it may not have asked yet.
pub fn is_over(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found
}

/// What is demanded of a command that was broken off: it says so, ends as documented, and leaves no half file.
pub fn judge(bench: &Bench<'_>, ended: &Ended, what: &str) {
    // One that waits for something that would be lost may find that it was done.
    let codes: &[i32] = if ended.err.contains(WAITS) { &[0, 1, 69, 75] } else { &[75] };
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{what}: {ended:?}");
    assert!(ended.err.contains(WAITS) || ended.err.contains("broken off"), "{what}: it does not say that it was broken off: {ended:?}");
    assert_eq!(bench.half_files(), Vec::<PathBuf>::new(), "{what}");
}
