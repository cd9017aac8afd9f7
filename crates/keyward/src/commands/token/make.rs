//! `token create`: a token that is handed over wrapped or in a file, and one that nobody got is ended.

use super::caution::{self, Life};
use super::{Create, missing_policies, names_default};
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::init::files;
use crate::commands::output::{self, Output};
use crate::commands::stop::Stop;
use crate::commands::unclaimed::{self, Label};
use anyhow::{Context, Result, bail};
use keyward_secret::Secret;
use keyward_vault::{Client, Kind, NewToken, TokenInfo, VaultError};

/// A token on its way to whoever uses it.
struct Handed {
    accessor: String,
    how: String,
    wrapping: Option<Secret>,
}

/// Makes one. Ctrl-C waits until it is handed over. `services`: the token role by which whoever set Vault up makes services' tokens.
///
/// # Errors
/// What cannot be asked for, or Vault's refusal.
pub async fn make(client: &Client, wish: Create, services: &str, out: Output) -> Result<Exit> {
    if wish.policy.iter().any(|policy| policy == "root") {
        bail!(Declined::usage(
            "no root token is made here: make one when it is needed (vault operator generate-root), and end it when it was used"
        ));
    }
    if wish.policy.is_empty() && wish.role.is_none() {
        bail!(Declined::usage("say what it may do: --policy NAME, or --role ROLE; without either it would get all that yours may do"));
    }
    if let Some(file) = &wish.to {
        files::takes_a_secret(file)?;
    }
    let label = Label::fresh()?;
    let period = if wish.ttl.is_some() || wish.role.is_some() { None } else { Some(wish.period) };
    let new = NewToken {
        role: wish.role.clone(),
        policies: wish.policy.clone(),
        period,
        ttl: wish.ttl,
        orphan: !wish.child,
        display_name: wish.name.clone(),
        with_default_policy: names_default(&wish.policy),
        meta: label.metadata(),
        ..NewToken::default()
    };
    let warnings = cautions(client, &wish, &client.lookup_self().await?).await;
    let mut stop = Stop::listen()?;
    let state = "a token may have been made that nobody has; it ends when nobody renews it: `keyward token list`";
    let handed = stop.finish("a token is being made and handed over", state, hand_over(client, &wish, &new)).await;
    let handed = match handed {
        Ok(handed) => handed,
        Err(error) => {
            let is_denied = error.downcast_ref::<VaultError>().is_some_and(|error| error.kind == Kind::Denied);
            let error = unclaimed::ended(error, label.end_tokens(client)).await;
            let by_role = format!("your token makes tokens by a role only, if at all: say --role {services}");
            return Err(if is_denied && wish.role.is_none() { error.context(by_role) } else { error });
        }
    };
    say(&handed, &wish, &warnings, out);
    Ok(Exit::Ok)
}

async fn hand_over(client: &Client, wish: &Create, new: &NewToken) -> Result<Handed> {
    let Some(file) = &wish.to else {
        let wrapped = client.create_token_wrapped(new, wish.wrap).await?;
        let how = format!(
            "whoever unwraps this first has it, within {} s; if that fails, somebody else did: end it by its accessor",
            wrapped.ttl.as_secs()
        );
        return Ok(Handed { accessor: wrapped.accessor, how, wrapping: Some(wrapped.token) });
    };
    let made = client.create_token(new).await?;
    if let Err(error) = files::write_private(file, &made.token) {
        // A token that nobody has is ended, not left.
        client.revoke_accessor(&made.accessor).await.context("a token that could not be written could not be ended either")?;
        return Err(error);
    }
    Ok(Handed { accessor: made.accessor, how: format!("it is in {}", file.display()), wrapping: None })
}

fn say(handed: &Handed, wish: &Create, warnings: &[String], out: Output) {
    let (accessor, shown) = (&handed.accessor, handed.wrapping.as_ref().map(Secret::expose));
    match out {
        Output::Json => output::json(&serde_json::json!({
            "changed": "token created", "accessor": accessor, "wrapping_token": shown, "file": wish.to, "warnings": warnings,
        })),
        Output::Text => {
            output::note(&format!("A token was made: accessor {accessor}; {}.", handed.how));
            if let Some(token) = shown {
                output::line(token);
            }
            output::warnings(warnings);
        }
    }
}

/// What a person should know about the token that is made, and about the one that makes it.
async fn cautions(client: &Client, wish: &Create, own: &TokenInfo) -> Vec<String> {
    let life = match (&wish.role, wish.ttl) {
        (_, Some(ttl)) => Some(Life::Once(ttl)),
        (None, None) => Some(Life::Renewed(wish.period)),
        (Some(role), None) => role_life(client, role).await,
    };
    let mut warnings: Vec<String> = caution::as_root(own).into_iter().collect();
    warnings.extend(caution::life(life, wish.used_every));
    warnings.extend(wish.child.then(|| "it ends with the token that made it: yours".to_owned()));
    warnings.extend(missing_policies(client, &wish.policy).await);
    warnings
}

/// How long tokens of a role live; `None` where we may not read that.
async fn role_life(client: &Client, role: &str) -> Option<Life> {
    let role = client.object(&format!("auth/token/roles/{role}")).await.ok()??;
    match (caution::span(&role, "token_period"), caution::span(&role, "token_explicit_max_ttl")) {
        (_, Some(limit)) => Some(Life::Once(limit)),
        (Some(period), None) => Some(Life::Renewed(period)),
        (None, None) => None,
    }
}
