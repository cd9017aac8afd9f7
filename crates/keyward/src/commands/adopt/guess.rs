//! What a secret's fields are, told by their names, the notes on it and the parts of a URL that are no secret. Never by a value.

use std::collections::BTreeMap;

/// What can be seen of a secret without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The fields' names.
    pub fields: Vec<String>,
    /// The custom metadata.
    pub notes: BTreeMap<String, String>,
    /// What a URL in it says besides its password: the field that holds it, and its parts.
    pub url: Option<UrlSeen>,
    /// The value of `username`, or of what it is called here.
    pub username: Option<String>,
}

/// A URL without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlSeen {
    /// The field.
    pub field: String,
    /// `postgresql`, `rediss`, with what is behind a +.
    pub scheme: String,
    /// The user in it.
    pub username: Option<String>,
    /// Host and port as written.
    pub server: String,
    /// The path, without its first slash.
    pub database: String,
    /// `sslmode=verify-full`, where the query says nothing else that matters; empty: no query.
    pub query: String,
}

impl UrlSeen {
    /// Whether it leads to PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.scheme.split('+').next(), Some("postgres" | "postgresql"))
    }

    /// Whether it leads to Redis.
    pub fn is_redis(&self) -> bool {
        matches!(self.scheme.as_str(), "redis" | "rediss")
    }
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A password of a database or Redis.
    Password,
    /// A URL that holds the password, too.
    Url,
    /// The user that logs in.
    Username,
    /// Signs tokens; both sides read it from Vault.
    Signing,
    /// A key that a provider has issued.
    Issued,
    /// Data was encrypted with it: another value would make that unreadable.
    Encrypts,
    /// A host, a name, a switch.
    Setting,
    /// Cannot be told.
    Unknown,
}

const ENCRYPTS: [&str; 9] = ["encrypt", "datakey", "masterkey", "fernet", "pepper", "salt", "kek", "dek", "privatekey"];
const SIGNING: [&str; 7] = ["jwt", "signing", "sessionsecret", "cookiesecret", "csrf", "secretkeybase", "hmac"];
const PASSWORD: [&str; 4] = ["password", "passwd", "pass", "pwd"];
const ISSUED: [&str; 6] = ["apikey", "token", "secret", "accesskey", "cookie", "key"];
const SETTING: [&str; 21] = [
    "host",
    "hostname",
    "port",
    "database",
    "dbname",
    "db",
    "cluster",
    "ssl",
    "sslmode",
    "organization",
    "org",
    "project",
    "region",
    "appid",
    "tracingv2",
    "endpoint",
    "baseurl",
    "bucket",
    "model",
    "environment",
    "scheme",
];

/// What a field is, by its name.
pub fn role(name: &str, seen: &Seen) -> Role {
    let plain: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let ends = |words: &[&str]| words.iter().any(|word| plain.ends_with(word));
    let holds = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    if holds(&ENCRYPTS) || kind_noted(seen).is_some_and(|kind| kind.contains("encrypt")) {
        Role::Encrypts
    } else if seen.url.as_ref().is_some_and(|url| url.field == name) {
        Role::Url
    } else if matches!(plain.as_str(), "username" | "user" | "login" | "dbuser") {
        Role::Username
    } else if SETTING.contains(&plain.as_str()) {
        Role::Setting
    } else if holds(&SIGNING) {
        Role::Signing
    } else if ends(&PASSWORD) {
        Role::Password
    } else if ends(&ISSUED) {
        Role::Issued
    } else {
        Role::Unknown
    }
}

/// What the notes say that it is: `api_key`, `database`, `encryption_key`.
fn kind_noted(seen: &Seen) -> Option<String> {
    ["type", "secret_type", "kind"].iter().find_map(|key| seen.notes.get(*key)).map(|kind| kind.to_lowercase())
}

/// How often it is to be rotated, where a note says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The note, as it stands there.
    pub note: String,
    /// The schedule: the longest of ours that is not longer.
    pub schedule: &'static str,
    /// As a part of a class's name.
    pub word: &'static str,
}

/// From notes such as `rotation_period_days = 90`.
///
/// # Errors
/// That a note is there and cannot be understood.
pub fn period(notes: &BTreeMap<String, String>) -> Result<Option<Period>, String> {
    const KEYS: [(&str, f64); 5] = [
        ("rotation_period_days", 1.0),
        ("rotation_days", 1.0),
        ("rotation_interval_days", 1.0),
        ("rotation_period_hours", 1.0 / 24.0),
        ("rotation_period_seconds", 1.0 / 86_400.0),
    ];
    let Some((key, text, unit)) = KEYS.iter().find_map(|(key, unit)| Some((*key, notes.get(*key)?, *unit))) else { return Ok(None) };
    let note = format!("{key} = {text}");
    let days = text.trim().parse::<f64>().ok().map(|n| n * unit).filter(|days| days.is_finite() && *days > 0.0);
    let days = days.ok_or_else(|| format!("the note {note} is no number of time: the class's own schedule is proposed"))?;
    let (schedule, word) = match days {
        d if d >= 365.0 => ("annually", "annually"),
        d if d >= 90.0 => ("quarterly", "quarterly"),
        d if d >= 28.0 => ("monthly", "monthly"),
        d if d >= 7.0 => ("weekly", "weekly"),
        _ => ("0 2 * * *", "daily"),
    };
    Ok(Some(Period { note, schedule, word }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_by_their_names() {
        let seen = Seen::default();
        let check = |role_: Role, names: &[&str]| names.iter().for_each(|name| assert_eq!(role(name, &seen), role_, "{name}"));
        check(Role::Encrypts, &["encryption_key", "DATA_KEY", "data_key_v2", "password_salt", "private_key"]);
        check(Role::Signing, &["jwt_secret", "JWT_SECRET_KEY", "session_secret", "signing-key"]);
        check(Role::Password, &["password", "db_password", "PGPASSWORD"]);
        check(Role::Issued, &["api_key", "key", "secret", "openai_api_key", "cookie", "access_token"]);
        check(Role::Setting, &["host", "cluster", "app_id", "ssl", "organization", "tracing_v2"]);
        check(Role::Username, &["username", "user"]);
        check(Role::Unknown, &["thing", "url"]);
        let noted = Seen { notes: BTreeMap::from([("type".into(), "ENCRYPTION_KEY".into())]), ..Seen::default() };
        assert_eq!(role("value", &noted), Role::Encrypts);
    }

    #[test]
    fn a_period_becomes_the_longest_schedule_that_is_not_longer() {
        let check = |key: &str, text: &str, word: Option<&str>| {
            let found = period(&BTreeMap::from([(key.to_owned(), text.to_owned())]));
            assert_eq!(found.ok().flatten().map(|p| p.word), word, "{key} {text}");
        };
        for (days, word) in
            [("1", "daily"), ("7", "weekly"), ("14", "weekly"), ("30", "monthly"), ("90", "quarterly"), ("180", "quarterly")]
        {
            check("rotation_period_days", days, Some(word));
        }
        check("rotation_period_days", "365", Some("annually"));
        check("rotation_period_seconds", "604800", Some("weekly"));
        check("owner", "30", None);
        assert!(period(&BTreeMap::from([("rotation_period_days".into(), "often".into())])).is_err());
    }
}
