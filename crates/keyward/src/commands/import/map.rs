//! Which variable goes where: a TOML file, or the one that is shipped.

use super::super::by_hand::Declined;
use super::url::Part;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::Spanned;

/// The map that is used unless another is named: the groups that most services have.
pub const SHIPPED: &str = include_str!("default-map.toml");

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The variable.
    pub variable: String,
    /// A part of the URL that it holds; `None`: the whole value.
    pub part: Option<Part>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "the {} in {}", part.name(), self.variable),
            None => f.write_str(&self.variable),
        }
    }
}

/// Field → where its value may come from; all that are there must agree.
pub type Origins = BTreeMap<String, Vec<Origin>>;

/// One secret that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Below the mount.
    pub path: String,
    /// Its secret fields.
    pub fields: Origins,
    /// What is no secret.
    pub settings: Origins,
    /// Where settings go when they are kept apart, below the mount.
    pub settings_path: String,
}

/// A whole map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The KV mount of all paths.
    pub mount: String,
    /// The secrets, in the file's order.
    pub targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mount: Option<String>,
    #[serde(default)]
    secret: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: Spanned<String>,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<Words>>,
    #[serde(default)]
    settings: BTreeMap<String, Spanned<Words>>,
    settings_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Map {
    /// Reads a map; `file` is only repeated in errors.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(text: &str, file: &str) -> Result<Self, Declined> {
        let at = |span: &std::ops::Range<usize>, what: &str| {
            let line = 1 + text.get(..span.start.min(text.len())).unwrap_or_default().matches('\n').count();
            Declined::usage(format!("{file}:{line}: {what}"))
        };
        let read: File = toml::from_str(text).map_err(|error| {
            let what: Vec<&str> = error.message().split_whitespace().collect();
            at(&error.span().unwrap_or(0..0), &what.join(" "))
        })?;
        let (mut targets, mut paths) = (Vec::new(), BTreeSet::new());
        for entry in read.secret {
            let span = entry.path.span();
            let path =
                plain(entry.path.get_ref()).ok_or_else(|| at(&span, "\"path\" must be a path below the mount, such as \"backend/api\""))?;
            if !paths.insert(path.clone()) {
                return Err(at(&span, "two [[secret]] have this path; write all its fields in one"));
            }
            if let Some(both) = entry.fields.keys().find(|name| entry.settings.contains_key(*name)) {
                return Err(at(&span, &format!("\"{both}\" stands in both fields and settings; keep one")));
            }
            let settings_path = entry.settings_path.unwrap_or_else(|| format!("{path}-settings"));
            let settings_path = plain(&settings_path).ok_or_else(|| at(&span, "\"settings_path\" must be a path below the mount"))?;
            let read = |all: BTreeMap<String, Spanned<Words>>| {
                let one = |(name, words): (String, Spanned<Words>)| {
                    let span = words.span();
                    origins(words.into_inner()).map(|o| (name, o)).map_err(|what| at(&span, &what))
                };
                all.into_iter().map(one).collect::<Result<Origins, Declined>>()
            };
            targets.push(Target { path, fields: read(entry.fields)?, settings: read(entry.settings)?, settings_path });
        }
        if targets.is_empty() {
            return Err(Declined::usage(format!(
                "{file}: there is no [[secret]]; `keyward import --print-map` prints a map to begin with"
            )));
        }
        let mount = read.mount.unwrap_or_else(|| "secret".to_owned());
        let mount =
            plain(&mount).ok_or_else(|| Declined::usage(format!("{file}: \"mount\" must be a mount's path, such as \"secret\"")))?;
        Ok(Self { mount, targets })
    }

    /// Every variable as a field of its own name, in one secret.
    pub fn all_into<'a>(mount: &str, path: &str, variables: impl Iterator<Item = &'a str>) -> Self {
        let fields = variables.map(|v| (v.to_owned(), vec![Origin { variable: v.to_owned(), part: None }])).collect();
        let target = Target { path: path.to_owned(), fields, settings: Origins::new(), settings_path: format!("{path}-settings") };
        Self { mount: mount.to_owned(), targets: vec![target] }
    }
}

fn origins(words: Words) -> Result<Vec<Origin>, String> {
    let words = match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    };
    if words.is_empty() {
        return Err("name at least one variable".to_owned());
    }
    words.into_iter().map(|word| origin(&word)).collect()
}

fn origin(word: &str) -> Result<Origin, String> {
    let (variable, part) = match word.split_once('#') {
        None => (word, None),
        Some((variable, part)) => {
            let known = || format!("unknown part \"{part}\" of a URL; known are {}", Part::ALL.map(Part::name).join(", "));
            (variable, Some(Part::ALL.into_iter().find(|p| p.name() == part).ok_or_else(known)?))
        }
    };
    if variable.is_empty() { Err("a variable's name is missing".to_owned()) } else { Ok(Origin { variable: variable.to_owned(), part }) }
}

fn plain(path: &str) -> Option<String> {
    let path = path.trim_matches('/');
    let good = !path.is_empty() && path.split('/').all(|s| !s.is_empty() && s != "." && s != "..") && !path.chars().any(char::is_control);
    good.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_map_covers_the_groups_that_it_names() {
        let map = Map::parse(SHIPPED, "the shipped map").unwrap_or_else(|e| panic!("{e}"));
        let paths: Vec<&str> = map.targets.iter().map(|t| t.path.as_str()).collect();
        let groups = ["openai", "anthropic", "pusher", "roblox", "langchain"].map(|g| format!("integrations/{g}"));
        assert_eq!(paths[..3], ["backend/api", "backend/database", "backend/redis"]);
        assert_eq!(paths[3..], groups);
        assert_eq!(map.mount, "secret");
    }

    fn check(text: &str, says: &str) {
        let error = Map::parse(text, "map.toml").err().unwrap_or_else(|| panic!("{text} passed"));
        assert!(error.text.starts_with("map.toml:") && error.text.contains(says), "{}", error.text);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        check("", "there is no [[secret]]");
        check("[[secret]]\npath = \"a\"\nfeilds = {}", "3: unknown field");
        check("[[secret]]\npath = \"a/../b\"", "2: \"path\" must be");
        check("[[secret]]\npath = \"a\"\n[[secret]]\npath = \"a/\"", "4: two [[secret]]");
        check("[[secret]]\npath = \"a\"\nfields = { x = \"U#nope\" }", "3: unknown part \"nope\"");
        check("[[secret]]\npath = \"a\"\nfields = { x = [] }", "at least one");
        check("[[secret]]\npath = \"a\"\nfields = { x = \"X\" }\nsettings = { x = \"Y\" }", "both fields and settings");
    }
}
