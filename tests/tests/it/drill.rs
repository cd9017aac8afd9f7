//! `keyward backup drill`: a throw-away Vault, behind walls where the kernel has them.

use crate::backup::Desk;
use crate::world::{Ended, LONG, interrupt};
use keyward_harness::{VaultOptions, VaultServer, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;

/// A Vault with an audit device and a canary, a backup of it, and what a drill of that needs.
fn drilled(vault: &VaultServer) -> Desk {
    let kv = vault.kv_mount();
    vault.must("POST", &format!("{kv}/data/canary"), Some(json!({ "data": { "bird": "sings" } }))).unwrap();
    let more = format!("vault = \"{}\"\ncanary = {{ vault = \"{kv}/canary\", field = \"bird\" }}", vault.binary.display());
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.root_token, &more);
    fs::create_dir(desk.dir.path().join("tmp")).unwrap();
    desk.must(&["backup"]);
    desk
}

impl Desk {
    /// A drill, with shares on standard input and a folder of its own for what is thrown away.
    fn drill(&self, more: &[&str], shares: &str) -> Ended {
        let mut command = self.command(&[&["backup", "drill", "--output", "json"], more].concat());
        command.env("TMPDIR", self.dir.path().join("tmp"));
        let ended = Ended::with_input(command, shares);
        assert_eq!(fs::read_dir(self.dir.path().join("tmp")).unwrap().count(), 0, "something is left of the drill: {ended:?}");
        ended
    }
}

#[test]
fn a_drill_restores_unseals_and_reads_the_canary_where_nothing_else_is_reached() {
    let vault = servers().vault();
    let desk = drilled(vault);
    let canary = fs::read_to_string(desk.dir.path().join("keyward.toml")).unwrap();
    let canary = canary.lines().find_map(|l| l.split("vault = \"").nth(1)?.split_once("/canary\"")).unwrap().0.to_owned();
    let lines = || fs::read_to_string(&vault.audit_log).unwrap().matches(&format!("{canary}/data/canary")).count();
    let before = lines();
    assert!(before > 0, "the real server logs what is done there");
    let ended = desk.drill(&[], &vault.unseal_keys.join("\n"));
    if ended.err.contains("the kernel refuses a network namespace") {
        // Then it is not run; in the open it is, when somebody says that they know.
        assert!(ended.code == Some(1) && ended.err.contains("--accept-open-network") && ended.out.is_empty(), "{ended:?}");
        return;
    }
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let seen = ["enclosed", "restored", "unsealed", "canary"].map(|key| report[key].as_bool());
    assert_eq!((ended.code, seen), (Some(0), [Some(true); 4]), "{ended:?}");
    assert!(!format!("{ended:?}").contains("sings"), "the canary's value was shown");
    assert_eq!(lines(), before, "the drill's server wrote into the real audit log");

    let ended = desk.drill(&[], "");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, report["restored"].as_bool(), report["unsealed"].as_bool()), (Some(2), Some(true), Some(false)), "{ended:?}");
}

#[test]
fn where_there_is_no_cell_a_drill_is_run_in_the_open_only_for_whoever_says_so() {
    // Its own Vault, whose backup names no audit file and no database: what runs in the open would touch them.
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let desk = drilled(&vault);
    let shares = vault.unseal_keys.join("\n");
    fs::create_dir(desk.dir.path().join("bin")).unwrap();
    let drill = |more: &[&str]| {
        let mut command = desk.command(&[&["backup", "drill", "--output", "json"], more].concat());
        // Without `unshare` there are no walls.
        command.env("PATH", desk.dir.path().join("bin")).env("TMPDIR", desk.dir.path().join("tmp"));
        let ended = Ended::with_input(command, &shares);
        assert_eq!(fs::read_dir(desk.dir.path().join("tmp")).unwrap().count(), 0, "something is left of the drill: {ended:?}");
        ended
    };
    let refused = drill(&[]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{refused:?}");
    for part in ["unshare", "the drill was not run", "revokes leases and rotates static roles", "--accept-open-network"] {
        assert!(refused.error().contains(part), "{part} is not in {}", refused.err);
    }
    let ran = drill(&["--accept-open-network"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let seen = ["enclosed", "restored", "unsealed", "canary"].map(|key| report[key].as_bool());
    assert_eq!((ran.code, seen), (Some(0), [Some(false), Some(true), Some(true), Some(true)]), "{ran:?}");
    assert!(ran.err.contains("it runs in the open, as --accept-open-network says"), "{}", ran.err);
    assert_eq!(vault.health().unwrap(), 200, "the real one is untouched");
}

#[test]
fn a_drill_that_is_broken_off_leaves_nothing_behind() {
    let desk = drilled(servers().vault());
    let tmp = desk.dir.path().join("tmp");
    let mut command = desk.command(&["backup", "drill"]);
    // The shares never come, so it waits for them when everything else runs.
    let mut child = command.env("TMPDIR", &tmp).stdin(Stdio::piped()).spawn().unwrap();
    let shares = child.stdin.take().unwrap();
    let server = wait_until("the drill's server", LONG, || {
        if let Some(ended) = child.try_wait().unwrap() {
            // Where the kernel refuses the cell there is nothing to break off.
            assert_eq!(ended.code(), Some(1));
            return Some(None);
        }
        let folder = fs::read_dir(&tmp).unwrap().next()?.unwrap().path();
        let sealed = fs::read_to_string(folder.join("server.log")).ok()?.contains("vault is sealed");
        sealed.then_some(Some(folder))
    });
    if let Some(folder) = server {
        // It is started again once the backup is in it.
        let (below, variables) = wait_until("the server to be looked at", LONG, || {
            let below = below(child.id());
            let (_, variables) = below.iter().find(|(words, _)| words.contains("\0server\0"))?.clone();
            Some((below, variables))
        });
        assert!(!variables.contains(&desk.token) && below.iter().all(|(words, _)| !words.contains(&desk.token)), "the token stands there");
        interrupt(child.id());
        let ended: Ended = child.wait_with_output().unwrap().into();
        assert_eq!(ended.code, Some(75), "{ended:?}");
        assert!(!folder.exists());
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        wait_until("the end of all that ran in the cell", LONG, || (!runs(&name)).then_some(()));
    }
    drop(shares);
}

/// The command line and the environment of everything below a process.
fn below(parent: u32) -> Vec<(String, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        // `pid (name) state parent …`; the name may hold anything.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok()) == Some(parent)
    };
    let read = |pid: u32, what: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default()).into_owned();
    let children = processes.filter(is_child).collect::<Vec<_>>();
    children.into_iter().flat_map(|pid| [vec![(read(pid, "cmdline"), read(pid, "environ"))], below(pid)].concat()).collect()
}

/// Whether a process names this on its command line.
fn runs(name: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|e| fs::read(e.path().join("cmdline")).ok()).any(|line| String::from_utf8_lossy(&line).contains(name))
}
