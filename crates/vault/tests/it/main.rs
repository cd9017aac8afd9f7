//! The client against real servers, and against scripted peers for what a real server does not do on demand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here should say so loudly")]

mod approle;
mod database;
mod health;
mod kv;
mod lease;
mod listing;
mod sys;
mod token;
mod transit;
mod wire;

use keyward_harness::{VaultServer, servers};
use keyward_secret::{Fields, Secret};
use keyward_vault::{Client, Options, Timeouts};
use std::time::Duration;

/// A client for a real server, without a token.
fn anonymous(server: &VaultServer) -> Client {
    let options =
        Options { address: server.address.clone(), ca_pem: Some(std::fs::read(&server.ca_pem_path).unwrap()), ..Options::default() };
    Client::new(&options).unwrap()
}

/// A client for the shared server, with the root token.
fn root() -> Client {
    with_token(&servers().vault().root_token)
}

/// A client for the shared server with this token.
fn with_token(token: &str) -> Client {
    let client = anonymous(servers().vault());
    client.set_token(&Secret::new(token)).unwrap();
    client
}

/// A client for a scripted peer on loopback, with a token and short limits.
fn plain(address: &str) -> Client {
    let limit = Duration::from_millis(400);
    let options =
        Options { address: address.into(), timeouts: Timeouts { connect: limit, request: limit, database: limit }, ..Options::default() };
    let client = Client::new(&options).unwrap();
    client.set_token(&Secret::new(TOKEN)).unwrap();
    client
}

/// The token that [`plain`] clients carry; no error may show it.
const TOKEN: &str = "hvs.token-that-nobody-may-see";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, text) in pairs {
        fields.set_text(name, &Secret::new(*text));
    }
    fields
}

fn text(fields: Option<&Fields>, name: &str) -> Option<String> {
    fields?.text(name).map(|s| s.expose().to_owned())
}

/// Fails if an error, shown in any way, holds `secret`.
fn hides(error: &keyward_vault::VaultError, secret: &str) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains(secret), "an error shows a secret: {}", shown.replace(secret, "<SECRET>"));
}
