//! A command that works without a daemon: its own login, its own engine, the same records.

use super::borrowed;
use crate::assembly::Managed;
use crate::config::{Config, Environment};
use crate::daemon::observer::Ear;
use crate::daemon::shared::Live;
use crate::daemon::{EngineParts, build};
use crate::metrics::Metrics;
use crate::ports::{SystemClock, UsageReaders};
use crate::session;
use anyhow::{Context, Result};
use keyward_engine::Claims;
use keyward_secret::{Source, SystemRandom};
use std::sync::Arc;

/// Everything that a command needs to work alone, logged in.
pub struct Alone {
    /// What the configuration stands for.
    pub live: Live,
    /// Hears the steps.
    pub ear: Arc<Ear>,
}

impl Alone {
    /// Logs in with the person's own token where there is one, else as the configuration says.
    ///
    /// # Errors
    /// No credentials, or Vault's refusal.
    pub async fn log_in(config: Config, environment: &Environment) -> Result<Self> {
        let credentials = session::personal_credentials(&config.vault, environment)?;
        let alone = Self::offline(config, environment)?;
        let client = alone.live.vault.client();
        let logged_in = session::log_in(client, &credentials, environment).await;
        logged_in.with_context(|| credentials.cannot_log_in(client))?;
        borrowed::note(client, &credentials);
        Ok(alone)
    }

    /// The same without a login: nothing is contacted.
    ///
    /// # Errors
    /// The CA file or the address cannot serve.
    pub fn offline(config: Config, environment: &Environment) -> Result<Self> {
        let ear = Arc::new(Ear::new(Metrics::default()));
        let mut id = [0_u8; 6];
        SystemRandom.fill(&mut id)?;
        let parts = EngineParts {
            // Another name each time: what a killed command leaves behind is taken up by the daemon when its lease ends.
            owner: format!("command-{}", keyward_audit::hex(&id)),
            claims: Claims::default(),
            clock: SystemClock::default(),
            ear: Arc::clone(&ear),
            readers: Arc::new(UsageReaders::default()),
            environment: environment.clone(),
        };
        Ok(Self { live: build(config, &parts, None)?, ear })
    }

    /// A configured secret.
    ///
    /// # Errors
    /// That there is none of this name, with the nearest one.
    pub fn managed(&self, name: &str) -> Result<&Managed> {
        find(&self.live, name)
    }
}

/// A configured secret by name.
fn find<'a>(live: &'a Live, name: &str) -> Result<&'a Managed> {
    live.secrets.get(name).with_context(|| unknown(live.secrets.keys(), name))
}

/// What to say of a name that no secret has.
pub fn unknown<'a>(names: impl Iterator<Item = &'a String>, name: &str) -> String {
    let nearest = names.map(|n| (strsim::damerau_levenshtein(n, name), n)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 3 => format!("there is no secret \"{name}\"; did you mean \"{nearest}\"?"),
        _ => format!("there is no secret \"{name}\" in the configuration; `keyward plan` lists them"),
    }
}
