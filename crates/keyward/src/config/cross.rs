//! What several secrets, or a secret and the rest of the file, must agree on. It never looks into a single table's own values.

use super::class::Classes;
use super::duration::show;
use super::kind::KindConfig;
use super::problem::{Problems, suggestion};
use super::secret::{Placed, SecretConfig};
use super::vault::VaultConfig;
use keyward_engine::kinds::RetireWhen;
use std::collections::BTreeMap;

/// All checks over all secrets.
pub(super) fn check(secrets: &[Placed], vault: Option<&VaultConfig>, classes: &Classes, problems: &Problems<'_>) {
    fields_have_one_owner(secrets, problems);
    roles_have_one_owner(secrets, problems);
    order_has_no_circle(secrets, problems);
    renames_are_free(secrets, problems);
    let follows_audit = vault.is_none_or(|v| v.nodes.iter().any(|n| n.audit_log.is_some()));
    for placed in secrets {
        grace_fits(placed, problems);
        use_can_be_seen(placed, follows_audit, problems);
        pinned_is_not_owned(placed, problems);
        leases_end(placed, problems);
        publishes_elsewhere(placed, vault, problems);
    }
    let used: Vec<&str> = secrets.iter().map(|p| p.secret.class.as_str()).collect();
    for name in classes.keys().filter(|name| !used.contains(&name.as_str()) && !super::class::is_shipped(name)) {
        problems.warn(None, format!("[class.{name}] is used by no secret"));
    }
}

fn publishes_elsewhere(placed: &Placed, vault: Option<&VaultConfig>, problems: &Problems<'_>) {
    let Some(mount) = vault.map(|v| v.record_mount.as_str()) else { return };
    let kind = &placed.secret.kind;
    for path in kind.path().into_iter().chain(kind.public().map(|(path, _)| path)) {
        publishes_at(placed, mount, path, problems);
    }
}

fn publishes_at(placed: &Placed, mount: &str, path: &str, problems: &Problems<'_>) {
    if path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let what = format!("{} publishes under \"{mount}/\", where Keyward keeps its own records; choose another mount", label(placed));
        problems.at(&placed.span, what);
    }
    if let Some((mount, name)) = path.split_once("/data/").filter(|(mount, _)| !mount.contains('/')) {
        let what =
            format!("{} has the path \"{path}\", which looks like the API's; if \"{mount}/{name}\" is meant, write that", label(placed));
        problems.warn(Some(&placed.span), what);
    }
}

fn label(placed: &Placed) -> String {
    format!("[[secret]] \"{}\"", placed.secret.name)
}

/// Two secrets may share a path, and then each owns other fields of it.
fn fields_have_one_owner(secrets: &[Placed], problems: &Problems<'_>) {
    let mut owners: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for placed in secrets {
        let kind = &placed.secret.kind;
        let own = kind.path().into_iter().flat_map(|path| kind.owned_fields().into_iter().map(move |field| (path, field)));
        for (path, field) in own.chain(kind.public()) {
            if let Some(other) = owners.insert((path, field), &placed.secret.name).filter(|other| *other != placed.secret.name) {
                problems.at(
                    &placed.span,
                    format!("{} and \"{other}\" both set \"{field}\" of {path}; a field belongs to one secret", label(placed)),
                );
            }
        }
    }
}

/// The fence in the target refuses a role of another secret; better to hear it here.
fn roles_have_one_owner(secrets: &[Placed], problems: &Problems<'_>) {
    let mut owners: BTreeMap<(String, &str), &str> = BTreeMap::new();
    for placed in secrets {
        let (place, roles) = placed.secret.kind.roles();
        for role in roles {
            if let Some(other) = owners.insert((place.clone(), role), &placed.secret.name).filter(|other| *other != placed.secret.name) {
                problems.at(
                    &placed.span,
                    format!("{} and \"{other}\" both rotate the role \"{role}\" on {place}; a role belongs to one secret", label(placed)),
                );
            }
        }
    }
}

fn order_has_no_circle(secrets: &[Placed], problems: &Problems<'_>) {
    let by_name: BTreeMap<&str, &SecretConfig> = secrets.iter().map(|p| (p.secret.name.as_str(), &p.secret)).collect();
    let known: Vec<&str> = by_name.keys().copied().collect();
    for placed in secrets {
        for name in placed.secret.after.iter().filter(|name| !by_name.contains_key(name.as_str())) {
            problems.at(
                &placed.span,
                format!("\"after\" in {} names no secret: \"{name}\"; {}", label(placed), suggestion(name, &known, "secrets")),
            );
        }
        if reaches(placed.secret.name.as_str(), &placed.secret, &by_name) {
            problems.at(&placed.span, format!("\"after\" in {} leads back to itself; break the circle", label(placed)));
        }
    }
}

