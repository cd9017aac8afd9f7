//! The targets against real servers.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test has nobody to hand an error to")]

mod exec;
mod fence;
mod login;
mod preflight;
mod redis;
mod root;
mod web;

use keyward_harness::{PostgresServer, servers, unique};
use keyward_secret::Secret;
use keyward_targets::postgres::{Admin, Change, Endpoint, Phase, PostgresUrl};
use std::time::Duration;

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A database with an admin of its own, who is no superuser.
struct Ground {
    database: String,
    admin_role: String,
    admin_password: String,
}

impl Ground {
    /// An admin that may create its schema; nothing is installed yet.
    fn bare() -> Self {
        let postgres = servers().postgres();
        let database = postgres.fresh_database();
        let (admin_role, admin_password) = postgres.fresh_role("admin");
        postgres.psql(&format!("ALTER ROLE {admin_role} CREATEROLE; GRANT CREATE ON DATABASE {database} TO {admin_role}")).unwrap();
        Self { database, admin_role, admin_password }
    }

    async fn installed() -> Self {
        let ground = Self::bare();
        ground.admin().install().await.unwrap();
        ground
    }

    fn admin(&self) -> Admin {
        self.admin_with(LIMIT)
    }

    fn admin_with(&self, limit: Duration) -> Admin {
        let url = url(servers().postgres(), &format!("{}@", self.admin_role), &self.database);
        Admin::new(url, Secret::new(self.admin_password.as_str()), limit).unwrap()
    }

    /// A role that this admin may change, whatever the server's version, and its first password.
    fn role(&self) -> (String, Secret) {
        let (role, password) = servers().postgres().fresh_role("app");
        let version: u32 = servers().postgres().psql("SHOW server_version_num").unwrap().parse().unwrap();
        if version >= 160_000 {
            servers().postgres().psql(&format!("GRANT {role} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", self.admin_role)).unwrap();
        }
        (role, Secret::new(password))
    }

    fn psql(&self, sql: &str) -> String {
        servers().postgres().psql_in(&self.database, sql).unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        url(servers().postgres(), "", &self.database).endpoints()[0].clone()
    }
}

fn url(postgres: &PostgresServer, user: &str, database: &str) -> PostgresUrl {
    url_at(&format!("{}:{}", postgres.host, postgres.port), user, database, &ca_query(postgres, "verify-full"))
}

fn url_at(hosts: &str, user: &str, database: &str, query: &str) -> PostgresUrl {
    PostgresUrl::parse(&format!("postgresql://{user}{hosts}/{database}?{query}")).unwrap()
}

fn ca_query(postgres: &PostgresServer, mode: &str) -> String {
    format!("sslmode={mode}&sslrootcert={}", postgres.ca_pem_path.display())
}

fn change<'a>(role: &'a str, number: u64, phase: Phase, rotation: &'a str) -> Change<'a> {
    Change { role, secret: "backend", number, phase, rotation }
}

/// A value that stands nowhere but where we put it.
fn value() -> Secret {
    Secret::new(unique("value"))
}
