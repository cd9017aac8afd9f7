//! Strings of the log to labels of metrics, from a bounded set. Never a path, an identity or an address.

use std::collections::HashSet;

use crate::fact::Fact;

/// How many mounts have a label of their own.
pub const MAX_MOUNTS: usize = 256;
/// Longest mount that has one, in bytes.
const MAX_LENGTH: usize = 256;
/// The label of whatever is not known.
pub const OTHER: &str = "other";
/// The label of calls that reached no mount.
pub const NO_MOUNT: &str = "none";

/// Mount types of Vault's and OpenBao's own engines and auth methods; plugins of one's own are `other`.
const MOUNT_TYPES: [&str; 30] = [
    "approle",
    "aws",
    "azure",
    "cert",
    "consul",
    "cubbyhole",
    "database",
    "gcp",
    "gcpkms",
    "github",
    "identity",
    "jwt",
    "kerberos",
    "keymgmt",
    "kmip",
    "kubernetes",
    "kv",
    "ldap",
    "nomad",
    "oidc",
    "okta",
    "openldap",
    "pki",
    "rabbitmq",
    "radius",
    "ssh",
    "system",
    "token",
    "transit",
    "userpass",
];

/// The mounts that have a label of their own.
#[derive(Clone, Debug, Default)]
pub struct LabelBook {
    mounts: HashSet<String>,
}

impl LabelBook {
    /// The mounts as the server lists them, with their slash, auth methods with `auth/` before them, each after its
    /// namespace's path. At most [`MAX_MOUNTS`] are taken; the rest is [`OTHER`].
    pub fn new(mounts: impl IntoIterator<Item = String>) -> Self {
        Self { mounts: mounts.into_iter().take(MAX_MOUNTS).collect() }
    }

    /// A mount that the server lists. Those have room even where the log has filled the first [`MAX_MOUNTS`].
    pub fn know(&mut self, mount: &str) {
        self.take_in(mount, 2 * MAX_MOUNTS);
    }

    /// The mount that a fact names, which the server writes only where it routed to one.
    pub fn learn(&mut self, fact: &Fact<'_>) {
        self.take_in(&format!("{}{}", fact.namespace, fact.mount_point), MAX_MOUNTS);
    }

    fn take_in(&mut self, mount: &str, most: usize) {
        let is_label = mount.is_empty() || mount == OTHER || mount == NO_MOUNT;
        if !is_label && mount.len() <= MAX_LENGTH && self.mounts.len() < most && !self.mounts.contains(mount) {
            self.mounts.insert(mount.to_owned());
        }
    }

    /// The label for a fact's mount point.
    pub fn mount_point(&self, fact: &Fact<'_>) -> &str {
        if fact.mount_point.is_empty() {
            return NO_MOUNT;
        }
        let known = if fact.namespace.is_empty() {
            self.mounts.get(fact.mount_point)
        } else {
            self.mounts.get(&format!("{}{}", fact.namespace, fact.mount_point))
        };
        known.map_or(OTHER, String::as_str)
    }

    /// The label for a fact's mount type.
    pub fn mount_type(fact: &Fact<'_>) -> &'static str {
        Self::type_label(fact.mount_type)
    }

    /// The label for a mount type as the server names it.
    pub fn type_label(mount_type: &str) -> &'static str {
        match mount_type {
            "" => NO_MOUNT,
            // Before 1.21 some versions say `ns_system`, `ns_token` and so on inside a namespace.
            name => {
                let bare = name.strip_prefix("ns_").unwrap_or(name);
                MOUNT_TYPES.into_iter().find(|known| *known == bare).unwrap_or(OTHER)
            }
        }
    }

    /// The label that this text is; [`OTHER`] for one that is none.
    pub fn type_label_of(label: &str) -> &'static str {
        if label == NO_MOUNT { NO_MOUNT } else { MOUNT_TYPES.into_iter().find(|known| *known == label).unwrap_or(OTHER) }
    }

    /// The mounts that have a label, for series that must exist from the start.
    pub fn mounts(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().map(String::as_str)
    }
}
