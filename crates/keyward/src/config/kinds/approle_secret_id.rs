//! `approle-secret-id`, as configured.

use super::super::reference::absolute_path;
use super::super::section::Section;
use super::super::shape::{Offer, kv_path};
use super::{PATH, plain_set, vault_path};
use keyward_engine::Shape;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// `approle-secret-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApproleSecretId {
    /// The auth method's mount, without `auth/`.
    pub mount: String,
    /// The role's name below it.
    pub role: String,
    /// The KV path of the accessor, and of the secret id where no file gets it; mount first.
    pub path: String,
    /// What is published; default `secret_id` (or `wrapping_token`, or with `file` neither) and `secret_id_accessor`.
    pub set: Shape,
    /// A file that gets the secret id (or its wrapping token); default none.
    pub file: Option<PathBuf>,
    /// How long a wrapping token can be unwrapped; `None`: the secret id itself is handed over.
    pub wrap: Option<Duration>,
}

impl ApproleSecretId {
    /// The value that its consumer gets.
    pub const fn delivered(&self) -> &'static str {
        if self.wrap.is_some() { WRAPPED } else { PLAIN }
    }
}

const PLAIN: &str = "secret_id";
const WRAPPED: &str = "wrapping_token";

pub(super) fn read(mut s: Section<'_>) -> Option<ApproleSecretId> {
    let role = s.parsed("role", |text| {
        let path = text.strip_prefix("auth/").and_then(|path| vault_path(path, "role"));
        path.ok_or_else(|| "must be the role's path, such as \"auth/approle/role/backend\"".to_owned())
    });
    let path = s.parsed("path", kv_path);
    let file = s.parsed("file", absolute_path).map(Spanned::into_inner);
    let wrap = s.duration("wrap").map(Spanned::into_inner);
    let value = if wrap.is_some() { WRAPPED } else { PLAIN };
    let (known, names): (&[&str], &[(&str, &str)]) = match (&file, value) {
        (Some(_), _) => (&["id"], &[("secret_id_accessor", "id")]),
        (None, WRAPPED) => (&[WRAPPED, "id"], &[(WRAPPED, WRAPPED), ("secret_id_accessor", "id")]),
        (None, _) => (&[PLAIN, "id"], &[(PLAIN, PLAIN), ("secret_id_accessor", "id")]),
    };
    let set = if s.has("set") { s.set(&Offer { known, needed: known }) } else { plain_set(names) };
    s.finish(&[("role", "name the role, such as \"auth/approle/role/backend\""), PATH]);
    let (mount, role) = role?.into_inner();
    Some(ApproleSecretId { mount, role, path: path?.into_inner(), set: set?, file, wrap })
}
