//! What these tests share: a shop whose configuration can be spoilt, and commands whose end is looked at.

use keyward_harness::{Message, Process, Shop, Signal, SmtpServer, VaultServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing awaited in these tests takes longer.
pub const LONG: Duration = Duration::from_mins(2);

/// A shop of one's own on the shared servers.
pub fn shop() -> Shop<'static> {
    Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap()
}

/// Replaces the first `from` in the configuration.
pub fn edit(shop: &Shop<'_>, from: &str, to: &str) {
    let text = fs::read_to_string(&shop.config).unwrap();
    assert!(text.contains(from), "{from} is not in the configuration");
    fs::write(&shop.config, text.replacen(from, to, 1)).unwrap();
}

/// Replaces every `from` in the configuration.
pub fn edit_all(shop: &Shop<'_>, from: &str, to: &str) {
    let text = fs::read_to_string(&shop.config).unwrap();
    assert!(text.contains(from), "{from} is not in the configuration");
    fs::write(&shop.config, text.replace(from, to)).unwrap();
}

/// Has the shop's Keyward look for Vault at this server. It may have another authority than the shared one.
pub fn move_to(shop: &Shop<'_>, vault: &VaultServer) {
    let shared = servers().vault();
    edit_all(shop, &shared.address, &vault.address);
    // The first one: the mail server keeps its own.
    edit(shop, &shared.ca_pem_path.display().to_string(), &vault.ca_pem_path.display().to_string());
}

/// Has the shop's Keyward use this token, from the file `token`, instead of its AppRole.
pub fn use_token(shop: &Shop<'_>, token: &str) {
    fs::write(shop.path("token"), token).unwrap();
    let text = fs::read_to_string(&shop.config).unwrap();
    let auth = text.lines().find(|l| l.starts_with("auth = ")).unwrap();
    edit(shop, auth, &format!("auth = {{ token = {{ file = \"{}\" }} }}", shop.path("token").display()));
}

/// Has the tokens of the shop's Keyward live for long, so that one that is stopped has not lost its login when it goes on.
pub fn use_long_token(shop: &Shop<'_>) {
    let mount = fs::read_to_string(shop.path("approle-mount")).unwrap();
    shop.vault.must("POST", &format!("auth/{mount}/role/keyward"), Some(json!({ "token_period": "1h" }))).unwrap();
}

/// Sends a command SIGINT, as Ctrl-C does.
pub fn interrupt(pid: u32) {
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the command was gone");
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Ended {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        command.output().unwrap().into()
    }

    /// The same, with this text on its standard input.
    pub fn with_input(mut command: Command, input: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // One that ends before it has read everything closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// The one error: the lines of standard error that begin with the program's name.
    pub fn error(&self) -> &str {
        let mut errors = self.err.lines().filter(|l| l.starts_with("keyward: "));
        let first = errors.next().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert_eq!(errors.next(), None, "one trouble is one error: {}", self.err);
        first
    }
}

/// Runs a command to its end.
pub fn run(shop: &Shop<'_>, arguments: &[&str]) -> Ended {
    shop.run(arguments).unwrap().into()
}

/// `check` ends with this code and says this.
pub fn check_says(shop: &Shop<'_>, code: i32, says: &[&str]) -> String {
    let ended = run(shop, &["check"]);
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for part in says {
        assert!(ended.out.contains(part), "check does not say \"{part}\":\n{}", ended.out);
    }
    ended.out
}

/// Each of these commands ends with this code and one error that holds this text.
pub fn refused(shop: &Shop<'_>, commands: &[&[&str]], code: i32, says: &str) {
    for arguments in commands {
        let ended = run(shop, arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.error().contains(says), "{arguments:?} does not say \"{says}\": {}", ended.err);
    }
}

/// The commands that need Vault, without a daemon.
pub const ASKING: [&[&str]; 8] = [
    &["plan"],
    &["status"],
    &["rotate", "legacy", "--alone"],
    &["rotate", "legacy", "--dry-run"],
    &["rotate", "--class", "database", "--now", "--yes"],
    &["pause", "legacy"],
    &["resume", "legacy"],
    &["reconcile", "--yes"],
];

/// Waits until the daemon says that it is ready.
pub fn becomes_ready(shop: &Shop<'_>) {
    readyz_says(shop, 200, &["ready"]);
}

/// Waits until the daemon says that it is not ready, for these reasons.
pub fn is_unready(shop: &Shop<'_>, because: &[&str]) {
    readyz_says(shop, 503, because);
}

fn readyz_says(shop: &Shop<'_>, code: u16, parts: &[&str]) {
    let began = Instant::now();
    wait_until("/readyz", LONG * 2, || {
        let said = shop.http("/readyz");
        let is_it = |(status, body): &(u16, String)| *status == code && parts.iter().all(|part| body.contains(part));
        if said.as_ref().is_ok_and(is_it) {
            return Some(());
        }
        assert!(began.elapsed() < LONG, "/readyz does not say {code} {parts:?}, but {said:?}; the log ends:\n{}", end_of(&log(shop)));
        None
    });
}

/// The last lines of a text.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// What the daemon has logged.
pub fn log(shop: &Shop<'_>) -> String {
    fs::read_to_string(shop.log_path()).unwrap()
}

/// The status API's answer.
pub fn status(shop: &Shop<'_>) -> Value {
    let (code, body) = shop.http("/api/v1/status").unwrap();
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Whether a condition is open.
fn is_open(shop: &Shop<'_>, key: &str) -> bool {
    let begin = format!("{key} ");
    status(shop)["alerts"].as_array().unwrap().iter().any(|alert| alert.as_str().unwrap().starts_with(&begin))
}

/// Waits until a condition is open.
pub fn is_raised(shop: &Shop<'_>, key: &str) {
    wait_until(&format!("the alert {key}"), LONG, || is_open(shop, key).then_some(()));
}

/// Waits until a condition is over.
pub fn is_resolved(shop: &Shop<'_>, key: &str) {
    wait_until(&format!("the end of the alert {key}"), LONG, || (!is_open(shop, key)).then_some(()));
}

/// Waits for a mail whose subject or text holds all of this.
pub fn mail(smtp: &SmtpServer, parts: &[&str]) -> Message {
    let wanted = |m: &Message| parts.iter().all(|part| m.subject.contains(part) || m.body.contains(part));
    let all = || smtp.messages().into_iter().map(|m| m.subject).collect::<Vec<_>>();
    smtp.wait_for(wanted, LONG).unwrap_or_else(|| panic!("no mail with {parts:?}, but {:?}", all()))
}

/// Ends a daemon as the service manager does; it ends well.
pub fn stop(daemon: &Process) {
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait(LONG).is_some_and(|status| status.success()), "the daemon did not end well");
}
