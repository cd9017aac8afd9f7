//! A kind with its fields, and what all kinds can be asked about themselves.

use super::kinds::{
    Admin, JwtHmac, Login, Manual, ManualCheck, PostgresPassword, PostgresTwoUsers, Random, RedisPassword, VaultStaticRole,
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
    /// A Redis user has the old and the new password at once for a while.
    RedisPassword(RedisPassword),
    /// A person brings the value.
    Manual(Manual),
    /// A random value that both sides read from Vault.
    Random(Random),
    /// Keys that sign tokens with HMAC.
    JwtHmac(JwtHmac),
}

impl KindConfig {
    /// The kind's name, as in the file and in the step tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PostgresTwoUsers(_) => "postgres-two-users",
            Self::PostgresPassword(_) => "postgres-password",
            Self::VaultStaticRole(_) => "vault-static-role",
            Self::RedisPassword(_) => "redis-password",
            Self::Manual(_) => "manual",
            Self::Random(_) => "random",
            Self::JwtHmac(_) => "jwt-hmac",
        }
    }

    /// The KV path that is published to, mount first; `None` for a static role without a copy.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.path),
            Self::PostgresPassword(k) => Some(&k.path),
            Self::VaultStaticRole(k) => k.copy.as_ref().map(|c| c.path.as_str()),
            Self::RedisPassword(k) => Some(&k.path),
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
            Self::RedisPassword(k) => &k.set,
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
            Self::PostgresTwoUsers(_) | Self::RedisPassword(_) | Self::JwtHmac(_) => true,
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
            Self::RedisPassword(_) | Self::Manual(_) | Self::Random(_) | Self::JwtHmac(_) => &[],
        }
    }

    /// Who changes roles for this secret.
    pub const fn admin(&self) -> Option<&Admin> {
        match self {
            Self::PostgresTwoUsers(k) => Some(&k.admin),
            Self::PostgresPassword(k) => Some(&k.admin),
            _ => None,
        }
    }

    /// The passwords that this secret's rotation itself logs in with.
    pub fn references(&self) -> Vec<&SecretRef> {
        let redis = if let Self::RedisPassword(k) = self { Some(&k.admin.password) } else { None };
        self.admin().map(|admin| &admin.password).into_iter().chain(redis).collect()
    }

    /// The PostgreSQL roles that this secret changes.
    pub fn users(&self) -> &[String] {
        match self {
            Self::PostgresTwoUsers(k) => &k.users,
            Self::PostgresPassword(k) => std::slice::from_ref(&k.user),
            _ => &[],
        }
    }
}
