//! Redis behind the engine's port: all nodes of one secret, one after the other.

use crate::config::SecretRef;
use crate::references::Resolver;
use async_trait::async_trait;
use keyward_engine::ports::{Redis, RedisClient};
use keyward_engine::{Class, Failure};
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::redis::{self as target, Admin, FailureClass, Node, NodeFailure, RefusalUnproved};
use std::sync::Arc;
use std::time::Duration;

/// How long one task with one node may take, name lookup and TLS included.
const LIMIT: Duration = Duration::from_secs(10);

/// One secret's Redis.
pub struct RedisPort {
    /// Every node on which the user exists; at least one.
    pub nodes: Vec<Node>,
    /// Who changes users there.
    pub admin: String,
    /// Resolves the administrator's password at each call, so that its own rotation is never in the way.
    pub resolver: Arc<Resolver>,
    /// The administrator's password.
    pub password: SecretRef,
    /// A command with its arguments that a consumer must be able to run.
    pub probe: Vec<String>,
}

impl RedisPort {
    async fn password(&self) -> Result<Secret, Failure> {
        self.resolver.resolve(&self.password).await.map_err(|f| f.during("the administrator's password"))
    }

    fn admin<'a>(&'a self, node: &'a Node, password: &'a Secret) -> Admin<'a> {
        Admin::new(node, &self.admin, password, LIMIT)
    }
}

fn failed(failure: &NodeFailure) -> Failure {
    let class = match failure.class {
        FailureClass::Unreachable | FailureClass::TooManyConnections => Class::Unreachable,
        FailureClass::Timeout => Class::Timeout,
        FailureClass::WrongPassword => Class::WrongPassword,
        FailureClass::InsufficientPrivilege => Class::InsufficientPrivilege,
        FailureClass::Tls => Class::Tls,
        FailureClass::NoSuchUser => Class::NotFound,
        FailureClass::Other => Class::Other,
    };
    // Every change here may be made twice, so that none is ever unknown: it is made again.
    let again = matches!(class, Class::Unreachable | Class::Timeout);
    Failure { class, again, unknown: false, text: failure.to_string() }
}

#[async_trait]
impl Redis for RedisPort {
    async fn preflight(&self, user: &str) -> Result<(), Failure> {
        let password = self.password().await?;
        for node in &self.nodes {
            self.admin(node, &password).preflight(user).await.map_err(|f| failed(&f))?;
            match target::refuses_wrong_password(node, user, &SystemRandom, LIMIT).await {
                Ok(()) => {}
                Err(RefusalUnproved::Unanswered(failure)) => return Err(failed(&failure)),
                Err(unproved) => return Err(Failure::lasting(Class::TrustsAnyone, unproved.to_string())),
            }
        }
        Ok(())
    }

    fn mark(&self, password: &Secret) -> String {
        target::mark(password)
    }

    async fn add(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        let admin = self.password().await?;
        // What cannot be written down is not worth beginning.
        for node in &self.nodes {
            self.admin(node, &admin).persist().await.map_err(|f| failed(&f))?;
        }
        for node in &self.nodes {
            let node = self.admin(node, &admin);
            node.add(user, password).await.map_err(|f| failed(&f))?;
            node.persist().await.map_err(|f| failed(&f))?;
        }
        Ok(())
    }

    async fn remove(&self, user: &str, mark: &str) -> Result<(), Failure> {
        let admin = self.password().await?;
        for node in &self.nodes {
            let node = self.admin(node, &admin);
            node.remove(user, mark).await.map_err(|f| failed(&f))?;
            // Also where it is gone already: an earlier try may have ended right before this.
            node.persist().await.map_err(|f| failed(&f))?;
        }
        Ok(())
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        for node in &self.nodes {
            target::login(node, user, password, &self.probe, LIMIT).await.map_err(|f| failed(&f))?;
        }
        Ok(())
    }

    async fn clients(&self, user: &str) -> Result<Vec<RedisClient>, Failure> {
        let admin = self.password().await?;
        let mut all = Vec::new();
        for node in &self.nodes {
            let connections = self.admin(node, &admin).connections(user).await.map_err(|f| failed(&f))?;
            let client = |c: target::Connection| RedisClient { address: c.addr, name: c.name, age: c.age };
            all.extend(connections.into_iter().map(client));
        }
        Ok(all)
    }
}
