//! The ways to people, built from the configuration: mail, webhook, Alertmanager.
//!
//! It never lets one way that cannot be built stand in another's way, nor lose what waits for it: such a way keeps a place in the
//! outbox until it can be built.

use crate::config::{
    AlertConfig, Alertmanager as AlertmanagerConfig, Environment, SecretRef, Smtp, Webhook as WebhookConfig, WebhookUrl, resolve_local,
};
use anyhow::{Context, Result};
use keyward_alert::{Alertmanager, HttpOptions, Mailer, MailerOptions, Notifier, Password, Route, SmtpUrl, Webhook};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long one delivery over HTTP may take.
const HTTP_LIMIT: Duration = Duration::from_secs(15);
/// Stands for the receiver of a way that cannot be built, so that what waits for it has a place.
const NOWHERE: &str = "(not usable yet)";

/// A way's words: in metrics, and as the alert crate calls it in routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// SMTP.
    Mail,
    /// A webhook.
    Webhook,
    /// Prometheus's Alertmanager.
    Alertmanager,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Webhook, Self::Alertmanager];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
        }
    }

    const fn in_routes(self) -> &'static str {
        match self {
            Self::Mail => "smtp",
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// Those that a configuration names.
    pub fn configured(config: &AlertConfig) -> impl Iterator<Item = Self> {
        let named = [config.smtp.is_some(), config.webhook.is_some(), config.alertmanager.is_some()];
        Self::ALL.into_iter().zip(named).filter_map(|(channel, named)| named.then_some(channel))
    }

    /// The channel of a route.
    pub fn of(route: &Route) -> Self {
        Self::ALL.into_iter().find(|c| c.in_routes() == route.channel).unwrap_or(Self::Mail)
    }

    fn nowhere(self) -> Route {
        Route { channel: self.in_routes().to_owned(), to: NOWHERE.to_owned() }
    }
}

/// A route for people: `mail to oncall@example.com`.
pub fn way_name(route: &Route) -> String {
    format!("{} to {}", Channel::of(route).label(), route.to)
}

/// The ways of one configuration.
#[derive(Clone, Default)]
pub struct Ways {
    /// Those that can be used.
    usable: Vec<Arc<dyn Notifier>>,
    /// Those that cannot, and why.
    pub broken: Vec<(Channel, String)>,
}

impl Ways {
    /// Builds every configured way. Files and variables are read; nothing is contacted.
    pub fn build(config: &AlertConfig, environment: &Environment) -> Self {
        let mut ways = Self::default();
        if let Some(smtp) = &config.smtp {
            ways.add(Channel::Mail, mailer(smtp, &config.to, environment));
        }
        if let Some(webhook) = &config.webhook {
            ways.add(Channel::Webhook, post_to(webhook, environment));
        }
        if let Some(alertmanager) = &config.alertmanager {
            ways.add(Channel::Alertmanager, alertmanager_at(alertmanager, environment));
        }
        ways
    }

    fn add(&mut self, channel: Channel, built: Result<Arc<dyn Notifier>>) {
        match built {
            Ok(notifier) => self.usable.push(notifier),
            Err(error) => self.broken.push((channel, format!("{error:#}"))),
        }
    }

    /// Every receiver; a broken way counts as one that cannot be reached.
    pub fn routes(&self) -> Vec<Route> {
        let broken = self.broken.iter().map(|(channel, _)| channel.nowhere());
        self.usable.iter().flat_map(|notifier| notifier.routes()).chain(broken).collect()
    }

    /// Every usable way, with the names of what it serves.
    pub fn each(&self) -> impl Iterator<Item = (String, Arc<dyn Notifier>)> {
        self.usable.iter().map(|notifier| (notifier.routes().iter().map(way_name).collect::<Vec<_>>().join(", "), Arc::clone(notifier)))
    }

    /// Who delivers on a channel.
    ///
    /// # Errors
    /// Why it cannot be used, or that it is not configured.
    pub fn on(&self, channel: Channel) -> Result<Arc<dyn Notifier>, String> {
        let is_it = |notifier: &&Arc<dyn Notifier>| notifier.routes().first().is_some_and(|route| Channel::of(route) == channel);
        let broken = || self.broken.iter().find(|(broken, _)| *broken == channel).map(|(_, why)| why.clone());
        let usable = self.usable.iter().find(is_it).map(Arc::clone);
        usable.ok_or_else(|| broken().unwrap_or_else(|| "it is configured no more".to_owned()))
    }

    /// Who delivers on a route; `None` for one that cannot be used.
    pub fn notifier(&self, route: &Route) -> Option<Arc<dyn Notifier>> {
        self.usable.iter().find(|notifier| notifier.routes().contains(route)).map(Arc::clone)
    }
}

fn mailer(smtp: &Smtp, to: &[String], environment: &Environment) -> Result<Arc<dyn Notifier>> {
    let url: SmtpUrl = smtp.url.clone();
    let password = smtp.password.as_ref().map(|reference| password(reference, environment)).transpose()?;
    let options =
        MailerOptions { url, password, ca_pem: pem(smtp.ca_cert.as_ref())?, from: smtp.from.clone(), to: to.to_vec(), limit: smtp.timeout };
    Ok(Arc::new(Mailer::new(options)?))
}

fn post_to(webhook: &WebhookConfig, environment: &Environment) -> Result<Arc<dyn Notifier>> {
    let url = match &webhook.url {
        WebhookUrl::Plain(url) => url.to_string(),
        WebhookUrl::Secret(reference) => resolve_local(reference, environment)?.expose().trim().to_owned(),
    };
    Ok(Arc::new(Webhook::new(http(url, webhook.bearer.as_ref(), webhook.ca_cert.as_ref(), environment)?)?))
}

fn alertmanager_at(config: &AlertmanagerConfig, environment: &Environment) -> Result<Arc<dyn Notifier>> {
    let options = http(config.url.to_string(), config.bearer.as_ref(), config.ca_cert.as_ref(), environment)?;
    Ok(Arc::new(Alertmanager::new(options)?))
}

fn http(url: String, bearer: Option<&SecretRef>, ca_cert: Option<&PathBuf>, environment: &Environment) -> Result<HttpOptions> {
    let bearer = bearer.map(|reference| password(reference, environment)).transpose()?;
    Ok(HttpOptions { url, bearer, ca_pem: pem(ca_cert)?, insecure: false, limit: HTTP_LIMIT })
}

fn password(reference: &SecretRef, environment: &Environment) -> Result<Password> {
    Ok(Password::new(resolve_local(reference, environment)?.expose()))
}

fn pem(path: Option<&PathBuf>) -> Result<Option<Vec<u8>>> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read the CA certificate {}", path.display()));
    path.map(read).transpose()
}
