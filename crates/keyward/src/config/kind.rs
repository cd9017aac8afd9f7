//! A kind with its fields, and what all kinds can be asked about themselves.

use super::address::servers;
use super::kinds::{
    Admin, ApproleSecretId, Exec, HttpApiKey, JwtHmac, JwtKeypair, Login, Manual, ManualCheck, PostgresPassword, PostgresTwoUsers, Random,
    RedisPassword, TransitKey, VaultDynamicLease, VaultRoot, VaultStaticRole,
};
use super::reference::SecretRef;

/// How a secret is rotated, with exactly the fields of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindConfig {
    /// Two roles take turns: no moment in which a client can fail.
    PostgresTwoUsers(PostgresTwoUsers),
    /// One role's password is changed in place.
    PostgresPassword(PostgresPassword),
    /// Vault's database engine makes the password of its static role.
    VaultStaticRole(VaultStaticRole),
    /// Vault's database engine makes a user for one lease, which is published.
    VaultDynamicLease(VaultDynamicLease),
    /// The login that Vault's database engine itself has.
    VaultRoot(VaultRoot),
    /// A Redis user has the old and the new password at once for a while.
    RedisPassword(RedisPassword),
    /// A person brings the value.
    Manual(Manual),
    /// A random value that both sides read from Vault.
    Random(Random),
    /// Keys that sign tokens with HMAC.
    JwtHmac(JwtHmac),
    /// Key pairs that sign tokens, with a JWKS.
    JwtKeypair(JwtKeypair),
    /// A provider makes the key over its HTTP API.
    HttpApiKey(Box<HttpApiKey>),
    /// A program makes the values.
    Exec(Exec),
    /// A key of Vault's transit engine gets a new version.
    TransitKey(TransitKey),
    /// An AppRole gets a new secret id.
    ApproleSecretId(ApproleSecretId),
}

impl KindConfig {
    /// Whether nothing can prove its values: a person brings them, and neither `verify` nor `login` says whom to ask.
    pub const fn is_unproved(&self) -> bool {
        matches!(self, Self::Manual(Manual { check: None, .. }))
    }

