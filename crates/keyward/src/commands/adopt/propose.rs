//! The stanzas for a secret that exists: which fields are rotated how, which are pinned, which are left alone. Pure: nothing is asked or changed.

use super::guess::{Period, Role, Seen, UrlSeen, role};
use super::stanza::{Class, Stanza, text, texts};

/// What is proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Classes that have to be there.
    pub classes: Vec<Class>,
    /// The secrets.
    pub secrets: Vec<Stanza>,
    /// Fields that must never rotate.
    pub pinned: Vec<String>,
    /// Fields that are no secret, or of which nobody can tell.
    pub left: Vec<(String, &'static str)>,
}

/// Where and under which names.
pub struct Around<'a> {
    /// The path, mount first.
    pub path: &'a str,
    /// The names that are taken.
    pub names: &'a dyn Fn(&str) -> bool,
    /// Whether a class is there already.
    pub classes: &'a dyn Fn(&str) -> bool,
    /// Fields that the configuration rotates already.
    pub owned: &'a [String],
}

/// Proposes.
pub fn propose(seen: &Seen, period: Option<&Period>, around: &Around<'_>) -> Proposal {
    let mut out = Proposal::default();
    let free: Vec<(&String, Role)> =
        seen.fields.iter().filter(|field| !around.owned.contains(field)).map(|field| (field, role(field, seen))).collect();
    let with = |wanted: Role| free.iter().filter(move |(_, role)| *role == wanted).map(|(field, _)| field.as_str()).collect::<Vec<_>>();
    out.pinned = with(Role::Encrypts).into_iter().map(str::to_owned).collect();
    let passwords = with(Role::Password);
    let url = seen.url.as_ref().filter(|url| free.iter().any(|(field, _)| **field == url.field));
    match (passwords.first(), url) {
        (Some(password), url) if passwords.len() == 1 && url.map_or_else(|| is_database(seen, around.path), UrlSeen::is_postgres) => {
            out.secrets.push(postgres(seen, password, url));
        }
        (password, Some(url)) if url.is_redis() => out.secrets.push(redis(seen, password.copied(), url)),
        (None, Some(url)) => out.left.push((url.field.clone(), "a URL whose password stands in no field of its own; write it into one")),
        (None, None) => {}
        _ => {
            let why = "a password of something that cannot be told; say how it is rotated";
            out.left.extend(passwords.iter().map(|field| ((*field).to_owned(), why)));
        }
    }
    for field in with(Role::Signing) {
        out.secrets.push(signing(field));
    }
    for field in with(Role::Issued) {
        out.secrets.push(issued(field, around.path));
    }
    out.left.extend(with(Role::Setting).into_iter().map(|field| (field.to_owned(), "a setting")));
    if !out.secrets.iter().any(|s| s.kind == "postgres-password" || s.kind == "redis-password") {
        out.left.extend(with(Role::Username).into_iter().map(|field| (field.to_owned(), "a user's name")));
    }
    out.left.extend(with(Role::Unknown).into_iter().map(|field| (field.to_owned(), "its name does not say what it is")));
    finish(&mut out, period, around);
    out
}

/// Whether a password without a URL is a database's, by its path, its notes, or the fields beside it.
fn is_database(seen: &Seen, path: &str) -> bool {
    let says = |text: &str| ["database", "postgres"].iter().any(|word| text.to_lowercase().contains(word));
    says(path) || seen.notes.values().any(|note| says(note)) || seen.fields.iter().any(|field| says(field) || field == "dbname")
}

/// Names, classes, pins: what is the same for every kind.
fn finish(out: &mut Proposal, period: Option<&Period>, around: &Around<'_>) {
    let base = name_of(around.path);
    let several = out.secrets.len() > 1;
    let mut given: Vec<String> = Vec::new();
    for stanza in &mut out.secrets {
        let wanted =
            if several && !stanza.part.is_empty() { format!("{base}-{}", name_of(&format!("_/{}", stanza.part))) } else { base.clone() };
        stanza.name = unused(&wanted, |name| (around.names)(name) || given.iter().any(|g| g == name));
        given.push(stanza.name.clone());
        around.path.clone_into(&mut stanza.path);
        stanza.pinned.clone_from(&out.pinned);
        let Some(period) = period else { continue };
        stanza.remarks.push(format!("The note says {}.", period.note));
        if shipped_schedule(&stanza.class) == Some(period.word) {
            continue;
        }
        let class = Class { name: format!("{}-{}", stanza.class, period.word), schedule: period.schedule };
        stanza.class.clone_from(&class.name);
        if !(around.classes)(&class.name) && !out.classes.contains(&class) {
            out.classes.push(class);
        }
    }
}

fn shipped_schedule(class: &str) -> Option<&'static str> {
    match class {
        "database" => Some("weekly"),
        "api-key" => Some("monthly"),
        "jwt" => Some("quarterly"),
        _ => None,
    }
}

/// `secret/backend/database` → `backend-database`.
fn name_of(path: &str) -> String {
    let below = path.split_once('/').map_or(path, |(_, below)| below);
    let plain: String = below.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let joined = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(50).collect();
    if short.is_empty() { "adopted".to_owned() } else { short.trim_end_matches('-').to_owned() }
}

