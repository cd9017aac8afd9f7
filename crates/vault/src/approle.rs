//! The AppRole method seen from its administrator: what a role is, its secret ids, and ending them.
//!
//! A secret id leaves this module as [`Secret`] only. Making one is sent once: asked twice, Vault makes two.

use crate::call::{Call, Identity, Raw, checked, seconds};
use crate::client::{Client, valid_token};
use crate::token::wiped;
use crate::{Kind, VaultError};
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A role, as far as its secret ids are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRole {
    /// Whether a login needs a secret id at all.
    pub bind_secret_id: bool,
    /// How often one may be used; zero: without limit.
    pub secret_id_num_uses: u64,
    /// How long one lives; zero: for ever.
    pub secret_id_ttl: Duration,
}

/// A fresh secret id.
#[derive(Debug)]
pub struct SecretId {
    /// The secret id.
    pub secret_id: Secret,
    /// Its handle, which cannot be used to log in.
    pub accessor: String,
}

/// What a role knows of one of its secret ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretIdInfo {
    /// What was written to it when it was made.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RoleData {
    #[serde(default)]
    bind_secret_id: bool,
    #[serde(default)]
    secret_id_num_uses: u64,
    #[serde(default)]
    secret_id_ttl: i64,
}

#[derive(Deserialize)]
struct RoleIdData {
    role_id: String,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: String,
    secret_id_accessor: String,
}

#[derive(Deserialize)]
struct InfoData {
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Wrapped {
    wrap_info: WrapInfo,
}

#[derive(Deserialize)]
struct WrapInfo {
    token: String,
}

impl Client {
    /// A role of `auth/<mount>`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of this name.
    pub async fn approle(&self, mount: &str, role: &str) -> Result<AppRole, VaultError> {
        let (mount, role) = checked("GET auth/…/role", mount, role)?;
        let call = Call::read(Raw::get(format!("auth/{mount}/role/{role}")));
        let attempted = call.attempted.clone();
        let data: RoleData = self.run(call).await?.data(&attempted)?;
        let secret_id_ttl = seconds(data.secret_id_ttl);
        Ok(AppRole { bind_secret_id: data.bind_secret_id, secret_id_num_uses: data.secret_id_num_uses, secret_id_ttl })
    }

    /// A role's id, which is no secret by itself.
    pub async fn approle_role_id(&self, mount: &str, role: &str) -> Result<String, VaultError> {
        let (mount, role) = checked("GET auth/…/role-id", mount, role)?;
        let call = Call::read(Raw::get(format!("auth/{mount}/role/{role}/role-id")));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<RoleIdData>(&attempted)?.role_id)
    }

    /// Makes a secret id with these words on it, by which it can be found again. After a lost answer look for it.
    pub async fn new_secret_id(&self, mount: &str, role: &str, metadata: &BTreeMap<String, String>) -> Result<SecretId, VaultError> {
        let (mount, role) = checked("POST auth/…/secret-id", mount, role)?;
        // Vault takes this field as a JSON text.
        let body = serde_json::json!({ "metadata": serde_json::json!(metadata).to_string() });
        let call = Call::write(Raw::new(RequestMethod::POST, format!("auth/{mount}/role/{role}/secret-id")).json(&body));
        let attempted = call.attempted.clone();
        let data: SecretIdData = self.run(call).await?.data(&attempted)?;
        Ok(SecretId { secret_id: Secret::new(data.secret_id), accessor: data.secret_id_accessor })
    }

    /// The accessors of a role's secret ids.
    pub async fn secret_id_accessors(&self, mount: &str, role: &str) -> Result<Vec<String>, VaultError> {
        let (mount, role) = checked("LIST auth/…/secret-id", mount, role)?;
        let call = Call::read(Raw::new(RequestMethod::LIST, format!("auth/{mount}/role/{role}/secret-id")));
        let answer = self.ask(&call).await?;
        if answer.status == 404 {
            let error = answer.failure(&call.attempted, &[]);
            // Without a message: the role has none.
            return if error.errors.is_empty() { Ok(Vec::new()) } else { Err(error) };
        }
        Ok(answer.data::<Keys>(&call.attempted)?.keys)
    }

    /// What the role knows of a secret id by its accessor; `None` when it is gone.
    pub async fn secret_id_of_accessor(&self, mount: &str, role: &str, accessor: &str) -> Result<Option<SecretIdInfo>, VaultError> {
        let mut body = Fields::new();
        body.set_text("secret_id_accessor", &Secret::new(accessor));
        self.secret_id_info(mount, role, "secret-id-accessor/lookup", &body, None).await
    }

    /// What the role knows of a secret id itself, without using it up; `None` when it is gone.
    pub async fn secret_id_lookup(&self, mount: &str, role: &str, secret_id: &Secret) -> Result<Option<SecretIdInfo>, VaultError> {
        let mut body = Fields::new();
        body.set_text("secret_id", secret_id);
        self.secret_id_info(mount, role, "secret-id/lookup", &body, Some(secret_id)).await
    }

    async fn secret_id_info(
        &self,
        mount: &str,
        role: &str,
        what: &str,
        body: &Fields,
        hidden: Option<&Secret>,
    ) -> Result<Option<SecretIdInfo>, VaultError> {
        let (mount, role) = checked("POST auth/…/lookup", mount, role)?;
        // A POST that changes nothing.
        let mut call = Call::read(Raw::new(RequestMethod::POST, format!("auth/{mount}/role/{role}/{what}")).body(wiped(body)));
        if let Some(secret) = hidden {
            call = call.hide(secret);
        }
        let answer = self.ask(&call).await?;
        // Vault answers an unknown secret id with 204, and an unknown accessor with 404.
        if answer.status == 204 {
            return Ok(None);
        }
        if answer.status == 404 {
            let error = answer.failure(&call.attempted, &[]);
            return if error.says("role") && error.says("does not exist") { Err(error) } else { Ok(None) };
        }
        let data: InfoData = answer.data(&call.attempted)?;
        Ok(Some(SecretIdInfo { metadata: data.metadata.unwrap_or_default() }))
    }

    /// Ends a secret id by its accessor. One that is gone already is no error.
    pub async fn destroy_secret_id(&self, mount: &str, role: &str, accessor: &str) -> Result<(), VaultError> {
        let (mount, name) = checked("POST auth/…/destroy", mount, role)?;
        let body = serde_json::json!({ "secret_id_accessor": accessor });
        let call = Call::write(Raw::new(RequestMethod::POST, format!("auth/{mount}/role/{name}/secret-id-accessor/destroy")).json(&body));
        match self.run(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::Denied => Err(error),
            // Vault answers an unknown accessor with 500; asking is plain.
            Err(error) => match self.secret_id_of_accessor(mount, role, accessor).await {
                Ok(None) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Ends a token that is not ours, with what it made.
    pub async fn revoke_other(&self, token: &Secret) -> Result<(), VaultError> {
        let token = valid_token(token)?;
        let call = Call::write(Raw::new(RequestMethod::POST, "auth/token/revoke-self")).identity(Identity::Other(&token)).hide(&token);
        self.run(call).await.map(drop)
    }

    /// Wraps values into a token that gives them out once, within `ttl`.
    pub async fn wrap(&self, values: &Fields, ttl: Duration) -> Result<Secret, VaultError> {
        let call = Call::write(Raw::new(RequestMethod::POST, "sys/wrapping/wrap").body(wiped(values))).wrapped(ttl);
        let attempted = call.attempted.clone();
        let answer = self.run(call).await?;
        Ok(Secret::new(answer.bare::<Wrapped>(&attempted)?.wrap_info.token))
    }
}
