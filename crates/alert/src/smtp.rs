//! Mail over SMTP: connects, protects, logs in, hands over one message to one recipient.
//!
//! It never sends unprotected beyond this machine, never waits longer than its limit (lettre's own bounds only the TCP connect, so
//! a server that accepts and says nothing would hold it for ever), and never uses lettre's `tracing` feature, which logs passwords.

use crate::book::{Notice, Why};
use crate::delivery::{Notifier, Password, Route, SendError, one_line};
use crate::outbox::Delivery;
use crate::smtp_url::{SmtpSecurity, SmtpUrl};
use crate::text::render;
use jiff::Timestamp;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::time::{Duration, SystemTime};

/// The time limit where the options name none.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// What a [`Mailer`] is made of.
#[derive(Debug)]
pub struct MailerOptions {
    /// The server.
    pub url: SmtpUrl,
    /// For the user in the URL. It must be had without Vault: mail goes out while Vault is sealed.
    pub password: Option<Password>,
    /// Certificates (PEM) that alone are trusted, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Who writes, such as `Keyward <keyward@example.com>`.
    pub from: String,
    /// Who is told.
    pub to: Vec<String>,
    /// From the first packet to the server's acceptance.
    pub limit: Duration,
}

/// What is wrong with the options.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// An address that is none.
    #[error("{place} of the mail alerts: {address:?} is no mail address ({source}); write name@example.com or Name <name@example.com>")]
    Address {
        /// `from` or `to`.
        place: &'static str,
        /// As configured.
        address: String,
        /// The parser's complaint.
        source: lettre::address::AddressError,
    },
    /// Nobody to tell.
    #[error("the mail alerts name no recipient; set `to`")]
    NoRecipient,
    /// A user without a password, or a password without a user.
    #[error("the mail server's URL and the password do not fit together: {0}")]
    Login(&'static str),
    /// A certificate file that cannot be used.
    #[error("the CA file for the mail server cannot be used: {0}")]
    Ca(String),
}

/// Sends notices as mails.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    server: String,
    password: Option<Password>,
    from: Mailbox,
    to: Vec<Mailbox>,
    limit: Duration,
}

impl Mailer {
    /// Checks the options; connects to nothing.
    pub fn new(options: MailerOptions) -> Result<Self, MailerError> {
        let from = mailbox("from", &options.from)?;
        let to = options.to.iter().map(|to| mailbox("to", to)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(MailerError::NoRecipient);
        }
        let credentials = credentials(options.url.user.as_deref(), options.password.as_ref())?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&options.url.host)
            .port(options.url.port)
            .tls(tls(&options.url, options.ca_pem.as_deref())?)
            .timeout(Some(options.limit))
            .hello_name(ClientId::default());
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials).authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        let server = format!("{}:{}", options.url.host, options.url.port);
        Ok(Self { transport: builder.build(), server, password: options.password, from, to, limit: options.limit })
    }

    fn message(&self, delivery: &Delivery) -> Result<Message, lettre::error::Error> {
        let notice = &delivery.notice;
        let text = render(notice);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .date(SystemTime::from(notice.at))
            .message_id(Some(self.message_id(&delivery.message_id)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .subject(text.subject);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let Some(thread) = thread(notice) {
            let first = self.message_id(thread);
            builder = builder.in_reply_to(first.clone()).references(first);
        }
        builder.body(text.body)
    }

    fn message_id(&self, id: &str) -> String {
        format!("<keyward.{id}@{}>", self.from.email.domain())
    }

    /// Runs one exchange with the server inside the time limit.
    async fn within<T>(
        &self,
        what: &str,
        exchange: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, SendError> {
        match tokio::time::timeout(self.limit, exchange).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failure(what, &error)),
            Err(_) => {
                let seconds = self.limit.as_secs_f32();
                Err(SendError::Transient { what: format!("{what} {}: no answer within {seconds} s", self.server) })
            }
        }
    }

    fn failure(&self, what: &str, error: &lettre::transport::smtp::Error) -> SendError {
        let answer = one_line(&error.to_string());
        let answer = self.password.as_ref().map_or_else(|| answer.clone(), |password| password.scrub(&answer));
        // The client's word for a server that does not offer what is asked of it, which says nothing of the ways there are.
        let cure = if answer.contains("STARTTLS is not supported") {
            "; smtps:// speaks TLS from the first byte, and to this machine alone smtp+plain:// speaks none"
        } else {
            ""
        };
        let what = format!("{what} {}: {answer}{cure}", self.server);
        // A client error is a capability the server lacks (no login, no UTF-8 addresses): waiting does not mend it.
        if error.is_permanent() || error.is_client() { SendError::Permanent { what } } else { SendError::Transient { what } }
    }
}

