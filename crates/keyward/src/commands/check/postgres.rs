//! A secret whose roles Keyward changes in PostgreSQL: the administrator, the fence, the roles, and the ways of its consumers.
//!
//! It leaves one refused login per way in the server's log: that is how a server which lets anybody in is told from one that asks.

use super::report::{Finding, Mark};
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::commands::Alone;
use crate::config::{Admin, KindConfig, Login, SecretConfig, SecretRef};
use crate::ports::{POSTGRES_LIMIT, admin_failure, login_failure};
use keyward_engine::{Class, Failure};
use keyward_secret::SystemRandom;
use keyward_targets::postgres::{self as target, Check, RefusalUnproved, Subject, Verdict};

/// What was found.
pub struct Seen {
    /// In the order in which a rotation would meet them.
    pub findings: Vec<Finding>,
    /// Whether the administrator can do his work.
    pub admin_is_well: bool,
    /// Whether a login on the consumers' ways would prove anything.
    pub logins_are_well: bool,
}

/// Looks at it. `vault`: whether a password that is kept in Vault can be read.
pub async fn look(alone: &Alone, secret: &SecretConfig, vault: bool) -> Seen {
    let mut findings: Vec<Finding> = single_user(secret).into_iter().collect();
    let mut admin_is_well = false;
    if let Some(admin) = secret.kind.admin() {
        let found = administrator(alone, secret, admin, vault).await;
        admin_is_well = found.iter().all(|f| f.mark != Mark::Wrong && f.mark != Mark::Unknown);
        findings.extend(found);
    }
    let user = secret.kind.users().first().cloned().unwrap_or_default();
    let ways = ways(secret.kind.logins(), &user).await;
    let logins_are_well = ways.iter().all(|f| f.mark == Mark::Well);
    findings.extend(ways);
    Seen { findings, admin_is_well, logins_are_well }
}

fn single_user(secret: &SecretConfig) -> Option<Finding> {
    let KindConfig::PostgresPassword(k) = &secret.kind else { return None };
    let says = format!("{} is a single user: a consumer that connects between the change and its publishing is refused", k.user);
    Some(Finding::warning(says).cure("two users that take turns have no such moment: kind = \"postgres-two-users\""))
}

async fn administrator(alone: &Alone, secret: &SecretConfig, admin: &Admin, vault: bool) -> Vec<Finding> {
    if !vault && matches!(admin.password, SecretRef::Vault { .. }) {
        return vec![Finding::unknown("the administrator: its password is in Vault, which could not be asked")];
    }
    let password = match alone.live.resolver.resolve(&admin.password).await {
        Ok(password) => password,
        Err(failure) => return vec![Finding::failed("the administrator's password", &failure)],
    };
    let client = match target::Admin::new(admin.url.clone(), password, POSTGRES_LIMIT) {
        Ok(client) => client,
        Err(error) => return vec![Finding::wrong(error.to_string())],
    };
    let users: Vec<&str> = secret.kind.users().iter().map(String::as_str).collect();
    let checks = match client.preflight(&users).await {
        Ok(checks) => checks,
        Err(error) => return vec![failed("the administrator", &admin_failure(&error))],
    };
    let has_fence = checks.iter().any(|c| c.subject == Subject::Fence && c.verdict == Verdict::Pass);
    let mut findings = judge(&checks, &secret.name, admin.url.user().unwrap_or_default());
    if has_fence {
        for user in users {
            findings.extend(belongs(&client, user, secret).await);
        }
    }
    findings
}

/// What the administrator saw, in a few sentences: all that is well in one, the rest for itself.
fn judge(checks: &[Check], name: &str, admin: &str) -> Vec<Finding> {
    let of = |check: &Check| {
        let finding = match check.verdict {
            Verdict::Pass => return None,
            Verdict::Note => Finding::warning(check.says.clone()),
            Verdict::Fail => Finding::wrong(check.says.clone()),
        };
        Some(match check.subject {
            Subject::Fence => finding.is(Trouble::FenceMissing).cure(format!("keyward init postgres {name}")),
            Subject::Alterable => finding.is(Trouble::DatabasePreflight).means(Exit::Denied),
            _ if check.verdict == Verdict::Fail => finding.is(Trouble::DatabasePreflight),
            _ => finding,
        })
    };
    let mut findings: Vec<Finding> = checks.iter().filter_map(of).collect();
    let passed = checks.iter().filter(|c| c.verdict == Verdict::Pass).count();
    findings.insert(
        0,
        Finding::well(format!("the administrator {admin} logs in; {passed} of {} checks of server and roles are well", checks.len())),
    );
    findings
}

