//! Signatures by a key of the transit engine, over texts that are no secrets.

use crate::VaultError;
use crate::call::{Call, Raw};
use crate::client::Client;
use crate::path;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustify::enums::RequestMethod;
use serde::Deserialize;

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

#[derive(Deserialize)]
struct Valid {
    valid: bool,
}

impl Client {
    /// Has a text signed by the newest version of a key. The signature names the version.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] without `update` on `<mount>/sign/<key>`, [`crate::Kind::Invalid`] for a key that cannot sign.
    pub async fn sign(&self, mount: &str, key: &str, text: &str) -> Result<String, VaultError> {
        let body = serde_json::json!({ "input": STANDARD.encode(text) });
        Ok(self.signing::<Signed>("sign", mount, key, &body).await?.signature)
    }

    /// Whether a text was signed so by a key.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] without `update` on `<mount>/verify/<key>`.
    pub async fn is_signed(&self, mount: &str, key: &str, text: &str, signature: &str) -> Result<bool, VaultError> {
        let body = serde_json::json!({ "input": STANDARD.encode(text), "signature": signature });
        Ok(self.signing::<Valid>("verify", mount, key, &body).await?.valid)
    }

    /// Both change nothing, so that they may be repeated.
    async fn signing<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        mount: &str,
        key: &str,
        body: &serde_json::Value,
    ) -> Result<T, VaultError> {
        let mount = path::mount("POST transit", mount)?;
        let key = path::path("POST transit", key)?;
        let call = Call::read(Raw::new(RequestMethod::POST, format!("{mount}/{what}/{key}")).json(body));
        let attempted = call.attempted.clone();
        self.run(call).await?.data(&attempted)
    }
}
