//! What the matrix is run on: a secret of every kind, how it is configured, and what must be true of it whenever nothing is under way.

mod issued;
mod postgres;
mod redis;
mod values;
mod vault;

use super::cells::Server;
use crate::provider::Provider;
use keyward_harness::{HttpWay, PostgresWay, RedisServer, RedisWay, Shop, Traffic, VaultProxy, VaultServer, servers};
use std::process::Output;
use std::sync::Arc;

/// The watched ways of one bench.
pub struct Ways {
    pub traffic: Arc<Traffic>,
    pub vault: VaultProxy,
    pub postgres: PostgresWay,
}

/// Where a subject stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub shop: &'a Shop<'static>,
    pub ways: &'a Ways,
}

impl Place<'_> {
    /// How consumers log in, on the watched way.
    pub fn login(&self) -> String {
        format!("postgresql://127.0.0.1:{}/{}?sslmode=disable", self.ways.postgres.port, self.shop.database)
    }

    /// The keys `admin` and `login` of a PostgreSQL user.
    fn postgres(&self) -> String {
        let (admin, login) = (self.shop.admin(), self.login());
        let at = login.replacen("postgresql://", &format!("postgresql://{admin}@"), 1);
        let dir = self.shop.dir.display();
        format!(
            "admin = {{ url = \"{at}\", password = {{ file = \"{dir}/admin-password\" }} }}\nlogin = {{ url = \"{login}\", probe = \"SELECT count(*) FROM orders\" }}\n"
        )
    }
}

/// A secret of one kind.
pub trait Subject: Send {
    /// Further rules of Keyward's policy.
    fn policy(&self) -> String {
        String::new()
    }

    /// Names that are its own each time, and how they are called in a cell.
    fn names(&self, _at: Place<'_>) -> Vec<(String, &'static str)> {
        Vec::new()
    }

    /// Its configuration below `[[secret]]`, name and class.
    fn secret(&mut self, at: Place<'_>) -> String;

    /// What is done once the configuration is written.
    fn settle_in(&self, _at: Place<'_>) {}

    /// Asks the daemon for a rotation and waits until the command has ended.
    fn rotate(&self, name: &str, at: Place<'_>) -> Output {
        at.shop.run(&["rotate", name]).unwrap()
    }

    /// Demands that what is published logs in, and that nothing else is left at the target.
    fn judge(&mut self, at: Place<'_>);
}

/// Makes a subject on this Vault.
pub type Make = fn(&'static VaultServer) -> Box<dyn Subject>;

/// Every kind, by the name of its step table, and who is asked beside Vault.
pub const ALL: [(&str, Server, Make); 17] = [
    ("postgres-two-users", Server::Postgres, |_| Box::new(postgres::TwoUsers::default())),
    ("postgres-password", Server::Postgres, |_| Box::new(postgres::OneUser::default())),
    ("vault-static-role", Server::Postgres, |_| Box::new(vault::StaticRole { copy: false })),
    ("vault-static-role with a copy", Server::Postgres, |_| Box::new(vault::StaticRole { copy: true })),
    ("vault-dynamic-lease", Server::Postgres, |vault| Box::new(vault::DynamicLease::new(vault))),
    ("vault-root", Server::Postgres, |vault| Box::new(vault::Root::new(vault, "set"))),
    ("vault-root by rotate-root", Server::Postgres, |vault| Box::new(vault::Root::new(vault, "rotate-root"))),
    ("redis-password", Server::Redis, |_| Box::new(redis::Cache::start())),
    ("manual", Server::Provider, |_| Box::new(issued::Supplied::start())),
    ("random", Server::Vault, |_| Box::new(values::Random)),
    ("jwt-hmac", Server::Vault, |_| Box::new(values::Hmac)),
    ("jwt-keypair", Server::Vault, |_| Box::new(values::Keypair)),
    ("http-api-key", Server::Provider, |_| Box::new(issued::Issued::by_http())),
    ("exec", Server::Provider, |_| Box::new(issued::Issued::by_program())),
    ("transit-key", Server::Vault, |vault| Box::new(vault::Key::new(vault))),
    ("approle-secret-id", Server::Vault, |vault| Box::new(vault::SecretId::new(vault, false))),
    ("approle-secret-id to a file", Server::Vault, |vault| Box::new(vault::SecretId::new(vault, true))),
];

/// A provider behind a watched way.
struct Watched {
    provider: Provider,
    way: Option<HttpWay>,
}

impl Watched {
    fn start() -> Self {
        Self { provider: Provider::start(), way: None }
    }

    /// Puts the way in front of it; its address.
    fn watch(&mut self, at: Place<'_>) -> String {
        let way = HttpWay::start(&at.ways.traffic, "provider", &self.provider.address, None).unwrap();
        let address = way.address.clone();
        self.way = Some(way);
        address
    }
}

/// A node of Redis behind a watched way.
struct Node {
    redis: RedisServer,
    way: Option<RedisWay>,
}

/// Logs in to PostgreSQL directly.
fn logs_in(user: &str, password: &str, database: &str) -> bool {
    servers().postgres().psql_as(user, password, database, "SELECT 1").is_ok()
}