    /// The kind's name, as in the file and in the step tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PostgresTwoUsers(_) => "postgres-two-users",
            Self::PostgresPassword(_) => "postgres-password",
            Self::VaultStaticRole(_) => "vault-static-role",
            Self::VaultDynamicLease(_) => "vault-dynamic-lease",
            Self::VaultRoot(_) => "vault-root",
            Self::RedisPassword(_) => "redis-password",
            Self::Manual(_) => "manual",
            Self::Random(_) => "random",
            Self::JwtHmac(_) => "jwt-hmac",
            Self::JwtKeypair(_) => "jwt-keypair",
            Self::HttpApiKey(_) => "http-api-key",
            Self::Exec(_) => "exec",
            Self::TransitKey(_) => "transit-key",
            Self::ApproleSecretId(_) => "approle-secret-id",
        }
    }

    /// The KV path that is published to, mount first; `None` where nothing is published.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.path),
            Self::PostgresPassword(k) => Some(&k.path),
            Self::VaultStaticRole(k) => k.copy.as_ref().map(|c| c.path.as_str()),
            Self::VaultDynamicLease(k) => Some(&k.path),
            Self::VaultRoot(_) => None,
            Self::RedisPassword(k) => Some(&k.path),
            Self::Manual(k) => Some(&k.path),
            Self::Random(k) => Some(&k.path),
            Self::JwtHmac(k) => Some(&k.path),
            Self::JwtKeypair(k) => Some(&k.path),
            Self::HttpApiKey(k) => Some(&k.path),
            Self::Exec(k) => Some(&k.path),
            Self::TransitKey(_) => None,
            Self::ApproleSecretId(k) => Some(&k.path),
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
            Self::VaultDynamicLease(k) => &k.set,
            Self::VaultRoot(_) => return Vec::new(),
            Self::RedisPassword(k) => &k.set,
            Self::Manual(k) => &k.set,
            Self::Random(k) => &k.set,
            Self::HttpApiKey(k) => &k.set,
            Self::Exec(k) => &k.set,
            Self::TransitKey(_) => return Vec::new(),
            Self::ApproleSecretId(k) => &k.set,
            Self::JwtHmac(JwtHmac { fields, .. }) | Self::JwtKeypair(JwtKeypair { fields, .. }) => {
                let mut names = vec![fields.current.as_str(), &fields.previous, &fields.next];
                names.sort_unstable();
                return names;
            }
        };
        set.0.keys().map(String::as_str).collect()
    }

    /// A second path that this secret publishes to, and its field there: what everybody may read.
    pub fn public(&self) -> Option<(&str, &str)> {
        if let Self::JwtKeypair(k) = self { Some((&k.jwks_path, &k.jwks_field)) } else { None }
    }

    /// Whether an old value outlives the rotation and is retired later.
    pub const fn retires(&self) -> bool {
        match self {
            Self::PostgresTwoUsers(_)
            | Self::RedisPassword(_)
            | Self::VaultDynamicLease(_)
            | Self::JwtHmac(_)
            | Self::JwtKeypair(_)
            | Self::HttpApiKey(_)
            | Self::Exec(_)
            | Self::ApproleSecretId(_) => true,
            Self::Random(random) => random.keeps_previous,
            Self::TransitKey(transit) => transit.keep_versions.is_some(),
            Self::PostgresPassword(_) | Self::VaultRoot(_) | Self::VaultStaticRole(_) | Self::Manual(_) => false,
        }
    }

    /// The logins that prove this secret; empty where it is proved otherwise.
    pub fn logins(&self) -> &[Login] {
        match self {
            Self::PostgresTwoUsers(k) => &k.login,
            Self::PostgresPassword(k) => &k.login,
            Self::VaultStaticRole(k) => &k.login,
            Self::VaultDynamicLease(k) => &k.login,
            Self::VaultRoot(k) => &k.login,
            Self::Manual(Manual { check: Some(ManualCheck::Login(login)), .. }) => login,
            _ => &[],
        }
    }

    /// Who changes roles for this secret.
    pub const fn admin(&self) -> Option<&Admin> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.admin),
            Self::PostgresPassword(k) => Some(&k.admin),
            Self::VaultRoot(k) => Some(&k.admin),
            _ => None,
        }
    }

    /// The PostgreSQL roles that this secret changes.
    pub fn users(&self) -> &[String] {
        match self {
            Self::PostgresTwoUsers(k) => &k.users,
            Self::PostgresPassword(k) => std::slice::from_ref(&k.user),
            _ => &[],
        }
    }

    /// What this secret rotates that can be rotated by one secret only: where it is, and its names there.
    pub fn roles(&self) -> (String, Vec<&str>) {
        match self {
            Self::VaultStaticRole(k) => (format!("the static roles of {}", k.mount), vec![&k.role]),
            Self::RedisPassword(k) => {
                let mut nodes: Vec<String> = k.nodes.iter().map(ToString::to_string).collect();
                nodes.sort();
                (format!("Redis at {}", nodes.join(",")), vec![&k.user])
            }
            Self::VaultRoot(k) => (format!("the connections of {}", k.mount), vec![&k.connection]),
            Self::TransitKey(k) => (format!("the keys of {}", k.mount), vec![&k.key]),
            Self::ApproleSecretId(k) => (format!("the roles of auth/{}", k.mount), vec![&k.role]),
            _ => {
                let place = self.admin().map(|admin| servers(&admin.url)).unwrap_or_default();
                (place, self.users().iter().map(String::as_str).collect())
            }
        }
    }

    /// What this secret's rotation itself logs in with, each with what it is.
    pub fn references(&self) -> Vec<(&SecretRef, String)> {
        match self {
            Self::HttpApiKey(k) => k.credentials.iter().map(|(name, reference)| (reference, format!("the credential {name}"))).collect(),
            Self::RedisPassword(k) => vec![(&k.admin.password, "the administrator's password".to_owned())],
            _ => self.admin().map(|admin| (&admin.password, "the administrator's password".to_owned())).into_iter().collect(),
        }
    }
}
