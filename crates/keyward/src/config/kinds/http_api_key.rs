//! `http-api-key`, as configured: the provider's calls, declared.

use super::super::address::{http_url, is_exposed};
use super::super::reference::{SecretRef, absolute_path};
use super::super::section::{Section, must_be};
use super::super::shape::{Offer, kv_path, names_a_secret};
use super::PATH;
use keyward_engine::Shape;
use keyward_secret::{Template, Values};
use keyward_targets::key_api::{Body, Call, KeyApi, List, Method, Next};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// `http-api-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpApiKey {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{id}`, `{value}` and what else `create.read` names.
    pub set: Shape,
    /// What the calls need besides, by the placeholder's name.
    pub credentials: BTreeMap<String, SecretRef>,
    /// The calls.
    pub api: KeyApi,
}

const DEFAULT_LIMIT: Duration = Duration::from_secs(20);
const METHODS: [(&str, Method); 5] =
    [("GET", Method::GET), ("POST", Method::POST), ("PUT", Method::PUT), ("PATCH", Method::PATCH), ("DELETE", Method::DELETE)];

/// What a call may name, and what of it must not stand in a URL, because URLs end up in logs.
struct Names<'a> {
    plain: &'a [&'a str],
    secret: &'a [&'a str],
}

pub(super) fn read(mut s: Section<'_>) -> Option<HttpApiKey> {
    let path = s.parsed("path", kv_path);
    let credentials = s.inline("credentials").map(read_credentials).unwrap_or_default();
    let admin: Vec<&str> = credentials.keys().map(String::as_str).collect();
    let (create, read_from) = s.inline("create").map(|c| read_create(c, &admin)).unwrap_or_default();
    let read: Vec<&str> = read_from.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let with_values: Vec<&str> = admin.iter().chain(read.iter().filter(|name| **name != "id")).copied().collect();
    let verify = s.inline("verify").and_then(|c| read_call(c, &Names { plain: &["id"], secret: &with_values }, &Method::GET));
    let list = if s.has("list") { Some(s.inline("list").and_then(|c| read_list(c, &admin))) } else { None };
    let revoke = s.inline("revoke").and_then(|c| read_call(c, &Names { plain: &["id"], secret: &admin }, &Method::DELETE));
    let root_cert = s.parsed("ca_cert", absolute_path).map(Spanned::into_inner);
    let limit = s.duration("limit").map_or(DEFAULT_LIMIT, Spanned::into_inner);
    let set = if read_from.is_some() { s.set(&Offer { known: &read, needed: &read }) } else { s.value("set").and(None) };
    if verify.as_ref().is_some_and(|call| !uses(call, &with_values)) {
        s.problems()
            .at(s.span(), format!("verify of {} uses nothing of the key, so any key would pass; send it: \"Bearer {{value}}\"", s.label()));
    }
    if revoke.as_ref().is_some_and(|call| !uses(call, &["id"])) {
        s.problems().at(s.span(), format!("revoke of {} does not say which key: write {{id}} in its url or body", s.label()));
    }
    if list.is_none() && !s.has_taken("list") {
        let what = format!(
            "{} has no list: where an answer of the provider is lost, nobody can find the key it made, and the rotation stops for a person",
            s.label()
        );
        s.problems().warn(Some(s.span()), what);
    }
    s.finish(&[
        PATH,
        ("set", "say which fields get the key and its id: { api_key = \"{value}\", api_key_id = \"{id}\" }"),
        ("create", "say how a key is made, under {label}, and where the answer holds it: read = { id = \"/id\", value = \"/key\" }"),
        ("verify", "say how a key is tried: { url = \"https://…\", header = { Authorization = \"Bearer {value}\" } }"),
        ("revoke", "say how a key is ended: { method = \"DELETE\", url = \"https://…/{id}\", … }"),
    ]);
    let list = match list {
        Some(list) => Some(list?),
        None => None,
    };
    let credentials = credentials.into_iter().map(|(name, reference)| Some((name, reference?))).collect::<Option<_>>()?;
    let api = KeyApi { create: create?, read: read_from?, verify: verify?, list, revoke: revoke?, root_cert, limit };
    Some(HttpApiKey { path: path?.into_inner(), set: set?, credentials, api })
}