/// A role belongs to one secret; another one's would be refused by the fence.
async fn belongs(client: &target::Admin, user: &str, secret: &SecretConfig) -> Option<Finding> {
    match client.fence(user).await {
        Ok(Some(row)) if row.secret != secret.name && Some(&row.secret) != secret.renamed_from.as_ref() => Some(
            Finding::wrong(format!("the role {user} belongs to the secret {}: the fence in the database says so", row.secret))
                .cure(format!("give this secret a role of its own; if it was renamed, say renamed_from = \"{}\"", row.secret)),
        ),
        Ok(_) => None,
        Err(error) => Some(failed("the fence", &admin_failure(&error))),
    }
}

/// Whether every endpoint of every way asks for the password at all. A way on which nobody answers is the consumers' trouble too.
pub async fn ways(logins: &[Login], user: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for endpoint in logins.iter().flat_map(|login| login.url.endpoints()) {
        findings.push(match target::refuses_wrong_password(endpoint, user, &SystemRandom, POSTGRES_LIMIT).await {
            Ok(()) => Finding::well(format!("{endpoint} can be reached and refuses a wrong password")),
            Err(RefusalUnproved::Unanswered(failure)) => failed("a consumer's way", &login_failure(&failure)),
            Err(unproved @ RefusalUnproved::TrustsAnyone { .. }) => {
                Finding::wrong(unproved.to_string()).is(Trouble::DatabaseTrust).cure("have pg_hba.conf ask for scram-sha-256 on this way")
            }
            Err(unproved @ RefusalUnproved::Random(_)) => Finding::wrong(unproved.to_string()),
        });
    }
    findings
}

/// Which trouble of a database a failure is.
pub fn trouble(class: Class) -> Option<Trouble> {
    match class {
        Class::Unreachable | Class::Timeout => Some(Trouble::DatabaseUnreachable),
        Class::Tls => Some(Trouble::DatabaseTls),
        Class::NoSuchDatabase => Some(Trouble::DatabaseName),
        Class::WrongPassword | Class::Refused => Some(Trouble::DatabaseRefused),
        Class::TrustsAnyone => Some(Trouble::DatabaseTrust),
        Class::InsufficientPrivilege => Some(Trouble::DatabasePreflight),
        _ => None,
    }
}

fn failed(what: &str, failure: &Failure) -> Finding {
    let finding = Finding { trouble: trouble(failure.class), ..Finding::failed(what, failure) };
    if failure.class == Class::InsufficientPrivilege { finding.means(Exit::Denied) } else { finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(subject: Subject, verdict: Verdict) -> Check {
        Check { subject, role: None, verdict, says: "says".into() }
    }

    #[test]
    fn what_fails_is_said_with_its_cure() {
        let checks = [
            check(Subject::Version, Verdict::Pass),
            check(Subject::Fence, Verdict::Fail),
            check(Subject::Alterable, Verdict::Fail),
            check(Subject::ServerLog, Verdict::Note),
        ];
        let findings = judge(&checks, "db", "keeper");
        let shown: Vec<_> = findings.iter().map(|f| (f.mark, f.exit, f.cure.as_deref())).collect();
        let expected = [
            (Mark::Well, Exit::Failed, None),
            (Mark::Wrong, Exit::Failed, Some("keyward init postgres db")),
            (Mark::Wrong, Exit::Denied, None),
            (Mark::Warning, Exit::Failed, None),
        ];
        assert_eq!(shown, expected);
        assert!(findings[0].says.contains("1 of 4"), "{}", findings[0].says);
    }
}
