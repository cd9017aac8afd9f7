//! What each kind of secret is told, one file each: plain data, and the reader of its fields. It never says how a kind works (the step
//! tables do), and never looks at another secret; what concerns several is checked in `cross`.

mod approle_secret_id;
mod exec;
mod http_api_key;
mod jwt_hmac;
mod jwt_keypair;
mod login;
mod manual;
mod postgres_password;
mod postgres_two_users;
mod random;
mod redis_password;
mod transit_key;
mod vault_dynamic_lease;
mod vault_root;
mod vault_static_role;

pub use approle_secret_id::ApproleSecretId;
pub use exec::Exec;
pub use http_api_key::HttpApiKey;
pub use jwt_hmac::{HmacAlgorithm, JwtHmac};
pub use jwt_keypair::JwtKeypair;
pub(super) use login::read_admin;
pub use login::{Admin, Login};
pub use manual::{HttpCheck, Manual, ManualCheck};
pub use postgres_password::PostgresPassword;
pub use postgres_two_users::PostgresTwoUsers;
pub use random::Random;
pub use redis_password::{RedisAdmin, RedisPassword};
pub use transit_key::TransitKey;
pub use vault_dynamic_lease::VaultDynamicLease;
pub(super) use vault_dynamic_lease::is_plain;
pub use vault_root::VaultRoot;
pub(super) use vault_root::connection_path;
pub use vault_static_role::{PublishedCopy, VaultStaticRole};

use super::kind::KindConfig;
use super::section::Section;
use keyward_engine::Shape;
use keyward_secret::Template;

const PATH: (&str, &str) = ("path", "name the KV version 2 secret to publish in, such as \"secret/app/database\"");

/// Reads the fields of one kind; problems are reported. Finishes the section.
type Reader = fn(Section<'_>) -> Option<KindConfig>;

/// Every kind's name in the file, with its reader.
const READERS: &[(&str, Reader)] = &[
    ("postgres-two-users", |s| postgres_two_users::read(s).map(KindConfig::PostgresTwoUsers)),
    ("postgres-password", |s| postgres_password::read(s).map(KindConfig::PostgresPassword)),
    ("vault-static-role", |s| vault_static_role::read(s).map(KindConfig::VaultStaticRole)),
    ("vault-dynamic-lease", |s| vault_dynamic_lease::read(s).map(KindConfig::VaultDynamicLease)),
    ("vault-root", |s| vault_root::read(s).map(KindConfig::VaultRoot)),
    ("redis-password", |s| redis_password::read(s).map(KindConfig::RedisPassword)),
    ("manual", |s| manual::read(s).map(KindConfig::Manual)),
    ("random", |s| random::read(s).map(KindConfig::Random)),
    ("jwt-hmac", |s| jwt_hmac::read(s).map(KindConfig::JwtHmac)),
    ("jwt-keypair", |s| jwt_keypair::read(s).map(KindConfig::JwtKeypair)),
    ("http-api-key", |s| http_api_key::read(s).map(|k| KindConfig::HttpApiKey(Box::new(k)))),
    ("exec", |s| exec::read(s).map(KindConfig::Exec)),
    ("transit-key", |s| transit_key::read(s).map(KindConfig::TransitKey)),
    ("approle-secret-id", |s| approle_secret_id::read(s).map(KindConfig::ApproleSecretId)),
];

/// The names of all kinds, as in the file.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    READERS.iter().map(|(name, _)| *name)
}

/// The kind that the table names, read from the rest of the table; problems are reported. Finishes the section.
pub(super) fn read(mut section: Section<'_>) -> Option<KindConfig> {
    if let Some(reader) = section.choice("kind", READERS) {
        return reader.into_inner()(section);
    }
    // Without a kind nobody can say which other keys belong here.
    if !section.has_taken("kind") {
        let known = kinds().collect::<Vec<_>>().join(", ");
        section.problems().at(section.span(), format!("\"kind\" is missing in {}; known kinds: {known}", section.label()));
    }
    None
}

/// `MOUNT/word/NAME` as mount and name; `None` for anything else.
pub(super) fn vault_path(text: &str, word: &str) -> Option<(String, String)> {
    let (mount, name) = text.trim_matches('/').split_once(&format!("/{word}/"))?;
    let plain = |part: &str| part.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    (plain(mount) && plain(name) && !name.contains('/')).then(|| (mount.to_owned(), name.to_owned()))
}

/// The `set` of a file that is silent: field → the value that it holds.
fn plain_set(fields: &[(&str, &str)]) -> Option<Shape> {
    let field = |(field, value): &(&str, &str)| Some(((*field).to_owned(), Template::parse(&format!("{{{value}}}")).ok()?));
    fields.iter().map(field).collect::<Option<_>>().map(Shape)
}
