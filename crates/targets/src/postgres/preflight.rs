//! What must be true before a role can be rotated, asked without changing anything.
//!
//! It never decides: it says what is, and what to do about it. Callers refuse on [`Verdict::Fail`] and show [`Verdict::Note`].

use super::admin::{Admin, AdminError};
use super::session::Connected;
use super::url::Endpoint;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The server's version: 12 or later.
    Version,
    /// The connection of the admin is encrypted.
    Encryption,
    /// The fence is installed in our format.
    Fence,
    /// The role exists, can log in, is neither superuser nor a replication role.
    Role,
    /// The admin may change the role's password.
    Alterable,
    /// The role's password has no end of its own (`VALID UNTIL`).
    Expiry,
    /// What the server's log shows of our calls.
    ServerLog,
    /// The admin sees where sessions come from.
    SessionDetails,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Works, and a person should know.
    Note,
    /// Cannot work.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What about.
    pub subject: Subject,
    /// Which role, where it is about one.
    pub role: Option<String>,
    /// How it came out.
    pub verdict: Verdict,
    /// What is, and if that is not well, what to do.
    pub says: String,
}

impl Check {
    fn new(subject: Subject, verdict: Verdict, says: impl Into<String>) -> Self {
        Self { subject, role: None, verdict, says: says.into() }
    }
}

impl Admin {
    /// Asks the primary about itself and about each of the roles.
    ///
    /// # Errors
    /// [`AdminError`] if it cannot be asked. A missing or foreign fence is a failed check, not an error.
    pub async fn preflight(&self, roles: &[&str]) -> Result<Vec<Check>, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let checks = self.checks(endpoint, &connected, roles).await;
        connected.close().await;
        checks
    }

    async fn checks(&self, endpoint: &Endpoint, connected: &Connected, roles: &[&str]) -> Result<Vec<Check>, AdminError> {
        let mut checks = vec![version(connected.major), encryption(endpoint, connected.encrypted)];
        checks.push(match self.installed_format(endpoint, connected).await {
            Ok(Some(format)) => Check::new(Subject::Fence, Verdict::Pass, format!("the fence is installed, format {format}")),
            Ok(None) => Check::new(Subject::Fence, Verdict::Fail, "the fence is not installed in this database: run `keyward init`"),
            Err(e @ (AdminError::NewerFormat { .. } | AdminError::ForeignSchema { .. })) => {
                Check::new(Subject::Fence, Verdict::Fail, e.to_string())
            }
            Err(e) => return Err(e),
        });
        let shape = |_| AdminError::Answer { endpoint: endpoint.to_string() };
        let server = self.within(endpoint, connected.client.query_typed_one(SERVER, &[])).await?;
        checks.push(server_log(&server).map_err(shape)?);
        checks.push(session_details(&server).map_err(shape)?);
        for role in roles {
            let row = self.within(endpoint, connected.client.query_typed_opt(ROLE, &[(role, Type::TEXT)])).await?;
            let found = match &row {
                Some(row) => role_checks(role, connected.major, row).map_err(shape)?,
                None => vec![Check::new(Subject::Role, Verdict::Fail, format!("role {role} does not exist"))],
            };
            checks.extend(found.into_iter().map(|check| Check { role: Some((*role).to_owned()), ..check }));
        }
        Ok(checks)
    }
}

/// Settings that a server does not have (older, or an extension that is not loaded) are NULL.
const SERVER: &str = "SELECT current_setting('log_statement'), \
    current_setting('log_min_duration_statement')::text, \
    current_setting('log_parameter_max_length', true), \
    current_setting('pg_stat_statements.track', true), \
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') OR current_setting('is_superuser') = 'on'";

const ROLE: &str = "SELECT r.rolcanlogin, r.rolsuper OR r.rolreplication, r.rolname IN (current_user, session_user), \
    me.rolsuper, me.rolcreaterole, pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION'), \
    to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
    FROM pg_roles r CROSS JOIN pg_roles me WHERE r.rolname = $1 AND me.rolname = current_user";

fn version(major: u32) -> Check {
    match major {
        0 => Check::new(Subject::Version, Verdict::Note, "the server does not say its version; 12 or later is needed"),
        1..12 => Check::new(Subject::Version, Verdict::Fail, format!("PostgreSQL {major} is too old: 12 or later is needed")),
        _ => Check::new(Subject::Version, Verdict::Pass, format!("PostgreSQL {major}")),
    }
}

fn encryption(endpoint: &Endpoint, encrypted: bool) -> Check {
    let local = endpoint.is_local_socket() || ["localhost", "127.0.0.1", "::1"].contains(&endpoint.host.as_str());
    match (encrypted, local) {
        (true, _) => Check::new(Subject::Encryption, Verdict::Pass, "the admin's connection is encrypted"),
        (false, true) => Check::new(Subject::Encryption, Verdict::Pass, "the admin's connection is local and not encrypted"),
        (false, false) => Check::new(
            Subject::Encryption,
            Verdict::Note,
            "the admin's connection is not encrypted: add sslmode=verify-full to the admin's URL",
        ),
    }
}

