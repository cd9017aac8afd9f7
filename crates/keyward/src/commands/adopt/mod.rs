//! `adopt`: what the configuration of a secret that exists could be. Rotates nothing, writes nothing, shows no value.

mod guess;
mod propose;
mod stanza;

use super::alone::Alone;
use super::by_hand::{Declined, Place, configuration};
use super::output::{self, Output};
use crate::cli::{DEFAULT_CONFIG, Exit};
use crate::config::{Config, Environment};
use anyhow::{Context, Result};
use clap::Args;
use guess::{Role, Seen, UrlSeen, period, role};
use keyward_secret::{Fields, Secret, Template, Values};
use percent_encoding::percent_decode_str;
use propose::{Around, Proposal, propose};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;

/// The end of the command's help.
pub const EXAMPLES: &str = "\
Reads the fields' names, the notes on the secret (rotation_period_days and the like), and where a URL in it leads; no value is printed.
What is proposed goes to standard output, to be added to the configuration; it only watches (mode = \"observe\") until you let it act. Keys
that encrypt data are pinned. Ends with 0 and proposes nothing if Keyward manages all of it already.

Examples:
  keyward adopt secret/backend/database
  keyward adopt secret/backend/database >> /etc/keyward/keyward.toml && keyward check";

/// `adopt`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Adopt {
    /// The path, mount first: secret/backend/database
    pub path: String,
}

/// Proposes.
///
/// # Errors
/// There is no such secret, or what Vault answered.
pub async fn run(wanted: &Adopt, file: &Path, environment: &Environment, out: Output) -> Result<Exit> {
    let config = configuration(file, environment)?;
    let known: Vec<String> = config.secrets.iter().map(|s| s.name.clone()).collect();
    let classes: Vec<String> = config.classes.keys().cloned().collect();
    let alone = Alone::log_in(config, environment).await?;
    let place = Place::of_secret(&alone, &wanted.path).await?;
    let path = place.to_string();
    let read = place.read(alone.live.vault.client()).await?;
    let Some(fields) = &read.fields else {
        let deleted = || Declined::failed(format!("version {} of {path} is deleted; there is nothing to adopt", read.version));
        return Err(if read.deleted { deleted() } else { place.nothing_there() }.into());
    };
    let seen = look(fields, read.custom_metadata);
    let (period, unclear) = match period(&seen.notes) {
        Ok(period) => (period, None),
        Err(why) => (None, Some(why)),
    };
    let owners: Vec<_> = alone.live.secrets.values().filter(|m| m.spec.kind.path().is_some_and(|p| p.trim_matches('/') == path)).collect();
    let owned: Vec<String> = owners.iter().flat_map(|m| m.config.kind.owned_fields()).map(str::to_owned).collect();
    let around = Around {
        path: &path,
        names: &|name| known.iter().any(|k| k == name),
        classes: &|name| classes.iter().any(|c| c == name),
        owned: &owned,
    };
    let proposal = propose(&seen, period.as_ref(), &around);
    let mut remarks: Vec<String> = unclear.into_iter().collect();
    remarks.extend(disagreement(fields, &seen));
    remarks.extend(owners.iter().map(|m| format!("{} is managed already, as {}", m.config.kind.owned_fields().join(", "), m.spec.name)));
    let text = stanza::render(&proposal);
    let fits = if text.is_empty() { Ok(()) } else { sound(file, environment, &text) };
    tell(&path, &proposal, &remarks, (&text, fits.is_ok()), out);
    fits.map(|()| Exit::Ok)
}

/// What is seen of a document without keeping a value that is secret.
fn look(fields: &Fields, notes: BTreeMap<String, String>) -> Seen {
    let names: Vec<String> = fields.names().map(str::to_owned).collect();
    let url = names.iter().find_map(|name| url_of(name, &fields.text(name)?));
    let mut seen = Seen { fields: names, notes, url, username: None };
    let username = seen.fields.iter().find(|name| role(name, &seen) == Role::Username).and_then(|name| fields.text(name));
    seen.username = username.map(|text| text.expose().to_owned());
    seen
}

