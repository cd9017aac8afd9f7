//! What each rule means, what to do about it, and what can fool it: one page of prose per rule. Never a setting.

use crate::rules::settings::RuleId;

impl RuleId {
    /// The rule's page, in Markdown: `What it means`, `What to do`, `What can fool it`.
    pub const fn page(self) -> &'static str {
        match self {
            Self::RootTokenUsed => include_str!("../../rules/root-token-used.md"),
            Self::RootTokenCreated => include_str!("../../rules/root-token-created.md"),
            Self::OrphanTokenCreated => include_str!("../../rules/orphan-token-created.md"),
            Self::PolicyChanged => include_str!("../../rules/policy-changed.md"),
            Self::AuthMethodChanged => include_str!("../../rules/auth-method-changed.md"),
            Self::MountChanged => include_str!("../../rules/mount-changed.md"),
            Self::AuditDeviceChanged => include_str!("../../rules/audit-device-changed.md"),
            Self::DeniedBurst => include_str!("../../rules/denied-burst.md"),
            Self::LoginFailures => include_str!("../../rules/login-failures.md"),
            Self::SecretReadByStranger => include_str!("../../rules/secret-read-by-stranger.md"),
            Self::SecretChangedByStranger => include_str!("../../rules/secret-changed-by-stranger.md"),
            Self::SecretDeleted => include_str!("../../rules/secret-deleted.md"),
            Self::MassRead => include_str!("../../rules/mass-read.md"),
            Self::Enumeration => include_str!("../../rules/enumeration.md"),
            Self::NewSourceAddress => include_str!("../../rules/new-source-address.md"),
            Self::AccessOffHours => include_str!("../../rules/access-off-hours.md"),
            Self::SealRequested => include_str!("../../rules/seal-requested.md"),
            Self::StepDownRequested => include_str!("../../rules/step-down-requested.md"),
            Self::GenerateRoot => include_str!("../../rules/generate-root.md"),
            Self::Rekey => include_str!("../../rules/rekey.md"),
            Self::RawAccess => include_str!("../../rules/raw-access.md"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_page_of_its_own_with_all_parts() {
        for rule in RuleId::ALL {
            let page = rule.page();
            assert!(page.starts_with(&format!("# {}: ", rule.name())), "{rule:?}");
            let mut rest = page;
            for part in ["## What it means", "## What to do", "## What can fool it"] {
                let Some((before, after)) = rest.split_once(&format!("\n{part}\n\n")) else { panic!("{rule:?}: {part}") };
                assert!(!before.trim().is_empty(), "{rule:?}: nothing before {part}");
                rest = after;
            }
            assert!(!rest.trim().is_empty(), "{rule:?}");
        }
    }
}