fn unused(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..1000).map(|n| format!("{wanted}-{n}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_else(|| wanted.to_owned())
}

/// What a person has to fill in.
const FILL_IN: &str = "CHANGE-ME";

/// The URL again, with placeholders where user and password stand.
fn template(url: &UrlSeen, user: bool) -> String {
    let user = if user { "{username}" } else { "" };
    let query = if url.query.is_empty() { String::new() } else { format!("?{}", url.query) };
    format!("{}://{user}:{{password}}@{}/{}{query}", url.scheme, url.server, url.database).replace("/?", "?")
}

fn set(fields: &[(&str, String)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(field, value)| format!("{} = {}", super::stanza::key(field), text(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn postgres(seen: &Seen, password: &str, url: Option<&UrlSeen>) -> Stanza {
    let user = url.and_then(|url| url.username.clone()).or_else(|| seen.username.clone());
    let place = url.map_or_else(|| format!("{FILL_IN}/{FILL_IN}"), |url| format!("{}/{}", url.server, url.database));
    let mode = url
        .and_then(|url| url.query.split('&').find(|pair| pair.starts_with("sslmode=")))
        .map(|pair| format!("?{pair}"))
        .unwrap_or_default();
    let mut fields = vec![(password, "{password}".to_owned())];
    let username = seen.fields.iter().find(|field| role(field, seen) == Role::Username);
    fields.extend(username.map(|field| (field.as_str(), "{username}".to_owned())));
    fields.extend(url.map(|url| (url.field.as_str(), template(url, true))));
    let mut remarks = vec![
        "Consumers that connect between the change of the password and its publication fail for a moment. Without such a moment: kind"
            .into(),
        "postgres-two-users, with users = [this role, a second one with the same rights] in place of user.".into(),
    ];
    if url.is_none() || user.is_none() {
        remarks.push(format!("The secret does not say everything: replace {FILL_IN}."));
    }
    Stanza {
        kind: "postgres-password",
        class: "database".into(),
        part: String::new(),
        fields: fields.iter().map(|(field, _)| (*field).to_owned()).collect(),
        lines: vec![
            ("user".into(), text(user.as_deref().unwrap_or(FILL_IN))),
            ("set".into(), set(&fields)),
            (
                "admin".into(),
                format!(
                    "{{ url = {}, password = {{ file = \"/etc/keyward/admin-password\" }} }}",
                    text(&format!("postgresql://keyward@{place}{mode}"))
                ),
            ),
            ("login".into(), format!("{{ url = {} }}", text(&format!("postgresql://{place}{mode}")))),
        ],
        remarks,
        ..Stanza::default()
    }
}

fn redis(seen: &Seen, password: Option<&str>, url: &UrlSeen) -> Stanza {
    let user = url.username.clone().or_else(|| seen.username.clone());
    let mut fields: Vec<(&str, String)> = password.map(|field| (field, "{password}".to_owned())).into_iter().collect();
    if password.is_none() {
        // What is published is read back from a field that holds the password alone.
        fields.push(("password", "{password}".to_owned()));
    }
    fields.push((url.field.as_str(), template(url, url.username.is_some())));
    let mut remarks = vec!["Every node on which the user exists has to be named, replicas too: users are not replicated.".to_owned()];
    if url.scheme == "redis" {
        remarks.push(
            "The URL is without TLS; Keyward sends passwords beyond loopback over TLS only, so the node is named rediss://.".to_owned(),
        );
    }
    Stanza {
        kind: "redis-password",
        class: "database".into(),
        part: "redis".into(),
        fields: fields.iter().map(|(field, _)| (*field).to_owned()).collect(),
        lines: vec![
            ("user".into(), text(user.as_deref().unwrap_or("default"))),
            ("set".into(), set(&fields)),
            ("nodes".into(), texts(&[format!("rediss://{}", url.server)])),
            ("admin".into(), "{ user = \"keyward\", password = { file = \"/etc/keyward/redis-admin-password\" } }".into()),
        ],
        remarks,
        ..Stanza::default()
    }
}

fn signing(field: &str) -> Stanza {
    let previous = format!("{field}_previous");
    Stanza {
        kind: "random",
        class: "jwt".into(),
        part: field.to_owned(),
        fields: vec![field.to_owned(), previous.clone()],
        lines: vec![
            ("issuer".into(), text("self")),
            ("set".into(), set(&[(field, "{value}".to_owned()), (previous.as_str(), "{previous}".to_owned())])),
        ],
        remarks: vec![
            format!(
                "Whoever verifies must also accept {previous}, or every token ends at the rotation. With a key id and a key that is known"
            ),
            "before it signs: kind jwt-hmac or jwt-keypair, whose fields are objects.".into(),
        ],
        ..Stanza::default()
    }
}

fn issued(field: &str, path: &str) -> Stanza {
    let mut remarks =
        vec!["Its provider makes the new value; when it is due, a person is told and brings it: `keyward supply NAME`.".to_owned()];
    if ["openai", "langchain", "langsmith"].iter().any(|provider| path.to_lowercase().contains(provider)) {
        remarks.push("This provider has an API for it: config/recipes has a stanza of kind http-api-key.".to_owned());
    }
    Stanza {
        kind: "manual",
        class: "api-key".into(),
        part: field.to_owned(),
        fields: vec![field.to_owned()],
        lines: vec![("set".into(), set(&[(field, "{value}".to_owned())]))],
        remarks,
        ..Stanza::default()
    }
}
