//! What must be reached under a configuration: the databases whose roles are changed, and the ways to people.

use crate::config::{Admin, AlertConfig, Config};
use crate::daemon::shared::Live;
use crate::daemon::telling::{Channel, Ways};
use crate::ports::{POSTGRES_LIMIT, admin_failure};
use keyward_engine::Class;
use keyward_targets::postgres as target;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The beginning of a way's name.
pub const BY: &str = "alerts by ";

/// Something that must be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A database, by the login of the administrator who changes roles in it.
    Database {
        /// The login.
        admin: Admin,
        /// The secrets that need it.
        secrets: Vec<String>,
    },
    /// A way to people.
    Way {
        /// Which.
        channel: Channel,
        /// As configured.
        config: Box<AlertConfig>,
    },
}

/// Why something was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub why: String,
    /// Whether another task tells it: it is Vault's trouble, or that of a way that cannot even be built.
    pub told_elsewhere: bool,
}

/// Every place of a configuration, by its name: what readiness says, and the end of the alert's key.
pub fn places(config: &Config) -> BTreeMap<String, Place> {
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for secret in &config.secrets {
        let Some(admin) = secret.kind.admin() else { continue };
        let place = places.entry(database(admin)).or_insert_with(|| Place::Database { admin: admin.clone(), secrets: Vec::new() });
        if let Place::Database { secrets, .. } = place {
            secrets.push(secret.name.clone());
        }
    }
    for channel in Channel::configured(&config.alert) {
        let place = Place::Way { channel, config: Box::new(config.alert.clone()) };
        places.insert(format!("{BY}{}", channel.label()), place);
    }
    places
}

/// `database keeper@db1:5432,db2:5432/shop`.
fn database(admin: &Admin) -> String {
    let endpoints = admin.url.endpoints();
    let servers: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let name = endpoints.first().and_then(|e| e.database.as_deref()).unwrap_or_default();
    format!("database {}@{}/{name}", admin.url.user().unwrap_or_default(), servers.join(","))
}

impl Place {
    /// Tries to reach it, within a time limit of its own. Nothing is changed and nothing sent.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn reach(&self, live: &Arc<Live>, environment: &crate::config::Environment) -> Result<(), Trouble> {
        match self {
            Self::Database { admin, .. } => log_in(admin, live).await,
            Self::Way { channel, config } => {
                let usable = Ways::build(config, environment).on(*channel);
                let notifier = usable.map_err(|why| Trouble { why, told_elsewhere: true })?;
                notifier.check().await.map_err(|error| Trouble { why: error.to_string(), told_elsewhere: false })
            }
        }
    }
}

async fn log_in(admin: &Admin, live: &Live) -> Result<(), Trouble> {
    let is_vaults = matches!(admin.password, crate::config::SecretRef::Vault { .. });
    let resolved = live.resolver.resolve(&admin.password).await;
    let password = resolved.map_err(|failure| Trouble {
        why: format!("the administrator's password: {}", failure.text),
        told_elsewhere: is_vaults && failure.class != Class::NotFound,
    })?;
    let ours = |why: String| Trouble { why, told_elsewhere: false };
    let client = target::Admin::new(admin.url.clone(), password, POSTGRES_LIMIT).map_err(|error| ours(error.to_string()))?;
    // Without any role it is a login and a few questions about the server. What they find is `check`'s and each rotation's to say.
    client.preflight(&[]).await.map(drop).map_err(|error| ours(admin_failure(&error).text))
}
