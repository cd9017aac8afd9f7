//! Tokens of others, for people who look after them: making one (plain, or wrapped for delivery), finding all of them by accessor.
//!
//! A token leaves this module as [`Secret`] only. Making one is sent once: asked twice, Vault makes two.

use crate::call::{Call, Raw, checked, seconds};
use crate::client::{Client, valid_token};
use crate::token::{AuthData, Login, LookupData, TokenInfo, wiped};
use crate::{Kind, VaultError};
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A token that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    /// The token role that it is made by, which then says most of the rest; `None`: made freely.
    pub role: Option<String>,
    /// What it may do.
    pub policies: Vec<String>,
    /// Every renewal sets its life to this; `None`: it ends at a maximum.
    pub period: Option<Duration>,
    /// How long it lives at first; `None`: as the server or the role says.
    pub ttl: Option<Duration>,
    /// Beyond this age no renewal helps.
    pub explicit_max_ttl: Option<Duration>,
    /// Whether it survives the token that makes it.
    pub orphan: bool,
    /// Its name in the audit log, behind `token-`.
    pub display_name: String,
    /// Whether it gets the policy `default` too.
    pub with_default_policy: bool,
    /// What is noted with it.
    pub meta: BTreeMap<String, String>,
}

/// Something that can be taken out once by whoever has this token.
#[derive(Debug)]
pub struct Wrapped {
    /// The wrapping token.
    pub token: Secret,
    /// The handle of what is wrapped; empty where that has none.
    pub accessor: String,
    /// How long it can be unwrapped.
    pub ttl: Duration,
}

#[derive(Deserialize)]
struct WrapEnvelope {
    wrap_info: WrapData,
}

#[derive(Deserialize)]
struct WrapData {
    token: String,
    ttl: i64,
    #[serde(default)]
    wrapped_accessor: String,
}

impl NewToken {
    fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "display_name": self.display_name,
            "meta": self.meta,
            "no_default_policy": !self.with_default_policy,
        });
        if let Some(body) = body.as_object_mut() {
            if !self.policies.is_empty() {
                body.insert("policies".into(), self.policies.clone().into());
            }
            for (name, limit) in [("period", self.period), ("ttl", self.ttl), ("explicit_max_ttl", self.explicit_max_ttl)] {
                body.extend(limit.map(|limit| (name.to_owned(), format!("{}s", limit.as_secs().max(1)).into())));
            }
        }
        body
    }

    /// Whether it is an orphan is said by the path, so that a policy can allow it without `sudo`.
    fn endpoint(&self) -> Result<Raw, VaultError> {
        let path = match (&self.role, self.orphan) {
            (Some(role), _) => {
                let (_, role) = checked("POST token create", "auth/token", role)?;
                format!("auth/token/create/{role}")
            }
            (None, true) => "auth/token/create-orphan".to_owned(),
            (None, false) => "auth/token/create".to_owned(),
        };
        Ok(Raw::new(RequestMethod::POST, path).json(&self.body()))
    }
}

impl Client {
    /// Makes a token.
    pub async fn create_token(&self, new: &NewToken) -> Result<Login, VaultError> {
        let call = Call::write(new.endpoint()?);
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.auth::<AuthData>(&attempted)?.into())
    }

    /// Makes a token that nobody sees: only a token that gives it out once, within `wrap`.
    pub async fn create_token_wrapped(&self, new: &NewToken, wrap: Duration) -> Result<Wrapped, VaultError> {
        self.wrapped(Call::write(new.endpoint()?).wrapped(wrap)).await
    }

    /// Makes a secret id that nobody sees: only a token that gives it out once, within `wrap`.
    pub async fn new_secret_id_wrapped(
        &self,
        mount: &str,
        role: &str,
        metadata: &BTreeMap<String, String>,
        wrap: Duration,
    ) -> Result<Wrapped, VaultError> {
        let (mount, role) = checked("POST auth/…/secret-id", mount, role)?;
        let body = serde_json::json!({ "metadata": serde_json::json!(metadata).to_string() });
        let call = Call::write(Raw::new(RequestMethod::POST, format!("auth/{mount}/role/{role}/secret-id")).json(&body));
        self.wrapped(call.wrapped(wrap)).await
    }

    async fn wrapped(&self, call: Call<'_, Raw>) -> Result<Wrapped, VaultError> {
        let attempted = call.attempted.clone();
        let data = self.run(call).await?.bare::<WrapEnvelope>(&attempted)?.wrap_info;
        Ok(Wrapped { token: Secret::new(data.token), accessor: data.wrapped_accessor, ttl: seconds(data.ttl) })
    }

    /// The accessors of all tokens.
    ///
    /// # Errors
    /// [`Kind::Denied`] without `list` and `sudo` on `auth/token/accessors/`.
    pub async fn token_accessors(&self) -> Result<Vec<String>, VaultError> {
        self.names_below("auth/token/accessors").await
    }

    /// What Vault knows about a token that is not ours; `None` when it is dead or never was one.
    pub async fn lookup_other(&self, token: &Secret) -> Result<Option<TokenInfo>, VaultError> {
        let (token, body) = named(token)?;
        let call = Call::read(Raw::new(RequestMethod::POST, "auth/token/lookup").body(wiped(&body))).hide(&token);
        let attempted = call.attempted.clone();
        match self.run(call).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(Some(other?.data::<LookupData>(&attempted)?.into())),
        }
    }
}

fn named(token: &Secret) -> Result<(Secret, Fields), VaultError> {
    let token = valid_token(token)?;
    let mut body = Fields::new();
    body.set_text("token", &token);
    Ok((token, body))
}

/// Vault answers a dead token with 403 "bad token", 400 or 404, by version and call; "permission denied" is said of ours.
fn is_gone(error: &VaultError) -> bool {
    error.kind == Kind::NotFound || error.says("bad token") || error.says("token not found") || error.says("failed to find accessor")
}
