//! `[init]`: what `keyward init` sets up beside what the secrets themselves imply. Nothing else looks at it.

use super::address::network;
use super::kinds::{Admin, connection_path, is_plain, read_admin, vault_path};
use super::problem::Problems;
use super::reference::absolute_path;
use super::section::Section;
use keyward_targets::postgres::PostgresUrl;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// A static role's own period: far longer than any schedule here, so that Vault never rotates at its own pace.
const STATIC_PERIOD: Duration = Duration::from_hours(24 * 365);
const TTL: Duration = Duration::from_hours(1);
const MAX_TTL: Duration = Duration::from_hours(24);

/// What `keyward init` sets up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitConfig {
    /// The name of Keyward's AppRole and of its policy; the other policies begin with it. Default `keyward`.
    pub name: String,
    /// KV version 2 mounts beside those of the secrets.
    pub kv: Vec<String>,
    /// Transit keys beside those of the secrets: mount and name.
    pub transit_keys: Vec<(String, String)>,
    /// The audit log, on the server; default that of the first node which has one.
    pub audit_log: Option<PathBuf>,
    /// From where Keyward's AppRole may be used; empty: from anywhere.
    pub bound_cidrs: Vec<String>,
    /// Connections of Vault's database engine.
    pub connections: Vec<InitConnection>,
    /// Roles of Vault's database engine.
    pub roles: Vec<InitRole>,
}

/// A connection of Vault's database engine, with a login of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitConnection {
    /// The engine's mount.
    pub mount: String,
    /// The connection's name below it.
    pub name: String,
    /// As Vault reaches it, without a user.
    pub url: String,
    /// Vault's own login, made if it is absent.
    pub user: String,
    /// Who makes it and grants the rights.
    pub admin: Admin,
}

/// A role of Vault's database engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRole {
    /// The engine's mount.
    pub mount: String,
    /// The role's name below it.
    pub name: String,
    /// The connection's name.
    pub connection: String,
    /// Static or dynamic.
    pub kind: InitRoleKind,
    /// What its users may do; `None`: a dynamic one may log in only, a static one keeps what it has.
    pub access: Option<Access>,
}

/// What a role of the engine hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitRoleKind {
    /// The password of one user.
    Static {
        /// The user.
        user: String,
        /// After how long Vault rotates it by itself.
        period: Duration,
    },
    /// A new user each time.
    Dynamic {
        /// For how long.
        ttl: Duration,
        /// For how long at most.
        max_ttl: Duration,
    },
}

/// What users may do in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether they may change, or only read.
    pub may_write: bool,
    /// In which schemas; default `public`.
    pub schemas: Vec<String>,
    /// Whose future tables are covered too; empty: the administrator's.
    pub owners: Vec<String>,
}

impl Default for InitConfig {
    fn default() -> Self {
        Self {
            name: "keyward".to_owned(),
            kv: Vec::new(),
            transit_keys: Vec::new(),
            audit_log: None,
            bound_cidrs: Vec::new(),
            connections: Vec::new(),
            roles: Vec::new(),
        }
    }
}

pub(super) fn read(section: Option<Section<'_>>, problems: &Problems<'_>) -> InitConfig {
    let mut config = InitConfig::default();
    let Some(mut s) = section else { return config };
    if let Some(name) = s.parsed("name", plain_name) {
        config.name = name.into_inner();
    }
    config.kv = plain_list(&mut s, "kv", "must name mounts, such as [\"secret\"]", |text| is_plain(text).then(|| text.to_owned()));
    config.transit_keys =
        plain_list(&mut s, "transit_keys", "must hold keys' paths, such as [\"transit/keys/orders\"]", |text| vault_path(text, "keys"));
    config.audit_log = s.parsed("audit_log", absolute_path).map(Spanned::into_inner);
    config.bound_cidrs =
        plain_list(&mut s, "bound_cidrs", "must hold addresses or networks, such as [\"192.0.2.0/24\"]", |text| network(text).ok());
    for connection in s.sections("connection", "[[init.connection]]") {
        let span = connection.span().clone();
        let Some(found) = read_connection(connection) else { continue };
        if config.connections.iter().any(|c| (&c.mount, &c.name) == (&found.mount, &found.name)) {
            problems.at(&span, format!("two [[init.connection]] are named \"{}/config/{}\"; write one", found.mount, found.name));
        }
        config.connections.push(found);
    }
    for role in s.sections("role", "[[init.role]]") {
        let span = role.span().clone();
        let Some(found) = read_role(role) else { continue };
        if config.roles.iter().any(|r| (&r.mount, &r.name) == (&found.mount, &found.name)) {
            problems.at(
                &span,
                format!(
                    "two [[init.role]] are named \"{}\" in {}; a static and a dynamic role may not share a name",
                    found.name, found.mount
                ),
            );
        }
        if !config.connections.iter().any(|c| (&c.mount, &c.name) == (&found.mount, &found.connection)) {
            problems.at(
                &span,
                format!("there is no [[init.connection]] \"{}/config/{}\", which this role needs", found.mount, found.connection),
            );
        }
        config.roles.push(found);
    }
    s.finish(&[]);
    config
}

