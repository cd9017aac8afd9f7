//! The client against a real Vault with a real database.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that fails here should say so loudly")]

mod credentials;
mod secrets;
mod sessions;

use keyward_client::{Client, Fields, Login, Secret, Settings, Source};
use keyward_harness::servers;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Nothing awaited here takes longer.
const LONG: Duration = Duration::from_mins(2);

fn settings(login: Login) -> Settings {
    let vault = servers().vault();
    let variables = |name: &str| match name {
        "VAULT_ADDR" => Some(vault.address.clone()),
        "VAULT_CACERT" => Some(vault.ca_pem_path.display().to_string()),
        "VAULT_TOKEN" => Some("replaced below".to_owned()),
        _ => None,
    };
    Settings { login, ..Settings::from_variables(variables).unwrap() }
}

async fn connect(token: &str) -> Client {
    Client::connect(settings(Login::Token(Source::Value(Secret::new(token))))).await.unwrap()
}

async fn root() -> Client {
    connect(&servers().vault().root_token).await
}

fn fields(value: &Value) -> Fields {
    Fields::parse(&Secret::new(value.to_string())).unwrap()
}

/// Looks again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LONG, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes without the client, as somebody else.
fn publish(path: &str, data: &Value) {
    servers().vault().must("POST", path, Some(json!({ "data": data }))).unwrap();
}
