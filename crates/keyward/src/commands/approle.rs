//! `approle`: making a role for a service, and giving it another secret id. A secret id goes out wrapped or into a file, never onto the screen.

use super::alone::Alone;
use super::by_hand::Declined;
use super::init::{self, files, plan};
use super::output::{self, Output};
use super::stop::{Stop, did};
use super::token::{
    self,
    caution::{self, Life},
};
use super::unclaimed::{self, Label};
use crate::cli::Exit;
use crate::config::{Auth, Config, Environment, KindConfig, SecretRef, network, parse_duration, show_duration};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use keyward_secret::Secret;
use keyward_vault::{Client, Kind, TokenInfo, VaultError};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What is noted with secret ids that are made here, so that people see where they come from.
const MADE_BY: (&str, &str) = ("made_by", "keyward approle");

const FROM_HERE: &str =
    "the new secret id does not log in from here; where its role is bound to other addresses, hand it over wrapped (--wrap)";

/// `approle`.
#[derive(Clone, Debug, Subcommand)]
pub enum Approle {
    /// Make a role, or make it what is said; and hand over a first secret id if there is none
    #[command(after_help = "\
Its tokens have a period: renewed within each they live for ever. The role id is no secret by itself and is shown; the secret id is handed
over wrapped (the default, for 5 minutes) or in a file. A second run says what is unchanged, and makes no second secret id.

Example:
  keyward approle create billing --policy keyward-backend --bound-cidr 192.0.2.0/24 --to /run/billing/secret-id")]
    Create(Create),
    /// Make another secret id, prove it by a login, hand it over, and end the old ones if that is said
    #[command(after_help = "\
Without --end-old the old secret ids stay valid, and are listed by their accessors: end them when the service has taken the new one. For
one that rotates by itself, write [[secret]] with kind = \"approle-secret-id\".

Examples:
  keyward approle rotate billing --to /run/billing/secret-id
  keyward approle rotate billing --wrap 10m --end-old")]
    Rotate(Rotate),
}

/// Which role, and where its secret id goes.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The role
    pub role: String,
    /// Where AppRole is mounted
    #[arg(long, value_name = "PATH", default_value = "approle")]
    pub mount: String,
    /// Hand the secret id over wrapped: how long it can be unwrapped
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub wrap: Duration,
    /// Hand it over in this file, of mode 0600, in place of wrapped
    #[arg(long, value_name = "FILE", conflicts_with = "wrap")]
    pub to: Option<PathBuf>,
}

/// `approle create`.
#[derive(Args, Clone, Debug)]
pub struct Create {
    /// Which, and where to
    #[command(flatten)]
    pub target: Target,
    /// What its tokens may do; once per policy
    #[arg(long, value_name = "NAME", required = true)]
    pub policy: Vec<String>,
    /// Every renewal sets the life of its tokens to this
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub period: Duration,
    /// From where it may be used; once per network
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub bound_cidr: Vec<String>,
    /// How long a secret id lives; without it, until it is ended
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub secret_id_ttl: Option<Duration>,
    /// How often whoever gets it logs in; longer than a secret id lives, it would find a dead one
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub used_every: Option<Duration>,
}

/// `approle rotate`.
#[derive(Args, Clone, Debug)]
pub struct Rotate {
    /// Which, and where to
    #[command(flatten)]
    pub target: Target,
    /// End all older secret ids of the role, once the new one is handed over
    #[arg(long)]
    pub end_old: bool,
}

/// Does it.
///
/// # Errors
/// No login, or Vault's refusal.
pub async fn run(config: Config, environment: &Environment, wish: Approle, out: Output) -> Result<Exit> {
    let alone = Alone::log_in(config, environment).await?;
    let client = alone.live.vault.client();
    match wish {
        Approle::Create(create) => {
            refuse_own(&alone.live.config, &create.target)?;
            make(client, create, out).await
        }
        Approle::Rotate(rotate) => {
            refuse_managed(&alone.live.config, &rotate.target)?;
            refuse_to_lock_out(&alone.live.config, &rotate)?;
            another(client, rotate, out).await
        }
    }
}

