//! A provider's API for its own keys, as declared calls: make one under a label, try it, list, end it.
//!
//! It never follows a redirect, never speaks plain HTTP beyond this machine, and never repeats a URL's query, a header, a body or an answer: any of them
//! may hold a key. What an answer means is said by JSON pointers (RFC 6901) alone.

use crate::http::{HttpFailure, classify, client, safe_url, shown_host};
use keyward_secret::{Secret, Template, TemplateError, Values};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

pub use reqwest::Method;

/// An answer larger than this is none that we ask for.
const LARGEST_ANSWER: usize = 4 << 20;
/// Pages of a list that are read at most.
const MOST_PAGES: u32 = 200;

/// A JSON value whose texts are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A text.
    Text(Template),
    /// A number, true or false, as it is.
    Plain(Value),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(BTreeMap<String, Self>),
}

impl Body {
    /// The placeholders' names.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(template) => template.names().collect(),
            Self::Plain(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::names).collect(),
            Self::Object(fields) => fields.values().flat_map(Self::names).collect(),
        }
    }

    fn render(&self, values: &Values) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Text(template) => Value::from(template.render(values)?.expose()),
            Self::Plain(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.render(values)).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Object(fields) => {
                Value::Object(fields.iter().map(|(name, field)| Ok((name.clone(), field.render(values)?))).collect::<Result<_, _>>()?)
            }
        })
    }
}

/// One declared call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// The URL; values in it are percent-encoded. Holds no secret.
    pub url: Template,
    /// Headers by name.
    pub headers: Vec<(String, Template)>,
    /// The JSON body; default none.
    pub body: Option<Body>,
    /// The status that means success; `None`: any 2xx.
    pub expect: Option<u16>,
}

/// How a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A parameter counts pages from 1.
    Page {
        /// Its name.
        parameter: String,
    },
    /// A parameter takes what the answer before holds.
    Cursor {
        /// Its name.
        parameter: String,
        /// Where the answer holds it.
        pointer: String,
    },
}

/// The call that lists, and how its answer is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The call.
    pub call: Call,
    /// Where the answer holds its items; empty: the answer itself is the list.
    pub items: String,
    /// Where an item holds its id.
    pub id: String,
    /// Where an item holds its label.
    pub label: String,
    /// How it goes on; `None`: one answer holds all.
    pub next: Option<Next>,
}

/// A provider's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyApi {
    /// Makes a key.
    pub create: Call,
    /// Where its answer holds what: `id`, `value`, and others by name.
    pub read: BTreeMap<String, String>,
    /// Tries a key.
    pub verify: Call,
    /// Lists keys; `None` where the provider cannot.
    pub list: Option<List>,
    /// Ends a key.
    pub revoke: Call,
    /// Issuers to trust instead of the system's (PEM).
    pub root_cert: Option<PathBuf>,
    /// For each call, from name lookup to the end of the answer.
    pub limit: Duration,
}

impl KeyApi {
    /// Makes a key: `id`, and the values by name.
    ///
    /// # Errors
    /// [`HttpFailure`]. After a timeout, a broken exchange, a 5xx or an unreadable answer it may have been made: look for its label.
    pub async fn make(&self, values: &Values) -> Result<Values, HttpFailure> {
        let (host, answer) = self.json(&self.create, values, None).await?;
        let read = |(name, pointer): (&String, &String)| {
            let why = "it lacks something that the configuration reads from it";
            let found = answer.pointer(pointer).and_then(text);
            found.map(|text| (name.clone(), text)).ok_or_else(|| HttpFailure::Answer { host: host.clone(), why })
        };
        self.read.iter().map(read).collect()
    }

    /// Tries a key.
    ///
    /// # Errors
    /// [`HttpFailure`].
    pub async fn accepts(&self, values: &Values) -> Result<(), HttpFailure> {
        self.send(&self.verify, values, None).await.map(drop)
    }

