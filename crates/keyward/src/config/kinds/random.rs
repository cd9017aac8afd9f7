//! `random`, as configured.

use super::super::section::Section;
use super::super::shape::{Offer, kv_path};
use super::PATH;
use keyward_engine::Shape;

/// `random`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{value}` and `{previous}`.
    pub set: Shape,
    /// Whether a field holds the previous value too.
    pub keeps_previous: bool,
}

const VALUE_AND_PREVIOUS: Offer<'static> = Offer { known: &["value", "previous"], needed: &["value"] };

pub(super) fn read(mut s: Section<'_>) -> Option<Random> {
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
