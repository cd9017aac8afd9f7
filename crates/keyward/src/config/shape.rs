//! What a secret publishes: named templates, and the path they are published at. It never renders.

use super::section::{Section, must_be};
use keyward_engine::Shape;
use keyward_secret::Template;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// What a kind offers to its templates.
pub(super) struct Offer<'a> {
    /// The placeholders.
    pub(super) known: &'a [&'a str],
    /// Those that need a field of their own, with nothing else in it: what is published is read back from there.
    pub(super) needed: &'a [&'a str],
}

impl Section<'_> {
    /// The `set` table; `None` when it is absent or wrong.
    pub(super) fn set(&mut self, offer: &Offer<'_>) -> Option<Shape> {
        let set = self.inline("set")?;
        let (span, label, problems) = (set.span().clone(), set.label().to_owned(), set.problems());
        let mut fields = BTreeMap::new();
        let mut sound = true;
        for (key, value) in set.entries() {
            match field(&key, value.get_ref(), offer) {
                Ok(template) => drop(fields.insert(key.into_inner(), template)),
                Err(what) => {
                    sound = false;
                    problems.at(&key.span(), format!("\"{}\" in {label} {what}", key.get_ref()));
                }
            }
        }
        let shape = Shape(fields);
        let unread = offer.needed.iter().find(|needed| shape.field_of(needed).is_none());
        if let Some(needed) = unread.filter(|_| sound) {
            let what =
                format!("{label} has no field that is just \"{{{needed}}}\"; add one: it is how Keyward reads back what is published");
            problems.at(&span, what);
            return None;
        }
        sound.then_some(shape)
    }
}

fn field(name: &Spanned<String>, value: &DeValue<'_>, offer: &Offer<'_>) -> Result<Template, String> {
    let DeValue::String(text) = value else { return Err(must_be("a text with placeholders", value)) };
    let template = Template::parse(text).map_err(|error| format!("has {error}"))?;
    if let Some(unknown) = template.names().find(|n| !offer.known.contains(n)) {
        let offered: Vec<String> = offer.known.iter().map(|k| format!("{{{k}}}")).collect();
        return Err(format!("has an unknown placeholder {{{unknown}}}; this kind offers {}", offered.join(", ")));
    }
    if literal_password(text) {
        return Err("holds a password in its URL; write the placeholder in its place".to_owned());
    }
    if names_a_secret(name.get_ref()) && template.names().next().is_none() {
        return Err("holds a literal secret; write the placeholder in its place".to_owned());
    }
    Ok(template)
}

/// Whether a URL template's password is a literal text.
fn literal_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    password.is_some_and(|p| !p.is_empty() && !p.contains('{'))
}

/// Whether a field or header of this name holds a secret by all custom.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace(['-', '_'], "");
    ["password", "passwd", "secret", "token", "apikey", "authorization", "cookie"].iter().any(|word| name.ends_with(word))
}

/// A KV version 2 path as `vault kv get` takes it: mount first, no slash at the ends.
pub(super) fn kv_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    if segments.len() < 2 {
        return Err("must name a mount and a path in it, such as \"secret/app/database\"".to_owned());
    }
    if segments.iter().any(|s| s.is_empty() || matches!(*s, "." | ".."))
        || path.chars().any(|c| c.is_control() || c.is_whitespace() || "*+?#%{}".contains(c))
    {
        return Err("must be a plain path: no empty parts, blanks, wildcards or placeholders".to_owned());
    }
    if segments[0] == "v1" {
        let plain: Vec<&str> = segments.iter().enumerate().filter(|(i, s)| *i > 0 && (*i != 2 || **s != "data")).map(|(_, s)| *s).collect();
        return Err(format!("must be the path as `vault kv get` takes it, not the API's: \"{}\"", plain.join("/")));
    }
    Ok(path.to_owned())
}
