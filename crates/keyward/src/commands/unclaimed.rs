//! What Vault made for nobody, because its answer was lost: found by a label that went with the question, and ended.

use super::init::files;
use super::token;
use anyhow::{Context, Result};
use keyward_vault::{Client, VaultError};
use std::collections::BTreeMap;

/// The label's name in the metadata of tokens and secret ids.
const LABEL: &str = "keyward_label";

/// Marks one token or secret id before it is made.
pub struct Label(String);

impl Label {
    /// One that nothing bears yet.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn fresh() -> Result<Self> {
        Ok(Self(files::fresh_label()?))
    }

    /// As metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.0.clone())])
    }

    /// Ends the tokens that bear it, those of logins with a secret id that bears it too; how many.
    ///
    /// # Errors
    /// Vault's, as where the accessors may not be listed.
    pub async fn end_tokens(&self, client: &Client) -> Result<usize> {
        let accessors = client.token_accessors().await.context("listing the tokens")?;
        let mut ended = 0;
        for info in token::look_up(client, accessors.iter().take(token::MOST_TOKENS)).await? {
            if info.meta.get(LABEL) == Some(&self.0) {
                client.revoke_accessor(&info.accessor).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Ends the secret ids of a role that bear it; how many.
    ///
    /// # Errors
    /// Vault's.
    pub async fn end_secret_ids(&self, client: &Client, mount: &str, role: &str) -> Result<usize> {
        end_secret_ids(client, mount, role, (LABEL, &self.0)).await
    }
}

/// Ends the secret ids of a role whose metadata have this entry; how many.
///
/// # Errors
/// Vault's.
pub async fn end_secret_ids(client: &Client, mount: &str, role: &str, (name, value): (&str, &str)) -> Result<usize> {
    let mut ended = 0;
    for accessor in client.secret_id_accessors(mount, role).await? {
        let info = client.secret_id_of_accessor(mount, role, &accessor).await?;
        if info.is_some_and(|info| info.metadata.get(name).is_some_and(|found| found == value)) {
            client.destroy_secret_id(mount, role, &accessor).await?;
            ended += 1;
        }
    }
    Ok(ended)
}

/// An error, with what became of that which may have been made: where an answer was lost, `end` looks for it.
pub async fn ended(error: anyhow::Error, end: impl Future<Output = Result<usize>>) -> anyhow::Error {
    let is_lost = error.chain().any(|cause| cause.downcast_ref().is_some_and(VaultError::outcome_unknown));
    if !is_lost {
        return error;
    }
    match end.await {
        Ok(0) => error.context("nothing was made"),
        Ok(_) => error.context("what was made is ended again, since nobody has it"),
        Err(why) => error.context(format!("it may have been made, nobody has it, and it could not be looked for ({why:#})")),
    }
}