fn read_credentials(s: Section<'_>) -> BTreeMap<String, Option<SecretRef>> {
    let (label, span, problems) = (s.label().to_owned(), s.span().clone(), s.problems());
    let credentials = s.references();
    for name in credentials.keys() {
        let fits =
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !["id", "value", "label", "secret"].contains(&name.as_str());
        if !fits {
            problems.at(&span, format!("\"{name}\" in {label} cannot be a placeholder of its own; use other letters, digits and _"));
        }
    }
    credentials
}

/// The call, and where its answer holds what.
fn read_create(mut s: Section<'_>, admin: &[&str]) -> (Option<Call>, Option<BTreeMap<String, String>>) {
    let read = s.inline("read").and_then(pointers);
    let (label, span, problems) = (s.label().to_owned(), s.span().clone(), s.problems());
    let call = read_call_with(s, &Names { plain: &["label", "secret"], secret: admin }, &Method::POST, &[("read", READ)]);
    if call.as_ref().is_some_and(|call| !uses(call, &["label"])) {
        problems
            .at(&span, format!("{label} does not name the key: write {{label}} where the provider takes a name, or nobody finds it again"));
    }
    for needed in ["id", "value"].iter().filter(|name| read.as_ref().is_some_and(|read| !read.contains_key(**name))) {
        problems.at(&span, format!("read of {label} lacks \"{needed}\"; {READ}"));
    }
    (call, read)
}

const READ: &str = "say where the answer holds the key and its id, as JSON pointers: { id = \"/id\", value = \"/key\" }";

fn read_list(mut s: Section<'_>, admin: &[&str]) -> Option<List> {
    let items = s.parsed("items", pointer).map(Spanned::into_inner).unwrap_or_default();
    let id = s.parsed("id", pointer);
    let label = s.parsed("label", pointer);
    let page = s.text("page").map(Spanned::into_inner);
    let cursor = s.inline("cursor").map(|mut c| {
        let parameter = c.text("parameter").map(Spanned::into_inner);
        let pointer = c.parsed("pointer", pointer).map(Spanned::into_inner);
        c.finish(&[
            ("parameter", "name the URL's parameter, such as \"after\""),
            ("pointer", "say where the answer holds it, such as \"/last_id\""),
        ]);
        Some(Next::Cursor { parameter: parameter?, pointer: pointer? })
    });
    let next = match (page, cursor) {
        (Some(_), Some(_)) => {
            s.problems().at(s.span(), format!("{} has both page and cursor; keep the one that the provider knows", s.label()));
            None
        }
        (Some(parameter), None) => Some(Next::Page { parameter }),
        (None, cursor) => cursor.flatten(),
    };
    let required =
        [("id", "say where an item holds its id, such as \"/id\""), ("label", "say where an item holds its name, such as \"/name\"")];
    let call = read_call_with(s, &Names { plain: &["label", "secret"], secret: admin }, &Method::GET, &required)?;
    Some(List { call, items, id: id?.into_inner(), label: label?.into_inner(), next })
}

fn read_call(s: Section<'_>, names: &Names<'_>, default: &Method) -> Option<Call> {
    read_call_with(s, names, default, &[])
}

fn read_call_with(mut s: Section<'_>, names: &Names<'_>, default: &Method, required: &[(&str, &str)]) -> Option<Call> {
    let method = s.choice("method", &METHODS).map_or_else(|| default.clone(), Spanned::into_inner);
    let url = s.parsed("url", |text| url(text, names));
    let headers = s.inline("header").map(|h| headers(h, names)).unwrap_or_default();
    let has_body = s.has("body");
    let body = s.value("body").and_then(|value| {
        let span = value.span();
        body(value.into_inner(), names).map_err(|what| s.wrong(&span, "body", what)).ok()
    });
    let expect = s.number("expect", 100..=599).and_then(|n| u16::try_from(n.into_inner()).ok());
    let all: Vec<(&str, &str)> = [("url", "name the provider's URL")].into_iter().chain(required.iter().copied()).collect();
    s.finish(&all);
    if has_body && body.is_none() {
        return None;
    }
    Some(Call { method, url: url?.into_inner(), headers, body, expect })
}

