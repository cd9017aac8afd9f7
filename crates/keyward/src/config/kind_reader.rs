//! Reads the fields of each kind. It never looks at another secret; what concerns several is checked in `cross`.

use super::address::{http_url, is_exposed};
use super::kind::{
    Admin, HmacAlgorithm, HttpCheck, JwtHmac, KINDS, KindConfig, Login, Manual, ManualCheck, PostgresPassword, PostgresTwoUsers,
    PublishedCopy, Random, VaultStaticRole,
};
use super::reference::absolute_path;
use super::section::{Section, must_be};
use super::shape::{Offer, kv_path, names_a_secret};
use keyward_engine::Shape;
use keyward_engine::kinds::JwtFields;
use keyward_secret::Template;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

const PATH: (&str, &str) = ("path", "name the KV version 2 secret to publish in, such as \"secret/app/database\"");
const ADMIN: (&str, &str) =
    ("admin", "say who changes the role: { url = \"postgresql://user@host/database\", password = { file = \"…\" } }");
const LOGIN: (&str, &str) = ("login", "say how a consumer logs in, or nothing can be proved: { url = \"postgresql://host/database\" }");
const TWO_USERS: Offer<'static> = Offer { known: &["username", "password"], needed: &["username", "password"] };
/// The user is known from elsewhere, so it need not be published.
const ONE_USER: Offer<'static> = Offer { known: &["username", "password"], needed: &["password"] };
const VALUE: Offer<'static> = Offer { known: &["value"], needed: &["value"] };
const VALUE_AND_PREVIOUS: Offer<'static> = Offer { known: &["value", "previous"], needed: &["value"] };

/// How long a new key may need to reach its consumers, by default.
const DEFAULT_PROPAGATION: Duration = Duration::from_mins(5);

/// The kind that the table names, read from the rest of the table; problems are reported. Finishes the section.
pub(super) fn read(mut section: Section<'_>) -> Option<KindConfig> {
    let kind = section.choice("kind", &KINDS.map(|k| (k, k)));
    let Some(kind) = kind else {
        // Without a kind nobody can say which other keys belong here.
        if !section.has_taken("kind") {
            section.problems().at(section.span(), format!("\"kind\" is missing in {}; known kinds: {}", section.label(), KINDS.join(", ")));
        }
        return None;
    };
    match kind.into_inner() {
        "postgres-two-users" => two_users(section).map(KindConfig::PostgresTwoUsers),
        "postgres-password" => password(section).map(KindConfig::PostgresPassword),
        "vault-static-role" => static_role(section).map(KindConfig::VaultStaticRole),
        "manual" => manual(section).map(KindConfig::Manual),
        "random" => random(section).map(KindConfig::Random),
        _ => jwt_hmac(section).map(KindConfig::JwtHmac),
    }
}

fn two_users(mut s: Section<'_>) -> Option<PostgresTwoUsers> {
    let path = s.parsed("path", kv_path);
    let users = s.texts("users");
    let (span, has_users) = (users.first().map_or_else(|| s.span().clone(), Spanned::span), s.has_taken("users"));
    let pair = match users.as_slice() {
        [a, b] if a.get_ref() == b.get_ref() => {
            s.wrong(&b.span(), "users", "must be two different roles: one is used while the other changes");
            None
        }
        [a, b] => [a, b].iter().all(|u| is_role(&s, "users", u)).then(|| [a.get_ref().clone(), b.get_ref().clone()]),
        others => {
            if has_users {
                s.wrong(&span, "users", format_args!("must be exactly two roles, not {}", others.len()));
            }
            None
        }
    };
    let (set, admin, login) = (credential_set(&mut s, &TWO_USERS), read_admin(&mut s), read_login(&mut s, User::OfTheCredential));
    refuse_admin_as_user(&s, admin.as_ref(), pair.as_ref().map_or(&[], |p| p.as_slice()));
    s.finish(&[PATH, ("users", "name the two roles that take turns: [\"app_a\", \"app_b\"]"), ADMIN, LOGIN]);
    Some(PostgresTwoUsers { path: path?.into_inner(), users: pair?, set: set?, admin: admin?, login: login? })
}