    /// The ids of the keys with exactly this label; `None` where the provider lists nothing.
    ///
    /// # Errors
    /// [`HttpFailure`]; [`HttpFailure::Answer`] for a list without end.
    pub async fn labelled(&self, label: &str, values: &Values) -> Result<Option<Vec<String>>, HttpFailure> {
        let Some(list) = &self.list else { return Ok(None) };
        let mut found = Vec::new();
        let mut at = match &list.next {
            Some(Next::Page { parameter }) => Some((parameter.clone(), "1".to_owned())),
            _ => None,
        };
        for page in 1..=MOST_PAGES {
            let (host, answer) = self.json(&list.call, values, at.as_ref()).await?;
            let unreadable = |why| HttpFailure::Answer { host: host.clone(), why };
            let items = answer
                .pointer(&list.items)
                .and_then(Value::as_array)
                .ok_or_else(|| unreadable("it holds no list where one is expected"))?;
            for item in items {
                if item.pointer(&list.label).and_then(Value::as_str) == Some(label) {
                    let id = item.pointer(&list.id).and_then(text).ok_or_else(|| unreadable("an item of the list has no id"))?;
                    found.push(id.expose().to_owned());
                }
            }
            let next = match &list.next {
                _ if items.is_empty() => None,
                None => None,
                Some(Next::Page { parameter }) => Some((parameter.clone(), (page + 1).to_string())),
                Some(Next::Cursor { parameter, pointer }) => {
                    answer.pointer(pointer).and_then(text).map(|cursor| (parameter.clone(), cursor.expose().to_owned()))
                }
            };
            if next.is_none() || next == at {
                return Ok(Some(found));
            }
            at = next;
        }
        let host = shown_host(&url(&list.call, values, None)?);
        Err(HttpFailure::Answer { host, why: "the list has no end" })
    }

    /// Ends a key. One that is gone already (404, 410) is no error.
    ///
    /// # Errors
    /// [`HttpFailure`].
    pub async fn end(&self, values: &Values) -> Result<(), HttpFailure> {
        match self.send(&self.revoke, values, None).await {
            Err(HttpFailure::Refused { status: 404 | 410, .. }) | Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a call and demands its success; the host, and what came back.
    async fn send(&self, call: &Call, values: &Values, parameter: Option<&(String, String)>) -> Result<(String, Response), HttpFailure> {
        let url = url(call, values, parameter)?;
        let host = shown_host(&url);
        let mut headers = HeaderMap::new();
        for (name, template) in &call.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpFailure::Request { why: "a header's name is malformed" })?;
            let value = template.render(values).map_err(|_| HttpFailure::Request { why: "a placeholder of a header has no value" })?;
            let value = HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| HttpFailure::Request { why: "a header's value holds characters that no header may hold" })?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let mut request = client(self.limit, &url, self.root_cert.as_deref())?.request(call.method.clone(), url).headers(headers);
        if let Some(body) = &call.body {
            let body = body.render(values).map_err(|_| HttpFailure::Request { why: "a placeholder of the body has no value" })?;
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|e| classify(&e, &host))?;
        let status = answer.status().as_u16();
        if call.expect.map_or(answer.status().is_success(), |expected| status == expected) {
            return Ok((host, answer));
        }
        Err(HttpFailure::Refused { host, status, expected: call.expect.unwrap_or(200) })
    }

    async fn json(&self, call: &Call, values: &Values, parameter: Option<&(String, String)>) -> Result<(String, Value), HttpFailure> {
        let (host, mut answer) = self.send(call, values, parameter).await?;
        let mut whole = Zeroizing::new(Vec::new());
        while let Some(part) = answer.chunk().await.map_err(|e| classify(&e, &host))? {
            if whole.len() + part.len() > LARGEST_ANSWER {
                return Err(HttpFailure::Answer { host, why: "it is larger than 4 MiB" });
            }
            whole.extend_from_slice(&part);
        }
        match serde_json::from_slice(&whole) {
            Ok(value) => Ok((host, value)),
            Err(_) => Err(HttpFailure::Answer { host, why: "it is not JSON" }),
        }
    }
}

/// A call's URL with these values and this parameter.
fn url(call: &Call, values: &Values, parameter: Option<&(String, String)>) -> Result<Url, HttpFailure> {
    let text = call.url.render(values).map_err(|_| HttpFailure::Request { why: "a placeholder of the URL has no value" })?;
    let mut url = safe_url(text.expose())?;
    if let Some((name, value)) = parameter {
        url.query_pairs_mut().append_pair(name, value);
    }
    Ok(url)
}

/// A text, or a number as a text: ids are either.
fn text(value: &Value) -> Option<Secret> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Secret::new(text.as_str())),
        Value::Number(number) => Some(Secret::new(number.to_string())),
        _ => None,
    }
}
