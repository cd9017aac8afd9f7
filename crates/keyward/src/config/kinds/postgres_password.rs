//! `postgres-password`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use super::login::{ADMIN, Admin, LOGIN, Login, ONE_USER, User, credential_set, is_role, read_admin, read_login, refuse_admin_as_user};
use keyward_engine::Shape;
use toml::Spanned;

/// `postgres-password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresPassword {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// The role.
    pub user: String,
    /// What is published; default `username` and `password`.
    pub set: Shape,
    /// Who changes the role.
    pub admin: Admin,
    /// Every way on which a consumer logs in; at least one.
    pub login: Vec<Login>,
}

pub(super) fn read(mut s: Section<'_>) -> Option<PostgresPassword> {
    let path = s.parsed("path", kv_path);
    let user = s.text("user").filter(|u| is_role(&s, "user", u));
    let (set, admin, login) = (credential_set(&mut s, &ONE_USER), read_admin(&mut s), read_login(&mut s, User::OfTheCredential));
    let user = user.map(Spanned::into_inner);
    refuse_admin_as_user(&s, admin.as_ref(), user.as_slice());
    s.finish(&[PATH, ("user", "name the role whose password is rotated"), ADMIN, LOGIN]);
    Some(PostgresPassword { path: path?.into_inner(), user: user?, set: set?, admin: admin?, login: login? })
}
