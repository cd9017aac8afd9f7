//! `keyward backup` and `keyward restore`, against real servers.

use crate::world::{Ended, LONG, interrupt};
use crate::world_of_vault::in_file_storage;
use keyward_harness::{Moment, VaultOptions, VaultProxy, VaultServer, keyward_binary, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a token needs that makes backups and does nothing else.
const POLICY: &str = r#"
path "sys/storage/raft/snapshot" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"#;

/// A folder with a configuration, and a token.
pub struct Desk {
    pub dir: TempDir,
    pub token: String,
}

impl Desk {
    /// `more` is what stands in `[backup]` beside the folder, and below it.
    pub fn new(address: &str, ca: &Path, token: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let desk = Self { dir, token: token.to_owned() };
        desk.configure(address, ca, more);
        desk
    }

    pub fn configure(&self, address: &str, ca: &Path, more: &str) {
        let (at, ca) = (self.dir.path().display(), ca.display());
        let ca = if address.starts_with("https") { format!("ca_cert = \"{ca}\"") } else { String::new() };
        let text =
            format!("state_dir = \"{at}/state\"\n[vault]\naddress = \"{address}\"\n{ca}\n[backup]\nfolder = \"{at}/backups\"\n{more}\n");
        fs::write(self.dir.path().join("keyward.toml"), text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(keyward_binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("VAULT_TOKEN", &self.token);
        command.arg("--config").arg(self.dir.path().join("keyward.toml")).args(arguments).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    pub fn with_input(&self, arguments: &[&str], input: &str) -> Ended {
        Ended::with_input(self.command(arguments), input)
    }

    /// A command that must end well; its answer for programs.
    pub fn must(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// What stands in the folder of the backups, but for the lock.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.dir.path().join("backups")) else { return Vec::new() };
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".keyward-backup.lock").collect();
        names.sort();
        names
    }
}

fn file(answer: &Value) -> PathBuf {
    PathBuf::from(answer["file"].as_str().unwrap())
}

fn program(desk: &Desk, name: &str, script: &str) -> String {
    let path = desk.dir.path().join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn backups_are_checked_encrypted_copied_and_kept_by_rule() {
    let vault = servers().vault();
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.token(POLICY, Value::Null), "keep = 2");
    let made: Vec<PathBuf> = (0..3).map(|_| file(&desk.must(&["backup"]))).collect();
    assert_eq!(made.iter().filter(|path| path.exists()).count(), 2, "{:?}", desk.names());
    assert!(!made[0].exists(), "the oldest one goes");
    assert_eq!(made[2].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let whole = desk.must(&["backup", "check", &made[2].display().to_string()]);
    assert!(whole["archive"]["index"].as_u64().unwrap() > 0, "{whole}");

    // That takes no configuration: it may be asked for where there is none yet.
    let mut bare = Command::new(keyward_binary());
    let bare: Ended = bare.args(["backup", "check"]).arg(&made[2]).env_clear().output().unwrap().into();
    assert_eq!(bare.code, Some(0), "{bare:?}");

    // Damage is seen, wherever it is.
    let bytes = fs::read(&made[2]).unwrap();
    for spoilt in [bytes[..bytes.len() / 2].to_vec(), [&bytes[..], b"x"].concat(), Vec::new(), [&bytes[..100], &bytes[101..]].concat()] {
        let path = desk.dir.path().join("spoilt");
        fs::write(&path, spoilt).unwrap();
        assert_eq!(desk.run(&["backup", "check", "spoilt"]).code, Some(65));
    }

    // Encrypted and copied; a program that fails leaves everything where it is.
    let key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let copied = desk.dir.path().join("elsewhere");
    let copy = program(&desk, "copy", &format!("#!/bin/sh\n[ \"$#\" = 1 ] && cat > '{}' && echo \"$1\" >&2\n", copied.display()));
    let settings = |program: &str| format!("keep = 2\nrecipients = [\"{public}\"]\n[backup.copy]\nprogram = [\"{program}\", \"{{name}}\"]");
    desk.configure(&vault.address, &vault.ca_pem_path, &settings(&copy));
    let sealed = desk.must(&["backup"]);
    assert_eq!(sealed["copied"], json!(true));
    assert_eq!(fs::read(&copied).unwrap(), fs::read(file(&sealed)).unwrap());
    let sealed = file(&sealed).display().to_string();
    assert!(sealed.ends_with(".snap.age"));
    assert_eq!(desk.run(&["backup", "check", &sealed]).code, Some(64), "without its key");
    fs::write(desk.dir.path().join("key"), format!("# made for a test\n{key}\n")).unwrap();
    desk.must(&["backup", "check", &sealed, "--identity", "key"]);
    let before = desk.names();
    desk.configure(&vault.address, &vault.ca_pem_path, &settings(&program(&desk, "refuses", "#!/bin/sh\nexit 3\n")));
    let ended = desk.run(&["backup"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("exit code 3"), "{}", ended.err);
    assert_eq!(desk.names().len(), before.len() + 1, "one more, and none less");
    // One that ends well and took nothing, or a part, copied nothing.
    for (number, script) in [(2, "#!/bin/sh\nexit 0\n"), (3, "#!/bin/sh\nexec head -c 100 > /dev/null\n")] {
        desk.configure(&vault.address, &vault.ca_pem_path, &settings(&program(&desk, "takes-too-little", script)));
        let ended = desk.run(&["backup"]);
        assert!(ended.code == Some(1) && ended.err.contains("bytes of the backup unread"), "{ended:?}");
        assert_eq!(desk.names().len(), before.len() + number, "one more, and none less");
    }
    assert_eq!(desk.must(&["backup", "list"]).as_array().unwrap().len(), before.len() + 3);

    // Broken off while the program runs: it ends with its children, and the backup stands.
    let began = desk.dir.path().join("began");
    let hangs =
        program(&desk, "hangs", &format!("#!/bin/sh\nsleep 600 &\necho $! > '{0}.new' && mv '{0}.new' '{0}'\nwait\n", began.display()));
    desk.configure(&vault.address, &vault.ca_pem_path, &settings(&hangs));
    let child = desk.command(&["backup", "--output", "json"]).spawn().unwrap();
    let sleeper = wait_until("the program", LONG, || fs::read_to_string(&began).ok());
    interrupt(child.id());
    let ended: Ended = child.wait_with_output().unwrap().into();
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &told["copied"]), (Some(75), &json!(false)), "{ended:?}");
    assert!(file(&told).exists() && told["failure"].as_str().unwrap().contains("no copy elsewhere"), "{told:#}");
    let process = format!("/proc/{}/cmdline", sleeper.trim());
    wait_until("the end of the program's child", LONG, || fs::read(&process).map_or(true, |line| line.is_empty()).then_some(()));
}

#[test]
fn a_backup_that_is_refused_or_broken_off_leaves_nothing_behind() {
    let vault = servers().vault();
    let lookup = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.token(lookup, Value::Null), "");
    let ended = desk.run(&["backup"]);
    assert_eq!((ended.code, desk.names()), (Some(77), Vec::new()), "{ended:?}");

    let proxy = VaultProxy::start(vault).unwrap();
    let desk = Desk::new(&proxy.address, &vault.ca_pem_path, &vault.token(POLICY, Value::Null), "");
    for moment in [Moment::Before, Moment::After] {
        let held = proxy.hold("GET sys/storage/raft/snapshot", 0, moment);
        let child = desk.command(&["backup"]).spawn().unwrap();
        held.has_come();
        // The disk has a thread of its own, which may be later than the call.
        wait_until("the file, under another name", LONG, || (desk.names().len() == 1).then_some(()));
        assert_eq!(desk.run(&["backup"]).code, Some(75), "one at a time");
        interrupt(child.id());
        let ended: Ended = child.wait_with_output().unwrap().into();
        assert_eq!((ended.code, desk.names()), (Some(75), Vec::new()), "{ended:?}");
        assert!(ended.err.contains("nothing was written"), "{}", ended.err);
    }
    // What one leaves behind that had no time to put it away, the next one removes.
    let held = proxy.hold("GET sys/storage/raft/snapshot", 0, Moment::After);
    let mut child = desk.command(&["backup"]).spawn().unwrap();
    held.has_come();
    wait_until("the file, under another name", LONG, || (desk.names().len() == 1).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    assert_eq!(desk.names().len(), 1);
    desk.must(&["backup"]);
    assert!(desk.names().len() == 1 && desk.names()[0].starts_with("vault-") && !desk.names()[0].contains("partial"), "{:?}", desk.names());
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left_on_it() {
    let vault = servers().vault();
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.token(POLICY, Value::Null), "");
    let disk = desk.dir.path().join("backups");
    fs::create_dir(&disk).unwrap();
    // In a mount namespace of the command's own; a snapshot is larger.
    let script = format!("mount -t tmpfs -o size=8k none {0} && \"$@\"; code=$?; ls -A {0} >&2; exit $code", disk.display());
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(keyward_binary());
    command.arg("--config").arg(desk.dir.path().join("keyward.toml")).arg("backup").env("VAULT_TOKEN", &desk.token);
    let ended: Ended = command.output().unwrap().into();
    assert!(ended.code == Some(1) && ended.out.is_empty(), "{ended:?}");
    let (said, left) = ended.err.trim_end().rsplit_once('\n').unwrap();
    assert!(said.contains("cannot write") && said.contains(".partial") && said.contains("No space left on device"), "{said}");
    assert_eq!(left, ".keyward-backup.lock");
}

#[test]
fn what_is_lost_comes_back_in_the_same_vault_and_in_a_new_one() {
    let (first, mut second) = std::thread::scope(|scope| {
        let [first, second] =
            [true, false].map(|initialise| scope.spawn(move || VaultServer::start(&VaultOptions { initialise, audit: false })));
        (first.join().unwrap().unwrap(), second.join().unwrap().unwrap())
    });
    let kv = first.kv_mount();
    let write = |value: &str| first.must("POST", &format!("{kv}/data/app"), Some(json!({ "data": { "value": value } }))).unwrap();
    let value = |vault: &VaultServer| {
        let answer = vault.api_as(&first.root_token, "GET", &format!("{kv}/data/app"), None);
        answer.ok().and_then(|(_, body)| body["data"]["data"]["value"].as_str().map(str::to_owned))
    };
    write("then");
    let desk = Desk::new(&first.address, &first.ca_pem_path, &first.root_token, "");
    let backup = file(&desk.must(&["backup"])).display().to_string();
    write("later");

    // Nobody to ask, and damage: nothing happens.
    assert_eq!(desk.run(&["restore", &backup]).code, Some(64));
    fs::write(desk.dir.path().join("half"), &fs::read(&backup).unwrap()[..2000]).unwrap();
    assert_eq!(desk.run(&["restore", "half", "--yes"]).code, Some(65));
    assert_eq!(value(&first).as_deref(), Some("later"));

    let answer = desk.must(&["restore", &backup, "--yes"]);
    assert_eq!((answer["state"].as_str(), &answer["next"]), (Some("restored"), &json!(["keyward reconcile"])));
    wait_until("the value of then", LONG, || value(&first).filter(|v| v == "then"));

    // Another Vault, that was made with one share and has nothing in it, takes it by force alone.
    let mut other = Desk::new(&second.address, &second.ca_pem_path, "", "");
    let shares = other.dir.path().join("new");
    let made = other.must(&["init", "--initialise", "--server-only", "--shares", "1", "--threshold", "1", "--shares-to", "new"]);
    assert_eq!((made["changes"].as_u64(), made["lines"].as_array().unwrap().len()), (Some(2), 2), "{made:#}");
    other.token = fs::read_to_string(shares.join("root-token")).unwrap().trim().to_owned();
    let ended = other.run(&["restore", &backup, "--yes"]);
    assert!(ended.code == Some(1) && ended.err.contains("--force"), "{ended:?}");
    // Vault counts shares as its former key had them until it is restarted: that is said before, and afterwards.
    let ended = other.run(&["restore", &backup, "--yes", "--force", "--output", "json"]);
    assert!(ended.err.contains("That is 3 of 5 shares. This Vault was made with 1 of 1 share"), "{}", ended.err);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &told["state"], &told["restart"]), (Some(2), &json!("sealed"), &json!(true)), "{told:#}");
    assert_eq!(told["next"], json!(["restart the process of Vault", "keyward unseal", "keyward reconcile"]));
    let shares = first.unseal_keys.join("\n");
    let ended = other.with_input(&["unseal"], &shares);
    assert!(ended.code == Some(2) && ended.err.contains("restart its process"), "{ended:?}");
    // Then it opens with the shares of the first.
    second.restart().unwrap();
    let ended = other.with_input(&["unseal"], &shares);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_until("the value of then in the second", LONG, || value(&second).filter(|v| v == "then"));
}

#[test]
fn a_vault_in_file_storage_is_told_what_it_lacks() {
    let vault = servers().vault();
    let whole = Desk::new(&vault.address, &vault.ca_pem_path, &vault.token(POLICY, Value::Null), "");
    let backup = file(&whole.must(&["backup"])).display().to_string();

    let vault = in_file_storage();
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.root_token, "");
    for arguments in [vec!["backup"], vec!["backup", "--to", "here.snap"], vec!["restore", &backup, "--force", "--yes"]] {
        let ended = desk.run(&arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?}: {ended:?}");
        for part in ["stores in \"file\"", "no snapshots", "stop Vault and copy its storage", "vault operator migrate"] {
            assert!(ended.error().contains(part), "{arguments:?}: {part} is not in {}", ended.err);
        }
    }
    assert_eq!(desk.names(), [""; 0]);
    assert!(!desk.dir.path().join("here.snap").exists());
    assert_eq!(vault.health().unwrap(), 200, "nothing was changed");
}
