//! What a policy depends on beside the configuration: where paths are mounted, whether they exist, and what keys are for.

use super::grants::Known;
use crate::commands::alone::Alone;
use crate::commands::check::{mounts, needs};
use crate::commands::init::wanted;
use crate::config::{Config, KindConfig};
use keyward_vault::TransitUsage;
use std::collections::{BTreeMap, BTreeSet};

/// Asks Vault, as far as the token may.
pub async fn look(alone: &Alone) -> Known {
    let config = &alone.live.config;
    let mut known = guess(config);
    let (places, _) = mounts::places(&alone.live.vault, &needs::paths(config)).await;
    // A guessed place says nothing that was not known before.
    known.places.extend(places.into_iter().filter(|(_, place)| !place.is_guessed));
    known.signing = signing(alone).await;
    known
}

/// Nothing is there yet, and each path's mount is its first segment.
pub fn guess(config: &Config) -> Known {
    let place = |path: String| {
        let mount = wanted::mount_of(config, &path, &BTreeMap::new());
        let below = path.get(mount.len() + 1..).unwrap_or_default().to_owned();
        (path, needs::Place { mount, path: below, is_missing: true, is_guessed: false })
    };
    Known { places: needs::paths(config).into_iter().map(place).collect(), ..Known::default() }
}

/// The transit keys that are there and sign, as far as the token may see them.
pub async fn signing(alone: &Alone) -> BTreeSet<String> {
    let config = &alone.live.config;
    let of_secrets =
        config.secrets.iter().filter_map(|s| if let KindConfig::TransitKey(k) = &s.kind { Some((&k.mount, &k.key)) } else { None });
    let keys: BTreeSet<(&String, &String)> = of_secrets.chain(config.init.transit_keys.iter().map(|(mount, key)| (mount, key))).collect();
    let mut signing = BTreeSet::new();
    for (mount, key) in keys {
        let found = alone.live.vault.client().transit_key(mount, key).await;
        if found.is_ok_and(|key| key.usage == TransitUsage::Signs) {
            signing.insert(format!("{mount}/keys/{key}"));
        }
    }
    signing
}
