//! What Vault keeps under a path of its API and shows as a JSON object (mounts, policies, roles, connections), for whoever sets a server up.
//!
//! Never for secrets' documents: those have check-and-set, and stand in `kv`.

use crate::call::{Call, Raw};
use crate::client::Client;
use crate::token::wiped;
use crate::{Kind, VaultError, path};
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

impl Client {
    /// The object at an API path such as `sys/policies/acl/app`; `None` where there is none, or where nothing is mounted.
    pub async fn object(&self, at: &str) -> Result<Option<Map<String, Value>>, VaultError> {
        let call = Call::read(Raw::get(path::path("GET", at)?));
        let answer = self.ask(&call).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        answer.data(&call.attempted).map(Some)
    }

    /// The text of an ACL policy; `None` where there is none.
    pub async fn policy(&self, name: &str) -> Result<Option<String>, VaultError> {
        let found = self.object(&format!("sys/policies/acl/{name}")).await?;
        Ok(found.map(|policy| policy.get("policy").and_then(Value::as_str).unwrap_or_default().to_owned()))
    }

    /// The names below an API path; empty where there are none, or where nothing is mounted.
    pub async fn names_below(&self, at: &str) -> Result<Vec<String>, VaultError> {
        let call = Call::read(Raw::new(RequestMethod::LIST, path::path("LIST", at)?));
        let answer = self.ask(&call).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        Ok(answer.data::<Keys>(&call.attempted)?.keys)
    }

    /// Writes an object. Sent once. `password` becomes the field of that name, and never stands in an error.
    pub async fn put_object(&self, at: &str, body: &Map<String, Value>, password: Option<&Secret>) -> Result<(), VaultError> {
        let at = path::path("POST", at)?;
        let mut fields = Fields::from_json(body.clone());
        if let Some(password) = password {
            fields.set_text("password", password);
        }
        let mut call = Call::write(Raw::new(RequestMethod::POST, at).body(wiped(&fields))).database();
        if let Some(password) = password {
            call = call.hide(password);
        }
        self.run(call).await.map(drop)
    }

    /// Whether a KV version 2 mount is set up; for a moment after it was made it refuses everything.
    pub async fn kv_is_ready(&self, mount: &str) -> Result<bool, VaultError> {
        let mount = path::mount("GET config", mount)?;
        match self.run(Call::write(Raw::get(format!("{mount}/config")))).await {
            Ok(_) => Ok(true),
            // Whoever may not read the settings is refused only after the mount was found ready.
            Err(error) if error.kind == Kind::Denied => Ok(true),
            Err(error) if error.kind == Kind::Internal => Ok(false),
            Err(error) => Err(error),
        }
    }
}