fn server_log(row: &Row) -> Result<Check, tokio_postgres::Error> {
    let (statements, slow): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let (parameters, tracked): (Option<&str>, Option<&str>) = (row.try_get(2)?, row.try_get(3)?);
    let mut seen = Vec::new();
    // Our own session's setting: 0 if we are allowed to switch it off; before PostgreSQL 13 it does not exist and parameters are logged in full.
    if parameters != Some("0") {
        if statements == "all" {
            seen.push("log_statement = all".to_owned());
        }
        if slow != "-1" {
            seen.push(format!("log_min_duration_statement = {slow}"));
        }
    }
    if tracked == Some("all") {
        seen.push("pg_stat_statements.track = all".to_owned());
    }
    Ok(if seen.is_empty() {
        Check::new(Subject::ServerLog, Verdict::Pass, "the server's log shows nothing of a changed password")
    } else {
        let says = format!(
            "the server keeps the salted SCRAM verifiers of new passwords ({}); harmless for random values. From PostgreSQL 15 on, \
             GRANT SET ON PARAMETER log_parameter_max_length TO the admin keeps them out of the log",
            seen.join(", ")
        );
        Check::new(Subject::ServerLog, Verdict::Note, says)
    })
}

fn session_details(row: &Row) -> Result<Check, tokio_postgres::Error> {
    Ok(if row.try_get(4)? {
        Check::new(Subject::SessionDetails, Verdict::Pass, "the admin sees where sessions come from")
    } else {
        let says = "the admin sees that a role is in use but not from where: GRANT pg_read_all_stats to it";
        Check::new(Subject::SessionDetails, Verdict::Note, says)
    })
}

fn role_checks(role: &str, major: u32, row: &Row) -> Result<Vec<Check>, tokio_postgres::Error> {
    let (can_login, mighty, own): (bool, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (superuser, createrole, has_admin_option): (bool, bool, bool) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let until: Option<String> = row.try_get(6)?;
    let wrong = if own {
        Some("is the one that Keyward itself logs in with")
    } else if mighty {
        Some("is a superuser or replication role, which the fence does not touch")
    } else if !can_login {
        Some("cannot log in (NOLOGIN)")
    } else {
        None
    };
    let mut checks = vec![match wrong {
        Some(wrong) => Check::new(Subject::Role, Verdict::Fail, format!("role {role} {wrong}")),
        None => Check::new(Subject::Role, Verdict::Pass, format!("role {role} exists and can log in")),
    }];
    checks.push(alterable(role, major, superuser, createrole, has_admin_option));
    checks.push(match until {
        Some(until) if until != "infinity" => Check::new(
            Subject::Expiry,
            Verdict::Note,
            format!("every password of role {role} stops working at {until} (VALID UNTIL), rotated or not"),
        ),
        _ => Check::new(Subject::Expiry, Verdict::Pass, format!("passwords of role {role} do not expire by themselves")),
    });
    Ok(checks)
}

/// Up to 15 `CREATEROLE` suffices; from 16 on it also takes `ADMIN OPTION` on the role (release notes of 16, E.1.2).
fn alterable(role: &str, major: u32, superuser: bool, createrole: bool, has_admin_option: bool) -> Check {
    let says = if superuser || (createrole && (major < 16 || has_admin_option)) {
        return Check::new(Subject::Alterable, Verdict::Pass, format!("the admin may change the password of role {role}"));
    } else if createrole {
        format!("from PostgreSQL 16 on the admin needs: GRANT {role} TO the admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    } else {
        "the admin may not change passwords: ALTER ROLE the admin CREATEROLE".to_owned()
    };
    Check::new(Subject::Alterable, Verdict::Fail, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_alter_depends_on_the_version() {
        let table = [
            (15, false, true, false, Verdict::Pass),
            (16, false, true, false, Verdict::Fail),
            (16, false, true, true, Verdict::Pass),
            (17, true, false, false, Verdict::Pass),
            (15, false, false, true, Verdict::Fail),
        ];
        for (major, superuser, createrole, admin_option, verdict) in table {
            assert_eq!(
                alterable("app", major, superuser, createrole, admin_option).verdict,
                verdict,
                "{major} {createrole} {admin_option}"
            );
        }
    }

    #[test]
    fn old_servers_are_refused() {
        assert_eq!([11, 12, 17, 0].map(|v| version(v).verdict), [Verdict::Fail, Verdict::Pass, Verdict::Pass, Verdict::Note]);
    }
}
