//! Tokens that we make for others: by a token role that says what they may be, known afterwards by their accessor alone.

use crate::call::{Call, Raw, checked, seconds};
use crate::client::Client;
use crate::token::{AuthData, Login, LookupData, RenewData, Renewed, TokenInfo};
use crate::{Kind, VaultError};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a token role makes of the tokens that are made by it (`auth/token/roles/<name>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRole {
    /// Whether its tokens outlive the token that made them.
    pub orphan: bool,
    /// Whether they can be renewed.
    pub renewable: bool,
    /// Every renewal sets their life to this; `None`: renewals end at a maximum.
    pub period: Option<Duration>,
    /// Beyond this age no renewal helps; `None`: no such limit of its own.
    pub explicit_max_ttl: Option<Duration>,
    /// The policies that they may have; empty: those of the token that made them.
    pub allowed_policies: Vec<String>,
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Minting<'a> {
    /// The token role.
    pub role: &'a str,
    /// Its name in the audit log, behind `token-`.
    pub display_name: &'a str,
    /// What is noted with it and stands in the audit log.
    pub meta: BTreeMap<&'a str, &'a str>,
    /// After how many uses it ends; 0: no limit.
    pub num_uses: u32,
}

#[derive(Deserialize)]
struct RoleData {
    #[serde(default)]
    orphan: bool,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    token_period: i64,
    #[serde(default)]
    period: i64,
    #[serde(default)]
    token_explicit_max_ttl: i64,
    #[serde(default)]
    explicit_max_ttl: i64,
    allowed_policies: Option<Vec<String>>,
}

impl Client {
    /// A token role; `None` where there is none of this name.
    pub async fn token_role(&self, name: &str) -> Result<Option<TokenRole>, VaultError> {
        let (_, name) = checked("GET token role", "auth/token", name)?;
        let call = Call::read(Raw::get(format!("auth/token/roles/{name}")));
        let attempted = call.attempted.clone();
        let answer = match self.run(call).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            other => other?,
        };
        let data: RoleData = answer.data(&attempted)?;
        let limit = |new: i64, old: i64| Some(seconds(new.max(old))).filter(|d| !d.is_zero());
        Ok(Some(TokenRole {
            orphan: data.orphan,
            renewable: data.renewable,
            period: limit(data.token_period, data.period),
            explicit_max_ttl: limit(data.token_explicit_max_ttl, data.explicit_max_ttl),
            allowed_policies: data.allowed_policies.unwrap_or_default(),
        }))
    }

    /// Makes a token. Sent once: a lost answer leaves a token that nobody knows, until its period is over.
    pub async fn mint_token(&self, minting: &Minting<'_>) -> Result<Login, VaultError> {
        let (_, role) = checked("POST token create", "auth/token", minting.role)?;
        let body = serde_json::json!({ "display_name": minting.display_name, "meta": minting.meta, "num_uses": minting.num_uses });
        let call = Call::write(Raw::new(RequestMethod::POST, format!("auth/token/create/{role}")).json(&body));
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.auth::<AuthData>(&attempted)?.into())
    }

    /// What Vault knows about the token behind an accessor; `None` when it is gone.
    pub async fn lookup_accessor(&self, accessor: &str) -> Result<Option<TokenInfo>, VaultError> {
        let call = Call::read(by_accessor("lookup-accessor", accessor));
        let attempted = call.attempted.clone();
        match self.run(call).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(Some(other?.data::<LookupData>(&attempted)?.into())),
        }
    }

    /// Renews the token behind an accessor; `None` when it is gone.
    pub async fn renew_accessor(&self, accessor: &str) -> Result<Option<Renewed>, VaultError> {
        // Renewing twice does no more than renewing once.
        let call = Call::read(by_accessor("renew-accessor", accessor));
        let attempted = call.attempted.clone();
        match self.run(call).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(Some(other?.auth::<RenewData>(&attempted)?.into())),
        }
    }

    /// Ends the token behind an accessor, and with it all leases that it made. One that is gone already is no error.
    pub async fn revoke_accessor(&self, accessor: &str) -> Result<(), VaultError> {
        // Revoking twice does no more than revoking once.
        match self.run(Call::read(by_accessor("revoke-accessor", accessor)).database()).await {
            Err(error) if is_gone(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn by_accessor(what: &str, accessor: &str) -> Raw {
    Raw::new(RequestMethod::POST, format!("auth/token/{what}")).json(&serde_json::json!({ "accessor": accessor }))
}

/// Vault answers "invalid accessor" with 400, 403 or 404, by version and call.
fn is_gone(error: &VaultError) -> bool {
    matches!(error.kind, Kind::Invalid | Kind::Denied | Kind::NotFound) && error.says("invalid accessor")
}
