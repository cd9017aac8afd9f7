//! How one node is, asked of that node itself: needs no token, works while sealed, and leaves no line in the audit log.

use crate::call::Call;
use crate::client::{Client, unbuildable};
use crate::transport::{Answer, address};
use crate::{Kind, VaultError};
use jiff::Timestamp;
use rustify::endpoint::{Endpoint, MiddleWare};
use serde::Deserialize;
use std::time::{Duration, Instant};
use vaultrs::api::EndpointMiddleware;
use vaultrs::api::sys::requests::ReadHealthRequest;

/// What a node says of itself. Vault's order: uninitialised, removed, sealed, DR secondary, performance standby, standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Unsealed and in charge.
    Active,
    /// Unsealed, forwards to the active node.
    Standby,
    /// Unsealed, answers reads from its own copy (Vault Enterprise).
    PerformanceStandby,
    /// A node of a disaster-recovery secondary cluster (Vault Enterprise): serves no client.
    DrSecondary,
    /// Sealed.
    Sealed,
    /// Never initialised.
    Uninitialised,
    /// Taken out of its Raft cluster: it has sealed itself, and no share opens it (Vault 1.19 and later say so).
    Removed,
    /// No answer from a Vault.
    Unreachable {
        /// Why, on one line, without anything secret.
        why: String,
        /// [`Kind::Tls`], [`Kind::Timeout`], [`Kind::Unreachable`], …
        kind: Kind,
    },
}

impl NodeState {
    /// A short constant name, for metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::PerformanceStandby => "performance_standby",
            Self::DrSecondary => "dr_secondary",
            Self::Sealed => "sealed",
            Self::Uninitialised => "uninitialised",
            Self::Removed => "removed",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// One node's health as seen once.
#[derive(Clone, Debug)]
pub struct Health {
    /// Its state.
    pub state: NodeState,
    /// The server's version, without `v`; `None` when unreachable.
    pub version: Option<String>,
    /// The server's clock in whole seconds, for a comparison with ours; true to one second plus [`Self::took`].
    pub server_time: Option<Timestamp>,
    /// The cluster's name; unsealed nodes only.
    pub cluster_name: Option<String>,
    /// From sending to the last byte.
    pub took: Duration,
    /// The server's own certificate (DER) when TLS was spoken, for its expiry date.
    pub certificate: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Body {
    initialized: bool,
    sealed: bool,
    #[serde(default)]
    standby: bool,
    #[serde(default)]
    performance_standby: bool,
    #[serde(default)]
    replication_dr_mode: String,
    #[serde(default)]
    removed_from_cluster: bool,
    #[serde(default)]
    server_time_utc: i64,
    #[serde(default)]
    version: String,
    cluster_name: Option<String>,
}

impl Body {
    fn state(&self) -> NodeState {
        if !self.initialized {
            NodeState::Uninitialised
        } else if self.removed_from_cluster {
            NodeState::Removed
        } else if self.sealed {
            NodeState::Sealed
        } else if self.replication_dr_mode == "secondary" {
            NodeState::DrSecondary
        } else if self.performance_standby {
            NodeState::PerformanceStandby
        } else if self.standby {
            NodeState::Standby
        } else {
            NodeState::Active
        }
    }
}

impl Client {
    /// The health of a node at `node` (`https://host:port`), with this client's TLS settings and time limit, without its token.
    ///
    /// Never an error: a node that cannot be asked is a state too. Sent once; the caller repeats at its own interval.
    pub async fn health(&self, node: &str) -> Health {
        let started = Instant::now();
        let asked = self.ask_health(node).await;
        let took = started.elapsed();
        let unreachable = |kind, why| Health {
            state: NodeState::Unreachable { why, kind },
            version: None,
            server_time: None,
            cluster_name: None,
            took,
            certificate: None,
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return unreachable(error.kind, error.to_string()),
        };
        // Every state has a status of its own, but all of them the same body, which no proxy can set for Vault.
        let Ok(body) = serde_json::from_slice::<Body>(&answer.body) else {
            let error = answer.failure("GET sys/health", &[]);
            let why = format!("status {} without Vault's health in it", answer.status);
            return unreachable(if error.kind == Kind::Tls { Kind::Tls } else { Kind::Unreachable }, why);
        };
        Health {
            state: body.state(),
            server_time: Timestamp::from_second(body.server_time_utc).ok().filter(|_| body.server_time_utc > 0),
            version: Some(body.version).filter(|v| !v.is_empty()),
            cluster_name: body.cluster_name.filter(|n| !n.is_empty()),
            took,
            certificate: answer.certificate,
        }
    }

    async fn ask_health(&self, node: &str) -> Result<Answer, VaultError> {
        self.answer_at(node, Call::write(ReadHealthRequest::default())).await
    }

    /// Asks one node itself, without token and namespace: what it says of itself, or what only it can do. Sent once.
    pub(crate) async fn answer_at<E: Endpoint>(&self, node: &str, call: Call<'_, E>) -> Result<Answer, VaultError> {
        let base = address(node, self.insecure())?;
        let bare = EndpointMiddleware { token: String::new(), version: "v1".into(), wrap: None, namespace: None };
        let mut request = call.endpoint.request(base.as_str()).map_err(|_| unbuildable(&call.attempted))?;
        bare.request(&call.endpoint, &mut request).map_err(|_| unbuildable(&call.attempted))?;
        let limit = if call.database { self.timeouts().database } else { self.timeouts().request };
        let sent = self.transport().send(request, limit).await;
        sent.map_err(|broken| {
            if broken.sent {
                VaultError::sent(broken.kind, &call.attempted, None, vec![broken.why])
            } else {
                VaultError::new(broken.kind, &call.attempted, broken.why)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &NodeState) {
        assert_eq!(serde_json::from_str::<Body>(body).map(|b| b.state()).ok().as_ref(), Some(expected), "{body}");
    }

    #[test]
    fn bodies_of_real_servers_become_states() {
        // As recorded: Vault 1.21 active, sealed, and removed (which says that it is sealed, too); standby and secondary as its source writes them.
        check(
            r#"{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","server_time_utc":1795465224,"version":"1.21.0"}"#,
            &NodeState::Active,
        );
        check(
            r#"{"initialized":true,"sealed":true,"standby":true,"performance_standby":false,"replication_dr_mode":"unknown","server_time_utc":1795465227,"version":"1.21.0"}"#,
            &NodeState::Sealed,
        );
        check(
            r#"{"initialized":true,"sealed":true,"standby":true,"performance_standby":false,"replication_dr_mode":"unknown","server_time_utc":1795545194,"version":"1.21.0","removed_from_cluster":true}"#,
            &NodeState::Removed,
        );
        check(r#"{"initialized":false,"sealed":true,"standby":true}"#, &NodeState::Uninitialised);
        check(r#"{"initialized":true,"sealed":false,"standby":true}"#, &NodeState::Standby);
        check(r#"{"initialized":true,"sealed":false,"standby":true,"performance_standby":true}"#, &NodeState::PerformanceStandby);
        check(r#"{"initialized":true,"sealed":false,"standby":true,"replication_dr_mode":"secondary"}"#, &NodeState::DrSecondary);
    }
}
