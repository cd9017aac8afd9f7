//! A static role of Vault's database engine: of the right kind, not rotated by Vault at our pace, and consumers' ways that ask for its password.

use super::postgres::ways;
use super::report::{Finding, Mark};
use super::trouble::Trouble;
use crate::assembly::Managed;
use crate::commands::Alone;
use crate::config::VaultStaticRole;
use keyward_engine::ports::{Document, Vault as _};
use keyward_engine::{Class, Failure};

/// What was found.
pub struct Seen {
    /// About the role, then about the ways.
    pub findings: Vec<Finding>,
    /// Whether a login would prove anything.
    pub is_well: bool,
}

/// Looks at it.
pub async fn look(alone: &Alone, managed: &Managed, config: &VaultStaticRole) -> Seen {
    let path = format!("{}/static-roles/{}", config.mount, config.role);
    let role = match alone.live.vault.static_role(&path).await {
        Ok(role) => role,
        // Said by the permissions, with the policy line.
        Err(Failure { class: Class::Denied, .. }) => return Seen { findings: Vec::new(), is_well: false },
        Err(failure) => {
            let finding = Finding::failed(&path, &failure);
            let cure = format!("name a static role: vault list {}/static-roles shows them", config.mount);
            let finding =
                if matches!(failure.class, Class::Invalid | Class::NotFound) { finding.is(Trouble::RoleKind).cure(cure) } else { finding };
            return Seen { findings: vec![finding], is_well: false };
        }
    };
    let mut findings = vec![Finding::well(format!("{path} is a static role, for the user {}", role.username))];
    if role.period.is_none() {
        findings.push(
            Finding::warning("Vault rotates it on a schedule of its own, which may fall together with ours")
                .is(Trouble::RoleSchedule)
                .cure("give the role a rotation_period far longer than the schedule here"),
        );
    } else if let Err(failure) = managed.spec.kind.preflight(&Document::default(), jiff::Timestamp::now(), true).await {
        findings.push(Finding::failed("its period", &failure));
    }
    let ways = ways(&config.login, &role.username).await;
    let is_well = ways.iter().all(|f| f.mark == Mark::Well);
    findings.extend(ways);
    Seen { findings, is_well }
}
