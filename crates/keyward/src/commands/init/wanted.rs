//! What a configuration wants to be there: in Vault, in PostgreSQL, and in two files. In the order in which it is made.
//!
//! It never asks anybody. What the secrets imply is not repeated in `[init]`: their mounts, keys, roles, policies and fences follow from them.

use crate::commands::policy::grants::{self, Known, Role};
use crate::config::{Admin, Auth, Config, InitRole, InitRoleKind, KindConfig, SecretRef};
use keyward_targets::postgres::Rights;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// How long a token of Keyward's AppRole lives between two renewals.
const KEYWARD_PERIOD: Duration = Duration::from_hours(1);
/// The same of tokens that mint leases, which the daemon renews; a day without the daemon does not end them.
const LEASE_PERIOD: Duration = Duration::from_hours(24);

/// One thing, under the name by which it is reported.
#[derive(Clone, Debug)]
pub struct Item {
    /// `mount secret/`, `policy keyward`, …
    pub name: String,
    /// What it is.
    pub thing: Thing,
}

/// What can be set up.
#[derive(Clone, Debug)]
pub enum Thing {
    /// The file audit device `device`.
    Audit {
        /// Its name, without a slash.
        device: String,
        /// Where the server writes.
        file: PathBuf,
    },
    /// A secrets engine, or a login method.
    Mount {
        /// Whether it is a login method.
        is_auth: bool,
        /// The path, without `auth/` and without a slash at its end.
        path: String,
        /// `kv`, `database`, `transit`, `approle`.
        kind: &'static str,
        /// Whether it is KV version 2.
        is_kv: bool,
    },
    /// A policy.
    Policy {
        /// Its name.
        name: String,
        /// What is written.
        text: String,
        /// The same once everything that may be made by it is there: as good.
        narrower: String,
    },
    /// An object of Vault's API.
    Object {
        /// Its path.
        path: String,
        /// What is written; each field is compared, and no other.
        body: Map<String, Value>,
        /// Fields that are only given to one that is made.
        at_first: Map<String, Value>,
        /// Whether Vault asks for `create` where there is none yet, instead of `update`.
        has_create: bool,
        /// The user whose password is changed by making it.
        rotates: Option<String>,
    },
    /// Vault's own login in a database.
    EngineUser {
        /// Who makes it.
        admin: Admin,
        /// Its name.
        user: String,
        /// The comment by which it is known to be ours.
        comment: String,
        /// The connection that holds its password.
        connection: String,
    },
    /// A connection of the database engine.
    Connection {
        /// Its path.
        path: String,
        /// As [`Thing::Object`]'s.
        body: Map<String, Value>,
        /// The login whose password it gets.
        admin: Admin,
        /// That login's name.
        user: String,
        /// Its comment.
        comment: String,
    },
    /// Rights in a database.
    Rights {
        /// Who grants them.
        admin: Admin,
        /// Which.
        rights: Rights,
    },
    /// The function by which passwords are changed.
    Fence {
        /// Who installs it.
        admin: Admin,
    },
    /// Keyward's role id and secret id, in the files that the configuration names.
    Login {
        /// The auth method's mount.
        mount: String,
        /// The role.
        role: String,
        /// The file of the role id.
        role_id: PathBuf,
        /// The file of the secret id.
        secret_id: PathBuf,
    },
}

/// Everything, in order. `mounts`: what is mounted already (path with its slash → type), which decides where a path's mount ends.
/// `signing`: the transit keys that are there to sign, as in [`Known`].
pub fn wanted(config: &Config, mounts: &BTreeMap<String, String>, signing: &BTreeSet<String>) -> Vec<Item> {
    let mut items = things(config, mounts, signing);
    let text = grants::text(Role::Admin, &grants::grants(Role::Admin, config, &Known::default()));
    let after = items.iter().rposition(|item| matches!(item.thing, Thing::Policy { .. })).map_or(items.len(), |last| last + 1);
    items.insert(after, policy(Role::Admin.policy(config), text.clone(), text));
    items
}

