//! `redis-password`, as configured.

use super::super::address::is_loopback;
use super::super::reference::{SecretRef, absolute_path};
use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use super::login::{ONE_USER, credential_set};
use keyward_engine::Shape;
use keyward_targets::redis::Node;
use std::collections::BTreeSet;
use toml::Spanned;

/// `redis-password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisPassword {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// The user; default `default`.
    pub user: String,
    /// What is published; default `username` and `password`.
    pub set: Shape,
    /// Every node on which the user exists, replicas too: users are not replicated. At least one.
    pub nodes: Vec<Node>,
    /// Who changes the user.
    pub admin: RedisAdmin,
    /// A command with its arguments that a consumer must be able to run; default `PING`.
    pub probe: Vec<String>,
}

/// Who changes users on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAdmin {
    /// The user.
    pub user: String,
    /// Its password.
    pub password: SecretRef,
}

const NODES: (&str, &str) = ("nodes", "name every node, replicas too: [\"rediss://redis-1.example.com:6379\"]");
const ADMIN: (&str, &str) = ("admin", "say who changes the user: { user = \"keyward\", password = { file = \"…\" } }");

pub(super) fn read(mut s: Section<'_>) -> Option<RedisPassword> {
    let path = s.parsed("path", kv_path);
    let user = s.parsed("user", user_name);
    let has_user = s.has_taken("user");
    let set = credential_set(&mut s, &ONE_USER);
    let (nodes, admin) = (read_nodes(&mut s), read_admin(&mut s));
    let probe = read_probe(&mut s);
    let user = match user {
        Some(user) => Some(user.into_inner()),
        None if has_user => None,
        None => Some("default".to_owned()),
    };
    if let Some(name) = user.as_ref().filter(|name| admin.as_ref().is_some_and(|admin| admin.user == **name)) {
        s.problems().at(s.span(), format!("the user \"{name}\" in {} is its own admin; use a separate user for admin", s.label()));
    }
    s.finish(&[PATH, NODES, ADMIN]);
    Some(RedisPassword { path: path?.into_inner(), user: user?, set: set?, nodes: nodes?, admin: admin?, probe: probe? })
}

fn read_nodes(s: &mut Section<'_>) -> Option<Vec<Node>> {
    let written = s.texts("nodes");
    let ca_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    if written.is_empty() {
        if s.has_taken("nodes") {
            s.wrong(&s.span().clone(), "nodes", "must name at least one node");
        }
        return None;
    }
    let mut nodes = Vec::new();
    let mut seen = BTreeSet::new();
    for text in &written {
        match Node::parse(text.get_ref()) {
            Err(error) => s.wrong(&text.span(), "nodes", error),
            Ok(node) if !seen.insert(node.to_string()) => s.wrong(&text.span(), "nodes", format_args!("names {node} twice")),
            Ok(node) if !node.tls && !is_loopback(&node.host) => {
                s.wrong(&text.span(), "nodes", format_args!("must be rediss:// beyond loopback: the password is sent to {node}"));
            }
            Ok(node) => nodes.push(Node { root_cert: ca_cert.clone(), ..node }),
        }
    }
    (nodes.len() == written.len()).then_some(nodes)
}

fn read_admin(s: &mut Section<'_>) -> Option<RedisAdmin> {
    let mut admin = s.inline("admin")?;
    let user = admin.parsed("user", user_name);
    let password = admin.reference("password");
    admin.finish(&[
        ("user", "name the Redis user that changes passwords"),
        ("password", "say where it is, such as { file = \"/run/secrets/x\" }"),
    ]);
    Some(RedisAdmin { user: user?.into_inner(), password: password? })
}

/// A command must have a name; `None` when it was written and is wrong.
fn read_probe(s: &mut Section<'_>) -> Option<Vec<String>> {
    let words: Vec<String> = s.texts("probe").into_iter().map(Spanned::into_inner).collect();
    match words.first() {
        Some(command) if command.trim().is_empty() => {
            s.wrong(&s.span().clone(), "probe", "must begin with a command, such as [\"GET\", \"health\"]");
            None
        }
        Some(_) => Some(words),
        None => Some(vec!["PING".to_owned()]),
    }
}

/// A Redis user's name: no blanks and no NUL, since the server's own file divides by them.
fn user_name(text: &str) -> Result<String, String> {
    let good = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if good { Ok(text.to_owned()) } else { Err("must be a Redis user's name, which holds no blanks".to_owned()) }
}
