//! Keyward's own session with Vault: the client, the login, and how long its token still lives.

use crate::cli::Exit;
use crate::config::{Auth, Environment, SecretRef, VaultConfig, resolve_local};
use anyhow::{Context, Result, bail};
use keyward_vault::{Client, Kind, NodeState, Options, TokenInfo, VaultError};
use std::time::Duration;

/// A client for the configured Vault, not logged in yet. Nothing is contacted.
///
/// # Errors
/// The CA file or the address cannot serve.
pub fn client(config: &VaultConfig) -> Result<Client> {
    let ca_pem = match &config.ca_cert {
        None => None,
        Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read the CA certificate {}", path.display()))?),
    };
    let options = Options {
        address: config.address.to_string(),
        namespace: config.namespace.clone(),
        ca_pem,
        insecure_skip_verify: config.skip_verify,
        insecure: config.insecure,
        timeouts: keyward_vault::Timeouts::default(),
    };
    Ok(Client::new(&options)?)
}

/// How this process logs in: as the daemon, or as the person at the keyboard.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The way of the configuration.
    Configured(Auth),
    /// A person's own token.
    Personal(SecretRef),
}

impl Credentials {
    /// Whether a token is made for whoever logs in by them; otherwise it is somebody's already.
    pub const fn makes_a_token(&self) -> bool {
        matches!(self, Self::Configured(Auth::AppRole { .. }))
    }

    /// What failed where a login fails: a token of one's own may lie forgotten in a file, and goes before the configured way.
    pub fn cannot_log_in(&self, client: &Client) -> String {
        let with = match self {
            Self::Personal(SecretRef::Env(name)) => format!(" with the token in {name}"),
            Self::Personal(SecretRef::File(path)) => format!(" with the token in {}", path.display()),
            Self::Personal(SecretRef::Vault { .. }) | Self::Configured(_) => String::new(),
        };
        format!("cannot log in to Vault at {}{with}", client.address())
    }
}

/// The daemon's credentials.
///
/// # Errors
/// When the file names none: a person's token must not run a daemon for years.
pub fn daemon_credentials(config: &VaultConfig) -> Result<Credentials> {
    match &config.auth {
        Some(auth) => Ok(Credentials::Configured(auth.clone())),
        None => bail!("[vault] names no `auth`; the daemon needs a token or an AppRole of its own"),
    }
}

/// A one-shot command's credentials: the person's own token where there is one, else the configured way.
///
/// # Errors
/// When there is neither.
pub fn personal_credentials(config: &VaultConfig, environment: &Environment) -> Result<Credentials> {
    let usable = |reference: &SecretRef| resolve_local(reference, environment).is_ok();
    match (&config.personal_token, &config.auth) {
        (Some(token), _) if usable(token) => Ok(Credentials::Personal(token.clone())),
        (_, Some(auth)) => Ok(Credentials::Configured(auth.clone())),
        _ => bail!("there is no token: set VAULT_TOKEN, log in with `vault login`, or configure [vault] auth"),
    }
}

/// Gives the token of a login back.
pub async fn give_back(client: &Client) {
    if let Err(error) = client.revoke_self().await {
        tracing::info!(%error, "The token of this login could not be given back; it expires by itself.");
    }
}

/// What a login came to.
#[derive(Debug)]
pub enum LoginFailure {
    /// The reference to the token or the ids yields nothing.
    Reference(String),
    /// Vault refused, or could not be asked.
    Vault(VaultError),
}

impl LoginFailure {
    /// The exit code of a command that cannot log in.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Reference(_) => Exit::Usage,
            Self::Vault(error) => crate::commands::exit_of(crate::ports::failure_of(error).class),
        }
    }

    /// Whether trying again soon could lock our own role out, or can not help.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Vault(error) if matches!(error.kind, Kind::Denied | Kind::Invalid))
    }
}

impl std::fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reference(why) => f.write_str(why),
            Self::Vault(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for LoginFailure {}

/// Logs in and gives the client its token; what Vault says of that token.
///
/// # Errors
/// [`LoginFailure`].
pub async fn log_in(client: &Client, credentials: &Credentials, environment: &Environment) -> Result<TokenInfo, LoginFailure> {
    match try_log_in(client, credentials, environment).await {
        Err(LoginFailure::Vault(error)) if error.kind == Kind::Sealed => Err(LoginFailure::Vault(sealed_or_empty(client, error).await)),
        other => other,
    }
}

/// A server without data answers every call as a sealed one does; only its health tells which it is.
async fn sealed_or_empty(client: &Client, mut error: VaultError) -> VaultError {
    if client.health(client.address()).await.state == NodeState::Uninitialised {
        error.kind = Kind::Uninitialised;
        error.errors.clear();
    }
    error
}

async fn try_log_in(client: &Client, credentials: &Credentials, environment: &Environment) -> Result<TokenInfo, LoginFailure> {
    let local = |reference| resolve_local(reference, environment).map_err(|e| LoginFailure::Reference(e.to_string()));
    let token = match credentials {
        Credentials::Personal(token) | Credentials::Configured(Auth::Token(token)) => local(token)?,
        Credentials::Configured(Auth::AppRole { mount, role_id, secret_id }) => {
            let (role_id, secret_id) = (local(role_id)?, local(secret_id)?);
            client.approle_login(mount, role_id.expose(), &secret_id).await.map_err(LoginFailure::Vault)?.token
        }
    };
    client.set_token(&token).map_err(LoginFailure::Vault)?;
    client.lookup_self().await.map_err(LoginFailure::Vault)
}

/// When to renew a token: at two thirds of what it lives from now on. `None` for one that never ends.
pub fn renew_after(ttl: Duration) -> Option<Duration> {
    (!ttl.is_zero()).then(|| ttl * 2 / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_two_thirds_of_its_life() {
        assert_eq!(renew_after(Duration::from_mins(3)), Some(Duration::from_mins(2)));
        assert_eq!(renew_after(Duration::ZERO), None);
    }
}