/// The same without the administrator's policy, which follows from all the rest.
pub fn things(config: &Config, mounts: &BTreeMap<String, String>, signing: &BTreeSet<String>) -> Vec<Item> {
    let mut items = Vec::new();
    let log = config.init.audit_log.clone().or_else(|| config.vault.nodes.iter().find_map(|node| node.audit_log.clone()));
    if let Some(file) = log {
        items.push(item(format!("audit device file/ to {}", file.display()), Thing::Audit { device: "file".to_owned(), file }));
    }
    items.extend(engines(config, mounts));
    items.extend(keys(config));
    items.extend(policies(config, mounts, signing));
    items.extend(approle(config));
    items.extend(databases(config));
    items.extend(fences(config));
    items.extend(login(config));
    items
}

fn item(name: impl Into<String>, thing: Thing) -> Item {
    Item { name: name.into(), thing }
}

/// The mount of a KV path: one that is there or that `[init]` names, else its first segment.
pub fn mount_of(config: &Config, path: &str, mounts: &BTreeMap<String, String>) -> String {
    let named = config.init.kv.iter().map(|mount| format!("{mount}/"));
    let found = mounts.keys().cloned().chain(named).filter(|mount| path.starts_with(mount.as_str())).max_by_key(String::len);
    found.map_or_else(|| path.split('/').next().unwrap_or(path).to_owned(), |mount| mount.trim_end_matches('/').to_owned())
}

fn engines(config: &Config, mounts: &BTreeMap<String, String>) -> Vec<Item> {
    let kv = config.secrets.iter().flat_map(|s| s.kind.path().into_iter().chain(s.kind.public().map(|(path, _)| path)));
    let kv: BTreeSet<String> = kv.map(|path| mount_of(config, path, mounts)).chain(config.init.kv.iter().cloned()).collect();
    let database: BTreeSet<&String> = config.init.connections.iter().map(|c| &c.mount).collect();
    let transit: BTreeSet<String> = transit_keys(config).into_keys().map(|(mount, _)| mount).collect();
    let mount = |path: String, kind: &'static str| {
        let name = format!("mount {path}/ ({})", if kind == "kv" { "KV version 2" } else { kind });
        item(name, Thing::Mount { is_auth: false, is_kv: kind == "kv", path, kind })
    };
    let mut items = vec![mount(config.vault.record_mount.clone(), "kv")];
    items.extend(kv.into_iter().filter(|path| *path != config.vault.record_mount).map(|path| mount(path, "kv")));
    items.extend(database.into_iter().map(|path| mount(path.clone(), "database")));
    items.extend(transit.into_iter().map(|path| mount(path, "transit")));
    let methods: BTreeSet<String> = auth_mounts(config).into_iter().collect();
    items.extend(methods.into_iter().map(|path| {
        item(format!("login method auth/{path}/ (approle)"), Thing::Mount { is_auth: true, is_kv: false, path, kind: "approle" })
    }));
    items
}

fn auth_mounts(config: &Config) -> Vec<String> {
    let own = match &config.vault.auth {
        Some(Auth::AppRole { mount, .. }) => Some(mount.clone()),
        _ => None,
    };
    let others =
        config.secrets.iter().filter_map(|s| if let KindConfig::ApproleSecretId(k) = &s.kind { Some(k.mount.clone()) } else { None });
    own.into_iter().chain(others).collect()
}

/// Mount and name of each key, with its type.
fn transit_keys(config: &Config) -> BTreeMap<(String, String), &'static str> {
    let mut keys: BTreeMap<(String, String), &'static str> = BTreeMap::new();
    for secret in &config.secrets {
        if let KindConfig::TransitKey(k) = &secret.kind {
            keys.insert((k.mount.clone(), k.key.clone()), "aes256-gcm96");
        }
    }
    keys.extend(config.init.transit_keys.iter().map(|key| (key.clone(), "aes256-gcm96")));
    if let Some(key) = config.audit.evidence.as_ref().and_then(|evidence| evidence.key.clone()) {
        keys.insert(key, "ed25519");
    }
    keys
}

fn keys(config: &Config) -> Vec<Item> {
    let key = |((mount, name), kind): ((String, String), &str)| {
        let path = format!("{mount}/keys/{name}");
        // A key that is there may be of another type, and stays what it is.
        let at_first = object(json!({ "type": kind }));
        let thing = Thing::Object { path: path.clone(), body: Map::new(), at_first, has_create: false, rotates: None };
        item(format!("transit key {path}"), thing)
    };
    transit_keys(config).into_iter().map(key).collect()
}

