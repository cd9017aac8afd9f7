//! This machine: files that hold secrets, audit logs, the state folder and the port. Everything is looked at as the user who runs this.

use super::report::Finding;
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::commands::Daemon;
use crate::config::{Auth, Config, SecretRef, WebhookUrl, loose_permissions};
use rustix::fs::{Access, FlockOperation, access, flock};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::path::Path;

/// The file's own warnings, and files with secrets that others may read.
pub fn configuration(config: &Config) -> Vec<Finding> {
    let things = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut findings = vec![Finding::well(format!(
        "it is sound: {} and {}",
        things(config.secrets.len(), "secret"),
        things(config.vault.nodes.len(), "node")
    ))];
    findings.extend(config.warnings.iter().map(|warning| {
        let finding = Finding::warning(warning);
        if warning.contains("insecure = true is in use") { finding.is(Trouble::TlsUnverified) } else { finding }
    }));
    let loose: BTreeSet<String> = references(config).filter_map(loose_permissions).collect();
    findings.extend(loose.into_iter().map(|loose| Finding::warning(loose).is(Trouble::SecretFileOpen)));
    findings
}

/// Every reference to a secret outside Vault and inside.
fn references(config: &Config) -> impl Iterator<Item = &SecretRef> {
    let auth: Vec<&SecretRef> = match &config.vault.auth {
        None => Vec::new(),
        Some(Auth::Token(token)) => vec![token],
        Some(Auth::AppRole { role_id: _, secret_id, .. }) => vec![secret_id],
    };
    let admins = config.secrets.iter().flat_map(|s| s.kind.references()).map(|(reference, _)| reference);
    let smtp = config.alert.smtp.iter().filter_map(|smtp| smtp.password.as_ref());
    let webhook = config.alert.webhook.iter().flat_map(|webhook| {
        let url = if let WebhookUrl::Secret(reference) = &webhook.url { Some(reference) } else { None };
        url.into_iter().chain(&webhook.bearer)
    });
    let alertmanager = config.alert.alertmanager.iter().filter_map(|a| a.bearer.as_ref());
    auth.into_iter().chain(admins).chain(smtp).chain(webhook).chain(alertmanager)
}

/// The audit logs that are to be followed.
pub fn audit_logs(config: &Config) -> Vec<Finding> {
    let logs: Vec<_> = config.vault.nodes.iter().filter_map(|n| Some((&n.name, n.audit_log.as_ref()?))).collect();
    if logs.is_empty() {
        let says = "no audit log is followed: who reads what, and a log that falls silent, go unseen";
        return vec![
            Finding::warning(says).is(Trouble::AuditLogUnset).cure("name it in [[vault.node]]: audit_log = \"/var/log/vault/audit.log\""),
        ];
    }
    logs.into_iter().map(|(node, path)| audit_log(node, path)).collect()
}

fn audit_log(node: &str, path: &Path) -> Finding {
    let shown = path.display();
    let denied = |what: String| {
        Finding::wrong(what)
            .is(Trouble::AuditLogMissing)
            .cure(format!("let the daemon's user read it: setfacl -m u:keyward:r {shown}, and its folder; or give the audit device mode=0640 and the user its group"))
            .means(Exit::Denied)
    };
    // Asked before opening, because opening a pipe would wait for its writer.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Finding::wrong(format!("the audit log of {node}, {shown}, is no ordinary file")).is(Trouble::AuditLogMissing);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let says = format!("the audit log of {node}, {shown}, does not exist");
            return Finding::wrong(says)
                .is(Trouble::AuditLogMissing)
                .cure(format!("enable it on that node: vault audit enable file file_path={shown}"));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return denied(format!("the audit log of {node}, {shown}, cannot be reached: {error}"));
        }
        Err(error) => return Finding::wrong(format!("the audit log of {node}, {shown}: {error}")),
        Ok(_) => {}
    }
    match File::open(path).and_then(|mut file| file.read(&mut [0_u8; 1])) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return denied(format!("the audit log of {node}, {shown}, cannot be read: {error}"));
        }
        Err(error) => return Finding::wrong(format!("the audit log of {node}, {shown}, cannot be read: {error}")),
    }
    if path.parent().is_some_and(|folder| fs::read_dir(folder).is_err()) {
        let says = format!(
            "the audit log of {node}, {shown}, can be read, but its folder cannot be listed: lines written just before a rename may be lost"
        );
        return Finding::warning(says).cure("let the daemon's user list the folder");
    }
    Finding::well(format!("the audit log of {node}, {shown}, can be read"))
}

/// The state folder and the port, which a running daemon uses itself.
pub async fn door(config: &Config) -> Vec<Finding> {
    match Daemon::find(&config.socket).await {
        Ok(Some(_)) => vec![Finding::well("a daemon runs on this configuration's state folder; it has the folder and the port")],
        Ok(None) => vec![folder(&config.state_dir), port(config)],
        Err(error) => vec![Finding::warning(format!("{error:#}"))],
    }
}

fn port(config: &Config) -> Finding {
    // Given back at once.
    match TcpListener::bind(config.listen) {
        Ok(_) => Finding::well(format!("{} is free for HTTP", config.listen)),
        Err(error) => Finding::wrong(format!("HTTP cannot be served on {}: {error}", config.listen))
            .is(Trouble::PortTaken)
            .cure("see which program has the port (ss -ltnp), or name another in [http] listen")
            .means(Exit::Unavailable),
    }
}

fn folder(path: &Path) -> Finding {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Finding::wrong(format!("the state folder {shown} is no folder")).is(Trouble::StateFolder),
        Ok(_) if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() => unwritable(path),
        Ok(_) if is_locked(path) => {
            Finding::wrong(format!("another keyward uses the state folder {shown}, and does not answer at this configuration's socket"))
                .is(Trouble::StateFolder)
                .cure("stop it, or give this one a state_dir of its own")
        }
        Ok(_) => Finding::well(format!("the state folder {shown} can be written")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|p| p.exists());
            if above.is_some_and(|p| access(p, Access::WRITE_OK | Access::EXEC_OK).is_ok()) {
                Finding::well(format!("the state folder {shown} will be made"))
            } else {
                unwritable(path)
            }
        }
        Err(error) => Finding::wrong(format!("the state folder {shown}: {error}")),
    }
}

fn unwritable(path: &Path) -> Finding {
    let shown = path.display();
    Finding::wrong(format!("this user may not write the state folder {shown}"))
        .is(Trouble::StateFolder)
        .cure(format!("run this as the daemon's user, or: install -d -m 700 -o keyward {shown}"))
        .means(Exit::Denied)
}

/// Whether somebody holds the folder's lock. A lock that is taken to see so is given back at once.
fn is_locked(folder: &Path) -> bool {
    File::open(folder.join("lock"))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}
