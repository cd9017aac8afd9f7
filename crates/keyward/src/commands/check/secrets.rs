//! One secret and the system that must accept it: is it of the right kind, can it be changed, does what is published work?

use super::report::Finding;
use crate::assembly::Managed;
use crate::cli::Exit;
use crate::config::{Admin, KindConfig, SecretRef};
use crate::daemon::shared::Live;
use crate::ports::POSTGRES_LIMIT;
use jiff::Timestamp;
use keyward_engine::Class;
use keyward_engine::ports::{Document, Vault as _};
use keyward_targets::postgres::{self as target, Verdict};

/// Everything about one secret. `vault`: whether Vault can be asked.
pub async fn look(live: &Live, managed: &Managed, vault: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if managed.observes() {
        findings.push(Finding::warning("is only observed (mode = \"observe\"): nothing of it is changed"));
    }
    if let Some(admin) = managed.config.kind.admin() {
        findings.extend(administrator(live, managed, admin, vault).await);
    }
    if let KindConfig::PostgresPassword(_) = &managed.config.kind {
        let says = "has a single user: consumers that connect between the change and the publication fail for a moment";
        findings.push(Finding::warning(says).cure("kind = \"postgres-two-users\" has no such moment"));
    }
    if let KindConfig::Manual(manual) = &managed.config.kind
        && manual.check.is_none()
    {
        findings.push(Finding::warning("has neither verify nor login: a supplied value is published unproved"));
    }
    if !vault {
        findings.push(Finding::unknown("what is published cannot be looked at without a token"));
        return findings;
    }
    findings.extend(preflight(live, managed, findings.iter().any(Finding::is_wrong)).await);
    findings
}

/// The administrator's login, the fence, the roles.
async fn administrator(live: &Live, managed: &Managed, admin: &Admin, vault: bool) -> Vec<Finding> {
    if matches!(admin.password, SecretRef::Vault { .. }) && !vault {
        return vec![Finding::unknown("the administrator's password stands in Vault, which cannot be asked")];
    }
    let password = match live.resolver.resolve(&admin.password).await {
        Ok(password) => password,
        Err(failure) => return vec![Finding::failed("the administrator's password", &failure)],
    };
    let roles: Vec<&str> = managed.config.kind.users().iter().map(String::as_str).collect();
    let client = match target::Admin::new(admin.url.clone(), password, POSTGRES_LIMIT) {
        Ok(client) => client,
        Err(error) => return vec![Finding::wrong(format!("the administrator's URL: {error}"))],
    };
    match client.preflight(&roles).await {
        Err(error) => vec![Finding::wrong(format!("the administrator cannot look: {error}")).means(Exit::Unavailable)],
        Ok(checks) => checks
            .into_iter()
            .map(|check| match check.verdict {
                Verdict::Pass => Finding::well(check.says),
                Verdict::Note => Finding::warning(check.says),
                Verdict::Fail if check.subject == target::Subject::Fence => {
                    Finding::wrong(check.says).cure(format!("keyward init postgres {}", managed.spec.name))
                }
                Verdict::Fail => Finding::wrong(check.says),
            })
            .collect(),
    }
}

/// The rotation's own preflight, as a scheduled one would run it. What the administrator's findings say already is not said twice.
async fn preflight(live: &Live, managed: &Managed, known: bool) -> Option<Finding> {
    let kind = managed.spec.kind.as_ref();
    let document = match kind.path() {
        None => Document::default(),
        Some(path) => match live.vault.read(path).await {
            Ok(document) => document,
            // Permissions and mounts have findings of their own.
            Err(failure) if matches!(failure.class, Class::Denied | Class::Invalid) => return None,
            Err(failure) => return Some(Finding::failed(&format!("reading {path}"), &failure)),
        },
    };
    if known {
        return None;
    }
    if kind.path().is_some() && document.fields.is_none() {
        let says = "nothing is published yet; the first rotation publishes it";
        return Some(Finding::warning(says).cure(format!("keyward rotate {}", managed.spec.name)));
    }
    Some(match kind.preflight(&document, Timestamp::now(), false).await {
        Ok(()) => Finding::well("is ready to be rotated"),
        Err(failure) if failure.class == Class::InUse => Finding::warning(failure.text),
        Err(failure) => Finding::failed("cannot be rotated", &failure),
    })
}
