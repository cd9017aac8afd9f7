//! What several kinds of credentials share: who changes them, how their consumers log in, what is published.

use super::super::reference::SecretRef;
use super::super::section::{Section, must_be};
use super::super::shape::Offer;
use keyward_engine::Shape;
use keyward_secret::Template;
use keyward_targets::postgres::PostgresUrl;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// Where and how a credential is proved, as its consumer would use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Server and database; the user and password are the credential's own.
    pub url: PostgresUrl,
    /// A statement that a consumer must be able to run; default none beyond the login.
    pub probe: Option<String>,
}

/// The user that changes passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Server, database and user.
    pub url: PostgresUrl,
    /// Its password.
    pub password: SecretRef,
}

pub(super) const ADMIN: (&str, &str) =
    ("admin", "say who changes the role: { url = \"postgresql://user@host/database\", password = { file = \"…\" } }");
pub(super) const LOGIN: (&str, &str) =
    ("login", "say how a consumer logs in, or nothing can be proved: { url = \"postgresql://host/database\" }");
/// Each credential has a user of its own, so both are published.
pub(super) const TWO_USERS: Offer<'static> = Offer { known: &["username", "password"], needed: &["username", "password"] };
/// The user is known from elsewhere, so it need not be published.
pub(super) const ONE_USER: Offer<'static> = Offer { known: &["username", "password"], needed: &["password"] };

/// The `set` of a database credential; `username` and `password` when the file is silent.
pub(super) fn credential_set(s: &mut Section<'_>, offer: &Offer<'_>) -> Option<Shape> {
    if s.has("set") {
        return s.set(offer);
    }
    let field = |name: &&str| Template::parse(&format!("{{{name}}}")).ok().map(|template| ((*name).to_owned(), template));
    offer.known.iter().map(field).collect::<Option<BTreeMap<_, _>>>().map(Shape)
}

/// A PostgreSQL role's name: at most 63 bytes (NAMEDATALEN - 1), beyond which the server would cut it.
pub(super) fn is_role(s: &Section<'_>, key: &str, name: &Spanned<String>) -> bool {
    let good = !name.get_ref().is_empty() && name.get_ref().len() <= 63 && !name.get_ref().chars().any(char::is_control);
    if !good {
        s.wrong(&name.span(), key, "must name PostgreSQL roles, of 1 to 63 bytes each");
    }
    good
}

pub(in crate::config) fn read_admin(s: &mut Section<'_>) -> Option<Admin> {
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

pub(super) fn refuse_admin_as_user(s: &Section<'_>, admin: Option<&Admin>, users: &[String]) {
    if let Some(user) = admin.and_then(|a| a.url.user()).filter(|user| users.iter().any(|u| u == user)) {
        s.problems().at(s.span(), format!("the role \"{user}\" in {} is its own admin; use a separate role for admin.url", s.label()));
    }
}

/// Whose user logs in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum User {
    /// The credential's; the URL must not name one.
    OfTheCredential,
    /// The one in the URL, which must name it.
    Named,
}

/// One login, or a list of them.
pub(super) fn read_login(s: &mut Section<'_>, user: User) -> Option<Vec<Login>> {
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
