//! Parts of the URL of a database, for fields that stand on their own.

use keyward_secret::Secret;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Before the colon.
    Username,
    /// Before the @.
    Password,
    /// One host.
    Host,
    /// Its port, where the URL names one.
    Port,
    /// The path: a database's name, or Redis' number.
    Database,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Username, Self::Password, Self::Host, Self::Port, Self::Database];

    /// As in a map.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::Host => "host",
            Self::Port => "port",
            Self::Database => "database",
        }
    }
}

/// A part of the URL, percent-encoding undone; `None` where the URL does not have it.
///
/// # Errors
/// Why the text is no URL of one server; never the text.
pub fn part(text: &Secret, part: Part) -> Result<Option<Secret>, &'static str> {
    const NONE: &str =
        "is no URL of one server, so it cannot be split; name variables that hold its parts, or write them into Vault by hand";
    let url = Url::parse(text.expose()).map_err(|_| NONE)?;
    if url.cannot_be_a_base() {
        return Err(NONE);
    }
    let found = match part {
        Part::Username => url.username().to_owned(),
        Part::Password => url.password().unwrap_or_default().to_owned(),
        Part::Host => match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        },
        Part::Port => url.port().map(|port| port.to_string()).unwrap_or_default(),
        Part::Database => url.path().trim_start_matches('/').to_owned(),
    };
    let found = Secret::new(found);
    let decoded = percent_decode_str(found.expose()).decode_utf8().map_err(|_| "is no URL in UTF-8, so it cannot be split")?;
    Ok((!decoded.is_empty()).then(|| Secret::new(decoded.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: [Option<&str>; 5]) {
        let url = Secret::new(url);
        for (which, expected) in Part::ALL.into_iter().zip(expected) {
            let found = part(&url, which).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(found.as_ref().map(Secret::expose), expected, "{which:?}");
        }
    }

    #[test]
    fn urls_of_databases_are_taken_apart() {
        let all = [Some("u@x"), Some("p/w:d%"), Some("db.example.com"), Some("5433"), Some("app")];
        check("postgresql+asyncpg://u%40x:p%2Fw%3Ad%25@db.example.com:5433/app?sslmode=require", all);
        check("redis://:hunter2@[::1]:6379/0", [None, Some("hunter2"), Some("::1"), Some("6379"), Some("0")]);
        check("postgres://db", [None, None, Some("db"), None, None]);
    }

    #[test]
    fn what_is_no_url_of_one_server_is_refused_unseen() {
        for bad in ["hunter2", "host=db password=hunter2", "postgres://u:hunter2@a:1,b:2/x", "mailto:hunter2"] {
            let error = part(&Secret::new(bad), Part::Password).err().unwrap_or_else(|| panic!("{bad} passed"));
            assert!(!error.contains("hunter2"));
        }
    }
}
