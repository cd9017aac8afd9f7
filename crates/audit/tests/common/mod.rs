//! Lines made up for one purpose, in Vault's order of keys.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "shared by several test programs; a wrong scene must fail")]

use jiff::Timestamp;
use keyward_audit::{Fact, Finding, Managed, ManagedPaths, Own, RuleBook, Usage, parse};

pub const VAULT: &str = include_str!("../fixtures/vault-1.21.0-audit.jsonl");
pub const OPENBAO: &str = include_str!("../fixtures/openbao-2.6.2-audit.jsonl");
/// Made up, unlike the two above.
pub const VAULT_1_15: &str = include_str!("../fixtures/made-up-vault-1.15-audit.jsonl");
pub const VAULT_1_17: &str = include_str!("../fixtures/made-up-vault-1.17-audit.jsonl");

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}

/// A line under construction.
#[derive(Clone)]
pub struct Made {
    pub seconds: i64,
    pub kind: &'static str,
    pub operation: &'static str,
    pub path: String,
    pub mount: &'static str,
    pub name: String,
    pub entity: &'static str,
    pub accessor: &'static str,
    pub address: String,
    pub policy: &'static str,
    pub allowed: bool,
    pub error: Option<&'static str>,
    pub response: &'static str,
}

pub fn made(operation: &'static str, path: &str) -> Made {
    Made {
        seconds: 0,
        kind: "response",
        operation,
        path: path.to_owned(),
        mount: if path.starts_with("sys/") { "sys/" } else { "secret/" },
        name: "token-alice".into(),
        entity: "",
        accessor: "hmac-sha256:aa",
        address: "10.0.0.1".into(),
        policy: "reader",
        allowed: true,
        error: None,
        response: "{}",
    }
}

impl Made {
    pub fn line(&self) -> String {
        let error = self.error.map_or(String::new(), |text| format!(r#""error":{},"#, serde_json::to_string(text).unwrap()));
        format!(
            r#"{{"auth":{{"accessor":"{}","display_name":"{}","entity_id":"{}","policies":["default","{}"],"policy_results":{{"allowed":{}}},"token_type":"service"}},{error}"request":{{"id":"{}","mount_point":"{}","mount_type":"x","namespace":{{"id":"root"}},"operation":"{}","path":{},"remote_address":"{}"}},"response":{},"time":"{}","type":"{}"}}"#,
            self.accessor,
            self.name,
            self.entity,
            self.policy,
            self.allowed,
            self.seconds,
            self.mount,
            self.operation,
            serde_json::to_string(&self.path).unwrap(),
            self.address,
            self.response,
            at(self.seconds),
            self.kind,
        )
    }
}

/// Rules and usage over a row of lines, as the daemon applies them.
pub struct Log {
    pub rules: RuleBook,
    pub usage: Usage,
    pub own: Own,
    pub managed: ManagedPaths,
}

impl Log {
    pub fn new() -> Self {
        let mut managed = ManagedPaths::default();
        managed.add_kv2("app", "secret/", "app/database");
        managed.add_static_role("legacy", "database/", "legacy");
        Self { rules: RuleBook::defaults(), usage: Usage::default(), own: Own::default(), managed }
    }

    pub fn line(&mut self, line: &str) -> Vec<Finding> {
        let entry = parse(line.as_bytes()).expect("a good line");
        let fact = Fact::of(&entry, at(0));
        let managed: Option<Managed<'_>> = self.managed.touch(&fact);
        let mut found = Vec::new();
        self.rules.observe(&fact, managed, &self.own, &self.usage, &mut found);
        self.usage.observe(&fact, managed, &self.own);
        found
    }

    pub fn names(&mut self, made: &Made) -> Vec<&'static str> {
        self.line(&made.line()).iter().map(|finding| finding.rule.name()).collect()
    }
}
