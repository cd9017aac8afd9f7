//! `transit-key`, as configured.

use super::super::section::Section;
use super::vault_path;
use toml::Spanned;

/// `transit-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// The transit engine's mount.
    pub mount: String,
    /// The key's name below it.
    pub key: String,
    /// How many versions stay readable after the grace; default all.
    pub keep_versions: Option<u64>,
}

pub(super) fn read(mut s: Section<'_>) -> Option<TransitKey> {
    let key = s
        .parsed("key", |text| vault_path(text, "keys").ok_or_else(|| "must be the key's path, such as \"transit/keys/orders\"".to_owned()));
    let keep_versions = s.number("keep_versions", 1..=10_000).map(|n| u64::from(n.into_inner()));
    if keep_versions.is_some() {
        let what = format!(
            "{} closes older versions of its key after the grace: what was sealed with them and not rewrapped by then is unreadable for good",
            s.label()
        );
        s.problems().warn(Some(s.span()), what);
    }
    s.finish(&[("key", "name the key of Vault's transit engine, such as \"transit/keys/orders\"")]);
    let (mount, key) = key.map(Spanned::into_inner)?;
    Some(TransitKey { mount, key, keep_versions })
}
