//! The file audit device of a test's Vault, added and taken away again: Vault is asked by its API, OpenBao takes its devices from the
//! server's own file only, and reads that again at SIGHUP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::process::Signal;
use crate::vault::{SERVER_FILE, VaultServer};
use crate::vault_binary::Product;

const LIMIT: Duration = Duration::from_mins(1);

/// What follows in the server's file is the audit device.
const MARK: &str = "# The audit device.\n";

impl VaultServer {
    /// Adds the audit device `file/`, which writes to [`Self::audit_log`]; returns once that file is there. What is there already stays.
    pub fn add_audit(&self) -> Result<()> {
        match self.product {
            Product::Vault => {
                let body = json!({ "type": "file", "options": { "file_path": self.audit_log, "mode": "0640" } });
                self.must("PUT", "sys/audit/file", Some(body)).context("enable the audit device")?;
            }
            Product::OpenBao => {
                declare(self.folder()?, Some(&self.audit_log))?;
                self.signal(Signal::HUP)?;
            }
        }
        crate::poll(LIMIT, || self.audit_log.exists().then_some(())).context("the audit file did not appear")
    }

    /// Takes the audit device away; returns once the server has none.
    pub fn remove_audit(&self) -> Result<()> {
        match self.product {
            Product::Vault => self.must("DELETE", "sys/audit/file", None).map(drop)?,
            Product::OpenBao => {
                declare(self.folder()?, None)?;
                self.signal(Signal::HUP)?;
            }
        }
        let gone = || self.must("GET", "sys/audit", None).is_ok_and(|devices| devices.pointer("/data/file~1").is_none()).then_some(());
        crate::poll(LIMIT, gone).context("the audit device is still there")
    }

    /// Has the server open its audit file anew (SIGHUP), after the file was renamed; returns once the new file is there.
    pub fn reopen_audit(&self) -> Result<()> {
        self.signal(Signal::HUP)?;
        crate::poll(LIMIT, || self.audit_log.exists().then_some(())).context("Vault did not open its audit file anew")
    }
}

/// Writes the device into OpenBao's own file in `folder`, or takes it out of there.
pub(crate) fn declare(folder: &Path, log: Option<&Path>) -> Result<()> {
    let file = folder.join(SERVER_FILE);
    let text = fs::read_to_string(&file).context("read the server's own file")?;
    fs::write(&file, declared(&text, log)).context("write the server's own file")
}

fn declared(text: &str, log: Option<&Path>) -> String {
    let rest = text.split(MARK).next().unwrap_or_default();
    let device = log.map_or(String::new(), |path| {
        format!("{MARK}audit \"file\" \"file\" {{\n  options {{\n    file_path = \"{}\"\n    mode = \"0640\"\n  }}\n}}\n", path.display())
    });
    format!("{rest}{device}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_comes_into_the_server_s_file_once_and_out_of_it_again() {
        let plain = "disable_mlock = true\n";
        let once = declared(plain, Some(Path::new("/log")));
        assert_eq!(once.matches("audit \"file\" \"file\"").count(), 1, "{once}");
        assert_eq!(declared(&once, Some(Path::new("/log"))), once);
        assert_eq!(declared(&once, None), plain);
    }
}