fn read_connection(mut s: Section<'_>) -> Option<InitConnection> {
    let name = s.parsed("name", connection_path);
    let url = s.parsed("url", |text| match PostgresUrl::parse(text) {
        Ok(url) if url.user().is_some() => Err("must name no user: Vault's own is `user`".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is not usable: {error}")),
    });
    let user = s.text("user");
    let admin = read_admin(&mut s);
    if let (Some(user), Some(admin)) = (&user, &admin)
        && admin.url.user() == Some(user.get_ref())
    {
        s.wrong(&user.span(), "user", "must be another than the administrator's: a user of Vault's own, whose password nobody else needs");
    }
    s.finish(&[
        ("name", "name the connection, such as \"database/config/postgres\""),
        ("url", "say how Vault reaches it: \"postgresql://host/database?sslmode=verify-full\""),
        ("user", "name the user that Vault logs in as; it is made, and must be nobody else's"),
        ("admin", "say who makes that user: { url = \"postgresql://user@host/database\", password = { file = \"…\" } }"),
    ]);
    let (mount, name) = name?.into_inner();
    Some(InitConnection { mount, name, url: url?.into_inner(), user: user?.into_inner(), admin: admin? })
}

fn read_role(mut s: Section<'_>) -> Option<InitRole> {
    const FORM: &str = "must be a role's path, such as \"database/roles/orders\" or \"database/static-roles/reporting\"";
    let name = s.parsed("name", |text| {
        let found = vault_path(text, "static-roles").map(|f| (true, f)).or_else(|| vault_path(text, "roles").map(|f| (false, f)));
        found.ok_or_else(|| FORM.to_owned())
    });
    let is_static = name.as_ref().is_some_and(|n| n.get_ref().0);
    let connection = s.parsed("connection", plain_name);
    let access = read_access(&mut s);
    let mut required =
        vec![("name", "name the role, such as \"database/roles/orders\""), ("connection", "name its connection, such as \"postgres\"")];
    let kind = if is_static {
        let user = s.text("user").map(Spanned::into_inner);
        let period = s.duration("period").map_or(STATIC_PERIOD, Spanned::into_inner);
        required.push(("user", "name the database user whose password Vault is to rotate"));
        user.map(|user| InitRoleKind::Static { user, period })
    } else {
        let ttl = s.duration("ttl").map_or(TTL, Spanned::into_inner);
        let max_ttl = s.duration("max_ttl").map_or(MAX_TTL.max(ttl), Spanned::into_inner);
        if max_ttl < ttl {
            s.problems().at(s.span(), format!("max_ttl in {} is shorter than ttl", s.label()));
        }
        Some(InitRoleKind::Dynamic { ttl, max_ttl })
    };
    s.finish(&required);
    let (_, (mount, name)) = name?.into_inner();
    Some(InitRole { mount, name, connection: connection?.into_inner(), kind: kind?, access })
}

fn read_access(s: &mut Section<'_>) -> Option<Access> {
    let may_write = s.choice("access", &[("read", false), ("read-write", true)]).map(Spanned::into_inner);
    let [schemas, owners] = ["schemas", "owners"].map(|key| s.texts(key).into_iter().map(Spanned::into_inner).collect::<Vec<_>>());
    if may_write.is_none() && !(schemas.is_empty() && owners.is_empty()) {
        s.problems().at(s.span(), format!("schemas and owners in {} need access = \"read\" or \"read-write\"", s.label()));
    }
    let schemas = if schemas.is_empty() { vec!["public".to_owned()] } else { schemas };
    may_write.map(|may_write| Access { may_write, schemas, owners })
}

fn plain_name(text: &str) -> Result<String, String> {
    if is_plain(text) && !text.contains('/') { Ok(text.to_owned()) } else { Err("must be a name: letters, digits, - _ .".to_owned()) }
}

fn plain_list<T>(s: &mut Section<'_>, key: &'static str, form: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for text in s.texts(key) {
        match read(text.get_ref().trim_matches('/')) {
            Some(value) => found.push(value),
            None => s.wrong(&text.span(), key, form),
        }
    }
    found
}
