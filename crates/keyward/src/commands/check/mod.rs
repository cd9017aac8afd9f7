//! `check`: whether a configuration can work, said without changing anything. Everything is looked at; nothing ends at the first finding.
//!
//! ```text
//! file → server → token → permissions → records → each secret → audit logs → alerts → this machine
//! ```
//!
//! Where Vault cannot be asked, what depends on it is said to be unknown. It leaves traces where proof needs them: one refused login per
//! way into PostgreSQL, and one login by AppRole, whose token it gives back.

mod alerts;
mod machine;
pub(super) mod mounts;
pub(super) mod needs;
mod postgres;
pub(super) mod report;
mod secrets;
pub(super) mod server;
mod static_role;
mod token;
pub(super) mod trouble;

use super::alone::Alone;
use super::output::Output;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::ports::failure_of;
use crate::session;
use anyhow::Result;
use keyward_vault::{Client, Kind};
use report::{Finding, Report};
use std::sync::Arc;
use trouble::Trouble;

/// Looks at everything and prints what was found.
///
/// # Errors
/// None of what it looks at: that is a finding.
pub async fn run(config: Config, environment: &Environment, out: Output) -> Result<Exit> {
    let mut report = Report::new(out);
    if let Some(looked) = look(config, environment, &mut report).await {
        looked.leave().await;
    }
    Ok(report.finish())
}

/// What a look leaves behind, for whoever looks further.
pub struct Looked {
    /// Logged in, if [`Self::can_ask`].
    pub alone: Arc<Alone>,
    /// Whether the server answers calls.
    pub is_usable: bool,
    /// Whether Keyward's own login works.
    pub can_ask: bool,
    is_ours: bool,
}

impl Looked {
    /// Gives the token of the login back.
    pub async fn leave(self) {
        if self.is_ours {
            session::give_back(self.alone.live.vault.client()).await;
        }
    }
}

/// Looks at everything; `None` where there can be no client for Vault.
pub async fn look(config: Config, environment: &Environment, report: &mut Report) -> Option<Looked> {
    report.add("Configuration", machine::configuration(&config));
    let looked = match Alone::offline(config.clone(), environment) {
        Ok(alone) => Some(vault_and_secrets(Arc::new(alone), environment, report).await),
        Err(error) => {
            let unknown = Finding::unknown("token, permissions and secrets: no client for Vault can be made");
            report.add("Vault", vec![Finding::wrong(format!("{error:#}")), unknown]);
            None
        }
    };
    report.add("Alerts", alerts::look(&config.alert, environment).await);
    report.add("This machine", machine::door(&config).await);
    looked
}

async fn vault_and_secrets(alone: Arc<Alone>, environment: &Environment, report: &mut Report) -> Looked {
    let (config, client) = (&alone.live.config, alone.live.vault.client());
    let server = server::look(client, &config.vault).await;
    report.add("Vault", server.findings);
    let mut audit = machine::audit_logs(config);
    let mut is_ours = false;
    let mut can_ask = false;
    if server.is_usable {
        let login = token::log_in(client, config, environment).await;
        (is_ours, can_ask) = (login.is_ours, login.is_usable);
        report.add("Token", login.findings);
    }
    if can_ask {
        report.add("Permissions", permissions(&alone).await);
        report.add("Records", mounts::records(client, &config.vault.record_mount).await);
        audit.extend(audit_devices(client).await);
        report.add("Leases", leases(client).await.into_iter().collect());
    } else {
        report.add("Permissions", vec![Finding::unknown("what the token may do, and where things are mounted: Vault could not be asked")]);
    }
    report.add("Audit log", audit);
    for (name, looking) in secrets::start(&alone, can_ask) {
        let findings = looking
            .await
            .unwrap_or_else(|error| vec![Finding::wrong(format!("looking at it ended abnormally: {error}")).means(Exit::Internal)]);
        report.add(format!("Secret {name}"), findings);
    }
    let is_usable = server.is_usable;
    Looked { alone, is_usable, can_ask, is_ours }
}

async fn permissions(alone: &Alone) -> Vec<Finding> {
    let config = &alone.live.config;
    let (places, mut findings) = mounts::places(&alone.live.vault, &needs::paths(config)).await;
    let needs = needs::needs(config, &places);
    let paths: Vec<&str> = needs.iter().map(|n| n.path.as_str()).collect();
    match alone.live.vault.client().capabilities_self(&paths).await {
        Ok(capabilities) => {
            findings.extend(needs::judge(&needs, &capabilities));
            findings.extend(mounts::missing(&places, &capabilities));
        }
        Err(error) if error.kind == Kind::Denied => findings.push(
            Finding::warning("the token may not ask what it may do, so that nobody can say whether it may do enough")
                .is(Trouble::RightUnknown)
                .cure(needs::policy_line("sys/capabilities-self", &["update"])),
        ),
        Err(error) => findings.push(Finding::failed("what the token may do", &failure_of(&error))),
    }
    findings
}

/// Users in databases that Vault wanted to remove and could not.
async fn leases(client: &Client) -> Option<Finding> {
    match client.irrevocable_leases().await {
        Ok(0) => Some(Finding::well("there is no lease that Vault could not revoke")),
        Ok(count) => Some(
            Finding::warning(format!("Vault has given up revoking {count} leases: their users live on in the databases"))
                .cure("see why (vault read sys/leases type=irrevocable), mend it, then: vault lease revoke LEASE"),
        ),
        // Said by the permissions.
        Err(error) if error.kind == Kind::Denied => None,
        Err(error) => Some(Finding::failed("leases that could not be revoked", &failure_of(&error))),
    }
}

/// Whether Vault audits at all, which few tokens may see.
pub async fn audit_devices(client: &Client) -> Vec<Finding> {
    let devices = match client.audit_devices().await {
        Ok(devices) => devices,
        Err(error) if error.kind == Kind::Denied => {
            let says = "which audit devices Vault has: the token may not see them (optional)";
            return vec![Finding::unknown(says).cure(needs::policy_line("sys/audit", &["read", "sudo"]))];
        }
        Err(error) => return vec![Finding::failed("the audit devices", &failure_of(&error))],
    };
    if devices.is_empty() {
        return vec![
            Finding::warning("Vault has no audit device: nothing is audited")
                .is(Trouble::AuditDeviceMissing)
                .cure("vault audit enable file file_path=/var/log/vault/audit.log"),
        ];
    }
    let raw = devices.iter().filter(|d| d.raw);
    raw.map(|d| {
        Finding::warning(format!("the audit device {} writes secrets in clear (log_raw)", d.path))
            .is(Trouble::AuditRaw)
            .cure("enable it without log_raw")
    })
    .collect()
}