/// The URL in a field, without its password; `None` for one that leads nowhere that Keyward rotates, or hides a password elsewhere.
fn url_of(field: &str, text: &Secret) -> Option<UrlSeen> {
    let url = Url::parse(text.expose()).ok()?;
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned).filter(|t| !t.is_empty());
    let literal = |part: &str| part.replace('{', "{{").replace('}', "}}");
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().unwrap_or_default();
    let hides = query.to_lowercase().contains("pass");
    let seen = UrlSeen {
        field: field.to_owned(),
        scheme: url.scheme().to_owned(),
        username: decoded(url.username()),
        server: format!("{}{port}", url.host_str()?),
        database: literal(url.path().trim_start_matches('/')),
        query: literal(query),
    };
    (!hides && url.password().is_some() && url.fragment().is_none() && (seen.is_postgres() || seen.is_redis())).then_some(seen)
}

/// What to say where a URL's password is not the one in the field beside it.
fn disagreement(fields: &Fields, seen: &Seen) -> Option<String> {
    let url = seen.url.as_ref()?;
    let field = seen.fields.iter().find(|name| role(name, seen) == Role::Password)?;
    let (password, text) = (fields.text(field)?, fields.text(&url.field)?);
    let user = url.username.clone().unwrap_or_default();
    let server = format!("{}://{{username}}:{{password}}@{}", url.scheme, url.server);
    let values = Values::from([("username".to_owned(), Secret::new(user)), ("password".to_owned(), password.duplicate())]);
    let begins = Template::parse(&server).ok()?.render(&values).ok()?;
    let parsed = Url::parse(text.expose()).ok()?;
    let inside = Secret::new(percent_decode_str(parsed.password().unwrap_or_default()).decode_utf8_lossy().into_owned());
    if !inside.same_as(&password) {
        return Some(format!(
            "{field} and the password in {} differ: one of them is stale; correct it before you let Keyward act",
            url.field
        ));
    }
    (!text.expose().starts_with(begins.expose()))
        .then(|| format!("{} would be written in another way than it is now (the same URL, otherwise escaped)", url.field))
}

/// `text`: the proposal, and whether it fits into the configuration.
fn tell(path: &str, proposal: &Proposal, remarks: &[String], (text, fits): (&str, bool), out: Output) {
    if out == Output::Json {
        let secret = |s: &stanza::Stanza| serde_json::json!({ "name": s.name, "kind": s.kind, "class": s.class, "fields": s.fields });
        return output::json(&serde_json::json!({
            "path": path, "secrets": proposal.secrets.iter().map(secret).collect::<Vec<_>>(), "pinned": proposal.pinned,
            "left_alone": proposal.left.iter().map(|(field, why)| serde_json::json!({ "field": field, "why": why })).collect::<Vec<_>>(),
            "remarks": remarks, "configuration": text,
        }));
    }
    for field in &proposal.pinned {
        output::note(&format!(
            "pinned: {field} encrypts data, which another value would make unreadable; kind transit-key is the way to rotate such a key"
        ));
    }
    for (field, why) in &proposal.left {
        output::note(&format!("left alone: {field}: {why}"));
    }
    for remark in remarks {
        output::note(&format!("keyward: {remark}"));
    }
    if text.is_empty() {
        return output::note(&format!("There is nothing in {path} that Keyward would rotate besides. Nothing was changed."));
    }
    if !fits {
        // Not onto standard output: whoever appends that to the configuration would break it.
        return output::note(text);
    }
    output::line(text);
    output::note(
        "Nothing was changed. Add this to the configuration, then `keyward check`; it only watches until mode = \"observe\" is taken out.",
    );
}

