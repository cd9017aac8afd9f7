//! `[[secret]]`: what all kinds have in common, and the kind's own fields. It never compares two secrets; `cross` does.

use super::Mode;
use super::class::{Class, Classes};
use super::kind::KindConfig;
use super::kinds::{self, HmacAlgorithm};
use super::problem::{Problems, suggestion};
use super::section::{Section, must_be};
use keyward_engine::kinds::RetireWhen;
use keyward_rotation::schedule::Policy;
use keyward_secret::Generator;
use keyward_targets::notify::{Notify, ReloadSignal};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// One secret, with its class's policy written out.
#[derive(Clone, Debug)]
pub struct SecretConfig {
    /// Its name: 1 to 63 of `a-z 0-9 -`; unique.
    pub name: String,
    /// Its class's name.
    pub class: String,
    /// When it is rotated (the class's).
    pub policy: Policy,
    /// What becomes of an old value (the class's).
    pub retire: RetireWhen,
    /// How long an old value stays valid at least (the class's).
    pub grace: Duration,
    /// When use of an old value becomes an alert (the class's).
    pub retire_deadline: Duration,
    /// How often the published credential is proved again (the class's).
    pub proof: Duration,
    /// How it is rotated.
    pub kind: KindConfig,
    /// Who answers for it, for routing alerts; default nobody.
    pub owner: Option<String>,
    /// Whether it is acted on: its own `mode`, else the file's.
    pub mode: Mode,
    /// Who is told after a publish: `{ exec = ["/usr/bin/systemctl", "reload", "app"] }`, `{ signal = "HUP", pid_file = "/run/app.pid" }` or
    /// `{ webhook = "https://app/reload" }`; a failure there alerts and never rolls back. Default nobody.
    pub notify: Vec<Notify>,
    /// The name it had before, whose record it takes over; default none.
    pub renamed_from: Option<String>,
    /// Secrets that are rotated before this one when both are due; default none.
    pub after: Vec<String>,
    /// Fields of the published document that must never rotate: a secret that sets one is refused. Default none.
    pub pinned: Vec<String>,
    /// Who reads it for others (agents, operators, caches): what those others hold is not seen in the audit log. `readers_via`; default nobody.
    pub readers_via: Vec<Via>,
    /// How its values are made; by kind: 40 letters and digits, for `jwt-hmac` as many as the hash needs.
    pub generator: Generator,
}

/// Somebody who reads a secret for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Its name as the audit log has it (`display_name`).
    pub name: String,
    /// At most so long after a value was published, those others hold it; `None`: nobody can say.
    pub within: Option<Duration>,
}

