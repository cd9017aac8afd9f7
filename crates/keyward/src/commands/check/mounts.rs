//! Where things are mounted: the records' own mount, and the mounts of what is published.

use super::needs::Place;
use super::report::Finding;
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::ports::{VaultPort, failure_of};
use keyward_engine::Class;
use keyward_vault::{Capabilities, Client, Kind, KvConfig, Mount};
use std::collections::{BTreeMap, BTreeSet};

/// Where each configured path is, and what is wrong with those that are nowhere. The finding says the path.
pub async fn places(vault: &VaultPort, paths: &BTreeSet<String>) -> (BTreeMap<String, Place>, Vec<Finding>) {
    let (mut places, mut findings) = (BTreeMap::new(), Vec::new());
    for path in paths {
        match vault.split(path).await {
            Ok((mount, below)) => {
                let read = vault.client().kv_read(&mount, &below).await;
                let is_missing = read.is_ok_and(|document| document.version == 0);
                places.insert(path.clone(), Place { mount, path: below, is_missing, is_guessed: false });
            }
            // The token may do nothing there, so Vault does not say where the mount ends; most are one segment long.
            Err(failure) if failure.class == Class::Denied => {
                if let Some((mount, below)) = path.split_once('/') {
                    let place = Place { mount: mount.to_owned(), path: below.to_owned(), is_missing: false, is_guessed: true };
                    places.insert(path.clone(), place);
                }
            }
            Err(failure) => {
                let finding = Finding::failed(path, &failure);
                let is_kv1 = failure.class == Class::Invalid;
                findings.push(if is_kv1 {
                    finding.is(Trouble::MountVersion).cure("upgrade the mount (vault kv enable-versioning MOUNT) or publish in another")
                } else {
                    finding
                });
            }
        }
    }
    (places, findings)
}

/// Mounts that are not there. Vault gives the same refusal for one that does not exist and for one that the token may not touch; but a token
/// that may read below a mount is told where it is, so a refusal in spite of the right means that there is none.
pub fn missing(places: &BTreeMap<String, Place>, capabilities: &Capabilities) -> Vec<Finding> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, place) in places.iter().filter(|(_, place)| place.is_guessed) {
        if capabilities.allows(&format!("{}/data/{}", place.mount, place.path), "read") {
            missing.entry(&place.mount).or_default().push(path);
        }
    }
    let finding = |(mount, paths): (&str, Vec<&str>)| {
        let says = format!("nothing is mounted at {mount}/, so that nothing can be read or published at {}", paths.join(", "));
        Finding::wrong(says).is(Trouble::MountMissing).cure(make(mount)).means(Exit::Denied)
    };
    missing.into_iter().map(finding).collect()
}

/// The mount of Keyward's own records.
pub async fn records(client: &Client, name: &str) -> Vec<Finding> {
    let mount = match client.mount_of(name).await {
        Ok(mount) => mount,
        Err(error) if error.kind == Kind::Denied => {
            let says = format!(
                "the mount {name}/ of Keyward's records does not exist, or the token may do nothing there; Vault does not say which"
            );
            return vec![Finding::wrong(says).is(Trouble::RecordsMissing).cure(make(name)).means(Exit::Denied)];
        }
        Err(error) => {
            let failure = failure_of(&error);
            return vec![Finding::failed(&format!("the mount {name}/ of Keyward's records"), &failure)];
        }
    };
    if let Some(wrong) = wrong_mount(name, &mount) {
        return vec![wrong];
    }
    let mut findings = vec![Finding::well(format!("{name}/ holds Keyward's records: KV version 2, a mount of its own"))];
    if let Some((parent, _)) = name.rsplit_once('/') {
        let says =
            format!("{name}/ lies below {parent}/: every policy with a pattern over {parent}/ can read values while they are staged");
        findings.push(Finding::warning(says).is(Trouble::RecordsPlace).cure("mount the records at a top level of their own"));
    }
    match client.kv_config(name).await {
        Ok(config) => findings.extend(keeps(name, config)),
        Err(error) if error.kind == Kind::Denied => {
            findings.push(Finding::unknown(format!("whether {name}/ lets versions expire: the token may not read {name}/config")));
        }
        Err(error) => findings.push(Finding::failed(&format!("the settings of {name}/"), &failure_of(&error))),
    }
    findings
}

fn make(name: &str) -> String {
    format!("vault secrets enable -path={name} -version=2 kv")
}

fn wrong_mount(name: &str, mount: &Mount) -> Option<Finding> {
    let found = mount.path.trim_matches('/');
    let says = if found != name {
        format!("record_mount \"{name}\" is a path in the mount {found}/, and not a mount: others' policies reach it")
    } else if mount.kind != "kv" {
        format!("{name}/ is a mount of type {}; Keyward's records need KV version 2", mount.kind)
    } else if mount.version != Some(2) {
        format!("{name}/ is KV version 1, which has no check-and-set; Keyward's records need KV version 2")
    } else {
        return None;
    };
    Some(Finding::wrong(says).is(Trouble::RecordsPlace).cure(format!("give Keyward a mount of its own: {}", make("keyward"))))
}

/// A record that expires takes the lock and the memory of a secret with it.
fn keeps(name: &str, config: KvConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(after) = config.delete_version_after {
        let says = format!(
            "{name}/ lets versions expire after {} s: a record that is gone is a lock and a candidate that are gone",
            after.as_secs()
        );
        findings.push(Finding::wrong(says).is(Trouble::RecordsExpire).cure(format!("vault write {name}/config delete_version_after=0s")));
    }
    if config.max_versions == 1 {
        let says = format!("{name}/ keeps one version only, so that nobody can see what a record was before");
        findings.push(Finding::warning(says).is(Trouble::RecordsExpire).cure(format!("vault write {name}/config max_versions=10")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Mark;
    use std::time::Duration;

    fn mount(path: &str, kind: &str, version: Option<u8>) -> Mount {
        Mount { path: path.into(), kind: kind.into(), version, options: BTreeMap::new(), max_lease_ttl: std::time::Duration::ZERO }
    }

    #[test]
    fn only_a_kv_2_mount_of_its_own_holds_records() {
        assert_eq!(wrong_mount("keyward", &mount("keyward/", "kv", Some(2))), None);
        for (name, found, part) in [
            ("secret/keyward", mount("secret/", "kv", Some(2)), "a path in the mount secret/"),
            ("keyward", mount("keyward/", "kv", Some(1)), "KV version 1"),
            ("keyward", mount("keyward/", "transit", None), "of type transit"),
        ] {
            let says = wrong_mount(name, &found).map(|f| f.says).unwrap_or_default();
            assert!(says.contains(part), "{says}");
        }
    }

    #[test]
    fn records_must_not_expire() {
        let sound = KvConfig { max_versions: 0, delete_version_after: None, cas_required: false };
        assert_eq!(keeps("keyward", sound), []);
        let expiring = KvConfig { max_versions: 1, delete_version_after: Some(Duration::from_hours(1)), ..sound };
        let marks: Vec<Mark> = keeps("keyward", expiring).iter().map(|f| f.mark).collect();
        assert_eq!(marks, [Mark::Wrong, Mark::Warning]);
    }
}