fn policies(config: &Config, mounts: &BTreeMap<String, String>, signing: &BTreeSet<String>) -> Vec<Item> {
    let known = |is_missing| {
        let place = |path: String| {
            let mount = mount_of(config, &path, mounts);
            let below = path.get(mount.len() + 1..).unwrap_or_default().to_owned();
            (path, crate::commands::check::needs::Place { mount, path: below, is_missing, is_guessed: false })
        };
        Known { places: crate::commands::check::needs::paths(config).into_iter().map(place).collect(), signing: signing.clone() }
    };
    let (before, after) = (known(true), known(false));
    let mut items: Vec<Item> = [Role::Keyward, Role::Backend, Role::Rotation]
        .into_iter()
        .map(|role| {
            let written = |known| grants::text(role, &grants::grants(role, config, known));
            policy(role.policy(config), written(&before), written(&after))
        })
        .collect();
    // Whoever may use it hands out tokens of these two policies without having what they grant.
    let services = services(config);
    let body = object(json!({
        "allowed_policies": [Role::Backend.policy(config), Role::Rotation.policy(config)], "orphan": true, "renewable": true,
        "token_period": LEASE_PERIOD.as_secs(), "token_no_default_policy": true,
    }));
    let thing = Thing::Object { path: format!("auth/token/roles/{services}"), body, at_first: Map::new(), has_create: true, rotates: None };
    items.push(item(format!("token role {services}"), thing));
    for secret in &config.secrets {
        if let KindConfig::VaultDynamicLease(k) = &secret.kind {
            let text = format!(
                "{}: what the tokens may do that lease for {}.\n\npath \"{}/creds/{}\" {{\n  capabilities = [\"read\"]\n}}\n",
                grants::MARK,
                secret.name,
                k.mount,
                k.role
            );
            items.push(policy(k.token_role.clone(), text.clone(), text));
            let body = object(json!({
                "allowed_policies": [k.token_role], "orphan": true, "renewable": true,
                "token_period": LEASE_PERIOD.as_secs(), "token_no_default_policy": true,
            }));
            let path = format!("auth/token/roles/{}", k.token_role);
            let thing = Thing::Object { path, body, at_first: Map::new(), has_create: true, rotates: None };
            items.push(item(format!("token role {}", k.token_role), thing));
        }
    }
    items
}

/// The token role for services' tokens.
pub fn services(config: &Config) -> String {
    format!("{}-services", config.init.name)
}

fn policy(name: String, text: String, narrower: String) -> Item {
    item(format!("policy {name}"), Thing::Policy { name, text, narrower })
}

/// Keyward's AppRole, and those of the secrets that are secret ids of other services, which must exist already.
fn approle(config: &Config) -> Vec<Item> {
    let Some(Auth::AppRole { mount, .. }) = &config.vault.auth else { return Vec::new() };
    let name = &config.init.name;
    let body = object(json!({
        "token_policies": [Role::Keyward.policy(config)], "token_period": KEYWARD_PERIOD.as_secs(), "token_no_default_policy": true,
        "secret_id_bound_cidrs": config.init.bound_cidrs, "token_bound_cidrs": config.init.bound_cidrs,
    }));
    let path = format!("auth/{mount}/role/{name}");
    vec![item(format!("AppRole {path}"), Thing::Object { path, body, at_first: Map::new(), has_create: true, rotates: None })]
}

