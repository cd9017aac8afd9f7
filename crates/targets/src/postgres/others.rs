//! What a user may see of another one: that it exists, and that it has sessions. Nobody needs a privilege for that.

use super::admin::Session;
use super::failure::LoginFailure;
use super::login::consumer;
use super::session::{Connected, bounded, without};
use super::url::Endpoint;
use keyward_secret::Secret;
use std::time::Duration;
use tokio_postgres::types::Type;

/// More sessions than this are not listed.
const SESSIONS_LISTED: i64 = 1_000;

/// The sessions of `whom` at one endpoint, seen with this login; `None` where there is no such user. Addresses and times of others are
/// hidden from most users, and then absent.
///
/// # Errors
/// [`LoginFailure`].
pub async fn sessions_seen_by(
    endpoint: &Endpoint,
    user: &str,
    password: &Secret,
    whom: &str,
    limit: Duration,
) -> Result<Option<Vec<Session>>, LoginFailure> {
    // One statement, and so one look: a user that was dropped between two would seem to be unused.
    let sql = "SELECT a.pid, coalesce(a.application_name, ''), host(a.client_addr) \
               FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_stat_activity a ON a.usename = r.rolname WHERE r.rolname = $1 LIMIT $2";
    bounded(endpoint, limit, async {
        let connected = Connected::open(endpoint, &consumer(user, password)).await?;
        let rows = connected.client.query_typed(sql, &[(&whom, Type::TEXT), (&SESSIONS_LISTED, Type::INT8)]).await;
        connected.close().await;
        let rows = rows.map_err(|e| without(password, LoginFailure::from_driver(endpoint, &e)))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let sessions = rows.iter().filter_map(|row| {
            let pid = row.try_get::<_, Option<i32>>(0).ok()??;
            let text = |column| row.try_get::<_, Option<String>>(column).ok().flatten();
            Some(Session {
                endpoint: endpoint.to_string(),
                pid,
                application_name: text(1).unwrap_or_default(),
                client_addr: text(2),
                backend_start: None,
            })
        });
        Ok(Some(sessions.collect()))
    })
    .await
}
