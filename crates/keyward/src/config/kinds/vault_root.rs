//! `vault-root`, as configured.

use super::super::section::Section;
use super::login::{ADMIN, Admin, LOGIN, Login, User, read_admin, read_login};
use super::vault_dynamic_lease::{dynamic_role_path, is_plain};
use keyward_engine::kinds::RootMethod;
use toml::Spanned;

/// `vault-root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRoot {
    /// The database engine's mount.
    pub mount: String,
    /// The connection's name below it (`config/NAME`).
    pub connection: String,
    /// The dynamic role by which it is proved that Vault still gets in.
    pub canary: String,
    /// Who makes the new password; default Keyward (`set`).
    pub method: RootMethod,
    /// Who may alter the user that Vault logs in as.
    pub admin: Admin,
    /// Every way on which the canary logs in; at least one.
    pub login: Vec<Login>,
}

const CONNECTION: (&str, &str) = ("connection", "name Vault's connection, such as \"database/config/postgres\"");
const CANARY: (&str, &str) = (
    "canary",
    "name a dynamic role of that connection that may only log in, such as \"database/roles/canary\": by it every change is proved",
);

pub(super) fn read(mut s: Section<'_>) -> Option<VaultRoot> {
    let connection = s.parsed("connection", connection_path);
    let canary = s.parsed("canary", dynamic_role_path);
    let methods = [("set", RootMethod::Set), ("rotate-root", RootMethod::RotateRoot)];
    let method = s.choice("method", &methods);
    let has_method = s.has_taken("method");
    if let (Some(connection), Some(canary)) = (&connection, &canary)
        && connection.get_ref().0 != canary.get_ref().0
    {
        s.wrong(&canary.span(), "canary", format_args!("must be a role of the same mount, \"{}\"", connection.get_ref().0));
    }
    let (admin, login) = (read_admin(&mut s), read_login(&mut s, User::OfTheCredential));
    s.finish(&[CONNECTION, CANARY, ADMIN, LOGIN]);
    let method = match method {
        Some(method) => method.into_inner(),
        None if has_method => return None,
        None => RootMethod::Set,
    };
    let (mount, connection) = connection?.into_inner();
    let (_, canary) = canary.map(Spanned::into_inner)?;
    Some(VaultRoot { mount, connection, canary, method, admin: admin?, login: login? })
}

/// `mount/config/name`.
pub(in crate::config) fn connection_path(text: &str) -> Result<(String, String), String> {
    let form = "must be the connection's path, such as \"database/config/postgres\"";
    let (mount, name) = text.trim_matches('/').split_once("/config/").ok_or(form)?;
    if is_plain(mount) && is_plain(name) { Ok((mount.to_owned(), name.to_owned())) } else { Err(form.to_owned()) }
}
