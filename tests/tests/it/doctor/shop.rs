//! Troubles of secrets, databases and the database engine, in a shop of one's own.

use super::{Found, closed_port};
use crate::world::{LONG, edit, edit_all, run, use_token};
use keyward_harness::{PostgresServer, Shop, Wishes, foreign_ca, servers, unique, wait_until};
use serde_json::json;
use std::fs;

fn doctor(shop: &Shop<'_>, more: &[&str]) -> Found {
    let empty = shop.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = shop.command(&["doctor", "--look-in", empty.to_str().unwrap()]);
    Found::by(command.env("VAULT_TOKEN", &shop.vault.root_token).args(more))
}

fn open(postgres: &PostgresServer) -> Shop<'_> {
    Shop::open(servers().vault(), postgres, servers().smtp(), &Wishes::default()).unwrap()
}

#[test]
fn what_can_be_wrong_with_secrets_and_the_engine() {
    let vault = servers().vault();
    let shop = open(servers().postgres());
    doctor(&shop, &[]).has(&["fence-missing"]);
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let sound = doctor(&shop, &["--most-leases", "1"]);
    // The shop's policy leaves out what is optional; its files are as open as the test's umask makes them.
    let expected = ["daemon-down", "personal-root", "right-missing"];
    let ids: Vec<&str> = sound.ids.iter().map(String::as_str).filter(|id| *id != "secret-file-open").collect();
    assert_eq!(ids, expected, "{:#}", sound.answer);

    assert_eq!(run(&shop, &["pause", "openai", "--alone"]).code, Some(0));
    let (kv, records) = (&shop.kv, &shop.records);
    vault.must("DELETE", &format!("{kv}/data/shop/openai"), None).unwrap();
    vault.must("POST", &format!("{kv}/data/shop/web-hook"), Some(json!({ "data": { "token": "x" } }))).unwrap();
    vault.must("POST", &format!("{records}/config"), Some(json!({ "delete_version_after": "1h" }))).unwrap();
    let (mount, _) = shop.static_role.split_once("/static-roles/").unwrap();
    let (host, port) = (&shop.postgres.host, shop.postgres.port);
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "username": shop.legacy, "password": "whatever", "allowed_roles": "*",
        "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{}", shop.database), "verify_connection": false,
    });
    vault.must("POST", &format!("{mount}/config/shared"), Some(connection)).unwrap();
    let statement = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let dynamic = unique("dynamic");
    let role = json!({ "db_name": "postgres", "creation_statements": [statement], "default_ttl": "30m", "max_ttl": "24h" });
    vault.must("POST", &format!("{mount}/roles/{dynamic}"), Some(role)).unwrap();
    vault.must("POST", &format!("sys/mounts/{mount}/tune"), Some(json!({ "max_lease_ttl": "1h" }))).unwrap();
    for _ in 0..2 {
        vault.must("GET", &format!("{mount}/creds/{dynamic}"), None).unwrap();
    }
    // A service of which the configuration knows nothing has the same login.
    let env = shop.path("empty/.env");
    fs::write(&env, format!("DATABASE_URL=postgres://{}:its-password@db/shop\n", shop.legacy)).unwrap();
    doctor(&shop, &["--most-leases", "1"])
        .has(&["rotation-paused", "secret-deleted", "path-near", "records-expire", "engine-user-shared", "lease-limit", "lease-pile-up"])
        .says("shop/web-hook")
        .says(&format!("{mount}/config/shared logs in as {}, as a service with DATABASE_URL in", shop.legacy));
    fs::remove_file(env).unwrap();

    // What is looked for lies elsewhere, or is of another kind.
    let [old, other] = [unique("kv1"), unique("kv1")];
    for mount in [&old, &other] {
        vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "kv" }))).unwrap();
    }
    edit(&shop, &format!("{kv}/shop/jwt"), &format!("{old}/shop/jwt"));
    edit(&shop, &format!("{kv}/shop/openai"), &format!("{kv}/shop/nobody"));
    let scheduled = unique("scheduled");
    let role = json!({ "db_name": "postgres", "username": shop.reporting, "rotation_schedule": "0 0 * * SAT", "rotation_window": "1h" });
    vault.must("DELETE", &shop.static_role, None).unwrap();
    vault.must("POST", &format!("{mount}/static-roles/{scheduled}"), Some(role)).unwrap();
    edit(&shop, &shop.static_role, &format!("{mount}/static-roles/{scheduled}"));
    use_token(&shop, &vault.root_token);
    doctor(&shop, &[]).has(&["mount-version", "nothing-published", "role-schedule", "token-root"]);
    edit(&shop, &format!("{mount}/static-roles/{scheduled}"), &format!("{mount}/static-roles/{dynamic}"));
    edit(&shop, &format!("record_mount = \"{records}\""), &format!("record_mount = \"{other}\""));
    doctor(&shop, &[]).has(&["role-kind", "records-place"]).has_not(&["role-schedule"]);
    edit(&shop, &format!("record_mount = \"{other}\""), "record_mount = \"nowhere\"");
    doctor(&shop, &[]).has(&["records-missing"]).has_not(&["mount-missing"]);
    let nowhere = unique("nowhere");
    edit(&shop, &format!("{old}/shop/jwt"), &format!("{nowhere}/shop/jwt"));
    doctor(&shop, &[]).has(&["mount-missing"]).says(&format!("vault secrets enable -path={nowhere} -version=2 kv"));
}

#[test]
fn what_can_be_wrong_with_the_database() {
    let postgres = PostgresServer::start().unwrap();
    let shop = open(&postgres);
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let of_databases =
        ["database-unreachable", "database-tls", "database-name", "database-refused", "database-trust", "database-preflight"];
    doctor(&shop, &[]).has_not(&of_databases);
    postgres.psql(&format!("ALTER ROLE \"{}\" PASSWORD 'changed by hand'", shop.legacy)).unwrap();
    postgres.psql(&format!("ALTER ROLE \"{}\" NOCREATEROLE", shop.admin())).unwrap();
    doctor(&shop, &[]).has(&["database-refused", "database-preflight"]);
    postgres.psql(&format!("ALTER ROLE \"{}\" CREATEROLE", shop.admin())).unwrap();

    let sound = fs::read_to_string(&shop.config).unwrap();
    edit_all(&shop, &format!("/{}?sslmode", shop.database), "/nobody_made_this?sslmode");
    doctor(&shop, &[]).has(&["database-name"]);
    fs::write(&shop.config, &sound).unwrap();
    let foreign = foreign_ca(&shop.path("")).unwrap();
    let own = postgres.ca_pem_path.display().to_string();
    edit_all(&shop, &format!("sslrootcert={own}"), &format!("sslrootcert={}", foreign.display()));
    doctor(&shop, &[]).has(&["database-tls"]);
    fs::write(&shop.config, &sound).unwrap();
    edit_all(&shop, &format!(":{}/", postgres.port), &format!(":{}/", closed_port()));
    let refused = doctor(&shop, &[]).has(&["database-unreachable"]);
    assert_eq!(refused.code, Some(69));
    fs::write(&shop.config, &sound).unwrap();

    let rules = format!("host all \"{}\" 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n", shop.legacy);
    postgres.set_hba(&rules).unwrap();
    wait_until("the new rules", LONG, || postgres.psql_as(&shop.legacy, "any", &shop.database, "SELECT 1").ok());
    doctor(&shop, &[]).has(&["database-trust"]);
    // Down.
    postgres.stop().unwrap();
    doctor(&shop, &[]).has(&["database-unreachable"]);
}