/// What the daemon rotates has a record; a secret id made beside it would be ended as an orphan, or end the daemon's.
fn refuse_managed(config: &Config, target: &Target) -> Result<()> {
    let is_it = |kind: &KindConfig| matches!(kind, KindConfig::ApproleSecretId(k) if k.mount == target.mount && k.role == target.role);
    match config.secrets.iter().find(|secret| is_it(&secret.kind)) {
        Some(secret) => bail!(Declined::usage(format!(
            "this role's secret id is the secret {}; rotate that: keyward rotate {}",
            secret.name, secret.name
        ))),
        None => Ok(()),
    }
}

/// Whether it is the role that the configuration logs in by.
fn is_own(config: &Config, target: &Target) -> bool {
    matches!(&config.vault.auth, Some(Auth::AppRole { mount, .. }) if *mount == target.mount) && config.init.name == target.role
}

/// Keyward's own role is `init`'s: made over for a service, it would let nobody in, or more than it should.
fn refuse_own(config: &Config, target: &Target) -> Result<()> {
    if is_own(config, target) {
        bail!(Declined::usage("this is Keyward's own role, which keyward init makes and keeps; name another one"));
    }
    Ok(())
}

/// Keyward's own old secret ids may end only where the new one comes to where its daemon reads it.
fn refuse_to_lock_out(config: &Config, wish: &Rotate) -> Result<()> {
    let Some(Auth::AppRole { secret_id, .. }) = &config.vault.auth else { return Ok(()) };
    let file = if let SecretRef::File(file) = secret_id { Some(file) } else { None };
    let comes_there = file.is_some() && wish.target.to.as_ref().and_then(|to| std::path::absolute(to).ok()).as_ref() == file;
    if !is_own(config, &wish.target) || !wish.end_old || comes_there {
        return Ok(());
    }
    let there = file.map_or_else(String::new, |file| format!("say --to {}, or ", file.display()));
    bail!(Declined::usage(format!(
        "this is Keyward's own role, and its daemon would be locked out: {there}leave --end-old out until the daemon has the new secret id"
    )))
}

async fn make(client: &Client, wish: Create, out: Output) -> Result<Exit> {
    if wish.policy.iter().any(|policy| policy == "root") {
        bail!(Declined::usage("an AppRole cannot have the policy root; name what it needs: `keyward policy` prints it"));
    }
    let Target { role, mount, .. } = &wish.target;
    let path = format!("auth/{mount}/role/{role}");
    let body = json!({
        "token_policies": wish.policy, "token_period": wish.period.as_secs(), "bind_secret_id": true,
        "token_no_default_policy": !token::names_default(&wish.policy),
        "token_bound_cidrs": wish.bound_cidr, "secret_id_bound_cidrs": wish.bound_cidr,
        "secret_id_ttl": wish.secret_id_ttl.map_or(0, |ttl| ttl.as_secs()),
    });
    let body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    let mut warnings = cautions(&client.lookup_self().await?, Some(wish.period), wish.secret_id_ttl, wish.used_every);
    warnings.extend(token::missing_policies(client, &wish.policy).await);
    let verdict = match client.object(&path).await.map_err(|error| denied(error, &path))? {
        None => plan::Verdict::Create,
        Some(there) => plan::compared(&body, &there),
    };
    let state = init::word(verdict.state(), false);
    if verdict.is_change() {
        client.put_object(&path, &body, None).await.map_err(|error| denied(error, &path))?;
        did(format!("{path}: {state}"));
    }
    if out == Output::Text {
        output::note(&format!("{state}: {path}"));
        verdict.details().iter().for_each(|detail| output::note(&format!("  {detail}")));
    }
    let role_id = client.approle_role_id(mount, role).await?;
    let has_ids = !client.secret_id_accessors(mount, role).await?.is_empty();
    let mut stop = Stop::listen()?;
    let handed = if has_ids { None } else { Some(hand_over(client, &wish.target, &role_id, &mut stop).await?) };
    match out {
        Output::Json => output::json(&json!({
            "role": path, "state": state, "details": verdict.details(), "role_id": role_id,
            "secret_id": handed.as_ref().map(Handed::json), "warnings": warnings,
        })),
        Output::Text => {
            output::note(&format!("role id: {role_id}"));
            match &handed {
                Some(handed) => handed.tell(),
                None => output::note("it has a secret id already; another one: keyward approle rotate"),
            }
            output::warnings(&warnings);
        }
    }
    Ok(Exit::Ok)
}