fn databases(config: &Config) -> Vec<Item> {
    let mut items = Vec::new();
    for connection in &config.init.connections {
        let path = format!("{}/config/{}", connection.mount, connection.name);
        let comment = format!("made by keyward init for Vault's {path}");
        let roles: Vec<&InitRole> =
            config.init.roles.iter().filter(|r| (&r.mount, &r.connection) == (&connection.mount, &connection.name)).collect();
        let (admin, user) = (connection.admin.clone(), connection.user.clone());
        items.push(item(
            format!("database user {user}"),
            Thing::EngineUser { admin: admin.clone(), user: user.clone(), comment: comment.clone(), connection: path.clone() },
        ));
        let body = object(json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": templated(&connection.url), "username": user,
            "allowed_roles": roles.iter().map(|r| &r.name).collect::<Vec<_>>(), "password_authentication": "scram-sha-256",
        }));
        items.push(item(format!("connection {path}"), Thing::Connection { path, body, admin: admin.clone(), user: user.clone(), comment }));
        for role in roles {
            items.extend(
                rights(role, &user).map(|rights| item(format!("rights of {}", role.name), Thing::Rights { admin: admin.clone(), rights })),
            );
            items.push(database_role(role));
        }
    }
    items
}

/// Vault puts its user and password where these stand.
fn templated(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgresql", url));
    format!("{scheme}://{{{{username}}}}:{{{{password}}}}@{rest}")
}

fn group(role: &InitRole) -> String {
    format!("{}_access", role.name)
}

fn rights(role: &InitRole, keeper: &str) -> Option<Rights> {
    let access = role.access.as_ref()?;
    let user = match &role.kind {
        InitRoleKind::Static { user, .. } => Some(user.clone()),
        InitRoleKind::Dynamic { .. } => None,
    };
    Some(Rights {
        group: group(role),
        keeper: keeper.to_owned(),
        user,
        may_write: access.may_write,
        schemas: access.schemas.clone(),
        owners: access.owners.clone(),
    })
}

fn database_role(role: &InitRole) -> Item {
    let (path, what, body, rotates) = match &role.kind {
        InitRoleKind::Static { user, period } => (
            format!("{}/static-roles/{}", role.mount, role.name),
            "static role",
            json!({ "db_name": role.connection, "username": user, "rotation_period": period.as_secs() }),
            Some(user.clone()),
        ),
        InitRoleKind::Dynamic { ttl, max_ttl } => (
            format!("{}/roles/{}", role.mount, role.name),
            "dynamic role",
            json!({
                "db_name": role.connection, "creation_statements": creation(role), "revocation_statements": revocation(role),
                "default_ttl": ttl.as_secs(), "max_ttl": max_ttl.as_secs(),
            }),
            None,
        ),
    };
    let thing = Thing::Object { path: path.clone(), body: object(body), at_first: Map::new(), has_create: true, rotates };
    item(format!("{what} {path}"), thing)
}

fn creation(role: &InitRole) -> Vec<String> {
    let member = role.access.as_ref().map_or_else(String::new, |_| format!(" IN ROLE \"{}\"", group(role)));
    vec![format!("CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}'{member};")]
}

/// What a user made in its life is not lost with it: it goes to the group, so that dropping the user never fails over it.
fn revocation(role: &InitRole) -> Vec<String> {
    let drop = "DROP ROLE IF EXISTS \"{{name}}\";".to_owned();
    if role.access.is_none() {
        return vec![drop];
    }
    let heir = format!("REASSIGN OWNED BY \"{{{{name}}}}\" TO \"{}\";", group(role));
    vec!["GRANT \"{{name}}\" TO CURRENT_USER;".to_owned(), heir, "DROP OWNED BY \"{{name}}\";".to_owned(), drop]
}

/// Each database once, whatever the number of its secrets.
fn fences(config: &Config) -> Vec<Item> {
    let mut seen: Vec<&Admin> = Vec::new();
    let mut items = Vec::new();
    for secret in &config.secrets {
        if let Some(admin) = secret.kind.admin().filter(|admin| !seen.contains(admin)) {
            seen.push(admin);
            items.push(item(format!("fence in the database of {}", secret.name), Thing::Fence { admin: admin.clone() }));
        }
    }
    items
}

fn login(config: &Config) -> Option<Item> {
    let Some(Auth::AppRole { mount, role_id: SecretRef::File(role_id), secret_id: SecretRef::File(secret_id) }) = &config.vault.auth else {
        return None;
    };
    let thing =
        Thing::Login { mount: mount.clone(), role: config.init.name.clone(), role_id: role_id.clone(), secret_id: secret_id.clone() };
    Some(item(format!("Keyward's login in {} and {}", role_id.display(), secret_id.display()), thing))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
