//! Compares what is wanted with what is there: the list of changes. It never looks and never acts.
//!
//! So a dry run, a second run, and a run after an interruption are all the same: look, compare, do what is left.

use super::wanted::{Item, Thing};
use crate::commands::policy::grants::MARK;
use crate::config::network;
use keyward_targets::postgres::EngineUser;
use keyward_vault::AuditDevice;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What is there of a thing.
#[derive(Clone, Debug)]
pub enum Found {
    /// The audit devices.
    Devices(Vec<AuditDevice>),
    /// What is mounted there: type and, for KV, version.
    Mount(Option<(String, Option<u8>)>),
    /// A policy's text.
    Policy(Option<String>),
    /// An object.
    Object(Option<Map<String, Value>>),
    /// A database user, and whether the connection that holds its password exists.
    EngineUser(Option<EngineUser>, bool),
    /// A connection, and its user.
    Connection(Option<Map<String, Value>>, Option<EngineUser>),
    /// The rights that are missing.
    Lacking(Vec<String>),
    /// Whether the fence is there.
    Fence(bool),
    /// Whether the files are there: role id, secret id.
    Files(bool, bool),
    /// It could not be looked at.
    Unknown(String),
}

/// What is to be done about a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it is wanted.
    Unchanged,
    /// It is not there.
    Create,
    /// It is there and differs.
    Change(Vec<String>),
    /// Making it would change a password; nobody has said that it may.
    Held(String),
    /// It is there, and is somebody else's or of another kind.
    Refused(String),
}

/// How a line ended, or would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it was.
    Unchanged,
    /// Made (or to be made, in a dry run).
    Created,
    /// Changed (or to be changed).
    Changed,
    /// Left, because it would change a password at once.
    Held,
    /// To be done by hand on the server.
    ByHand,
    /// Not touched.
    Refused,
    /// Tried in vain.
    Failed,
    /// Not tried, because something before it failed.
    NotTried,
}

impl Verdict {
    /// As it is reported.
    pub const fn state(&self) -> State {
        match self {
            Self::Unchanged => State::Unchanged,
            Self::Create => State::Created,
            Self::Change(_) => State::Changed,
            Self::Held(_) => State::Held,
            Self::Refused(_) => State::Refused,
        }
    }

    /// What is to be said beside the state.
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Unchanged | Self::Create => Vec::new(),
            Self::Change(differences) => differences.clone(),
            Self::Held(why) | Self::Refused(why) => vec![why.clone()],
        }
    }

    /// Whether something is to be done.
    pub const fn is_change(&self) -> bool {
        matches!(self, Self::Create | Self::Change(_))
    }
}

/// Judges one thing. `may_rotate`: the static roles whose users' passwords may be changed now.
pub fn judge(item: &Item, found: &Found, may_rotate: &BTreeSet<String>) -> Verdict {
    match (&item.thing, found) {
        (_, Found::Unknown(why)) => Verdict::Refused(why.clone()),
        (Thing::Audit { device, file }, Found::Devices(devices)) => audit(device, &file.display().to_string(), devices),
        (Thing::Mount { kind, is_kv, path, .. }, Found::Mount(mount)) => mounted(path, kind, *is_kv, mount.as_ref()),
        (Thing::Policy { text, narrower, .. }, Found::Policy(policy)) => match policy {
            None => Verdict::Create,
            Some(there) if there.trim() == text.trim() || there.trim() == narrower.trim() => Verdict::Unchanged,
            Some(there) if !there.trim_start().starts_with(MARK) => {
                Verdict::Refused("a policy of this name is there, and Keyward did not write it; compare it with `keyward policy`, then remove it or choose another name in [init]".to_owned())
            }
            Some(there) => Verdict::Change(lines(there, text)),
        },
        (Thing::Object { body, rotates, path, .. }, Found::Object(object)) => match (object, rotates) {
            (Some(object), _) => compared(body, object),
            (None, Some(user)) if !may_rotate.iter().any(|role| path.ends_with(&format!("/{role}")) || path == role) => Verdict::Held(format!(
                "Vault changes the password of {user} at once when this role is made; say --rotate-now {} when its consumers can take it",
                path.rsplit('/').next().unwrap_or(path)
            )),
            (None, _) => Verdict::Create,
        },
        (Thing::Connection { body, user, comment, .. }, Found::Connection(object, role)) => match object {
            Some(object) => connection(body, object),
            // Making it sets the user's password: never that of somebody else's.
            None => match engine_user(user, comment, role.as_ref(), false) {
                Verdict::Refused(why) => Verdict::Refused(why),
                _ => Verdict::Create,
            },
        },
        (Thing::EngineUser { comment, user, .. }, Found::EngineUser(role, has_connection)) => engine_user(user, comment, role.as_ref(), *has_connection),
        (Thing::Rights { .. }, Found::Lacking(lacking)) => {
            if lacking.is_empty() { Verdict::Unchanged } else { Verdict::Change(lacking.clone()) }
        }
        (Thing::Fence { .. }, Found::Fence(is_there)) => if *is_there { Verdict::Unchanged } else { Verdict::Create },
        (Thing::Login { role_id, secret_id, .. }, Found::Files(has_role, has_secret)) => match (has_role, has_secret) {
            (true, true) => Verdict::Unchanged,
            (false, false) => Verdict::Create,
            (true, false) => Verdict::Change(vec![format!("{} is missing", secret_id.display())]),
            (false, true) => Verdict::Change(vec![format!("{} is missing", role_id.display())]),
        },
        _ => Verdict::Refused("it was looked at as something else: a defect in Keyward, please report it".to_owned()),
    }
}

