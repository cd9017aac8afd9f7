//! Proofs: can this user log in at this node with this password, and do what its consumers do?

use super::failure::{FailureClass, NodeFailure};
use super::node::Node;
use super::session::{Session, bounded};
use keyward_secret::{Generator, GeneratorError, Secret, Source};
use redis::Value;
use std::time::Duration;

/// Why it is not shown that a wrong password is refused.
#[derive(Debug, thiserror::Error)]
pub enum RefusalUnproved {
    /// A random password was let in (`nopass`): no login proves anything.
    #[error("Redis at {node} lets {user} in with any password (nopass): nothing can be proved there")]
    TrustsAnyone {
        /// The node, as `host:port`.
        node: String,
        /// The user.
        user: String,
    },
    /// The attempt failed for another reason than the password.
    #[error(transparent)]
    Unanswered(#[from] NodeFailure),
    /// No random password could be made.
    #[error(transparent)]
    Random(#[from] GeneratorError),
}

/// Logs in and runs `probe`, a command with its arguments (`["PING"]` where a consumer needs nothing in particular); its answer is thrown away.
///
/// # Errors
/// [`NodeFailure`]; [`FailureClass::InsufficientPrivilege`] comes from the probe, after a login that worked.
pub async fn login(node: &Node, user: &str, password: &Secret, probe: &[String], limit: Duration) -> Result<(), NodeFailure> {
    bounded(node, limit, async {
        let mut session = Session::open(node, user, password).await?;
        let mut command = redis::Cmd::new();
        for word in probe {
            command.arg(word);
        }
        session.run::<Value>(&command, &[password.expose()]).await.map(drop)
    })
    .await
}

/// Shows that a password is asked for at all, by one login with a random wrong one.
///
/// # Errors
/// [`RefusalUnproved`].
pub async fn refuses_wrong_password(node: &Node, user: &str, random: &dyn Source, limit: Duration) -> Result<(), RefusalUnproved> {
    let wrong = Generator::password().generate(random)?;
    match bounded(node, limit, async { Session::open(node, user, &wrong).await.map(drop) }).await {
        Err(NodeFailure { class: FailureClass::WrongPassword, .. }) => Ok(()),
        Ok(()) => Err(RefusalUnproved::TrustsAnyone { node: node.to_string(), user: user.to_owned() }),
        Err(failure) => Err(failure.into()),
    }
}
