//! Where the pages' commands are typed: a shell with `keyward` and `vault` on its PATH, a Vault of its own in `file` storage, and a
//! service manager for it that really stops and starts it.

use super::page::{Block, End};
use crate::world::{Ended, LONG};
use crate::world_of_vault::in_file_storage;
use keyward_harness::{Product, VaultServer, keyward_binary, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// The whole of it.
pub struct Place {
    dir: TempDir,
    vault: Arc<Mutex<VaultServer>>,
    /// What the pages' variables stand for.
    pub variables: BTreeMap<&'static str, String>,
    /// The folder of Vault: its file, its storage, its audit log.
    pub server: PathBuf,
    /// Everything that was printed.
    said: Mutex<String>,
}

impl Place {
    /// Starts it: Vault is initialised and open, its storage is `file`, and its shares lie in a folder.
    pub fn new() -> Self {
        let vault = in_file_storage();
        let server = vault.audit_log.parent().unwrap().parent().unwrap().to_owned();
        vault.add_audit().unwrap();

        let dir = tempfile::tempdir().unwrap();
        for name in ["bin", "shares", "safe", "home", "keyward"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for (number, share) in vault.unseal_keys.iter().enumerate() {
            fs::write(dir.path().join(format!("shares/share-{}", number + 1)), format!("{share}\n")).unwrap();
        }
        symlink(keyward_binary(), dir.path().join("bin/keyward")).unwrap();
        symlink(&vault.binary, dir.path().join("bin/vault")).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let of_server = |name: &str| server.join(name).to_str().unwrap().to_owned();
        let variables = BTreeMap::from([
            ("VAULT_ADDR", vault.address.clone()),
            ("VAULT_CACERT", vault.ca_pem_path.to_str().unwrap().to_owned()),
            ("VAULT_TOKEN", vault.root_token.clone()),
            ("KEYWARD_CONFIG", path("keyward/keyward.toml")),
            ("SHARES", path("shares")),
            ("SAFE", path("safe")),
            ("VAULT_FILE", of_server("server.hcl")),
            ("VAULT_DATA", of_server("data")),
            ("AUDIT_LOG", vault.audit_log.to_str().unwrap().to_owned()),
            ("NAME", "backend-database".to_owned()),
            ("SECRET_PATH", "secret/backend/database".to_owned()),
            ("HOME", path("home")),
            ("PATH", format!("{}:{}", path("bin"), std::env::var("PATH").unwrap())),
        ]);
        let place = Self { dir, vault: Arc::new(Mutex::new(vault)), variables, server, said: Mutex::default() };
        place.manage_the_service();
        place
    }

    /// Vault. Nobody else can stop or start it while this is held.
    pub fn vault(&self) -> MutexGuard<'_, VaultServer> {
        lock(&self.vault)
    }

    /// Whether the server is HashiCorp's: some of what the pages do is done otherwise with OpenBao.
    pub fn is_vault(&self) -> bool {
        self.vault().product == Product::Vault
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What Vault answers to a read as root.
    pub fn get(&self, path: &str) -> Value {
        self.vault().must("GET", path, None).unwrap()
    }

    /// Types commands in a shell that stops at the first that fails.
    pub fn shell(&self, commands: &str) -> Ended {
        let ended: Ended = self.command("bash").args(["-euo", "pipefail", "-c", commands]).output().unwrap().into();
        let mut said = lock(&self.said);
        said.push_str(&ended.out);
        said.push_str(&ended.err);
        ended
    }

    /// A program in the place's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.variables).current_dir(super::page::root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a block of a page, which has to end as the page says. What it printed.
    pub fn run(&self, block: &Block) -> String {
        let ended = self.shell(&block.text);
        let is_well = match block.end {
            End::Code(code) => ended.code == Some(code),
            End::Either => ended.code.is_some_and(|code| code < 64),
        };
        assert!(is_well, "{} ended with {:?}:\n{}\n{}{}", block.at, ended.code, block.text, ended.out, ended.err);
        ended.out
    }

    /// Runs a page's commands in their order, all of them. What each printed.
    pub fn run_page(&self, page: &str) -> Vec<String> {
        super::page::commands(page).iter().map(|block| self.run(block)).collect()
    }

    /// Seals Vault, as somebody with the right to.
    pub fn seal(&self) {
        self.vault().seal().unwrap();
    }

    /// Demands that none of these was ever printed.
    pub fn never_said(&self, values: &[String]) {
        let said = lock(&self.said);
        for value in values {
            assert!(!said.contains(value.trim()), "a page's commands print a share or a token");
        }
    }

    /// A `systemctl` that knows one service, `vault`. The server that it stops and starts is the real one.
    fn manage_the_service(&self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!(
            "#!/usr/bin/env bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\necho \"$*\" >&3\nread -r answer <&3\n[ \"$answer\" = done ] || {{ echo \"$answer\" >&2; exit 1; }}\n"
        );
        let program = self.path("bin/systemctl");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let vault = Arc::clone(&self.vault);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let answer = asked(&mut stream, &vault).map_or_else(|why| why, |()| "done".to_owned());
                // A shell that went away has no use for the answer.
                let _ = writeln!(stream, "{answer}");
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what one call of `systemctl` asks for.
fn asked(stream: &mut TcpStream, vault: &Mutex<VaultServer>) -> Result<(), String> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(|e| e.to_string())?;
    let mut vault = lock(vault);
    match line.trim() {
        "stop vault" => {
            signal(&vault, "TERM");
            wait_until("Vault to stop", LONG, || vault.health().is_err().then_some(()));
            vault.kill().map_err(|e| e.to_string())
        }
        "start vault" => vault.restart().map_err(|e| e.to_string()),
        "reload vault" => {
            signal(&vault, "HUP");
            Ok(())
        }
        other => Err(format!("this place has no such service: {other}")),
    }
}

fn signal(vault: &VaultServer, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), vault.pid.to_string()]).status();
    assert!(status.is_ok_and(|s| s.success()), "Vault was gone");
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
