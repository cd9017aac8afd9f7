//! Configured paths at which nothing stands: the nearest ones that exist.

use super::unasked;
use crate::commands::check::needs::Place;
use crate::commands::check::report::Finding;
use crate::commands::check::trouble::Trouble;
use keyward_vault::{Client, VaultError};
use std::collections::{BTreeMap, BTreeSet};

/// So many secrets of a mount are compared.
const MOST: usize = 2_000;
/// So many are named.
const SHOWN: usize = 3;

/// Compares what is missing with what there is.
pub async fn look(client: &Client, places: &BTreeMap<String, Place>) -> Vec<Finding> {
    let missing: Vec<(&String, &Place)> = places.iter().filter(|(_, place)| place.is_missing).collect();
    let mounts: BTreeSet<&str> = missing.iter().map(|(_, place)| place.mount.as_str()).collect();
    let (mut findings, mut listed) = (Vec::new(), BTreeMap::new());
    for mount in mounts {
        match list(client, mount).await {
            Ok(paths) => {
                listed.insert(mount, paths);
            }
            Err(error) => findings.push(unasked(&format!("what there is in {mount}"), &error, &format!("{mount}/metadata/*"), &["list"])),
        }
    }
    for (path, place) in missing {
        let near = nearest(&place.path, listed.get(place.mount.as_str()).map_or(&[], Vec::as_slice));
        if !near.is_empty() {
            let near: Vec<String> = near.into_iter().map(|near| format!("{}/{near}", place.mount)).collect();
            findings.push(
                Finding::warning(format!("nothing stands at {path}; there is {}", near.join(", ")))
                    .is(Trouble::PathNear)
                    .cure("if that is what was meant, mend the path in the configuration"),
            );
        }
    }
    findings
}

async fn list(client: &Client, mount: &str) -> Result<Vec<String>, VaultError> {
    Ok(client.kv_list_all(mount, "", MOST).await?.paths)
}

/// The nearest ones first: a slip of the finger or two, another order of the parts, or the same with a part more or less.
fn nearest<'p>(path: &str, there: &'p [String]) -> Vec<&'p str> {
    let distance = |other: &str| {
        let typed = strsim::damerau_levenshtein(path, other);
        if path.strip_prefix("data/") == Some(other) || parts(path) == parts(other) { 1 } else { typed }
    };
    let mut near: Vec<(usize, &str)> =
        there.iter().map(|other| (distance(other), other.as_str())).filter(|(d, _)| *d <= limit(path)).collect();
    near.sort_unstable();
    near.into_iter().take(SHOWN).map(|(_, other)| other).collect()
}

/// Short paths are near to everything.
fn limit(path: &str) -> usize {
    (path.len() / 4).clamp(1, 3)
}

fn parts(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_slips_of_the_finger_and_not_neighbours() {
        let there = ["backend/api", "backend/database", "integrations/openai"].map(str::to_owned);
        for (path, expected) in [
            ("backend/databse", vec!["backend/database"]),
            ("backend/apis", vec!["backend/api"]),
            ("data/backend/api", vec!["backend/api"]),
            ("database/backend", vec!["backend/database"]),
            ("backend/redis", vec![]),
            ("x", vec![]),
        ] {
            assert_eq!(nearest(path, &there), expected, "{path}");
        }
    }
}
