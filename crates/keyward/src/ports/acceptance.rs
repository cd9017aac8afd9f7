//! Systems that say whether they accept a value.

use super::postgres::{LIMIT, login_on_every_way};
use async_trait::async_trait;
use keyward_engine::ports::Acceptance;
use keyward_engine::{Class, Failure};
use keyward_secret::{Secret, Template, Values};
use keyward_targets::http::{HttpFailure, HttpProbe};
use keyward_targets::postgres::PostgresUrl;
use std::path::PathBuf;

/// A PostgreSQL that lets `username` in with `password`.
pub struct LoginAcceptance {
    /// Where, and what the consumer must be able to do there.
    pub logins: Vec<(PostgresUrl, Option<String>)>,
    /// The user, where the values do not name one.
    pub user: Option<String>,
    /// The value that is the password.
    pub password: &'static str,
}

#[async_trait]
impl Acceptance for LoginAcceptance {
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        let missing = |what: &str| Failure::lasting(Class::Invalid, format!("there is no {what} to log in with"));
        let password = values.get(self.password).ok_or_else(|| missing(self.password))?;
        let named = values.get("username").map(|u| u.expose().to_owned());
        let user = self.user.clone().or(named).ok_or_else(|| missing("user name"))?;
        login_on_every_way(&self.logins, &user, password).await
    }
}

/// An HTTP service that answers as expected.
pub struct HttpAcceptance {
    /// The URL; it holds no secret.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, Template)>,
    /// The expected status.
    pub expect: u16,
    /// Issuers to trust instead of the system's (PEM).
    pub root_cert: Option<PathBuf>,
}

#[async_trait]
impl Acceptance for HttpAcceptance {
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        let render = |template: &Template| template.render(values).map_err(|e| Failure::lasting(Class::Invalid, e.to_string()));
        let headers = self.headers.iter().map(|(name, template)| Ok((name.clone(), render(template)?))).collect::<Result<_, Failure>>()?;
        let probe = HttpProbe {
            url: Secret::new(self.url.as_str()),
            headers,
            expect: self.expect,
            root_cert: self.root_cert.clone(),
            limit: LIMIT,
        };
        probe.get().await.map_err(|e| http_failure(&e))
    }
}

fn http_failure(failure: &HttpFailure) -> Failure {
    let text = failure.to_string();
    match failure {
        HttpFailure::Refused { status: 401 | 403, .. } => Failure::lasting(Class::WrongPassword, text),
        HttpFailure::Refused { status: 429 | 500.., .. } => Failure::passing(Class::Unreachable, text),
        HttpFailure::Refused { .. } => Failure::lasting(Class::Refused, text),
        HttpFailure::Unreachable { .. } | HttpFailure::Exchange { .. } => Failure::passing(Class::Unreachable, text),
        HttpFailure::Timeout { .. } => Failure::passing(Class::Timeout, text),
        HttpFailure::Tls { .. } => Failure::lasting(Class::Tls, text),
        HttpFailure::Request { .. } | HttpFailure::Answer { .. } => Failure::lasting(Class::Invalid, text),
    }
}
