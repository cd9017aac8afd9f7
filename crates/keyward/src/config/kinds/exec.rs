//! `exec`, as configured.

use super::super::section::Section;
use super::super::shape::{Offer, kv_path};
use super::PATH;
use keyward_engine::Shape;
use keyward_targets::exec::Program;
use std::time::Duration;
use toml::Spanned;

/// `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What is published; offers `{id}` and the program's values.
    pub set: Shape,
    /// The program; default limit 30 seconds, default environment nothing.
    pub program: Program,
    /// Whether it can list what it made; default true.
    pub lists: bool,
}

const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn read(mut s: Section<'_>) -> Option<Exec> {
    let path = s.parsed("path", kv_path);
    let argv: Vec<Spanned<String>> = s.texts("program");
    let absolute = argv.first().is_some_and(|program| program.get_ref().starts_with('/'));
    if s.has_taken("program") && !absolute {
        s.wrong(&s.span().clone(), "program", "must begin with a program's absolute path: no shell looks for it");
    }
    let env: Vec<Spanned<String>> = s.texts("env");
    let limit = s.duration("limit").map_or(DEFAULT_LIMIT, Spanned::into_inner);
    let lists = s.flag("lists").is_none_or(Spanned::into_inner);
    let mut values: Vec<String> = s.texts("values").into_iter().map(Spanned::into_inner).collect();
    if !s.has_taken("values") {
        values.push("value".into());
    }
    let known: Vec<&str> = values.iter().map(String::as_str).chain(["id"]).collect();
    let set = s.set(&Offer { known: &known, needed: &known });
    if !lists {
        let what = format!(
            "{} says lists = false: where an answer of the program is lost, nobody can find what it made, and the rotation stops for a person",
            s.label()
        );
        s.problems().warn(Some(s.span()), what);
    }
    s.finish(&[
        PATH,
        ("program", "name the program and its arguments: [\"/usr/local/lib/keyward/key\"]"),
        ("set", "say which fields get the value and its id: { api_key = \"{value}\", api_key_id = \"{id}\" }"),
    ]);
    let argv: Vec<String> = argv.into_iter().map(Spanned::into_inner).collect();
    let program = absolute.then(|| Program { argv, env: env.into_iter().map(Spanned::into_inner).collect(), limit });
    Some(Exec { path: path?.into_inner(), set: set?, program: program?, lists })
}
