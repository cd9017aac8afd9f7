//! `keyward tls`: certificates made, served by a real Vault, looked at, and renewed while it runs.

use crate::backup::Desk;
use crate::world::{Ended, LONG};
use keyward_harness::{Process, Stop, keyward_binary, servers, wait_until};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// A Vault that serves the pair `vault-1` of a folder. It is never initialised: its certificate is all that is asked for.
fn serve(folder: &Path, port: u16) -> Process {
    let at = folder.display();
    let text = format!(
        "storage \"inmem\" {{}}\ndisable_mlock = true\napi_addr = \"https://127.0.0.1:{port}\"\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         tls_cert_file = \"{at}/vault-1.pem\"\n  tls_key_file = \"{at}/vault-1.key\"\n}}\n"
    );
    fs::write(folder.join("server.hcl"), text).unwrap();
    let mut command = Command::new(&servers().vault().binary);
    command.arg("server").arg(format!("-config={at}/server.hcl")).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start("Vault", command, Stop::Kill).unwrap()
}

#[test]
fn a_pair_is_issued_served_and_renewed_without_a_restart_or_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tls");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (at, address) = (folder.display().to_string(), format!("https://127.0.0.1:{port}"));
    let desk = Desk::new(&address, &folder.join("ca.pem"), "", "");
    // Other commands read the authority; this one makes it.
    let issued = desk.must(&["tls", "issue", "vault-1", "--dns", "vault.example.com", "--ip", "192.0.2.7", "--folder", &at]);
    let names: Vec<&str> = issued["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(names, ["vault-1", "vault.example.com", "192.0.2.7", "localhost", "127.0.0.1", "::1"]);
    for file in ["vault-1.key", "ca.key"] {
        assert_eq!(folder.join(file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let ended = desk.run(&["tls", "issue", "vault-1", "--folder", &at]);
    assert!(ended.code == Some(1) && ended.err.contains("nothing is written over"), "{ended:?}");
    desk.must(&["tls", "issue", "vault-2", "--days", "5", "--folder", &at]);
    let (pem, ca) = (folder.join("vault-1.pem").display().to_string(), folder.join("ca.pem").display().to_string());
    desk.must(&["tls", "check", &pem, "--ca", &ca]);
    let stranger = servers().vault().ca_pem_path.display().to_string();
    assert_eq!(desk.run(&["tls", "check", &pem, "--ca", &stranger]).code, Some(1), "another authority vouches for nothing");

    let vault = serve(&folder, port);
    let served = || {
        let ended = desk.run(&["tls", "check", "--output", "json"]);
        let answer: Value = serde_json::from_str(&ended.out).ok()?;
        answer[0]["certificate"]["serial"].as_str().filter(|_| ended.code == Some(0)).map(str::to_owned)
    };
    assert_eq!(wait_until("the server", LONG, served), issued["serial"].as_str().unwrap());
    let renew = ["tls", "renew", "vault-1", "--folder", &at, "--wait", "120"];
    fs::write(dir.path().join("pid"), vault.pid().to_string()).unwrap();
    // As where the server is another user than whoever renews; only root can make it so.
    let key = folder.join("vault-1.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let _ = std::os::unix::fs::chown(&key, None, Some(4711));
    let readers = || key.metadata().map(|m| (m.mode(), m.uid(), m.gid())).unwrap();
    let before = readers();
    let renewed = desk.must(&[&renew[..], &["--pid-file", &dir.path().join("pid").display().to_string()]].concat());
    assert_eq!((renewed["before"].as_str(), served().as_deref()), (issued["serial"].as_str(), renewed["serial"].as_str()));
    assert!(renewed["serial"] != issued["serial"]);
    assert_eq!(readers(), before, "whoever could read the key can read the new one");

    // A server that is not told goes on as before, and so do its files.
    let before = [fs::read(&pem).unwrap(), fs::read(folder.join("vault-1.key")).unwrap()];
    let ended = desk.run(&["tls", "renew", "vault-1", "--folder", &at, "--wait", "1", "--", "/bin/true"]);
    assert!(ended.code == Some(1) && ended.err.contains("the old pair stands again"), "{ended:?}");
    assert_eq!([fs::read(&pem).unwrap(), fs::read(folder.join("vault-1.key")).unwrap()], before);
    assert_eq!(served().as_deref(), renewed["serial"].as_str());

    // Nor does a process end that has got the number of one that is gone.
    let mut sleep = Command::new("sleep");
    sleep.arg("600").stdout(Stdio::null()).stderr(Stdio::null());
    let other = Process::start("sleep", sleep, Stop::Kill).unwrap();
    let stale = dir.path().join("stale");
    fs::write(&stale, other.pid().to_string()).unwrap();
    let ended = desk.run(&["tls", "renew", "vault-1", "--folder", &at, "--pid-file", stale.to_str().unwrap()]);
    assert!(ended.code == Some(65) && ended.err.contains("is no server of Vault"), "{ended:?}");
    assert!(Path::new(&format!("/proc/{}/exe", other.pid())).exists() && fs::read(&pem).unwrap() == before[0]);

    // A run that was killed between the two files is put right first, whichever of them it had reached.
    for (file, others) in [("vault-1.key", "vault-2.key"), ("vault-1.pem", "vault-2.pem")] {
        fs::rename(folder.join(file), folder.join(format!("{file}.old"))).unwrap();
        fs::copy(folder.join(others), folder.join(file)).unwrap();
        let ended = desk.run(&["tls", "renew", "vault-1", "--folder", &at, "--wait", "1", "--", "/bin/true"]);
        assert!(ended.code == Some(1) && ended.out.contains("mended"), "{ended:?}");
        assert_eq!([fs::read(&pem).unwrap(), fs::read(folder.join("vault-1.key")).unwrap()], before);
    }
    drop(vault);
    assert_eq!(desk.run(&["tls", "check"]).code, Some(69));
}

#[test]
fn certificates_are_made_and_checked_where_nobody_has_configured_anything() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Ended {
        Command::new(keyward_binary()).args(arguments).env_clear().current_dir(dir.path()).output().unwrap().into()
    };
    let ended = run(&["tls", "issue", "vault-1", "--folder", "tls"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(run(&["tls", "check", "tls/vault-1.pem", "--ca", "tls/ca.pem"]).code, Some(0));
    // Nothing is left behind that its authority does not vouch for.
    let other = run(&["tls", "issue", "vault-1", "--folder", "other"]);
    assert_eq!(other.code, Some(0), "{other:?}");
    fs::copy(dir.path().join("other/ca.pem"), dir.path().join("tls/ca.pem")).unwrap();
    let ended = run(&["tls", "issue", "vault-3", "--folder", "tls"]);
    assert!(ended.code == Some(65) && ended.err.contains("does not vouch"), "{ended:?}");
    assert!(!dir.path().join("tls/vault-3.pem").exists() && !dir.path().join("tls/vault-3.key").exists());
}
