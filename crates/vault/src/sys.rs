//! What the watches ask of the server itself: its audit devices, and leases that it cannot revoke.

use crate::call::{Call, Raw};
use crate::client::Client;
use crate::{VaultError, path};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An audit device that the cluster is told to write to. Every node writes its own file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDevice {
    /// With its closing slash: `file/`.
    pub path: String,
    /// `file`, `syslog`, `socket`, `http`.
    pub kind: String,
    /// For a file device where it writes: a path on the server, `stdout` or `discard`.
    pub file_path: Option<String>,
    /// Whether secrets stand in its log in clear (`log_raw`).
    pub raw: bool,
    /// All options as Vault gives them.
    pub options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct DeviceData {
    #[serde(rename = "type")]
    kind: String,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct HashData {
    hash: String,
}

#[derive(Deserialize)]
struct CountData {
    lease_count: u64,
}

impl Client {
    /// The audit devices. An empty list means that nothing is audited.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] when our token lacks `read` and `sudo` on `sys/audit`: then nothing is known.
    pub async fn audit_devices(&self) -> Result<Vec<AuditDevice>, VaultError> {
        let call = Call::read(Raw::get("sys/audit"));
        let attempted = call.attempted.clone();
        let data: BTreeMap<String, DeviceData> = self.run(call).await?.data(&attempted)?;
        Ok(data.into_iter().map(|(path, device)| device.at(path)).collect())
    }

    /// How `text` stands in the log of the audit device `device` (`file/`), which hashes with a salt of its own. Nothing is changed.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] without `update` on `sys/audit-hash/<device>`, [`crate::Kind::Invalid`] for an unknown device.
    pub async fn audit_hash(&self, device: &str, text: &str) -> Result<String, VaultError> {
        let device = path::mount("POST sys/audit-hash", device)?;
        let body = serde_json::json!({ "input": text });
        let call = Call::read(Raw::new(RequestMethod::POST, format!("sys/audit-hash/{device}")).json(&body));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<HashData>(&attempted)?.hash)
    }

    /// How many leases Vault has given up revoking: users that live on in some database.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] without `read` on `sys/leases/count`.
    pub async fn irrevocable_leases(&self) -> Result<u64, VaultError> {
        let call = Call::read(Raw::get("sys/leases/count").query("type=irrevocable".into()));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<CountData>(&attempted)?.lease_count)
    }
}

impl DeviceData {
    fn at(self, path: String) -> AuditDevice {
        let options = self.options.unwrap_or_default();
        AuditDevice {
            path,
            file_path: options.get("file_path").or_else(|| options.get("path")).cloned(),
            raw: options.get("log_raw").is_some_and(|v| matches!(v.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True")),
            kind: self.kind,
            options,
        }
    }
}