/// What a person should know about what the role gives out, and about the token that they work with.
fn cautions(own: &TokenInfo, period: Option<Duration>, secret_id_ttl: Option<Duration>, used_every: Option<Duration>) -> Vec<String> {
    let mut warnings: Vec<String> = caution::as_root(own).into_iter().collect();
    warnings.extend(period.map(|period| {
        let span = show_duration(period);
        format!("a token of this role dies {span} after it was last renewed: whoever logs in must renew it, at two thirds of that at the latest, or log in anew")
    }));
    if let Some(ttl) = secret_id_ttl {
        warnings
            .push(format!("a secret id of this role dies {} after it was made: whoever uses it needs another before", show_duration(ttl)));
        let seldom = used_every.filter(|every| *every >= ttl);
        warnings.extend(seldom.map(|every| caution::too_seldom(every, "its secret id is", Life::Once(ttl))));
    }
    warnings
}

/// What a role says of its tokens' period and its secret ids' life; nothing where we may not read it.
async fn lives(client: &Client, path: &str) -> (Option<Duration>, Option<Duration>) {
    let role = client.object(path).await.ok().flatten().unwrap_or_default();
    (caution::span(&role, "token_period"), caution::span(&role, "secret_id_ttl"))
}

async fn another(client: &Client, wish: Rotate, out: Output) -> Result<Exit> {
    let Target { role, mount, .. } = &wish.target;
    let role_id = client.approle_role_id(mount, role).await.with_context(|| format!("there is no role {role} at auth/{mount}"))?;
    let old = client.secret_id_accessors(mount, role).await?;
    let (period, ttl) = lives(client, &format!("auth/{mount}/role/{role}")).await;
    let warnings = cautions(&client.lookup_self().await?, period, ttl, None);
    let mut stop = Stop::listen()?;
    let handed = hand_over(client, &wish.target, &role_id, &mut stop).await?;
    let (mut ended, mut ending) = (Vec::new(), Ok(()));
    // Whoever breaks it off now gets the new one, and ends the old ones another time.
    if wish.end_old && !stop.was_asked() {
        let end = async {
            for accessor in &old {
                client.destroy_secret_id(mount, role, accessor).await?;
                ended.push(accessor.clone());
            }
            Ok(())
        };
        ending = stop.finish("the old secret ids are being ended", "some may be valid still", end).await;
    }
    let left: Vec<&String> = old.iter().filter(|accessor| !ended.contains(accessor)).collect();
    match out {
        Output::Json => {
            output::json(&json!({
                "changed": "secret id created", "secret_id": handed.json(), "ended": ended, "still_valid": left, "warnings": warnings,
            }));
        }
        Output::Text => {
            handed.tell();
            for accessor in &ended {
                output::note(&format!("ended: {accessor}"));
            }
            for accessor in &left {
                output::note(&format!("still valid: {accessor}; end it with --end-old when the service has the new one"));
            }
            output::warnings(&warnings);
        }
    }
    // The new one is told whatever became of the old ones: a wrapped one would be lost.
    ending.context("the new secret id is handed over, and not all old ones are ended")?;
    if wish.end_old && !left.is_empty() {
        output::note("keyward: broken off before the old ones were ended");
        return Ok(Exit::Temporary);
    }
    Ok(Exit::Ok)
}

