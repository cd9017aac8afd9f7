//! A service whose database password rotates while it serves: no request fails, nothing is restarted.
//!
//! It watches the secret that Keyward publishes. New connections log in with what holds now; idle ones of an older version are put away; a
//! refused login looks at once and tries again. Run it with `VAULT_ADDR` and a login in the environment (see `Settings::from_environment`):
//!
//! ```text
//! cargo run -p keyward-client --example axum_database -- secret/backend/database 'host=db.example.com dbname=app'
//! ```

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use keyward_client::{Client, Document, Live, Settings};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::NoTls;

/// Connections that are kept open while nobody needs them.
const MOST_IDLE: usize = 8;

/// A pool that knows with which version of the secret each connection logged in.
pub struct Database {
    secret: Live<Document>,
    /// Everything but user and password, as libpq writes it.
    place: String,
    idle: Mutex<Vec<(u64, tokio_postgres::Client)>>,
}

impl Database {
    /// Over a watched secret with the fields `username` and `password`.
    pub fn new(secret: Live<Document>, place: &str) -> Self {
        Self { secret, place: place.to_owned(), idle: Mutex::default() }
    }

    fn take_idle(&self, version: u64) -> Option<tokio_postgres::Client> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, connection)| *of == version && !connection.is_closed());
        idle.pop().map(|(_, connection)| connection)
    }

    fn put_back(&self, version: u64, connection: tokio_postgres::Client) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE && version == self.secret.current().version {
            idle.push((version, connection));
        }
    }

    async fn log_in(&self, document: &Document) -> Result<tokio_postgres::Client, Box<dyn std::error::Error + Send + Sync>> {
        let mut config: tokio_postgres::Config = self.place.parse()?;
        config.user(document.field("username")?.expose()).password(document.field("password")?.expose());
        // Beyond loopback use TLS; tokio-postgres-rustls brings it.
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs a query that may be repeated.
    pub async fn count(&self, query: &str) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
        let mut document = self.secret.current();
        if let Some(connection) = self.take_idle(document.version) {
            // A connection may have died while it was idle; then a new one is opened below.
            if let Ok(row) = connection.query_one(query, &[]).await {
                self.put_back(document.version, connection);
                return Ok(row.try_get(0)?);
            }
        }
        let connection = if let Ok(connection) = self.log_in(&document).await {
            connection
        } else {
            // Refused: it may have been rotated since the last look.
            document = self.secret.refresh().await?;
            self.log_in(&document).await?
        };
        let count = connection.query_one(query, &[]).await?.try_get(0)?;
        self.put_back(document.version, connection);
        Ok(count)
    }
}

/// The service: `GET /orders` says how many there are.
pub fn service(database: Arc<Database>) -> Router {
    Router::new().route("/orders", get(orders)).with_state(database)
}

async fn orders(State(database): State<Arc<Database>>) -> Result<String, StatusCode> {
    database.count("SELECT count(*) FROM orders").await.map(|count| count.to_string()).map_err(|error| {
        tracing::error!(%error, "The orders could not be counted.");
        StatusCode::SERVICE_UNAVAILABLE
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    // What the library has to say (a token that cannot be renewed, a value that stays) is said by way of `tracing`.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (Some(path), Some(place)) = (arguments.next(), arguments.next()) else { return Err("usage: axum_database SECRET PLACE".into()) };
    let client = Client::connect(Settings::from_environment()?).await?;
    let secret = client.watch(&path, Duration::from_secs(10)).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, service(Arc::new(Database::new(secret, &place)))).await?;
    Ok(())
}
