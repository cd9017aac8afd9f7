//! A node's seal, and the first initialisation: asked of the node itself, without a token, and without a line in the audit log.
//!
//! Shares and root tokens leave this module as [`Secret`] only.

use crate::call::{Call, Raw};
use crate::client::Client;
use crate::token::wiped;
use crate::{Kind, VaultError};
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;

/// What became of a node that was initialised when its answer is lost.
const LOST: &str = "whether it was initialised is unknown, and if it was, nobody has its shares; such a Vault is empty: clear its storage, and begin again";

/// How a node's seal is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SealStatus {
    /// Whether it was ever initialised, or has joined a cluster that was.
    #[serde(rename = "initialized")]
    pub is_initialised: bool,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Whether it was removed from its Raft cluster: then no share opens it. Vault before 1.19 and OpenBao never say so.
    #[serde(rename = "removed_from_cluster", default)]
    pub is_removed: bool,
    /// How many shares open it.
    #[serde(rename = "t")]
    pub threshold: u32,
    /// How many shares there are.
    #[serde(rename = "n")]
    pub shares: u32,
    /// How many it has been given since the last attempt.
    pub progress: u32,
    /// `shamir`, or the service that unseals it.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What it stores in (`raft`, `file`, …); empty where the server does not say.
    #[serde(rename = "storage_type", default)]
    pub storage: String,
}

/// How a server is to be initialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialisation {
    /// How many shares are made.
    pub shares: u8,
    /// How many of them open it.
    pub threshold: u8,
    /// A public PGP key for each share, in base64; empty: the shares come in clear.
    pub pgp_keys: Vec<String>,
}

/// What an initialisation came to.
#[derive(Debug)]
pub struct Initialised {
    /// The shares in base64; encrypted each to its PGP key where keys were given.
    pub shares: Vec<Secret>,
    /// The first root token.
    pub root_token: Secret,
}

#[derive(Deserialize)]
struct InitData {
    keys_base64: Vec<String>,
    root_token: String,
}

impl Client {
    /// How the seal of the node at `node` is.
    pub async fn seal_status(&self, node: &str) -> Result<SealStatus, VaultError> {
        self.seal_call(node, Call::write(Raw::get("sys/seal-status"))).await
    }

    /// Gives a share to the node at `node`. Sent once; giving the same share twice counts once.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for what is no share, and for the last share when they do not fit together: the node then begins anew.
    pub async fn unseal(&self, node: &str, share: &Secret) -> Result<SealStatus, VaultError> {
        let mut body = Fields::new();
        body.set_text("key", share);
        self.seal_call(node, Call::write(Raw::new(RequestMethod::POST, "sys/unseal").body(wiped(&body))).database().hide(share)).await
    }

    async fn seal_call(&self, node: &str, call: Call<'_, Raw>) -> Result<SealStatus, VaultError> {
        let (attempted, hidden) = (call.attempted.clone(), call.hidden.clone());
        let answer = self.answer_at(node, call).await?;
        if !answer.is_success() {
            let mut error = answer.failure(&attempted, &hidden);
            // "… not initialized" is said of a node's state; everything else is said of the share.
            if error.kind == Kind::Internal && error.status == Some(500) {
                error.kind = Kind::Invalid;
            }
            return Err(error);
        }
        answer.bare(&attempted)
    }

    /// Initialises the server at our address. Sent once, and may take half a minute.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is initialised already. With [`VaultError::outcome_unknown`] the shares may be lost: see the hint.
    pub async fn initialise(&self, how: &Initialisation) -> Result<Initialised, VaultError> {
        let mut body = serde_json::json!({ "secret_shares": how.shares, "secret_threshold": how.threshold });
        if let (false, Some(body)) = (how.pgp_keys.is_empty(), body.as_object_mut()) {
            body.insert("pgp_keys".into(), how.pgp_keys.clone().into());
        }
        let call = Call::write(Raw::new(RequestMethod::POST, "sys/init").json(&body)).database();
        let attempted = call.attempted.clone();
        let explained = |error: VaultError| if error.outcome_unknown() { error.with_hint(LOST) } else { error };
        let answer = self.answer_at(self.address(), call).await.map_err(explained)?;
        if !answer.is_success() {
            let mut error = answer.failure(&attempted, &[]);
            if error.says("already initialized") {
                error.kind = Kind::Invalid;
            }
            return Err(explained(error));
        }
        let data: InitData = answer.bare(&attempted).map_err(explained)?;
        Ok(Initialised { shares: data.keys_base64.into_iter().map(Secret::new).collect(), root_token: Secret::new(data.root_token) })
    }
}
