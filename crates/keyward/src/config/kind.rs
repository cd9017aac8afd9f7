//! What each kind of secret is told: plain data, checked while it was read. It never says how a kind works; the step tables do.

use super::reference::SecretRef;
use keyward_engine::Shape;
use keyward_engine::kinds::JwtFields;
use keyward_secret::Template;
use keyward_targets::postgres::PostgresUrl;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How a secret is rotated, with exactly the fields of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindConfig {
    /// Two roles take turns: no moment in which a client can fail.
    PostgresTwoUsers(PostgresTwoUsers),
    /// One role's password is changed in place.
    PostgresPassword(PostgresPassword),
    /// Vault's database engine makes the password of its static role.
    VaultStaticRole(VaultStaticRole),
    /// A person brings the value.
    Manual(Manual),
    /// A random value that both sides read from Vault.
    Random(Random),
    /// Keys that sign tokens with HMAC.
    JwtHmac(JwtHmac),
}

/// The names of all kinds, as in the file.
pub const KINDS: [&str; 6] = ["postgres-two-users", "postgres-password", "vault-static-role", "manual", "random", "jwt-hmac"];

/// Where and how a credential is proved, as its consumer would use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Server and database; the user and password are the credential's own.
    pub url: PostgresUrl,
    /// A statement that a consumer must be able to run; default none beyond the login.
    pub probe: Option<String>,
}

/// The user that changes passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Server, database and user.
    pub url: PostgresUrl,
    /// Its password.
    pub password: SecretRef,
}

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

/// `manual`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manual {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{value}`.
    pub set: Shape,
    /// How a value is proved; `None` proves nothing, and that is said.
    pub check: Option<ManualCheck>,
}

/// How a value that a person brought is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualCheck {
    /// A GET that must answer with one status.
    Http(HttpCheck),
    /// A login to PostgreSQL with the value as the password of the user that `login.url` names.
    Login(Vec<Login>),
}

/// One GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The URL; it holds no secret.
    pub get: Url,
    /// Headers by name; the templates offer `{value}`.
    pub header: Vec<(String, Template)>,
    /// The status that proves the value; default 200.
    pub expect: u16,
    /// Issuers to trust instead of the system's (PEM).
    pub ca_cert: Option<PathBuf>,
}

/// `random`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{value}` and `{previous}`.
    pub set: Shape,
    /// Whether a field holds the previous value too.
    pub keeps_previous: bool,
}

/// `jwt-hmac`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtHmac {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What the keys sign with.
    pub algorithm: HmacAlgorithm,
    /// How long a token lives, and so how long the previous key must verify.
    pub token_lifetime: Duration,
    /// How long until every consumer has read a new key; default 5 minutes.
    pub propagation: Duration,
    /// The names of the published keys; default `current`, `previous`, `next`.
    pub fields: JwtFields,
}

/// The signing algorithms of RFC 7518 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl HmacAlgorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// A key must have at least the size of the hash (RFC 7518 §3.2).
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    /// Characters out of 62 that hold as many random bits as the hash.
    pub const fn key_characters(self) -> usize {
        match self {
            Self::Hs256 => 43,
            Self::Hs384 => 65,
            Self::Hs512 => 86,
        }
    }
}

impl KindConfig {
    /// The kind's name, as in the file and in the step tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PostgresTwoUsers(_) => KINDS[0],
            Self::PostgresPassword(_) => KINDS[1],
            Self::VaultStaticRole(_) => KINDS[2],
            Self::Manual(_) => KINDS[3],
            Self::Random(_) => KINDS[4],
            Self::JwtHmac(_) => KINDS[5],
        }
    }

    /// The KV path that is published to, mount first; `None` for a static role without a copy.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.path),
            Self::PostgresPassword(k) => Some(&k.path),
            Self::VaultStaticRole(k) => k.copy.as_ref().map(|c| c.path.as_str()),
            Self::Manual(k) => Some(&k.path),
            Self::Random(k) => Some(&k.path),
            Self::JwtHmac(k) => Some(&k.path),
        }
    }

    /// The names at the top of the published document that this secret owns, sorted.
    pub fn owned_fields(&self) -> Vec<&str> {
        let set = match self {
            Self::PostgresTwoUsers(k) => &k.set,
            Self::PostgresPassword(k) => &k.set,
            Self::VaultStaticRole(k) => match &k.copy {
                Some(copy) => &copy.set,
                None => return Vec::new(),
            },
            Self::Manual(k) => &k.set,
            Self::Random(k) => &k.set,
            Self::JwtHmac(k) => {
                let mut names = vec![k.fields.current.as_str(), &k.fields.previous, &k.fields.next];
                names.sort_unstable();
                return names;
            }
        };
        set.0.keys().map(String::as_str).collect()
    }

    /// Whether an old value outlives the rotation and is retired later.
    pub const fn retires(&self) -> bool {
        match self {
            Self::PostgresTwoUsers(_) | Self::JwtHmac(_) => true,
            Self::Random(random) => random.keeps_previous,
            Self::PostgresPassword(_) | Self::VaultStaticRole(_) | Self::Manual(_) => false,
        }
    }

    /// The logins that prove this secret; empty where it is proved otherwise.
    pub fn logins(&self) -> &[Login] {
        match self {
            Self::PostgresTwoUsers(k) => &k.login,
            Self::PostgresPassword(k) => &k.login,
            Self::VaultStaticRole(k) => &k.login,
            Self::Manual(Manual { check: Some(ManualCheck::Login(login)), .. }) => login,
            Self::Manual(_) | Self::Random(_) | Self::JwtHmac(_) => &[],
        }
    }

    /// Who changes roles for this secret.
    pub const fn admin(&self) -> Option<&Admin> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.admin),
            Self::PostgresPassword(k) => Some(&k.admin),
            Self::VaultStaticRole(_) | Self::Manual(_) | Self::Random(_) | Self::JwtHmac(_) => None,
        }
    }

    /// The PostgreSQL roles that this secret changes.
    pub fn users(&self) -> &[String] {
        match self {
            Self::PostgresTwoUsers(k) => &k.users,
            Self::PostgresPassword(k) => std::slice::from_ref(&k.user),
            Self::VaultStaticRole(_) | Self::Manual(_) | Self::Random(_) | Self::JwtHmac(_) => &[],
        }
    }
}
