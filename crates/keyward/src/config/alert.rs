//! `[alert]`: who is told, how often, and over what. Its passwords never come from Vault alone: mail must go out while Vault is sealed.

use super::address::{http_url, is_exposed};
use super::problem::Problems;
use super::reference::{SecretRef, absolute_path};
use super::section::Section;
use keyward_alert::SmtpUrl;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use url::Url;

/// Who is told, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertConfig {
    /// Mail addresses; default none.
    pub to: Vec<String>,
    /// How often an unresolved alert is told again.
    pub repeat: Repeat,
    /// Mail; default none.
    pub smtp: Option<Smtp>,
    /// A webhook; default none.
    pub webhook: Option<Webhook>,
    /// A Prometheus Alertmanager; default none.
    pub alertmanager: Option<Alertmanager>,
}

/// Repetition: the pause doubles from the first to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Default 30 minutes.
    pub first: Duration,
    /// Default 12 hours.
    pub longest: Duration,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// Where, how protected, and as whom: `smtps://user@host` (TLS), `smtp://user@host` (STARTTLS required),
    /// `smtp+plain://localhost` (none, to this machine only).
    pub url: SmtpUrl,
    /// The user's password, from a file or a variable.
    pub password: Option<SecretRef>,
    /// The sender.
    pub from: String,
    /// Issuers to trust instead of the system's (PEM).
    pub ca_cert: Option<PathBuf>,
    /// How long one delivery may take; default 30 seconds.
    pub timeout: Duration,
}

/// A webhook that gets each alert as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where: a URL that is no secret, or the place of one that is (chat services put a token into it).
    pub url: WebhookUrl,
    /// Sent as `Authorization: Bearer …`; default none.
    pub bearer: Option<SecretRef>,
    /// Issuers to trust instead of the system's (PEM).
    pub ca_cert: Option<PathBuf>,
}

/// A webhook's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookUrl {
    /// As written.
    Plain(Url),
    /// Where it is kept.
    Secret(SecretRef),
}

/// An Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alertmanager {
    /// Its base URL, before `/api/v2`.
    pub url: Url,
    /// Sent as `Authorization: Bearer …`; default none.
    pub bearer: Option<SecretRef>,
    /// Issuers to trust instead of the system's (PEM).
    pub ca_cert: Option<PathBuf>,
}

const NOT_IN_VAULT: &str = "must not be kept in Vault: alerts must go out while Vault is sealed; use file or env";
const DEFAULT_REPEAT: Repeat = Repeat { first: Duration::from_mins(30), longest: Duration::from_hours(12) };
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads `[alert]`, which may be absent: then nobody is told, and that is a warning.
pub(super) fn read(section: Option<Section<'_>>, problems: &Problems<'_>) -> AlertConfig {
    let mut config = AlertConfig { to: Vec::new(), repeat: DEFAULT_REPEAT, smtp: None, webhook: None, alertmanager: None };
    let Some(mut s) = section else {
        problems.warn(None, "there is no [alert]: nobody will be told when something fails");
        return config;
    };
    for to in s.texts("to") {
        match mailbox(to.get_ref()) {
            Ok(address) => config.to.push(address),
            Err(what) => s.wrong(&to.span(), "to", what),
        }
    }
    if let Some(repeat) = s.inline("repeat") {
        config.repeat = read_repeat(repeat);
    }
    config.smtp = s.section("smtp", "[alert.smtp]").and_then(read_smtp);
    config.webhook = s.section("webhook", "[alert.webhook]").and_then(read_webhook);
    config.alertmanager = s.section("alertmanager", "[alert.alertmanager]").and_then(read_alertmanager);
    let (to, smtp) = (s.has_taken("to"), s.has_taken("smtp"));
    match (to, smtp) {
        (true, false) => problems.at(s.span(), "[alert] has \"to\" but no [alert.smtp] to send mail with"),
        (false, true) => problems.at(s.span(), "[alert.smtp] needs \"to\" in [alert]: the addresses that mail goes to"),
        (false, false) if !s.has_taken("webhook") && !s.has_taken("alertmanager") => {
            problems.warn(Some(s.span()), "[alert] names no way out: nobody will be told when something fails");
        }
        _ => {}
    }
    s.finish(&[]);
    config
}

fn read_repeat(mut s: Section<'_>) -> Repeat {
    let first = s.duration("first").map_or(DEFAULT_REPEAT.first, Spanned::into_inner);
    let longest = s.duration("longest").map_or(DEFAULT_REPEAT.longest.max(first), Spanned::into_inner);
    if longest < first {
        s.problems().at(s.span(), format!("\"longest\" in {} is shorter than \"first\"", s.label()));
    }
    s.finish(&[]);
    Repeat { first, longest }
}

fn read_smtp(mut s: Section<'_>) -> Option<Smtp> {
    let url = s.parsed("url", |text| text.parse::<SmtpUrl>().map_err(|error| format!("cannot be used: {error}")));
    let password = s.local_reference("password", NOT_IN_VAULT);
    let from = s.parsed("from", mailbox);
    let ca_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    let timeout = s.duration("timeout").map_or(DEFAULT_TIMEOUT, Spanned::into_inner);
    if let Some(url) = url.as_ref().filter(|url| url.get_ref().user.is_some() != s.has_taken("password")) {
        s.wrong(
            &url.span(),
            "url",
            "must name a user exactly when there is a password: \"smtps://user@host\" with password = { file = \"…\" }",
        );
    }
    s.finish(&[
        ("url", "name the server: \"smtps://user@host\", or \"smtp://user@host:587\" for STARTTLS"),
        ("from", "say who mail comes from: \"Keyward <keyward@example.com>\""),
    ]);
    Some(Smtp { url: url?.into_inner(), password, from: from?.into_inner(), ca_cert, timeout })
}

fn read_webhook(mut s: Section<'_>) -> Option<Webhook> {
    let url = if s.is_table("url") {
        s.local_reference("url", NOT_IN_VAULT).map(WebhookUrl::Secret)
    } else {
        s.parsed("url", alert_url).map(|url| WebhookUrl::Plain(url.into_inner()))
    };
    let bearer = s.local_reference("bearer", NOT_IN_VAULT);
    let ca_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    s.finish(&[("url", "say where alerts are posted: \"https://…\", or { file = \"…\" } when the URL itself is secret")]);
    Some(Webhook { url: url?, bearer, ca_cert })
}

fn read_alertmanager(mut s: Section<'_>) -> Option<Alertmanager> {
    let url = s.parsed("url", alert_url);
    let bearer = s.local_reference("bearer", NOT_IN_VAULT);
    let ca_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    s.finish(&[("url", "name its base URL: \"http://127.0.0.1:9093\"")]);
    Some(Alertmanager { url: url?.into_inner(), bearer, ca_cert })
}

/// Alerts hold no secret values, but a bearer token travels with them.
fn alert_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if is_exposed(&url) { Err("must be https beyond loopback".to_owned()) } else { Ok(url) }
}

/// `name@host`, or `Words <name@host>`. Only what would break a mail header is refused here; the server judges the rest.
fn mailbox(text: &str) -> Result<String, String> {
    let wrong = || "must be a mail address such as \"oncall@example.com\" or \"Keyward <keyward@example.com>\"".to_owned();
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.trim_end().strip_suffix('>').ok_or_else(wrong)?,
        None => text,
    };
    let (local, host) = address.rsplit_once('@').ok_or_else(wrong)?;
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c.is_whitespace() || "<>,;@".contains(c));
    if plain(local) && plain(host) && !text.chars().any(char::is_control) { Ok(text.to_owned()) } else { Err(wrong()) }
}