/// A name: 1 to 63 of `a-z 0-9 -`, because it becomes part of a path, a label and a file's name.
pub(super) fn name(text: &str) -> Result<String, String> {
    let good = (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good { Ok(text.to_owned()) } else { Err(format!("must be 1 to 63 of a-z, 0-9 and -, not \"{text}\"")) }
}

/// A secret with its place in the file.
pub(super) struct Placed {
    pub(super) span: Range<usize>,
    pub(super) secret: SecretConfig,
}

/// Everything that a secret's table is judged by besides itself.
pub(super) struct Around<'a, 'p> {
    pub(super) classes: &'a Classes,
    pub(super) mode: Mode,
    pub(super) problems: &'a Problems<'p>,
}

/// Reads all secrets; those with problems are left out, and the problems said.
pub(super) fn read(sections: Vec<Section<'_>>, around: &Around<'_, '_>) -> Vec<Placed> {
    let mut secrets = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for mut section in sections {
        let name = section.parsed("name", name);
        if let Some(name) = &name {
            section.rename(format!("[[secret]] \"{}\"", name.get_ref()));
            let count = names.entry(name.get_ref().clone()).or_default();
            *count += 1;
            if *count == 2 {
                around.problems.at(&name.span(), format!("two secrets are named \"{}\"; give each its own name", name.get_ref()));
            }
        } else if !section.has_taken("name") {
            around.problems.at(section.span(), "\"name\" is missing in [[secret]]; give it one of a-z, 0-9 and -".to_owned());
        }
        let span = section.span().clone();
        secrets.extend(one(section, name, around).map(|secret| Placed { span, secret }));
    }
    secrets
}

fn one(mut s: Section<'_>, name: Option<Spanned<String>>, around: &Around<'_, '_>) -> Option<SecretConfig> {
    let class = s.text("class").and_then(|class| known_class(&s, &class, around.classes));
    if !s.has_taken("class") {
        s.problems().at(s.span(), format!("\"class\" is missing in {}; known classes: {}", s.label(), names(around.classes)));
    }
    let owner = s.text("owner").map(Spanned::into_inner);
    let mode = s.choice("mode", &Mode::CHOICES).map_or(around.mode, Spanned::into_inner);
    let notify = read_notify(&mut s);
    let renamed_from = s.parsed("renamed_from", self::name).map(Spanned::into_inner);
    let after = s.texts("after").into_iter().map(Spanned::into_inner).collect();
    let readers_via = read_via(&mut s);
    let pinned = s.texts("pinned").into_iter().map(Spanned::into_inner).collect();
    let generate = s.inline("generate").map(|g| (g.span().clone(), read_generate(g)));
    let (problems, label) = (s.problems(), s.label().to_owned());
    let kind = kinds::read(s)?;
    let generator = match generate {
        None => default_generator(&kind),
        Some((span, written)) => {
            let (alphabet, length, prefix) = written?;
            let length = length.unwrap_or_else(|| default_length(&kind));
            match fitting(&kind, &alphabet, length, &prefix) {
                Ok(generator) => generator,
                Err(what) => {
                    problems.at(&span, format!("generate of {label}: {what}"));
                    return None;
                }
            }
        }
    };
    let (class, Class { policy, retire, grace, retire_deadline, proof }) = class?;
    let name = name?.into_inner();
    Some(SecretConfig {
        name,
        class,
        policy,
        retire,
        grace,
        retire_deadline,
        proof,
        kind,
        owner,
        mode,
        notify,
        renamed_from,
        after,
        pinned,
        readers_via,
        generator,
    })
}

fn known_class(s: &Section<'_>, class: &Spanned<String>, classes: &Classes) -> Option<(String, Class)> {
    let word = class.get_ref();
    if let Some(class) = classes.get(word) {
        return class.clone().map(|class| (word.clone(), class));
    }
    let known: Vec<&str> = classes.keys().map(String::as_str).collect();
    s.problems().at(&class.span(), format!("unknown class \"{word}\" in {}; {}", s.label(), suggestion(word, &known, "classes")));
    None
}

fn names(classes: &Classes) -> String {
    classes.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// Alphabet, length if said, prefix.
type Generate = (String, Option<usize>, String);

fn read_generate(mut s: Section<'_>) -> Option<Generate> {
    let alphabet = s.parsed("alphabet", |text| {
        Ok(match text {
            "alphanumeric" => Generator::ALPHANUMERIC.to_owned(),
            "hex" => "0123456789abcdef".to_owned(),
            "base64url" => format!("{}-_", Generator::ALPHANUMERIC),
            characters => characters.to_owned(),
        })
    });
    let length = s.number("length", 1..=4_096);
    let prefix = s.text("prefix");
    let sound = s.has_taken("alphabet") == alphabet.is_some()
        && s.has_taken("length") == length.is_some()
        && s.has_taken("prefix") == prefix.is_some();
    s.finish(&[]);
    let alphabet = alphabet.map_or_else(|| Generator::ALPHANUMERIC.to_owned(), Spanned::into_inner);
    let prefix = prefix.map(Spanned::into_inner).unwrap_or_default();
    sound.then(|| (alphabet, length.map(|n| n.into_inner() as usize), prefix))
}

const fn key_of(kind: &KindConfig) -> Option<HmacAlgorithm> {
    match kind {
        KindConfig::JwtHmac(jwt) => Some(jwt.algorithm),
        _ => None,
    }
}

fn default_length(kind: &KindConfig) -> usize {
    key_of(kind).map_or(40, HmacAlgorithm::key_characters)
}

fn default_generator(kind: &KindConfig) -> Generator {
    // The shipped lengths are far above the least: a test builds each of them.
    Generator::new(Generator::ALPHANUMERIC, default_length(kind), "").unwrap_or_else(|_| Generator::password())
}

fn fitting(kind: &KindConfig, alphabet: &str, length: usize, prefix: &str) -> Result<Generator, String> {
    if let Some(algorithm) = key_of(kind).filter(|a| length < a.key_bytes()) {
        return Err(format!("a key for {} must have at least {} characters (RFC 7518)", algorithm.name(), algorithm.key_bytes()));
    }
    if !prefix.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the prefix must be printable ASCII without blanks".to_owned());
    }
    Generator::new(alphabet, length, prefix).map_err(|error| error.to_string())
}

fn read_notify(s: &mut Section<'_>) -> Vec<Notify> {
    let Some(value) = s.value("notify") else { return Vec::new() };
    let (span, label) = (value.span(), format!("notify of {}", s.label()));
    let DeValue::Array(items) = value.into_inner() else {
        s.wrong(&span, "notify", "must be a list of tables, such as [{ exec = [\"/usr/bin/systemctl\", \"reload\", \"app\"] }]");
        return Vec::new();
    };
    let mut notify = Vec::new();
    for item in items {
        let span = item.span();
        match item.into_inner() {
            DeValue::Table(table) => notify.extend(one_notify(Section::new(label.clone(), Spanned::new(span, table), s.problems()))),
            other => s.wrong(&span, "notify", must_be("a list of tables", &other)),
        }
    }
    notify
}

fn read_via(s: &mut Section<'_>) -> Vec<Via> {
    let Some(value) = s.value("readers_via") else { return Vec::new() };
    let (span, label) = (value.span(), format!("readers_via of {}", s.label()));
    let DeValue::Array(items) = value.into_inner() else {
        s.wrong(&span, "readers_via", "must be a list of tables, such as [{ name = \"kubernetes-agent\", within = \"10m\" }]");
        return Vec::new();
    };
    let mut all = Vec::new();
    for item in items {
        let span = item.span();
        match item.into_inner() {
            DeValue::Table(table) => {
                let mut section = Section::new(label.clone(), Spanned::new(span, table), s.problems());
                let (name, within) = (section.text("name"), section.duration("within").map(Spanned::into_inner));
                section.finish(&[("name", "give its name as the audit log shows it (display_name)")]);
                all.extend(name.map(|name| Via { name: name.into_inner(), within }));
            }
            other => s.wrong(&span, "readers_via", must_be("a list of tables", &other)),
        }
    }
    all
}

fn one_notify(mut s: Section<'_>) -> Option<Notify> {
    let exec: Vec<String> = s.texts("exec").into_iter().map(Spanned::into_inner).collect();
    let signal = s.choice("signal", &[("HUP", ReloadSignal::Hup), ("USR1", ReloadSignal::Usr1), ("USR2", ReloadSignal::Usr2)]);
    let pid_file = s.parsed("pid_file", super::reference::absolute_path);
    let webhook = s.parsed("webhook", super::address::http_url);
    let said = [s.has_taken("exec"), s.has_taken("signal"), s.has_taken("webhook")];
    if said.iter().filter(|s| **s).count() != 1 {
        s.problems().at(s.span(), format!("{} must say exactly one of exec, signal and webhook", s.label()));
    }
    if said[0] && !exec.first().is_some_and(|program| program.starts_with('/')) {
        s.wrong(&s.span().clone(), "exec", "must begin with a program's absolute path");
        return None;
    }
    let required: &[_] = if said[1] { &[("pid_file", "name the file that holds the process's id")] } else { &[] };
    s.finish(required);
    match said {
        [true, ..] => Some(Notify::Program { argv: exec }),
        [_, true, _] => Some(Notify::Signal { signal: signal?.into_inner(), pid_file: pid_file?.into_inner() }),
        _ => webhook.map(|url| Notify::Webhook { url: url.into_inner().into() }),
    }
}
