//! `manual`, as configured.

use super::super::address::{http_url, is_exposed};
use super::super::reference::absolute_path;
use super::super::section::Section;
use super::super::shape::{Offer, kv_path, names_a_secret};
use super::PATH;
use super::login::{Login, User, read_login};
use keyward_engine::Shape;
use keyward_secret::Template;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;
use url::Url;

/// `manual`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manual {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{value}`.
    pub set: Shape,
    /// How a value is proved; `None` proves nothing, and that is said.
    pub check: Option<ManualCheck>,
}

/// How a value that a person brought is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualCheck {
    /// A GET that must answer with one status.
    Http(HttpCheck),
    /// A login to PostgreSQL with the value as the password of the user that `login.url` names.
    Login(Vec<Login>),
}

/// One GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The URL; it holds no secret.
    pub get: Url,
    /// Headers by name; the templates offer `{value}`.
    pub header: Vec<(String, Template)>,
    /// The status that proves the value; default 200.
    pub expect: u16,
    /// Issuers to trust instead of the system's (PEM).
    pub ca_cert: Option<PathBuf>,
}

const VALUE: Offer<'static> = Offer { known: &["value"], needed: &["value"] };

pub(super) fn read(mut s: Section<'_>) -> Option<Manual> {
    let path = s.parsed("path", kv_path);
    let set = s.set(&VALUE);
    let http = s.inline("verify").map(http_check);
    let login = if s.has("login") { Some(read_login(&mut s, User::Named)) } else { None };
    if http.is_some() && login.is_some() {
        s.problems().at(s.span(), format!("{} has both verify and login; keep the one that proves the value", s.label()));
    }
    if http.is_none() && login.is_none() && !s.has("verify") {
        let what = format!("{} has neither verify nor login: a value that is supplied is published unproved", s.label());
        s.problems().warn(Some(s.span()), what);
    }
    s.finish(&[PATH, ("set", "say which field gets the value: { api_key = \"{value}\" }")]);
    let check = match (http, login) {
        (Some(http), _) => Some(ManualCheck::Http(http?)),
        (None, Some(login)) => Some(ManualCheck::Login(login?)),
        (None, None) => None,
    };
    Some(Manual { path: path?.into_inner(), set: set?, check })
}

fn http_check(mut s: Section<'_>) -> Option<HttpCheck> {
    let get = s.parsed("get", |text| {
        if text.contains('{') {
            Err("must not hold a placeholder: URLs end up in logs; send the value in a header".to_owned())
        } else {
            http_url(text)
        }
    });
    if let Some(url) = get.as_ref().filter(|url| is_exposed(url.get_ref())) {
        s.wrong(&url.span(), "get", "must be https beyond loopback: the value is sent to it");
    }
    let expect = s.number("expect", 100..=599).and_then(|n| u16::try_from(n.into_inner()).ok()).unwrap_or(200);
    let ca_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    let header = s.inline("header").map(headers).unwrap_or_default();
    if !s.has_taken("header") {
        s.problems().at(
            s.span(),
            format!("\"header\" is missing in {}; say how the value is sent: {{ Authorization = \"Bearer {{value}}\" }}", s.label()),
        );
    }
    s.finish(&[("get", "name the URL that answers only to a valid value")]);
    Some(HttpCheck { get: get?.into_inner(), header, expect, ca_cert })
}

fn headers(s: Section<'_>) -> Vec<(String, Template)> {
    let (label, problems, span) = (s.label().to_owned(), s.problems(), s.span().clone());
    let mut headers = Vec::new();
    for (name, value) in s.entries() {
        let wrong = |what: &str| problems.at(&name.span(), format!("\"{}\" in {label} {what}", name.get_ref()));
        let DeValue::String(text) = value.into_inner() else {
            wrong("must be a text");
            continue;
        };
        if name.get_ref().is_empty()
            || !name.get_ref().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            || text.chars().any(char::is_control)
        {
            wrong("is not a usable HTTP header");
            continue;
        }
        match Template::parse(&text) {
            Err(error) => wrong(&format!("has {error}")),
            Ok(template) if template.names().any(|n| n != "value") => wrong("has an unknown placeholder; this kind offers {value}"),
            Ok(template) if names_a_secret(name.get_ref()) && template.names().next().is_none() => {
                wrong("holds a literal secret; write {value} in its place");
            }
            Ok(template) => headers.push((name.into_inner(), template)),
        }
    }
    if !headers.is_empty() && !headers.iter().any(|(_, t)| t.names().any(|n| n == "value")) {
        problems.at(&span, format!("{label} uses {{value}} nowhere, so any value would pass"));
    }
    headers
}