fn password(mut s: Section<'_>) -> Option<PostgresPassword> {
    let path = s.parsed("path", kv_path);
    let user = s.text("user").filter(|u| is_role(&s, "user", u));
    let (set, admin, login) = (credential_set(&mut s, &ONE_USER), read_admin(&mut s), read_login(&mut s, User::OfTheCredential));
    let user = user.map(Spanned::into_inner);
    refuse_admin_as_user(&s, admin.as_ref(), user.as_slice());
    s.finish(&[PATH, ("user", "name the role whose password is rotated"), ADMIN, LOGIN]);
    Some(PostgresPassword { path: path?.into_inner(), user: user?, set: set?, admin: admin?, login: login? })
}

fn static_role(mut s: Section<'_>) -> Option<VaultStaticRole> {
    let role = s.parsed("role", static_role_path);
    let path = s.parsed("path", kv_path);
    let (wants_copy, wants_set) = (s.has_taken("path"), s.has("set"));
    let set = credential_set(&mut s, &ONE_USER);
    if wants_set && !wants_copy {
        s.problems().at(s.span(), format!("\"set\" in {} needs \"path\": the KV secret that gets the copy", s.label()));
    }
    let login = read_login(&mut s, User::OfTheCredential);
    s.finish(&[("role", "name the static role, such as \"database/static-roles/reporting\""), LOGIN]);
    let copy = if wants_copy { Some(PublishedCopy { path: path?.into_inner(), set: set? }) } else { None };
    let (mount, role) = role?.into_inner();
    Some(VaultStaticRole { mount, role, copy, login: login? })
}