fn audit(device: &str, file: &str, devices: &[AuditDevice]) -> Verdict {
    if devices.iter().any(|d| d.kind == "file" && d.file_path.as_deref() == Some(file)) {
        return Verdict::Unchanged;
    }
    match devices.iter().find(|d| d.path.trim_matches('/') == device) {
        None => Verdict::Create,
        Some(other) => Verdict::Refused(format!(
            "the device {device}/ is there and writes to {}; name that file in the configuration, or disable it",
            other.file_path.as_deref().unwrap_or(&other.kind)
        )),
    }
}

fn mounted(path: &str, kind: &str, is_kv: bool, there: Option<&(String, Option<u8>)>) -> Verdict {
    match there {
        None => Verdict::Create,
        Some((found, _)) if found != kind => Verdict::Refused(format!("{path}/ is of type {found}, and {kind} is needed")),
        Some((_, version)) if is_kv && *version != Some(2) => {
            Verdict::Refused(format!("{path}/ is KV version 1, which has no check-and-set; upgrade it: vault kv enable-versioning {path}"))
        }
        Some(_) => Verdict::Unchanged,
    }
}

/// Compares the fields that are wanted, and no other.
pub fn compared(wanted: &Map<String, Value>, there: &Map<String, Value>) -> Verdict {
    let differences: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| !is_same(value, there.get(*name).unwrap_or(&Value::Null)))
        .map(|(name, value)| format!("{name}: {} becomes {}", shown(there.get(name)), shown(Some(value))))
        .collect();
    if differences.is_empty() { Verdict::Unchanged } else { Verdict::Change(differences) }
}

/// A connection's own settings stand one level below; its user is never changed, for somebody may use it.
fn connection(wanted: &Map<String, Value>, there: &Map<String, Value>) -> Verdict {
    let mut flat = there.clone();
    if let Some(Value::Object(details)) = there.get("connection_details") {
        flat.extend(details.clone());
    }
    let user = |object: &Map<String, Value>| object.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
    if user(&flat) != user(wanted) {
        return Verdict::Refused(format!(
            "it logs in as {}, not as {}; give [[init.connection]] that user, or another name",
            user(&flat),
            user(wanted)
        ));
    }
    compared(wanted, &flat)
}

/// Vault gives lists in its own order, and an absent list as null.
fn is_same(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Array(wanted), Value::Array(there)) => {
            // Of a network of one, Vault gives some lists back as the address alone.
            let plain = |value: &Value| value.as_str().and_then(|text| network(text).ok()).unwrap_or_else(|| value.to_string());
            let set = |list: &[Value]| list.iter().map(plain).collect::<BTreeSet<_>>();
            set(wanted) == set(there)
        }
        (Value::Array(wanted), Value::Null) => wanted.is_empty(),
        _ => wanted == there,
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn engine_user(user: &str, comment: &str, role: Option<&EngineUser>, has_connection: bool) -> Verdict {
    let Some(role) = role else {
        return if has_connection {
            Verdict::Refused(format!("the connection is there, and its user {user} is gone from the database"))
        } else {
            Verdict::Create
        };
    };
    if role.is_superuser {
        return Verdict::Refused(format!("{user} is a superuser: whoever reads Vault's storage would own the database; name another user"));
    }
    if !has_connection && role.comment != comment {
        return Verdict::Refused(format!(
            "{user} is there and keyward init did not make it, so that others may log in with it; Vault needs a user of its own: name another"
        ));
    }
    if role.may_create_roles && role.may_log_in {
        Verdict::Unchanged
    } else {
        Verdict::Change(vec![format!("{user} may not create roles, or not log in")])
    }
}

/// The lines that go and come, without the blank ones.
fn lines(there: &str, wanted: &str) -> Vec<String> {
    let set = |text: &str| blocks(text);
    let (old, new) = (set(there), set(wanted));
    let gone = old.iter().filter(|block| !new.contains(block)).map(|block| format!("- {block}"));
    let come = new.iter().filter(|block| !old.contains(block)).map(|block| format!("+ {block}"));
    let mut lines: Vec<String> = gone.chain(come).collect();
    if lines.is_empty() {
        lines.push("reasons only".to_owned());
    }
    lines
}

/// A policy's paths with what they allow, a line each.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut path = "";
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("path ") {
            path = rest.trim_end_matches(['{', ' ']);
        } else if let Some(rest) = line.strip_prefix("capabilities = ") {
            blocks.push(format!("{path} {rest}"));
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
