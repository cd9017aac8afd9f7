//! A provider's HTTP API as the issuer of its keys.

use crate::config::SecretRef;
use crate::references::Resolver;
use async_trait::async_trait;
use keyward_engine::ports::{Issued, Issuer};
use keyward_engine::{Class, Failure};
use keyward_secret::{Secret, Values};
use keyward_targets::http::HttpFailure;
use keyward_targets::key_api::KeyApi;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One provider, for one secret.
pub struct HttpIssuer {
    /// The secret's name, for the calls that want it.
    pub secret: String,
    /// The calls.
    pub api: KeyApi,
    /// What the calls need besides, resolved at each call.
    pub credentials: BTreeMap<String, SecretRef>,
    /// Resolves them.
    pub resolver: Arc<Resolver>,
}

/// What a failed call means.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// To change something: a lost answer leaves it unknown.
    Change,
    /// To look.
    Look,
    /// To try the key: a refusal is the key's.
    Try,
}

impl HttpIssuer {
    async fn values(&self, more: &[(&str, &str)]) -> Result<Values, Failure> {
        let mut values = Values::from([("secret".to_owned(), Secret::new(self.secret.as_str()))]);
        for (name, reference) in &self.credentials {
            values.insert(name.clone(), self.resolver.resolve(reference).await.map_err(|f| f.during(name))?);
        }
        values.extend(more.iter().map(|(name, text)| ((*name).to_owned(), Secret::new(*text))));
        Ok(values)
    }
}

fn told(failure: &HttpFailure, asked: Asked) -> Failure {
    let text = failure.to_string();
    let maybe = |class| Failure { unknown: asked == Asked::Change, ..Failure::passing(class, text.clone()) };
    match failure {
        HttpFailure::Refused { status: 401 | 403, .. } if asked == Asked::Try => Failure::lasting(Class::WrongPassword, text),
        HttpFailure::Refused { status: 401 | 403, .. } => Failure::lasting(Class::Denied, text),
        HttpFailure::Refused { status: 429, .. } | HttpFailure::Unreachable { .. } => Failure::passing(Class::Unreachable, text),
        HttpFailure::Refused { status: 500.., .. } | HttpFailure::Exchange { .. } => maybe(Class::Unreachable),
        HttpFailure::Timeout { .. } => maybe(Class::Timeout),
        HttpFailure::Answer { .. } => Failure { again: false, ..maybe(Class::Invalid) },
        HttpFailure::Refused { .. } => Failure::lasting(Class::Refused, text),
        HttpFailure::Tls { .. } => Failure::lasting(Class::Tls, text),
        HttpFailure::Request { .. } => Failure::lasting(Class::Invalid, text),
    }
}

#[async_trait]
impl Issuer for HttpIssuer {
    async fn ready(&self) -> Result<(), Failure> {
        self.values(&[]).await.map(drop)
    }

    async fn create(&self, label: &str) -> Result<Issued, Failure> {
        let values = self.values(&[("label", label)]).await?;
        let mut made = self.api.make(&values).await.map_err(|e| told(&e, Asked::Change).during("making a key"))?;
        // Its own name for it, which is no secret; the configuration demands that it is read.
        let id = made.remove("id").map(|id| id.expose().to_owned()).unwrap_or_default();
        Ok(Issued { id, values: made })
    }

    async fn accepts(&self, tried: &Values) -> Result<(), Failure> {
        let mut values = self.values(&[]).await?;
        values.extend(tried.iter().map(|(name, value)| (name.clone(), value.duplicate())));
        // A value that was published before Keyward has no id.
        values.entry("id".to_owned()).or_insert_with(|| Secret::new("unknown"));
        self.api.accepts(&values).await.map_err(|e| told(&e, Asked::Try))
    }

    async fn labelled(&self, label: &str) -> Result<Option<Vec<String>>, Failure> {
        let values = self.values(&[("label", label)]).await?;
        self.api.labelled(label, &values).await.map_err(|e| told(&e, Asked::Look).during("listing keys"))
    }

    async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let values = self.values(&[("id", id)]).await?;
        self.api.end(&values).await.map_err(|e| told(&e, Asked::Change).during("revoking a key"))
    }
}
