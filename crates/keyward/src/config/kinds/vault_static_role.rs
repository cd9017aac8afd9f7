//! `vault-static-role`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::login::{LOGIN, Login, ONE_USER, User, credential_set, read_login};
use keyward_engine::Shape;

/// `vault-static-role`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultStaticRole {
    /// The database engine's mount.
    pub mount: String,
    /// The static role's name below it.
    pub role: String,
    /// A copy in KV, for consumers that read there; default none.
    pub copy: Option<PublishedCopy>,
    /// Every way on which a consumer logs in; at least one.
    pub login: Vec<Login>,
}

/// A copy of what another engine hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedCopy {
    /// The KV path, mount first.
    pub path: String,
    /// What is published; default `username` and `password`.
    pub set: Shape,
}

pub(super) fn read(mut s: Section<'_>) -> Option<VaultStaticRole> {
    let role = s.parsed("role", static_role_path);
    let path = s.parsed("path", kv_path);
    let (wants_copy, wants_set) = (s.has_taken("path"), s.has("set"));
    let set = credential_set(&mut s, &ONE_USER);
    if wants_set && !wants_copy {
        s.problems().at(s.span(), format!("\"set\" in {} needs \"path\": the KV secret that gets the copy", s.label()));
    }
    let login = read_login(&mut s, User::OfTheCredential);
    s.finish(&[("role", "name the static role, such as \"database/static-roles/reporting\""), LOGIN]);
    let copy = if wants_copy { Some(PublishedCopy { path: path?.into_inner(), set: set? }) } else { None };
    let (mount, role) = role?.into_inner();
    Some(VaultStaticRole { mount, role, copy, login: login? })
}

/// `mount/static-roles/name`.
fn static_role_path(text: &str) -> Result<(String, String), String> {
    let form = "must be the static role's path, such as \"database/static-roles/reporting\"";
    let path = text.trim_matches('/');
    if path.contains("/roles/") {
        return Err(format!("names a dynamic role; {}", form.replacen("must", "it must", 1)));
    }
    let (mount, role) = path.split_once("/static-roles/").ok_or(form)?;
    let plain = |part: &str| part.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    if plain(mount) && plain(role) { Ok((mount.to_owned(), role.to_owned())) } else { Err(form.to_owned()) }
}
