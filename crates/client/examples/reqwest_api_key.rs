//! A client of somebody's API whose key rotates: a call that is refused looks at the secret and is made again with what holds now.
//!
//! ```text
//! cargo run -p keyward-client --example reqwest_api_key -- secret/integrations/openai api_key https://api.openai.com/v1/models
//! ```

use keyward_client::{Client, Document, Live, Settings};
use reqwest::{Response, StatusCode};
use std::time::Duration;

/// Calls an API with the key that a watched secret holds.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    secret: Live<Document>,
    field: String,
}

impl Api {
    /// `field` of the secret is the key.
    pub fn new(http: reqwest::Client, secret: Live<Document>, field: &str) -> Self {
        Self { http, secret, field: field.to_owned() }
    }

    /// GET; at most twice, the second time with a key that was read since.
    pub async fn get(&self, url: &str) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let document = self.secret.current();
        let answer = self.send(url, &document).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let newer = self.secret.refresh().await?;
        if newer.version == document.version { Ok(answer) } else { self.send(url, &newer).await }
    }

    async fn send(&self, url: &str, document: &Document) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let key = document.field(&self.field)?;
        Ok(self.http.get(url).bearer_auth(key.expose()).send().await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, field, url] = arguments.as_slice() else { return Err("usage: reqwest_api_key SECRET FIELD URL".into()) };
    // What the library has to say (a token that cannot be renewed, a value that stays) is said by way of `tracing`.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // This program's TLS library takes its cryptography from here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::connect(Settings::from_environment()?).await?;
    let secret = client.watch(path, Duration::from_mins(1)).await?;
    let api = Api::new(reqwest::Client::new(), secret, field);
    let answer = match api.get(url).await {
        Ok(answer) => answer,
        Err(error) => return Err(error.to_string().into()),
    };
    tracing::info!(status = %answer.status(), "The API has answered.");
    Ok(())
}