#[async_trait::async_trait]
impl Notifier for Mailer {
    fn routes(&self) -> Vec<Route> {
        self.to.iter().map(|to| Route { channel: "smtp".to_owned(), to: to.email.to_string() }).collect()
    }

    async fn send(&self, delivery: &Delivery, _now: Timestamp) -> Result<(), SendError> {
        let refused = |what: String| SendError::Permanent { what };
        let to: Address = delivery.route.to.parse().map_err(|error| refused(format!("{}: {error}", delivery.route)))?;
        let envelope =
            Envelope::new(Some(self.from.email.clone()), vec![to]).map_err(|error| refused(format!("{}: {error}", delivery.route)))?;
        let message = self.message(delivery).map_err(|error| refused(format!("writing the mail for {}: {error}", delivery.route)))?;
        let bytes = message.formatted();
        self.within("handing a mail to", self.transport.send_raw(&envelope, &bytes)).await.map(|_accepted| ())
    }

    /// Connects, greets, starts TLS and logs in. Whether the recipient exists is shown by a real mail only (`keyward alert test`).
    async fn check(&self) -> Result<(), SendError> {
        if self.within("greeting", self.transport.test_connection()).await? {
            return Ok(());
        }
        Err(SendError::Transient { what: format!("greeting {}: the server closed the connection", self.server) })
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("server", &self.server).finish_non_exhaustive()
    }
}

fn mailbox(place: &'static str, address: &str) -> Result<Mailbox, MailerError> {
    address.parse().map_err(|source| MailerError::Address { place, address: address.to_owned(), source })
}

fn credentials(user: Option<&str>, password: Option<&Password>) -> Result<Option<Credentials>, MailerError> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(Credentials::new(user.to_owned(), password.expose().to_owned()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(MailerError::Login("a user is named, but no password is given")),
        (None, Some(_)) => Err(MailerError::Login("a password is given, but the URL names no user (smtps://user@host)")),
    }
}

fn tls(url: &SmtpUrl, ca_pem: Option<&[u8]>) -> Result<Tls, MailerError> {
    if url.security == SmtpSecurity::Plain {
        return Ok(Tls::None);
    }
    let unusable = |error: lettre::transport::smtp::Error| MailerError::Ca(error.to_string());
    let mut builder = TlsParameters::builder(url.host.clone());
    if let Some(pem) = ca_pem {
        // A file without any certificate would be accepted, and then trust nobody.
        if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
            return Err(MailerError::Ca("it holds no certificate in PEM form".to_owned()));
        }
        let authority = Certificate::from_pem(pem).map_err(unusable)?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    let parameters = builder.build().map_err(unusable)?;
    Ok(if url.security == SmtpSecurity::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
}

/// The notice that told the same condition first, so that mail programs show them as one conversation.
fn thread(notice: &Notice) -> Option<&str> {
    if notice.why == Why::First {
        return None;
    }
    notice.alerts.first().map(|told| told.thread.as_str()).filter(|thread| !thread.is_empty() && *thread != notice.id)
}

/// RFC 3834: keeps holiday replies away.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
