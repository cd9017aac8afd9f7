//! One connection for one task, opened, used and closed inside one limit.

use super::failure::{FailureClass, NodeFailure};
use super::node::Node;
use crate::tls::{self, Trust};
use keyward_secret::Secret;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Nothing is said before AUTH: a server that demands a login refuses everything else.
static SILENT: LazyLock<RedisConnectionInfo> = LazyLock::new(|| RedisConnectionInfo::default().set_skip_set_lib_name());

/// A connection that is logged in, and the task that drives it.
pub(super) struct Session<'a> {
    node: &'a Node,
    connection: MultiplexedConnection,
    _driver: Driver,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Session<'a> {
    /// Connects and logs in. Not bounded by itself: callers go through [`bounded`].
    pub async fn open(node: &'a Node, user: &str, password: &Secret) -> Result<Self, NodeFailure> {
        let failed = |e: std::io::Error| NodeFailure::from_socket(node, &e);
        let stream = TcpStream::connect((node.host.as_str(), node.port)).await.map_err(failed)?;
        let mut session = if node.tls {
            let config = tls::client_config(Trust::AuthorityAndName, node.root_cert.as_deref());
            let config = config.map_err(|e| NodeFailure::new(node, FailureClass::Tls, e.to_string()))?;
            let name = ServerName::try_from(node.host.clone());
            let name = name.map_err(|_| NodeFailure::new(node, FailureClass::Tls, "the host is no name that a certificate can have"))?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)?;
            Self::over(node, stream).await?
        } else {
            Self::over(node, stream).await?
        };
        session.run::<()>(redis::cmd("AUTH").arg(user).arg(password.expose()), &[password.expose()]).await?;
        Ok(session)
    }

    async fn over<S>(node: &'a Node, stream: S) -> Result<Self, NodeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The limit is ours, for the whole task.
        let settings = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&SILENT, stream, settings).await;
        let (connection, driver) = opened.map_err(|e| NodeFailure::from_client(node, &e, &[]))?;
        Ok(Self { node, connection, _driver: Driver(tokio::spawn(driver)) })
    }

    /// One command; what it carries that nobody may see is `hidden`, and so is it if the server repeats it.
    pub async fn run<T: FromRedisValue>(&mut self, command: &Cmd, hidden: &[&str]) -> Result<T, NodeFailure> {
        command.query_async(&mut self.connection).await.map_err(|e| NodeFailure::from_client(self.node, &e, hidden))
    }
}

/// Runs `work` within `limit`; what has not ended then is dropped, connection and all.
pub(super) async fn bounded<T>(node: &Node, limit: Duration, work: impl Future<Output = Result<T, NodeFailure>>) -> Result<T, NodeFailure> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(NodeFailure::timeout(node, limit)))
}