/// A secret id on its way to its service.
struct Handed {
    accessor: String,
    wrapping: Option<Secret>,
    /// It has logged in then.
    file: Option<PathBuf>,
}

impl Handed {
    fn json(&self) -> Value {
        json!({
            "accessor": self.accessor, "wrapping_token": self.wrapping.as_ref().map(Secret::expose), "file": self.file, "proved_by_login": self.file.is_some(),
        })
    }

    fn tell(&self) {
        let how = match &self.file {
            Some(file) => format!("it has logged in, and is in {}", file.display()),
            None => "whoever unwraps this first has it; if that fails, somebody else did: end it by its accessor".to_owned(),
        };
        output::note(&format!("A secret id was made: accessor {}; {how}.", self.accessor));
        if let Some(token) = &self.wrapping {
            output::line(token.expose());
        }
    }
}

/// Says what is missing where the token may not make the role.
fn denied(error: VaultError, path: &str) -> anyhow::Error {
    let is_denied = error.kind == Kind::Denied;
    let error = anyhow::Error::new(error);
    // Whoever may make any role may give it any policy, so the printed policy for administrators leaves it out.
    let text =
        format!("making a role needs `create` and `update` on {path}, which `keyward policy admin` does not grant: it is as good as root");
    if is_denied { error.context(text) } else { error }
}

/// Makes a secret id and hands it over; Ctrl-C waits for that. What is made and does not come here is looked for and ended.
async fn hand_over(client: &Client, target: &Target, role_id: &str, stop: &mut Stop) -> Result<Handed> {
    if let Some(file) = &target.to {
        files::takes_a_secret(file)?;
    }
    let label = Label::fresh()?;
    let state = "a secret id may have been made that nobody has: `keyward approle rotate --end-old` ends it";
    let handed = stop.finish("a secret id is being made and handed over", state, made(client, target, role_id, &label)).await;
    match handed {
        Ok(handed) => Ok(handed),
        Err(error) => {
            let end = async {
                let ids = label.end_secret_ids(client, &target.mount, &target.role).await?;
                // The proof's own token, which may not have come here either.
                Ok(if target.to.is_some() { ids + label.end_tokens(client).await? } else { ids })
            };
            Err(unclaimed::ended(error, end).await)
        }
    }
}

/// Into a file it goes after it has logged in; wrapped, nobody but its owner can try it.
async fn made(client: &Client, target: &Target, role_id: &str, label: &Label) -> Result<Handed> {
    let Target { role, mount, .. } = target;
    let mut metadata = label.metadata();
    metadata.insert(MADE_BY.0.to_owned(), MADE_BY.1.to_owned());
    let Some(file) = &target.to else {
        let wrapped = client.new_secret_id_wrapped(mount, role, &metadata, target.wrap).await?;
        return Ok(Handed { accessor: wrapped.accessor, wrapping: Some(wrapped.token), file: None });
    };
    let made = client.new_secret_id(mount, role, &metadata).await?;
    match prove_and_write(client, target, role_id, &made.secret_id, file).await {
        Ok(()) => Ok(Handed { accessor: made.accessor, wrapping: None, file: Some(file.clone()) }),
        Err(error) => {
            // One that nobody has is ended, not left.
            let ended = client.destroy_secret_id(mount, role, &made.accessor).await;
            ended.context("a secret id that could not be handed over could not be ended either")?;
            Err(error)
        }
    }
}

async fn prove_and_write(client: &Client, target: &Target, role_id: &str, secret_id: &Secret, file: &std::path::Path) -> Result<()> {
    let login = client.approle_login(&target.mount, role_id, secret_id).await.context(FROM_HERE)?;
    client.revoke_accessor(&login.accessor).await.context("the token of the proof could not be given back")?;
    files::write_private(file, secret_id)
}
