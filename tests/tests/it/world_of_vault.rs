//! A database engine of Vault with a canary and a dynamic role, for tests of the whole.

use keyward_harness::{DatabaseMount, PostgresServer, Process, Shop, VaultOptions, VaultServer, servers, unique, wait_until};
use serde_json::json;
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

/// One mount, on the shared PostgreSQL.
pub struct Engine {
    pub mount: DatabaseMount,
    /// The token role that may lease from `orders`.
    pub token_role: String,
}

impl Engine {
    /// On the shared Vault: the dynamic role `orders`, and a token role of this period.
    pub fn with_roles(period: &str, max_ttl: &str) -> Self {
        let vault = servers().vault();
        let mount = vault.database_mount(servers().postgres());
        // Else Vault sends its users' passwords in clear, and the server's log shows them.
        let hashed = json!({ "password_authentication": "scram-sha-256" });
        vault.must("POST", &format!("{}/config/{}", mount.path, mount.connection), Some(hashed)).unwrap();
        dynamic_role(vault, &mount, "orders", "1h", max_ttl);
        let token_role = unique("orders");
        let policy = format!("path \"{}/creds/orders\" {{ capabilities = [\"read\"] }}", mount.path);
        vault.must("PUT", &format!("sys/policies/acl/{token_role}"), Some(json!({ "policy": policy }))).unwrap();
        let role = json!({ "orphan": true, "renewable": true, "token_period": period, "allowed_policies": [token_role], "token_no_default_policy": true });
        vault.must("POST", &format!("auth/token/roles/{token_role}"), Some(role)).unwrap();
        Self { mount, token_role }
    }

    /// Where its users log in.
    pub fn login(&self) -> String {
        login(servers().postgres(), &self.mount.database)
    }

    pub fn logs_in(&self, user: &str, password: &str) -> anyhow::Result<String> {
        servers().postgres().psql_as(user, password, &self.mount.database, "SELECT 1")
    }

    /// The users that were made for leases of `orders`, by their comment.
    pub fn users(&self) -> Vec<String> {
        users(&self.mount)
    }
}

pub fn exists(user: &str) -> bool {
    servers().postgres().psql(&format!("SELECT 1 FROM pg_roles WHERE rolname = '{user}'")).unwrap() == "1"
}

pub fn users(mount: &DatabaseMount) -> Vec<String> {
    let sql = format!("SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = '{}'", mount.path);
    servers().postgres().psql(&sql).unwrap().lines().map(str::to_owned).collect()
}

pub fn login(postgres: &PostgresServer, database: &str) -> String {
    let (host, port, ca) = (&postgres.host, postgres.port, postgres.ca_pem_path.display());
    format!("postgresql://{host}:{port}/{database}?sslmode=verify-full&sslrootcert={ca}")
}

/// A Vault of one's own whose storage is `file`, initialised and open.
pub fn in_file_storage() -> VaultServer {
    let mut vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let folder = vault.audit_log.parent().unwrap().parent().unwrap().to_owned();
    vault.kill().unwrap();
    let (file, data) = (folder.join("server.hcl"), folder.join("data"));
    fs::create_dir(&data).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once("}\n").unwrap();
    fs::write(&file, format!("storage \"file\" {{\n  path = \"{}\"\n}}\n{rest}", data.display())).unwrap();
    vault.restart().unwrap();
    vault.initialise().unwrap();
    vault
}

/// A dynamic role whose users bear the mount's name as a comment.
pub fn dynamic_role(vault: &VaultServer, mount: &DatabaseMount, role: &str, default_ttl: &str, max_ttl: &str) {
    let create = format!(
        "CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}'; COMMENT ON ROLE \"{{{{name}}}}\" IS '{}'",
        mount.path
    );
    let body = json!({ "db_name": mount.connection, "creation_statements": create, "default_ttl": default_ttl, "max_ttl": max_ttl });
    vault.must("POST", &format!("{}/roles/{role}", mount.path), Some(body)).unwrap();
}

/// Lets an administrator see when Vault's user was altered (a right in its own database alone), and alter it (from PostgreSQL 16 on by
/// membership).
pub fn let_alter(admin: &str, database: &str, mount: &DatabaseMount) {
    let postgres = servers().postgres();
    postgres.psql_in(database, &format!("GRANT SELECT ON pg_authid TO \"{admin}\"")).unwrap();
    if postgres.psql("SHOW server_version_num").unwrap().parse::<u32>().unwrap() >= 160_000 {
        postgres.psql(&format!("GRANT \"{}\" TO \"{admin}\" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", mount.user)).unwrap();
    }
}

/// Adds to a shop's configuration.
pub fn append(shop: &Shop<'_>, text: &str) {
    let before = fs::read_to_string(&shop.config).unwrap();
    fs::write(&shop.config, before + text).unwrap();
}

/// The daemon, ready.
pub fn serve(shop: &Shop<'_>) -> Process {
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    daemon
}