/// A URL template that is https wherever it leads off this machine, whatever is filled in.
fn url(text: &str, names: &Names<'_>) -> Result<Template, String> {
    let template = template(text, names)?;
    if let Some(name) = template.names().find(|name| names.secret.contains(name)) {
        return Err(format!("must not hold {{{name}}}: URLs end up in logs; send it in a header"));
    }
    let filled: Values = names.plain.iter().map(|name| ((*name).to_owned(), "x".to_owned().into())).collect();
    let sample = template.render(&filled).map_err(|error| error.to_string())?;
    let url = http_url(sample.expose())?;
    if text.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default().contains('{') {
        return Err("must name its host without placeholders".to_owned());
    }
    if is_exposed(&url) { Err("must be https beyond loopback: keys are sent to it".to_owned()) } else { Ok(template) }
}

fn template(text: &str, names: &Names<'_>) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| format!("has {error}"))?;
    let known: Vec<&str> = names.plain.iter().chain(names.secret).copied().collect();
    if let Some(unknown) = template.names().find(|name| !known.contains(name)) {
        let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
        return Err(format!("has an unknown placeholder {{{unknown}}}; this call knows {}", known.join(", ")));
    }
    Ok(template)
}

fn headers(s: Section<'_>, names: &Names<'_>) -> Vec<(String, Template)> {
    let (label, problems) = (s.label().to_owned(), s.problems());
    let mut headers = Vec::new();
    for (name, value) in s.entries() {
        let parsed = match value.get_ref() {
            DeValue::String(text) if text.chars().any(char::is_control) => Err("is not a usable HTTP header".to_owned()),
            DeValue::String(text) => template(text, names),
            other => Err(must_be("a text", other)),
        };
        let usable = !name.get_ref().is_empty() && name.get_ref().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        match parsed {
            _ if !usable => problems.at(&name.span(), format!("\"{}\" in {label} is not a usable HTTP header", name.get_ref())),
            Ok(template) if names_a_secret(name.get_ref()) && template.names().next().is_none() => {
                problems.at(
                    &name.span(),
                    format!("\"{}\" in {label} holds a literal secret; name it in credentials and write its placeholder", name.get_ref()),
                );
            }
            Ok(template) => headers.push((name.into_inner(), template)),
            Err(what) => problems.at(&name.span(), format!("\"{}\" in {label} {what}", name.get_ref())),
        }
    }
    headers
}

/// A JSON body, written as TOML; every text in it is a template.
fn body(value: DeValue<'_>, names: &Names<'_>) -> Result<Body, String> {
    Ok(match value {
        DeValue::String(text) => Body::Text(template(&text, names)?),
        DeValue::Boolean(flag) => Body::Plain(flag.into()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| "holds a number that is too large".to_owned())?;
            Body::Plain(number.into())
        }
        DeValue::Array(items) => Body::List(items.into_iter().map(|item| body(item.into_inner(), names)).collect::<Result<_, _>>()?),
        DeValue::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((name.into_inner().into_owned(), body(value.into_inner(), names)?)));
            Body::Object(fields.collect::<Result<_, String>>()?)
        }
        other => return Err(must_be("made of texts, whole numbers, true and false, lists and tables", &other)),
    })
}

/// Name → JSON pointer.
fn pointers(s: Section<'_>) -> Option<BTreeMap<String, String>> {
    let (label, problems) = (s.label().to_owned(), s.problems());
    let mut read = BTreeMap::new();
    let mut sound = true;
    for (name, value) in s.entries() {
        let parsed = match value.get_ref() {
            DeValue::String(text) => pointer(text),
            other => Err(must_be("a text", other)),
        };
        match parsed {
            Ok(pointer) => drop(read.insert(name.into_inner(), pointer)),
            Err(what) => {
                sound = false;
                problems.at(&name.span(), format!("\"{}\" in {label} {what}", name.get_ref()));
            }
        }
    }
    sound.then_some(read)
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("must be a JSON pointer, which begins with /: \"/api_key/value\"".to_owned())
    }
}

fn uses(call: &Call, names: &[&str]) -> bool {
    let in_headers = call.headers.iter().flat_map(|(_, template)| template.names());
    let in_body = call.body.iter().flat_map(Body::names);
    call.url.names().chain(in_headers).chain(in_body).any(|name| names.contains(&name))
}
