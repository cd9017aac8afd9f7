//! Proves that a printed policy is the least: by Vault's audit log, each capability of each line decided a call that was made, and by calls with
//! what remains of the policy, Vault denies such a call without it.

use crate::init_world::World;
use keyward_harness::VaultServer;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// One path of a policy.
pub struct Line {
    pub path: String,
    pub capabilities: Vec<String>,
}

impl Line {
    pub fn stanza(&self) -> String {
        format!("path \"{}\" {{ capabilities = {:?} }}\n", self.path, self.capabilities)
    }
}

/// The lines of a role's policy, and its text.
pub fn printed(world: &World, role: &str) -> (String, Vec<Line>) {
    let (code, answer) = world.json(&["policy", role]);
    assert_eq!(code, Some(0), "{answer:#}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |p: &Value| Line { path: text(&p["path"]), capabilities: p["capabilities"].as_array().unwrap().iter().map(text).collect() };
    (text(&answer[0]["text"]), answer[0]["paths"].as_array().unwrap().iter().map(line).collect())
}

/// Operations that Vault allowed, each with its path. An operation has the name of the capability that allows it.
pub type Calls = BTreeSet<(String, String)>;

/// What Vault's audit log says from now on.
pub struct Witness {
    log: PathBuf,
    from: u64,
}

impl Witness {
    /// Of a server's own device.
    pub fn of(vault: &VaultServer) -> Self {
        Self { log: vault.audit_log.clone(), from: fs::metadata(&vault.audit_log).unwrap().len() }
    }

    /// Of a device that is enabled for this.
    pub fn beside(vault: &VaultServer) -> Self {
        let log = vault.audit_log.with_file_name("witness.log");
        let device = json!({ "type": "file", "options": { "file_path": log } });
        vault.must("PUT", "sys/audit/witness", Some(device)).unwrap();
        Self { log, from: 0 }
    }

    /// The calls that were allowed to tokens with this policy.
    pub fn calls(&self, policy: &str) -> Calls {
        let mut log = File::open(&self.log).unwrap();
        log.seek(SeekFrom::Start(self.from)).unwrap();
        let lines = BufReader::new(log).lines().map(Result::unwrap).filter(|line| line.contains(policy));
        // The last one may not be whole yet.
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let is_allowed = |line: &Value| {
            let has_it = line["auth"]["policies"].as_array().is_some_and(|policies| policies.iter().any(|p| p == policy));
            line["type"] == "request" && has_it && line["auth"]["policy_results"]["allowed"] == true
        };
        let call = |line: Value| {
            let text = |key: &str| line["request"][key].as_str().unwrap().trim_end_matches('/').to_owned();
            (text("operation"), text("path"))
        };
        lines.filter(is_allowed).map(call).collect()
    }

    /// The calls of this token, which has one policy.
    pub fn calls_of(&self, vault: &VaultServer, token: &str) -> Calls {
        let (_, itself) = vault.api_as(&vault.root_token, "POST", "auth/token/lookup", Some(json!({ "token": token }))).unwrap();
        self.calls(itself["data"]["policies"][0].as_str().unwrap())
    }
}

/// Vault takes the longest pattern that fits.
fn decides<'l>(lines: &'l [Line], path: &str) -> Option<&'l Line> {
    let fits = |line: &&Line| line.path.strip_suffix('*').map_or(line.path == path, |prefix| path.starts_with(prefix));
    lines.iter().filter(fits).max_by_key(|line| (!line.path.ends_with('*'), line.path.len()))
}

/// Each capability was needed by a call, and without it that call is denied. What is created is first removed for that.
pub fn nothing_can_go(vault: &VaultServer, lines: &[Line], calls: &Calls) {
    let all: String = lines.iter().map(Line::stanza).collect();
    let whole = vault.token(&all, Value::Null);
    let of = |line: &Line| calls.iter().filter(|(_, path)| decides(lines, path).is_some_and(|l| l.path == line.path)).collect::<Vec<_>>();
    let each = || lines.iter().flat_map(|line| line.capabilities.iter().map(move |capability| (line, capability)));
    let (creates, others): (Vec<_>, Vec<_>) = each().partition(|(_, capability)| *capability == "create");
    let mut idle = Vec::new();
    // Those last: what they need removed is there for the others.
    for (line, capability) in others.into_iter().chain(creates) {
        // Vault asks for it on some paths, whatever is done there.
        let needs_it = |call: &&&(String, String)| capability == "sudo" || call.0 == *capability;
        let (path, of) = (&line.path, of(line));
        let Some((operation, at)) = of.iter().find(needs_it) else {
            idle.push(format!("{capability} on {path}"));
            continue;
        };
        let body = matches!(operation.as_str(), "create" | "update" | "patch").then(|| json!({}));
        let method = match operation.as_str() {
            "create" | "update" => "POST",
            "read" => "GET",
            "list" => "LIST",
            "patch" => "PATCH",
            other => panic!("{other}"),
        };
        if operation == "create" {
            remove(vault, at);
        }
        let without = vault.token(&without(lines, path, capability), Value::Null);
        let (status, answer) = vault.api_as(&without, method, at, body.clone()).unwrap();
        assert_eq!(status, 403, "{method} {at} is allowed without {capability} on {path}: {answer}");
        if operation == "create" {
            assert_ne!(vault.api_as(&whole, method, at, body).unwrap().0, 403, "{method} {at}");
        }
    }
    assert!(idle.is_empty(), "no call needs {idle:#?}");
}

fn without(lines: &[Line], path: &str, capability: &str) -> String {
    let rest = |line: &Line| {
        let is_it = line.path == path;
        let capabilities: Vec<String> = line.capabilities.iter().filter(|c| !is_it || *c != capability).cloned().collect();
        (!capabilities.is_empty()).then(|| Line { path: line.path.clone(), capabilities }.stanza())
    };
    lines.iter().filter_map(rest).collect()
}

fn remove(vault: &VaultServer, path: &str) {
    if path.contains("/keys/") {
        vault.must("POST", &format!("{path}/config"), Some(json!({ "deletion_allowed": true }))).unwrap();
    }
    vault.must("DELETE", &path.replacen("/data/", "/metadata/", 1), None).unwrap();
}
