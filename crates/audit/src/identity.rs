//! Who called, and whether it was Keyward itself. Never a token.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::fact::Fact;

/// A caller, as far as the log names one. All empty where no valid token was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// `root`, `token-NAME`, `userpass-alice`, `approle`.
    pub display_name: &'a str,
    /// The identity's id; empty for tokens made by hand.
    pub entity_id: &'a str,
    /// The token's accessor, hashed.
    pub accessor: &'a str,
}

impl<'a> Identity<'a> {
    /// What tells one caller from another over time: the entity, else the display name. A token's hash changes at each login.
    pub fn key(&self) -> &'a str {
        if self.entity_id.is_empty() { self.display_name } else { self.entity_id }
    }

    /// Whether nobody is named.
    pub fn is_nobody(&self) -> bool {
        self.key().is_empty()
    }
}

/// What marks Keyward's own calls. Any one mark is enough.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Hashes of its tokens' accessors, as `sys/audit-hash` gives them for each device: exact, and the one to prefer.
    pub accessors: HashSet<String, RandomState>,
    /// Its entity ids.
    pub entity_ids: HashSet<String, RandomState>,
    /// Its display names. Weak: whoever may create tokens may choose the same name.
    pub display_names: HashSet<String, RandomState>,
}

impl Own {
    /// Whether Keyward made this call.
    pub fn made(&self, fact: &Fact<'_>) -> bool {
        let Identity { display_name, entity_id, accessor } = fact.identity;
        (!accessor.is_empty() && self.accessors.contains(accessor))
            || (!entity_id.is_empty() && self.entity_ids.contains(entity_id))
            || (!display_name.is_empty() && self.display_names.contains(display_name))
    }
}