/// Whether the configuration is still sound with the proposal in it.
fn sound(file: &Path, environment: &Environment, text: &str) -> Result<()> {
    let before = if file == Path::new(DEFAULT_CONFIG) && !file.exists() {
        String::new()
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    let whole = format!("{before}\n{text}\n");
    Config::parse(&whole, "the configuration with the proposal", environment).map(drop).map_err(|problems| {
        Declined::failed(format!("the proposal needs a hand before it fits into the configuration:\n{problems}")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is proposed for a document; it must make a sound configuration.
    fn check(path: &str, document: &str, notes: &[(&str, &str)]) -> String {
        let fields = Fields::parse(&Secret::new(document)).unwrap_or_else(|e| panic!("{e}"));
        let notes = notes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let seen = look(&fields, notes);
        let period = period(&seen.notes).unwrap_or_else(|e| panic!("{e}"));
        let around = Around { path, names: &|name| name == "taken", classes: &|_| false, owned: &[] };
        let text = stanza::render(&propose(&seen, period.as_ref(), &around));
        assert!(!text.contains("hunter2"), "{text}");
        let environment = Environment::new([("VAULT_ADDR", "https://vault.example.com:8200")]);
        let config = Config::parse(&text, "proposal", &environment).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert!(config.secrets.iter().all(|secret| secret.mode == crate::config::Mode::Observe));
        text
    }

    #[test]
    fn a_database_with_a_url_is_proposed_whole() {
        let document = r#"{"url":"postgresql://app:hunter2%40@db.example.com:5433/shop?sslmode=require","password":"hunter2@","username":"app","host":"db"}"#;
        let text = check("secret/backend/database", document, &[("rotation_period_days", "30")]);
        for part in [
            "[class.database-monthly]\nschedule = \"monthly\"",
            "name = \"backend-database\"\nclass = \"database-monthly\"\nkind = \"postgres-password\"\npath = \"secret/backend/database\"\nuser = \"app\"",
            "url = \"postgresql://{username}:{password}@db.example.com:5433/shop?sslmode=require\"",
            "login = { url = \"postgresql://db.example.com:5433/shop?sslmode=require\" }",
            "# The note says rotation_period_days = 30.",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }

    #[test]
    fn keys_that_encrypt_are_pinned_and_the_rest_is_told_apart() {
        let text = check("secret/backend/api", r#"{"jwt_secret":"hunter2","encryption_key":"hunter2"}"#, &[]);
        assert!(text.contains("kind = \"random\"") && text.contains("pinned = [\"encryption_key\"]"), "{text}");
        let pusher =
            check("secret/integrations/pusher", r#"{"app_id":"1","key":"hunter2","secret":"hunter2","cluster":"eu","ssl":true}"#, &[]);
        assert!(pusher.contains("\"integrations-pusher-key\"") && pusher.contains("\"integrations-pusher-secret\""), "{pusher}");
        assert_eq!(pusher.matches("[[secret]]").count(), 2, "{pusher}");
        let redis = check("secret/backend/redis", r#"{"url":"redis://:hunter2@cache.example.com:6379/0","password":"hunter2"}"#, &[]);
        assert!(redis.contains("nodes = [\"rediss://cache.example.com:6379\"]") && redis.contains("redis://:{password}@cache"), "{redis}");
        let bare = check("secret/old", r#"{"password":"hunter2"}"#, &[("type", "DATABASE")]);
        assert!(bare.contains("CHANGE-ME"), "{bare}");
        assert_eq!(check("secret/smtp", r#"{"password":"hunter2"}"#, &[]), "");
        assert_eq!(check("secret/settings", r#"{"host":"a","port":1,"data_key":"hunter2"}"#, &[]), "");
    }

    #[test]
    fn two_passwords_that_disagree_are_told_unseen() {
        let fields =
            Fields::parse(&Secret::new(r#"{"url":"postgres://u:hunter2@h/d","password":"hunter3"}"#)).unwrap_or_else(|e| panic!("{e}"));
        let said = disagreement(&fields, &look(&fields, BTreeMap::new())).unwrap_or_default();
        assert!(said.contains("one of them is stale") && !said.contains("hunter"), "{said}");
    }
}
