//! Whom a rule does not concern. Never a decision what a rule sees.

use std::net::IpAddr;

use crate::fact::Fact;
use crate::managed::whole_path;

/// Lists of what a rule passes over; one match in any of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Display names, alone (`approle`) or with the role they logged in by (`approle/rotator`).
    pub display_names: Vec<String>,
    /// Entity ids.
    pub entity_ids: Vec<String>,
    /// Addresses, or networks as `10.0.0.0/8`.
    pub addresses: Vec<String>,
    /// Paths after their namespace; one that ends in `*` stands for all that begin so.
    pub paths: Vec<String>,
}

impl Allow {
    /// Whether the rule passes over this fact.
    pub(crate) fn covers(&self, fact: &Fact<'_>) -> bool {
        let names = &self.display_names;
        let named = !names.is_empty() && (names.iter().any(|name| name == fact.identity.display_name) || names.contains(&fact.who()));
        named
            || self.entity_ids.iter().any(|id| !id.is_empty() && id == fact.identity.entity_id)
            || self.addresses.iter().any(|network| in_network(network, fact.address).unwrap_or(false))
            || (!self.paths.is_empty() && is_among(&whole_path(fact), &self.paths))
    }

    /// The first address that is none.
    pub(crate) fn wrong_address(&self) -> Option<&str> {
        self.addresses.iter().find(|network| in_network(network, "::").is_none()).map(String::as_str)
    }
}

/// Whether a path is one of these; one that ends in `*` stands for all that begin so.
pub(super) fn is_among(path: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    })
}

/// Whether an address lies in a network; `None` if the network cannot be read.
fn in_network(network: &str, address: &str) -> Option<bool> {
    let (base, length) = network.split_once('/').map_or((network, None), |(base, length)| (base, Some(length)));
    let (base, widest) = bits(base.parse().ok()?);
    let length = length.map_or(Some(widest), |length| length.parse().ok())?;
    if length > widest {
        return None;
    }
    let Ok(address) = address.parse() else { return Some(false) };
    let (address, width) = bits(address);
    let differing = (base ^ address).checked_shr(widest - length).unwrap_or(0);
    Some(width == widest && differing == 0)
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.9.8.7", Some(true)),
            ("10.0.0.0/8", "11.0.0.1", Some(false)),
            ("10.0.0.7", "10.0.0.7", Some(true)),
            ("10.0.0.7", "::ffff:10.0.0.7", Some(true)),
            ("0.0.0.0/0", "1.2.3.4", Some(true)),
            ("0.0.0.0/0", "::1", Some(false)),
            ("::/0", "fe80::1", Some(true)),
            ("fe80::/10", "fe81::1", Some(true)),
            ("fe80::/10", "2001::1", Some(false)),
            ("10.0.0.0/33", "10.0.0.1", None),
            ("nonsense", "10.0.0.1", None),
            ("10.0.0.0/8", "", Some(false)),
        ] {
            assert_eq!(in_network(network, address), inside, "{network} {address}");
        }
    }
}
