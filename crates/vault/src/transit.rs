//! The transit engine's keys: what they are, a new version, a probe that proves one, the oldest that still opens, and what they encrypt.
//!
//! Never repeats a rotation: asked twice, Vault makes two versions.

use crate::call::{Call, Raw, checked, seconds};
use crate::client::Client;
use crate::token::wiped;
use crate::{Kind, VaultError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a probe says, in base64: nobody's secret.
const PROBE: &str = "a2V5d2FyZCBwcm9iZQ==";

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// Its newest version.
    pub latest_version: u64,
    /// The oldest version that still decrypts or verifies.
    pub min_decryption_version: u64,
    /// Vault makes a new version by itself so long after the last; `None`: never.
    pub auto_rotate: Option<Duration>,
    /// What it is for.
    pub usage: TransitUsage,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitUsage {
    /// It encrypts; `derived`: with a context.
    Encrypts {
        /// Whether every call needs a context.
        derived: bool,
    },
    /// It signs only.
    Signs,
    /// Neither (an HMAC key).
    Neither,
}

#[derive(Deserialize)]
struct KeyData {
    latest_version: u64,
    #[serde(default)]
    min_decryption_version: u64,
    #[serde(default)]
    auto_rotate_period: i64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    supports_encryption: bool,
    #[serde(default)]
    supports_signing: bool,
}

impl From<KeyData> for TransitKey {
    fn from(data: KeyData) -> Self {
        let usage = match (data.supports_encryption, data.supports_signing) {
            (true, _) => TransitUsage::Encrypts { derived: data.derived },
            (false, true) => TransitUsage::Signs,
            (false, false) => TransitUsage::Neither,
        };
        let auto_rotate = Some(seconds(data.auto_rotate_period)).filter(|d| !d.is_zero());
        Self { latest_version: data.latest_version, min_decryption_version: data.min_decryption_version, auto_rotate, usage }
    }
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

#[derive(Deserialize)]
struct Valid {
    valid: bool,
}

impl Client {
    /// A key's versions, without the key.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of this name.
    pub async fn transit_key(&self, mount: &str, key: &str) -> Result<TransitKey, VaultError> {
        let (mount, key) = checked("GET transit key", mount, key)?;
        let call = Call::read(Raw::get(format!("{mount}/keys/{key}")));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<KeyData>(&attempted)?.into())
    }

    /// Asks Vault for a new version. Sent once. After a failure with [`VaultError::outcome_unknown`] look at the newest version.
    pub async fn rotate_transit_key(&self, mount: &str, key: &str) -> Result<(), VaultError> {
        let (mount, key) = checked("POST transit rotate", mount, key)?;
        self.run(Call::write(Raw::new(RequestMethod::POST, format!("{mount}/keys/{key}/rotate")))).await.map(drop)
    }

    /// Encrypts a probe with one version and decrypts it again, or signs and verifies it.
    ///
    /// # Errors
    /// [`Kind::Internal`] when what came back is not what was sent; [`Kind::Invalid`] for a key that does neither.
    pub async fn transit_probe(&self, mount: &str, key: &str, usage: TransitUsage, version: u64) -> Result<(), VaultError> {
        let (mount, key) = checked("POST transit probe", mount, key)?;
        let (there, back) = match usage {
            TransitUsage::Encrypts { derived } => {
                let context = if derived { serde_json::json!(PROBE) } else { serde_json::Value::Null };
                let body = serde_json::json!({ "plaintext": PROBE, "key_version": version, "context": context });
                let sealed: Encrypted = self.transit_call(&format!("{mount}/encrypt/{key}"), &body).await?;
                let body = serde_json::json!({ "ciphertext": sealed.ciphertext, "context": context });
                let opened: Decrypted = self.transit_call(&format!("{mount}/decrypt/{key}"), &body).await?;
                (sealed.ciphertext, opened.plaintext == PROBE)
            }
            TransitUsage::Signs => {
                let body = serde_json::json!({ "input": PROBE, "key_version": version });
                let signed: Signed = self.transit_call(&format!("{mount}/sign/{key}"), &body).await?;
                let body = serde_json::json!({ "input": PROBE, "signature": signed.signature });
                let checked: Valid = self.transit_call(&format!("{mount}/verify/{key}"), &body).await?;
                (signed.signature, checked.valid)
            }
            TransitUsage::Neither => {
                return Err(VaultError::new(Kind::Invalid, "POST transit probe", "a key that neither encrypts nor signs cannot be proved"));
            }
        };
        if !back || !there.starts_with(&format!("vault:v{version}:")) {
            return Err(VaultError::new(
                Kind::Internal,
                "POST transit probe",
                format!("version {version} did not give back what it was given"),
            ));
        }
        Ok(())
    }

    /// A call that changes nothing, so that it may be repeated.
    async fn transit_call<T: for<'a> Deserialize<'a>>(&self, path: &str, body: &serde_json::Value) -> Result<T, VaultError> {
        let call = Call::read(Raw::new(RequestMethod::POST, path).json(body));
        let attempted = call.attempted.clone();
        self.run(call).await?.data(&attempted)
    }

    /// Encrypts bytes with the newest version of a key.
    pub async fn transit_encrypt(&self, mount: &str, key: &str, plaintext: &[u8]) -> Result<String, VaultError> {
        let (mount, key) = checked("POST transit encrypt", mount, key)?;
        let mut body = Fields::new();
        body.set_text("plaintext", &Secret::new(STANDARD.encode(plaintext)));
        // It changes nothing, so it may be repeated.
        let call = Call::read(Raw::new(RequestMethod::POST, format!("{mount}/encrypt/{key}")).body(wiped(&body)));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<Encrypted>(&attempted)?.ciphertext)
    }

    /// Decrypts what was encrypted with any version of a key that may still decrypt.
    pub async fn transit_decrypt(&self, mount: &str, key: &str, ciphertext: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (mount, key) = checked("POST transit decrypt", mount, key)?;
        let body = serde_json::json!({ "ciphertext": ciphertext });
        let call = Call::read(Raw::new(RequestMethod::POST, format!("{mount}/decrypt/{key}")).json(&body));
        let attempted = call.attempted.clone();
        let plaintext = Secret::new(self.run(call).await?.data::<Decrypted>(&attempted)?.plaintext);
        let decoded = STANDARD.decode(plaintext.expose()).map(Zeroizing::new);
        // The decoder's own words would quote the text.
        decoded.map_err(|_| VaultError::new(Kind::Internal, attempted, "the answer holds no base64"))
    }

    /// From now on nothing older than this version is decrypted or verified. Data that was not rewrapped is unreadable then.
    pub async fn transit_min_decryption(&self, mount: &str, key: &str, version: u64) -> Result<(), VaultError> {
        let (mount, key) = checked("POST transit config", mount, key)?;
        let body = serde_json::json!({ "min_decryption_version": version });
        self.run(Call::write(Raw::new(RequestMethod::POST, format!("{mount}/keys/{key}/config")).json(&body))).await.map(drop)
    }
}
