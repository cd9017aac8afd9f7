//! Makes one thing as it is wanted. Each is one call that changes something, or a few that the next run goes on with.

use super::files;
use super::gather::Eyes;
use super::plan::{State, Verdict};
use super::wanted::{Item, Thing};
use crate::commands::unclaimed::end_secret_ids;
use anyhow::{Context, Result, bail};
use keyward_secret::{Generator, Secret, SystemRandom};
use keyward_vault::{Client, Kind, VaultError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Vault sets a KV mount up within seconds.
const MOUNT_LIMIT: Duration = Duration::from_mins(1);
const MOUNT_PAUSE: Duration = Duration::from_millis(100);
/// What is noted with Keyward's secret ids: the run that made them.
const LABEL: &str = "keyward_init";

/// What became of it: its state, and what is to be said besides.
pub async fn apply(eyes: &Eyes<'_>, item: &Item, verdict: &Verdict) -> Result<(State, Vec<String>)> {
    let done = (verdict.state(), verdict.details());
    match &item.thing {
        Thing::Audit { device, file } => return audit(eyes.client, device, file).await,
        Thing::Mount { is_auth, path, kind, is_kv } => mount(eyes.client, *is_auth, path, kind, *is_kv).await?,
        Thing::Policy { name, text, .. } => {
            put(eyes.client, &format!("sys/policies/acl/{name}"), &map(json!({ "policy": text })), None).await?;
        }
        Thing::Object { path, body, at_first, .. } => {
            let mut body = body.clone();
            if *verdict == Verdict::Create {
                body.extend(at_first.clone());
            }
            put(eyes.client, path, &body, None).await?;
        }
        Thing::EngineUser { admin, user, comment, .. } => {
            // A password that nobody knows: the connection gets its own.
            eyes.admin(admin).await?.make_engine_user(user, comment, &password()?).await?;
        }
        Thing::Connection { path, body, admin, user, comment } => {
            let fresh = if *verdict == Verdict::Create { Some(password()?) } else { None };
            if let Some(password) = &fresh {
                eyes.admin(admin).await?.make_engine_user(user, comment, password).await?;
            }
            put(eyes.client, path, body, fresh.as_ref()).await?;
        }
        Thing::Rights { admin, rights } => eyes.admin(admin).await?.grant_rights(rights).await?,
        Thing::Fence { admin } => drop(eyes.admin(admin).await?.install().await?),
        Thing::Login { mount, role, role_id, secret_id } => return login(eyes.client, (mount, role), role_id, secret_id).await,
    }
    Ok(done)
}

async fn put(client: &Client, path: &str, body: &Map<String, Value>, password: Option<&Secret>) -> Result<()> {
    Ok(client.put_object(path, body, password).await?)
}

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// Letters and digits, of far more than 128 bits.
fn password() -> Result<Secret> {
    Ok(Generator::password().generate(&SystemRandom)?)
}

async fn mount(client: &Client, is_auth: bool, path: &str, kind: &str, is_kv: bool) -> Result<()> {
    let table = if is_auth { "sys/auth" } else { "sys/mounts" };
    let body = if is_kv { json!({ "type": kind, "options": { "version": "2" } }) } else { json!({ "type": kind }) };
    put(client, &format!("{table}/{path}"), &map(body), None).await?;
    let began = Instant::now();
    while is_kv && !client.kv_is_ready(path).await? {
        if began.elapsed() > MOUNT_LIMIT {
            bail!("{path}/ is mounted, and not ready after {} s; run this again", MOUNT_LIMIT.as_secs());
        }
        tokio::time::sleep(MOUNT_PAUSE).await;
    }
    Ok(())
}

async fn audit(client: &Client, device: &str, file: &Path) -> Result<(State, Vec<String>)> {
    let body = json!({ "type": "file", "options": { "file_path": file, "mode": "0640" } });
    match client.put_object(&format!("sys/audit/{device}"), &map(body), None).await {
        Ok(()) => Ok((State::Created, Vec::new())),
        Err(error) if wants_the_server_file(&error) => Ok((State::ByHand, vec![stanza(device, file)])),
        Err(error) => Err(error).with_context(|| format!("the server must be able to write {}", file.display())),
    }
}

/// OpenBao takes its audit devices from the server's own file (2.3.2 and later), unless it is told otherwise.
fn wants_the_server_file(error: &VaultError) -> bool {
    error.kind == Kind::Invalid && error.errors.iter().any(|e| e.contains("via API") || e.contains("unsafe_allow_api_audit_creation"))
}

fn stanza(device: &str, file: &Path) -> String {
    format!(
        "the server takes audit devices from its own file only; write this into it on every node, and send it SIGHUP:\n\
         audit \"file\" \"{device}\" {{\n  options {{\n    file_path = \"{}\"\n    mode      = \"0640\"\n  }}\n}}",
        file.display()
    )
}

/// A secret id whose file was not written is known by the label that was noted beforehand, and is ended by the next run.
async fn login(client: &Client, (mount, role): (&str, &str), role_id: &Path, secret_id: &Path) -> Result<(State, Vec<String>)> {
    let mut said = Vec::new();
    if !role_id.exists() {
        let id = client.approle_role_id(mount, role).await?;
        files::write_private(role_id, &Secret::new(id))?;
        said.push(format!("wrote {}", role_id.display()));
    }
    let intent = files::beside(secret_id, ".intent");
    if let Some(label) = files::read_label(&intent) {
        end_secret_ids(client, mount, role, (LABEL, &label)).await?;
    }
    if !secret_id.exists() {
        let label = files::fresh_label()?;
        files::write_private(&intent, &Secret::new(label.clone()))?;
        let metadata = BTreeMap::from([(LABEL.to_owned(), label)]);
        let made = client.new_secret_id(mount, role, &metadata).await?;
        files::write_private(secret_id, &made.secret_id)?;
        said.push(format!("wrote {}; the daemon's user must be able to read both, and nobody else", secret_id.display()));
    }
    files::remove(&intent)?;
    Ok((State::Created, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_wants_its_file_written_is_told_from_other_refusals() {
        let says = |kind, text: &str| VaultError::new(kind, "POST sys/audit/file", text);
        assert!(wants_the_server_file(&says(Kind::Invalid, "cannot enable audit device via API")));
        assert!(!wants_the_server_file(&says(Kind::Invalid, "sanity check failed; unable to open \"/x\" for writing")));
        assert!(!wants_the_server_file(&says(Kind::Denied, "cannot enable audit device via API")));
        assert!(stanza("file", Path::new("/v/audit.log")).contains("file_path = \"/v/audit.log\""));
    }
}
