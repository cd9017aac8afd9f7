//! `vault-dynamic-lease`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use super::login::{LOGIN, Login, TWO_USERS, User, credential_set, read_login};
use keyward_engine::Shape;

/// `vault-dynamic-lease`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultDynamicLease {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// The database engine's mount.
    pub mount: String,
    /// The dynamic role's name below it.
    pub role: String,
    /// The token role that makes the minting tokens (`auth/token/roles/NAME`).
    pub token_role: String,
    /// What is published; default `username` and `password`.
    pub set: Shape,
    /// Every way on which a consumer logs in; at least one.
    pub login: Vec<Login>,
}

pub(super) fn read(mut s: Section<'_>) -> Option<VaultDynamicLease> {
    let path = s.parsed("path", kv_path);
    let role = s.parsed("role", dynamic_role_path);
    let token_role = s.parsed("token_role", token_role_name);
    let (set, login) = (credential_set(&mut s, &TWO_USERS), read_login(&mut s, User::OfTheCredential));
    s.finish(&[
        PATH,
        ("role", "name the dynamic role, such as \"database/roles/orders\""),
        ("token_role", "name the token role that makes orphan periodic tokens which may read the role's creds (auth/token/roles/NAME)"),
        LOGIN,
    ]);
    let (mount, role) = role?.into_inner();
    Some(VaultDynamicLease { path: path?.into_inner(), mount, role, token_role: token_role?.into_inner(), set: set?, login: login? })
}

/// `mount/roles/name`.
pub(super) fn dynamic_role_path(text: &str) -> Result<(String, String), String> {
    let form = "must be the dynamic role's path, such as \"database/roles/orders\"";
    let path = text.trim_matches('/');
    if path.contains("/static-roles/") {
        return Err(format!("names a static role; {}", form.replacen("must", "it must", 1)));
    }
    let (mount, role) = path.split_once("/roles/").or_else(|| path.split_once("/creds/")).ok_or(form)?;
    if is_plain(mount) && is_plain(role) { Ok((mount.to_owned(), role.to_owned())) } else { Err(form.to_owned()) }
}

fn token_role_name(text: &str) -> Result<String, String> {
    let name = text.trim_start_matches("auth/token/roles/");
    if is_plain(name) && !name.contains('/') {
        Ok(name.to_owned())
    } else {
        Err("must be a token role's name, such as \"keyward-orders\"".to_owned())
    }
}

/// Parts of letters, digits, `-`, `_` and `.`, divided by single slashes.
pub(in crate::config) fn is_plain(path: &str) -> bool {
    path.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
}
