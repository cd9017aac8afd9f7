//! Two Redis nodes: passwords in memory, and as they were last written down.

use super::World;
use async_trait::async_trait;
use keyward_engine::ports::{Redis, RedisClient};
use keyward_engine::{Class, Failure};
use keyward_secret::Secret;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Default)]
pub struct Node {
    pub passwords: BTreeSet<String>,
    pub written: BTreeSet<String>,
}

#[derive(Default)]
pub struct State {
    pub nodes: [Node; 2],
    /// For how long each client has been connected.
    pub clients: Vec<Duration>,
    /// The nodes take a candidate, and then do not let it in.
    pub refuse_candidates: bool,
}

fn mark(password: &str) -> String {
    format!("mark of {password}")
}

impl World {
    async fn on_every_node(&self, change: impl Fn(&mut BTreeSet<String>)) -> Result<(), Failure> {
        for at in 0..2 {
            self.call::<_, Failure>(|s| {
                change(&mut s.redis.nodes[at].passwords);
                Ok(())
            })
            .await?;
            self.call::<_, Failure>(|s| {
                let node = &mut s.redis.nodes[at];
                node.written.clone_from(&node.passwords);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Redis for World {
    async fn preflight(&self, _: &str) -> Result<(), Failure> {
        self.call(|_| Ok(())).await
    }
    fn mark(&self, password: &Secret) -> String {
        mark(password.expose())
    }
    async fn add(&self, _: &str, password: &Secret) -> Result<(), Failure> {
        self.on_every_node(|passwords| passwords.extend([password.expose().to_owned()])).await
    }
    async fn remove(&self, _: &str, gone: &str) -> Result<(), Failure> {
        self.on_every_node(|passwords| passwords.retain(|password| mark(password) != gone)).await
    }
    async fn login(&self, _: &str, password: &Secret) -> Result<(), Failure> {
        self.call(|s| {
            let known = s.redis.nodes.iter().all(|node| node.passwords.contains(password.expose()));
            let barred = s.redis.refuse_candidates && password.expose() != "old";
            if known && !barred { Ok(()) } else { Err(Failure::lasting(Class::WrongPassword, "WRONGPASS")) }
        })
        .await
    }
    async fn clients(&self, _: &str) -> Result<Vec<RedisClient>, Failure> {
        self.call(|s| {
            let client = |age: &Duration| RedisClient { address: "10.0.0.1:5".into(), name: "web".into(), age: *age };
            Ok(s.redis.clients.iter().map(client).collect())
        })
        .await
    }
}
