//! Addresses of servers: HTTP URLs and PostgreSQL URLs. It never lets a password in a URL pass, and never repeats one.

use super::section::Section;
use keyward_targets::postgres::{PostgresUrl, SslMode};
use std::net::IpAddr;
use toml::Spanned;
use url::Url;

/// Whether a host is this machine: nothing that is sent there leaves it.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A network as Vault takes it: an address and how many of its bits count. An address alone is a network of one.
///
/// # Errors
/// It is none; the end of a sentence.
pub fn network(text: &str) -> Result<String, String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let form = "must be an address or a network, such as \"192.0.2.0/24\"";
    let address: IpAddr = address.parse().map_err(|_| form)?;
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse().ok().filter(|bits| *bits <= most).ok_or(form))?;
    Ok(format!("{address}/{bits}"))
}

/// An HTTP or HTTPS URL with neither user nor password; the error is the end of a sentence and repeats nothing of it.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("must be a URL such as \"https://host:8200\" ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with https:// (or http:// on loopback) and name a host".to_owned());
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err("must not hold a user or password; give secrets as references".to_owned());
    }
    Ok(url)
}

/// The same for a server's address, which is scheme, host and port alone.
pub(super) fn server_address(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("must be scheme, host and port only, such as \"https://vault.example.com:8200\"".to_owned());
    }
    Ok(url)
}

/// Whether a URL carries what is sent to it in clear over a network.
pub(super) fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !url.host_str().is_some_and(is_loopback)
}

/// The servers of a URL as text: what tells one server's roles from another's.
pub(super) fn servers(url: &PostgresUrl) -> String {
    let mut servers: Vec<String> = url.endpoints().iter().map(ToString::to_string).collect();
    servers.sort();
    servers.join(",")
}

impl Section<'_> {
    /// A PostgreSQL URL, which names a database.
    pub(super) fn postgres_url(&mut self, key: &'static str) -> Option<Spanned<PostgresUrl>> {
        let url = self.parsed(key, |text| PostgresUrl::parse(text).map_err(|error| format!("cannot be used: {error}")))?;
        let endpoints = url.get_ref().endpoints();
        if endpoints.iter().any(|e| e.database.is_none()) {
            self.wrong(&url.span(), key, "must name a database: \"postgresql://host/database\"");
            return None;
        }
        if endpoints.iter().any(|e| e.ssl_mode != SslMode::VerifyFull && !is_loopback(&e.host)) {
            let what = format!(
                "\"{key}\" in {} leaves this machine without sslmode=verify-full: somebody in between could pose as the server",
                self.label()
            );
            self.problems().warn(Some(&url.span()), what);
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_repeats_a_password() {
        for bad in ["https://u:hunter2@host", "hunter2", "ftp://hunter2", "https://hunter2@host"] {
            let Err(error) = http_url(bad) else { panic!("{bad}") };
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(network(text).ok().as_deref(), expected, "{text}");
        check("192.0.2.7", Some("192.0.2.7/32"));
        check("192.0.2.7/32", Some("192.0.2.7/32"));
        check("10.1.2.3/8", Some("10.1.2.3/8"));
        check("::1", Some("::1/128"));
        for none in ["", "here", "192.0.2.0/33", "192.0.2.0/", "::1/129"] {
            check(none, None);
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        let here = ["127.0.0.1", "127.9.9.9", "[::1]", "::1", "localhost", "/run/pg"];
        assert!(here.into_iter().all(is_loopback));
        assert!(!["10.0.0.1", "localhost.example.com", "::2", "0.0.0.0"].into_iter().any(is_loopback));
    }
}