fn manual(mut s: Section<'_>) -> Option<Manual> {
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

fn random(mut s: Section<'_>) -> Option<Random> {
    let path = s.parsed("path", kv_path);
    let set = s.set(&VALUE_AND_PREVIOUS);
    let issuer = s.choice("issuer", &[("self", ())]);
    let mut named: Vec<&str> = set.iter().flat_map(|set| set.0.keys()).map(String::as_str).collect();
    let (label, span, problems) = (s.label().to_owned(), s.span().clone(), s.problems());
    named.push(&label);
    let encrypts = named.iter().any(|name| name.to_lowercase().contains("encryption"));
    if encrypts {
        let what = format!(
            "{label} looks like an encryption key: rotating it as a random value would make old data unreadable; use Vault's transit engine"
        );
        s.problems().at(s.span(), what);
    }
    s.finish(&[
        PATH,
        ("set", "say which field gets the value: { token = \"{value}\" }"),
        ("issuer", "say issuer = \"self\" if both sides read the value from Vault; a value that somebody else issues is of kind manual"),
    ]);
    let (mentions, keeps_previous) = match &set {
        Some(set) => (set.0.values().any(|t| t.names().any(|n| n == "previous")), set.field_of("previous").is_some()),
        None => (false, false),
    };
    if mentions && !keeps_previous {
        problems.at(
            &span,
            format!("set of {label} has no field that is just \"{{previous}}\"; add one: it is how Keyward finds it again to remove it"),
        );
    }
    if encrypts { None } else { Some(Random { path: path?.into_inner(), set: set?, keeps_previous: issuer.map(|_| keeps_previous)? }) }
}

fn jwt_hmac(mut s: Section<'_>) -> Option<JwtHmac> {
    let path = s.parsed("path", kv_path);
    let algorithms = [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512].map(|a| (a.name(), a));
    let algorithm = s.choice("algorithm", &algorithms);
    let token_lifetime = s.duration("token_lifetime");
    let propagation = s.duration("propagation").map_or(DEFAULT_PROPAGATION, Spanned::into_inner);
    let mut fields = JwtFields { current: "current".into(), previous: "previous".into(), next: "next".into() };
    if let Some(mut names) = s.inline("fields") {
        for (key, field) in [("current", &mut fields.current), ("previous", &mut fields.previous), ("next", &mut fields.next)] {
            if let Some(name) = names.text(key) {
                *field = name.into_inner();
            }
        }
        if fields.current == fields.previous || fields.previous == fields.next || fields.current == fields.next {
            names.problems().at(names.span(), format!("{} must give three different names", names.label()));
        }
        names.finish(&[]);
    }
    s.finish(&[
        PATH,
        ("algorithm", "say which: HS256, HS384 or HS512"),
        ("token_lifetime", "say how long a token lives, such as \"1h\": that long the previous key must still verify"),
    ]);
    let (path, algorithm) = (path?.into_inner(), algorithm?.into_inner());
    Some(JwtHmac { path, algorithm, token_lifetime: token_lifetime?.into_inner(), propagation, fields })
}

/// The `set` of a database credential; `username` and `password` when the file is silent.
fn credential_set(s: &mut Section<'_>, offer: &Offer<'_>) -> Option<Shape> {
    if s.has("set") {
        return s.set(offer);
    }
    let field = |name: &&str| Template::parse(&format!("{{{name}}}")).ok().map(|template| ((*name).to_owned(), template));
    offer.known.iter().map(field).collect::<Option<BTreeMap<_, _>>>().map(Shape)
}

/// A PostgreSQL role's name: at most 63 bytes (NAMEDATALEN - 1), beyond which the server would cut it.
fn is_role(s: &Section<'_>, key: &str, name: &Spanned<String>) -> bool {
    let good = !name.get_ref().is_empty() && name.get_ref().len() <= 63 && !name.get_ref().chars().any(char::is_control);
    if !good {
        s.wrong(&name.span(), key, "must name PostgreSQL roles, of 1 to 63 bytes each");
    }
    good
}

fn read_admin(s: &mut Section<'_>) -> Option<Admin> {
    let mut admin = s.inline("admin")?;
    let url = admin.postgres_url("url");
    let password = admin.reference("password");
    if let Some(url) = url.as_ref().filter(|url| url.get_ref().user().is_none()) {
        admin.wrong(&url.span(), "url", "must name the user that changes passwords: \"postgresql://user@host/database\"");
        return None;
    }
    admin.finish(&[
        ("url", "say where: \"postgresql://user@host/database\""),
        ("password", "say where it is, such as { file = \"/run/secrets/x\" }"),
    ]);
    Some(Admin { url: url?.into_inner(), password: password? })
}

fn refuse_admin_as_user(s: &Section<'_>, admin: Option<&Admin>, users: &[String]) {
    if let Some(user) = admin.and_then(|a| a.url.user()).filter(|user| users.iter().any(|u| u == user)) {
        s.problems().at(s.span(), format!("the role \"{user}\" in {} is its own admin; use a separate role for admin.url", s.label()));
    }
}

/// Whose user logs in.
#[derive(Clone, Copy, PartialEq)]
enum User {
    /// The credential's; the URL must not name one.
    OfTheCredential,
    /// The one in the URL, which must name it.
    Named,
}

/// One login, or a list of them.
fn read_login(s: &mut Section<'_>, user: User) -> Option<Vec<Login>> {
    let value = s.value("login")?;
    let (span, label) = (value.span(), format!("login of {}", s.label()));
    let tables = match value.into_inner() {
        DeValue::Table(table) => vec![Spanned::new(span.clone(), table)],
        DeValue::Array(items) if !items.is_empty() => {
            let count = items.len();
            let tables: Vec<_> = items
                .into_iter()
                .filter_map(|item| match (item.span(), item.into_inner()) {
                    (span, DeValue::Table(table)) => Some(Spanned::new(span, table)),
                    _ => None,
                })
                .collect();
            if tables.len() != count {
                s.wrong(&span, "login", "must be a table such as { url = \"postgresql://host/database\" }, or a list of such tables");
                return None;
            }
            tables
        }
        other => {
            s.wrong(&span, "login", must_be("a table such as { url = \"postgresql://host/database\" }", &other));
            return None;
        }
    };
    tables.into_iter().map(|table| one_login(Section::new(label.clone(), table, s.problems()), user)).collect()
}

fn one_login(mut s: Section<'_>, user: User) -> Option<Login> {
    let url = s.postgres_url("url");
    let probe = s.text("probe").map(Spanned::into_inner);
    if let Some(url) = &url {
        match (user, url.get_ref().user()) {
            (User::OfTheCredential, Some(_)) => s.wrong(&url.span(), "url", "must not name a user: the rotated one logs in"),
            (User::Named, None) => {
                s.wrong(&url.span(), "url", "must name the user whose password the value is: \"postgresql://user@host/database\"");
            }
            _ => {}
        }
    }
    s.finish(&[("url", "say where consumers log in: \"postgresql://host/database\"")]);
    Some(Login { url: url?.into_inner(), probe })
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

/// `mount/static-roles/name`.
fn static_role_path(text: &str) -> Result<(String, String), String> {
    let form = "must be the static role's path, such as \"database/static-roles/reporting\"";
    let path = text.trim_matches('/');
    if path.contains("/roles/") {
        return Err(format!("names a dynamic role; {}", form.replacen("must", "it must", 1)));
    }
    let (mount, role) = path.split_once("/static-roles/").ok_or(form)?;
    let plain = |part: &str| part.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    if plain(mount) && plain(role) { Ok((mount.to_owned(), role.to_owned())) } else { Err(form.to_owned()) }
}