/// Whether following `after` from a secret arrives at a name. Each secret is visited once.
fn reaches<'s>(name: &str, from: &'s SecretConfig, by_name: &BTreeMap<&'s str, &'s SecretConfig>) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    let mut next: Vec<&str> = from.after.iter().map(String::as_str).collect();
    while let Some(at) = next.pop() {
        if at == name {
            return true;
        }
        if !seen.contains(&at) {
            seen.push(at);
            next.extend(by_name.get(at).into_iter().flat_map(|s| s.after.iter().map(String::as_str)));
        }
    }
    false
}

fn renames_are_free(secrets: &[Placed], problems: &Problems<'_>) {
    let mut claimed: BTreeMap<&str, &str> = BTreeMap::new();
    for placed in secrets {
        let Some(old) = placed.secret.renamed_from.as_deref() else { continue };
        if secrets.iter().any(|other| other.secret.name == old) {
            problems.at(
                &placed.span,
                format!("\"renamed_from\" in {} names \"{old}\", which is still a secret; a record belongs to one", label(placed)),
            );
        }
        if let Some(other) = claimed.insert(old, &placed.secret.name) {
            problems
                .at(&placed.span, format!("{} and \"{other}\" are both renamed from \"{old}\"; a record belongs to one", label(placed)));
        }
    }
}

/// An old value must be gone before the next rotation needs its place.
fn grace_fits(placed: &Placed, problems: &Problems<'_>) {
    let secret = &placed.secret;
    let period = secret.policy.schedule.shortest_interval();
    let (needs, what) = match &secret.kind {
        KindConfig::JwtHmac(jwt) => (jwt.token_lifetime.saturating_add(jwt.propagation), "token_lifetime and propagation together"),
        KindConfig::JwtKeypair(jwt) => (jwt.settles_in(), "token_lifetime with twice cache_lifetime and skew"),
        kind if kind.retires() && secret.retire != RetireWhen::Never => (secret.grace, "the grace"),
        _ => return,
    };
    if needs >= period {
        let message = format!(
            "{what} of {} is {}, not shorter than the {} between two rotations of class \"{}\"; shorten it, or rotate less often",
            label(placed),
            show(needs),
            show(period),
            secret.class
        );
        problems.at(&placed.span, message);
    }
}

/// `when-unused` is a promise that somebody looks.
fn use_can_be_seen(placed: &Placed, follows_audit: bool, problems: &Problems<'_>) {
    if placed.secret.retire != RetireWhen::WhenUnused || follows_audit {
        return;
    }
    match &placed.secret.kind {
        KindConfig::HttpApiKey(_) | KindConfig::Exec(_) | KindConfig::ApproleSecretId(_) => {
            let message = format!(
                "{} has retire = \"when-unused\", but no [[vault.node]] has an audit_log, so nobody sees who uses it; name one, or say retire = \"after-grace\"",
                label(placed)
            );
            problems.at(&placed.span, message);
        }
        KindConfig::Random(random) if random.keeps_previous => {
            let message = format!(
                "{} has retire = \"when-unused\", but no [[vault.node]] has an audit_log, so nobody sees who uses it; name one, or say retire = \"after-grace\"",
                label(placed)
            );
            problems.at(&placed.span, message);
        }
        KindConfig::PostgresTwoUsers(_) | KindConfig::VaultDynamicLease(_) => {
            let message = format!(
                "{} is retired when unused, but no [[vault.node]] has an audit_log: only the database's sessions are seen",
                label(placed)
            );
            problems.warn(Some(&placed.span), message);
        }
        KindConfig::RedisPassword(_) => {
            let message = format!(
                "{} is retired when unused, but no [[vault.node]] has an audit_log: only the clients of Redis are seen",
                label(placed)
            );
            problems.warn(Some(&placed.span), message);
        }
        _ => {}
    }
}

/// A lease that is never revoked would have to be renewed for ever.
fn leases_end(placed: &Placed, problems: &Problems<'_>) {
    if matches!(placed.secret.kind, KindConfig::VaultDynamicLease(_)) && placed.secret.retire == RetireWhen::Never {
        let message = format!(
            "{} has retire = \"never\" by its class, but a lease ends when nobody renews it; say \"when-unused\" or \"after-grace\"",
            label(placed)
        );
        problems.at(&placed.span, message);
    }
}

fn pinned_is_not_owned(placed: &Placed, problems: &Problems<'_>) {
    let owned = placed.secret.kind.owned_fields();
    for field in placed.secret.pinned.iter().filter(|field| owned.contains(&field.as_str())) {
        problems.at(
            &placed.span,
            format!("\"pinned\" in {} names \"{field}\", which the secret itself sets; pin only what others keep", label(placed)),
        );
    }
}
