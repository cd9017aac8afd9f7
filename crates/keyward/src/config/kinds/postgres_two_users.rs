//! `postgres-two-users`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use super::login::{ADMIN, Admin, LOGIN, Login, TWO_USERS, User, credential_set, is_role, read_admin, read_login, refuse_admin_as_user};
use keyward_engine::Shape;
use toml::Spanned;

/// `postgres-two-users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTwoUsers {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// The two roles, in the file's order.
    pub users: [String; 2],
    /// What is published; default `username` and `password`.
    pub set: Shape,
    /// Who changes the roles.
    pub admin: Admin,
    /// Every way on which a consumer logs in; at least one.
    pub login: Vec<Login>,
}

pub(super) fn read(mut s: Section<'_>) -> Option<PostgresTwoUsers> {
    let path = s.parsed("path", kv_path);
    let users = s.texts("users");
    let (span, has_users) = (users.first().map_or_else(|| s.span().clone(), Spanned::span), s.has_taken("users"));
    let pair = match users.as_slice() {
        [a, b] if a.get_ref() == b.get_ref() => {
            s.wrong(&b.span(), "users", "must be two different roles: one is used while the other changes");
            None
        }
        [a, b] => [a, b].iter().all(|u| is_role(&s, "users", u)).then(|| [a.get_ref().clone(), b.get_ref().clone()]),
        others => {
            if has_users {
                s.wrong(&span, "users", format_args!("must be exactly two roles, not {}", others.len()));
            }
            None
        }
    };
    let (set, admin, login) = (credential_set(&mut s, &TWO_USERS), read_admin(&mut s), read_login(&mut s, User::OfTheCredential));
    refuse_admin_as_user(&s, admin.as_ref(), pair.as_ref().map_or(&[], |p| p.as_slice()));
    s.finish(&[PATH, ("users", "name the two roles that take turns: [\"app_a\", \"app_b\"]"), ADMIN, LOGIN]);
    Some(PostgresTwoUsers { path: path?.into_inner(), users: pair?, set: set?, admin: admin?, login: login? })
}
