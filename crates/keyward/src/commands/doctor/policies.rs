//! The policies behind Keyward's token: paths written as `vault kv` shows them, lines that grant nothing, and names without a policy.

use super::unasked;
use crate::commands::check::needs::{Place, policy_line};
use crate::commands::check::report::Finding;
use crate::commands::check::trouble::Trouble;
use crate::commands::policy::hcl;
use keyward_vault::{Capabilities, Client, Kind};
use std::collections::BTreeMap;

/// What a policy of Vault's own grants is none of ours.
const OWN: [&str; 2] = ["default", "root"];

/// `keyward`: logged in as the daemon. `eyes`: may see policies, if anybody may.
pub async fn look(keyward: &Client, eyes: &Client, places: &BTreeMap<String, Place>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked: Vec<String> = places.values().flat_map(both).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    // Who may not ask was told by the permissions.
    if !asked.is_empty()
        && let Ok(capabilities) = keyward.capabilities_self(&asked).await
    {
        findings.extend(places.values().filter_map(|place| prefix(place, &capabilities)));
    }
    let Ok(info) = keyward.lookup_self().await else { return findings };
    for name in info.policies.iter().filter(|name| !OWN.contains(&name.as_str())) {
        let path = format!("sys/policies/acl/{name}");
        match eyes.policy(name).await {
            Ok(Some(text)) => findings.extend(globs(name, &text)),
            Ok(None) => findings.push(Finding::wrong(format!("the token's policy {name} does not exist")).is(Trouble::PolicyAbsent)),
            Err(error) if error.kind == Kind::Denied => {
                findings.push(unasked("the policies of Keyward's token", &error, "sys/policies/acl/*", &["read"]));
                break;
            }
            Err(error) => findings.push(unasked(&format!("the policy {name}"), &error, &path, &["read"])),
        }
    }
    findings
}

fn both(place: &Place) -> [String; 2] {
    [format!("{}/data/{}", place.mount, place.path), format!("{}/{}", place.mount, place.path)]
}

fn prefix(place: &Place, capabilities: &Capabilities) -> Option<Finding> {
    let [right, wrong] = both(place);
    let is_it = !capabilities.allows(&right, "read") && capabilities.allows(&wrong, "read");
    is_it.then(|| {
        Finding::wrong(format!("a policy grants {wrong}, and Vault's API has {right}, which is denied"))
            .is(Trouble::DataPrefixMissing)
            .cure(policy_line(&right, &["read", "patch"]))
    })
}

fn globs(name: &str, text: &str) -> Vec<Finding> {
    let rules = hcl::parse(text).unwrap_or_default();
    let is_it = |path: &String| path.trim_end_matches('*').contains('*');
    let says = |path: String| {
        Finding::warning(format!(
            "the policy {name} has the path {path}: `*` in its middle is a plain character, so the line grants nothing"
        ))
        .is(Trouble::PolicyGlob)
        .cure(format!("write + for one part: {}", path.replace("/*/", "/+/")))
    };
    rules.into_iter().map(|rule| rule.path).filter(is_it).map(says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_the_middle_grants_nothing() {
        let text = "path \"transit/keys/*/rotate\" { capabilities = [\"update\"] }\npath \"kv/data/*\" { capabilities = [\"read\"] }";
        let found = globs("p", text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].cure.as_deref(), Some("write + for one part: transit/keys/+/rotate"));
    }
}
