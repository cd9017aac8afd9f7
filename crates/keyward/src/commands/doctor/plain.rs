//! What is published now, to compare plain files with it. Values are held for as long as the comparison takes, and never shown.

use crate::daemon::shared::Live;
use keyward_engine::ports::Vault as _;
use keyward_secret::Secret;

/// A shorter value may be equal by chance.
const SHORTEST: usize = 8;

/// A value that is in use.
#[derive(Debug)]
pub struct Published {
    /// The secret's name in the configuration.
    pub secret: String,
    /// Path and field.
    pub at: String,
    /// The value.
    pub value: Secret,
}

/// The named fields of every secret, as its consumers read them. What cannot be read was told already.
pub async fn published(live: &Live) -> Vec<Published> {
    let mut published = Vec::new();
    for (name, managed) in &live.secrets {
        let Some(path) = managed.spec.kind.path() else { continue };
        let Some(fields) = live.vault.read(path).await.ok().and_then(|document| document.fields) else { continue };
        for field in managed.spec.kind.fields() {
            let Some(value) = fields.text(&field) else { continue };
            // A user's name is no secret, and stands in many files.
            let is_user = managed.config.kind.users().iter().any(|user| user == value.expose());
            if value.expose().len() >= SHORTEST && !is_user {
                published.push(Published { secret: name.clone(), at: format!("{path}#{field}"), value });
            }
        }
    }
    published
}
