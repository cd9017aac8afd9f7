//! Keyward's token: whether it lives, and for how long. A login by AppRole is given back at the end.

use super::needs::policy_line;
use super::report::Finding;
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::session::{self, LoginFailure};
use keyward_vault::{Client, Kind, TokenInfo, VaultError};

/// What was found, and whether the client has a token that Vault knows.
pub struct LoggedIn {
    /// About the token.
    pub findings: Vec<Finding>,
    /// Whether the rest can be asked.
    pub is_usable: bool,
    /// Whether the token was made by this login, and is to be given back.
    pub is_ours: bool,
}

/// Logs in as the daemon would, so that what is found is true for the daemon; as the person only where the file names no way.
pub async fn log_in(client: &Client, config: &Config, environment: &Environment) -> LoggedIn {
    let mut findings = Vec::new();
    let credentials = match session::daemon_credentials(&config.vault) {
        Ok(credentials) => credentials,
        Err(why) => match session::personal_credentials(&config.vault, environment) {
            Ok(personal) => {
                findings.push(Finding::warning(format!("{why}; looked at with your own token")).cure("set auth in [vault]"));
                personal
            }
            Err(none) => {
                findings.push(Finding::wrong(none.to_string()).means(Exit::Usage));
                return LoggedIn { findings, is_usable: false, is_ours: false };
            }
        },
    };
    let by_login = credentials.makes_a_token();
    let (more, is_usable) = match session::log_in(client, &credentials, environment).await {
        Ok(info) => (judge(&info, by_login), true),
        Err(failure) => refused(client, &failure).await,
    };
    findings.extend(more);
    LoggedIn { findings, is_usable, is_ours: by_login && client.has_token() }
}

/// A token may be alive and still not be allowed to look itself up; Vault says the same to a dead one.
async fn refused(client: &Client, failure: &LoginFailure) -> (Vec<Finding>, bool) {
    const LOOKUP: &str = "auth/token/lookup-self";
    let is_denied = matches!(failure, LoginFailure::Vault(VaultError { kind: Kind::Denied, .. }));
    if is_denied && client.has_token() {
        if client.capabilities_self(&[LOOKUP]).await.is_ok() {
            let finding = Finding::wrong("the token lives, but may not look itself up");
            return (vec![finding.is(Trouble::RightMissing).cure(policy_line(LOOKUP, &["read"])).means(Exit::Denied)], true);
        }
        let finding = Finding::wrong("Vault refuses the token: it has expired, was revoked, or never was one of this server");
        return (
            vec![
                finding
                    .is(Trouble::TokenDead)
                    .cure("issue a new one, with a period: vault token create -orphan -period=24h -policy=keyward")
                    .means(Exit::Denied),
            ],
            false,
        );
    }
    let finding = Finding::wrong(format!("cannot log in: {failure}")).means(failure.exit());
    let finding = match failure {
        LoginFailure::Reference(_) => finding.is(Trouble::TokenUnreadable),
        LoginFailure::Vault(_) if failure.is_refusal() => finding.is(Trouble::LoginRefused),
        LoginFailure::Vault(_) => finding,
    };
    (vec![finding], false)
}

/// What a living token's life means. `by_login`: the daemon gets a new one by logging in again.
fn judge(info: &TokenInfo, by_login: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if info.policies.iter().any(|p| p == "root") {
        findings.push(
            Finding::warning("the token is a root token: whoever takes it from this machine owns Vault")
                .is(Trouble::TokenRoot)
                .cure("give Keyward a token with a policy of its own"),
        );
    }
    if info.num_uses > 0 {
        findings.push(
            Finding::wrong(format!("the token may be used {} more times only", info.num_uses))
                .is(Trouble::TokenUses)
                .cure("issue one without a limit of uses"),
        );
    }
    findings.push(life(info, by_login));
    findings
}

fn life(info: &TokenInfo, by_login: bool) -> Finding {
    let ends = info.expire_time.map_or_else(String::new, |at| format!(", ends at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")));
    if info.never_expires() {
        Finding::well("the token never expires")
    } else if by_login {
        Finding::well(format!("the login works{ends}; the daemon renews it and logs in again"))
    } else if !info.renewable {
        let what = format!("the token cannot be renewed{ends}; rotations stop then");
        Finding::warning(what)
            .is(Trouble::TokenNotRenewable)
            .cure("issue one with a period: vault token create -orphan -period=24h -policy=keyward")
    } else if let Some(limit) = info.explicit_max_ttl {
        let what = format!("the token{ends}, and dies {} h after it was issued, renewed or not", limit.as_secs() / 3600);
        Finding::warning(what).is(Trouble::TokenHardLimit).cure("issue one without an explicit_max_ttl")
    } else if info.period.is_none() {
        let what = format!("the token has no period{ends}; renewing it ends at the server's maximum, and rotations stop then");
        Finding::warning(what)
            .is(Trouble::TokenWithoutPeriod)
            .cure("issue one with a period: vault token create -orphan -period=24h -policy=keyward")
    } else {
        Finding::well(format!("the token{ends}, and is renewed without end (it has a period)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Mark;
    use std::time::Duration;

    fn info() -> TokenInfo {
        TokenInfo {
            ttl: Duration::from_mins(50),
            creation_ttl: Duration::from_hours(1),
            expire_time: "2026-11-24T04:22:13Z".parse().ok(),
            renewable: true,
            period: Some(Duration::from_hours(1)),
            explicit_max_ttl: None,
            policies: vec!["keyward".into()],
            accessor: "a".into(),
            display_name: "token".into(),
            entity_id: String::new(),
            orphan: true,
            token_type: "service".into(),
            num_uses: 0,
            path: "auth/token/create".into(),
            meta: std::collections::BTreeMap::new(),
        }
    }

    fn check(info: TokenInfo, by_login: bool, expected: &[Mark]) {
        let marks: Vec<Mark> = judge(&info, by_login).iter().map(|f| f.mark).collect();
        assert_eq!(marks, expected, "{info:?}");
    }

    #[test]
    fn a_token_that_will_die_is_said() {
        check(info(), false, &[Mark::Well]);
        check(TokenInfo { renewable: false, ..info() }, false, &[Mark::Warning]);
        check(TokenInfo { renewable: false, ..info() }, true, &[Mark::Well]);
        check(TokenInfo { period: None, ..info() }, false, &[Mark::Warning]);
        check(TokenInfo { explicit_max_ttl: Some(Duration::from_hours(9)), ..info() }, false, &[Mark::Warning]);
        check(TokenInfo { num_uses: 3, ..info() }, false, &[Mark::Wrong, Mark::Well]);
    }

    #[test]
    fn a_root_token_is_said() {
        let root = TokenInfo { ttl: Duration::ZERO, expire_time: None, policies: vec!["root".into()], period: None, ..info() };
        check(root, false, &[Mark::Warning, Mark::Well]);
    }
}
