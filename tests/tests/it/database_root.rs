//! The password of Vault's own login: set by Keyward, or rotated by Vault, and not lost when Vault dies at the worst moment.

use crate::world_of_vault::{append, dynamic_role, let_alter, login, serve, users};
use keyward_harness::{DatabaseMount, PostgresProxy, Shop, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::json;
use std::time::Duration;

/// The server is given two minutes to mend itself.
const TWO_MINUTES_AND_MORE: Duration = Duration::from_mins(5);

/// The policy lines that rotating the connection's password needs.
fn policy(mount: &DatabaseMount) -> String {
    let (path, connection) = (&mount.path, &mount.connection);
    format!(
        "path \"{path}/config/{connection}\" {{ capabilities = [\"read\", \"update\"] }}
         path \"{path}/roles/canary\" {{ capabilities = [\"read\"] }}
         path \"{path}/creds/canary\" {{ capabilities = [\"read\"] }}
         path \"{path}/rotate-root/{connection}\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}"
    )
}

/// A shop whose secret `root` is the password of this mount's connection.
fn shop<'a>(vault: &'a VaultServer, mount: &DatabaseMount, method: &str) -> Shop<'a> {
    let postgres = servers().postgres();
    let wishes = Wishes { policy: policy(mount), ..Wishes::default() };
    let shop = Shop::open(vault, postgres, servers().smtp(), &wishes).unwrap();
    dynamic_role(vault, mount, "canary", "1m", "5m");
    let admin = shop.admin();
    let_alter(&admin, &shop.database, mount);
    let at = login(postgres, &shop.database);
    let secret = format!(
        r#"
[[secret]]
name = "root"
class = "root"
kind = "vault-root"
connection = "{path}/config/{connection}"
canary = "{path}/roles/canary"
method = "{method}"
admin = {{ url = "{at_admin}", password = {{ file = "{dir}/admin-password" }} }}
login = {{ url = "{at}" }}
"#,
        path = mount.path,
        connection = mount.connection,
        at_admin = at.replacen("postgresql://", &format!("postgresql://{admin}@"), 1),
        dir = shop.dir.display()
    );
    append(&shop, &secret);
    shop.must(&["init", "postgres", "root"]).unwrap();
    shop
}

/// Vault makes a user, who logs in.
fn vault_works(vault: &VaultServer, mount: &DatabaseMount) -> bool {
    let Ok((200, made)) = vault.api("GET", &format!("{}/creds/canary", mount.path), None) else { return false };
    let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
    let works = servers().postgres().psql_as(&text("username"), &text("password"), &mount.database, "SELECT 1").is_ok();
    vault.must("PUT", "sys/leases/revoke", Some(json!({ "lease_id": made["lease_id"], "sync": true }))).unwrap();
    works
}

fn verifier(mount: &DatabaseMount) -> String {
    servers().postgres().psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", mount.user)).unwrap()
}

#[test]
fn a_root_password_is_changed_by_either_method_and_vault_goes_on() {
    for method in ["set", "rotate-root"] {
        let vault = servers().vault();
        let mount = vault.database_mount(servers().postgres());
        let shop = shop(vault, &mount, method);
        let before = verifier(&mount);
        let told = shop.must(&["rotate", "root", "--alone"]).unwrap();
        assert_ne!(verifier(&mount), before, "{method}: {told}");
        let old = servers().postgres().psql_as(&mount.user, &mount.password, &mount.database, "SELECT 1");
        assert!(old.is_err(), "{method}: the old password still logs in");
        assert!(vault_works(vault, &mount), "{method}");
        assert_eq!(users(&mount), [""; 0], "{method}: a canary was left over");
        let held = vault.must("GET", &format!("{}/metadata/root", shop.records), None).unwrap();
        let versions = held["data"]["versions"].as_object().unwrap();
        let newest = held["data"]["current_version"].as_u64().unwrap().to_string();
        let alive = versions.iter().filter(|(number, version)| **number != newest && version["destroyed"] == false).count();
        assert!(alive <= 2, "{method}: versions that held the value are destroyed: {held}");
    }
}

/// The root password was gone: users of vault#6042 and of vault-helm#638 had to reset it by hand.
///
/// Vault dies between the database's COMMIT and its own write. By itself it loses the password for good.
#[test]
fn failure_04_a_vault_killed_between_the_database_s_commit_and_its_own_write_does_not_lose_the_root_password() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let postgres = servers().postgres();
    let mount = vault.database_mount(postgres);
    let proxy = PostgresProxy::start(postgres).unwrap();
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{}?sslmode=disable", proxy.port, mount.database);
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "connection_url": url, "username": mount.user, "password": mount.password,
        "allowed_roles": "*",
    });
    vault.must("POST", &format!("{}/config/{}", mount.path, mount.connection), Some(connection)).unwrap();
    let before = verifier(&mount);
    let kill = vault.killer();
    let shop = shop(&vault, &mount, "rotate-root");
    assert!(vault_works(&vault, &mount));
    proxy.at_next_commit(kill);
    let output = shop.run(&["rotate", "root", "--alone"]).unwrap();
    assert!(!output.status.success(), "Vault died under it");
    assert!(proxy.was_triggered() && verifier(&mount) != before, "the database has committed");
    vault.relaunch().unwrap();
    vault.unseal().unwrap();
    assert!(!vault_works(&vault, &mount), "this Vault keeps its password by itself: nothing is shown");
    let _daemon = serve(&shop);
    wait_until("the end of the rotation", TWO_MINUTES_AND_MORE, || {
        (shop.record("root").ok()?.pointer("/phase/state")? == "idle").then_some(())
    });
    assert!(vault_works(&vault, &mount), "the password is lost");
    assert!(shop.record("root").unwrap()["last_slot"].is_string(), "it counts as rotated");
    let log = std::fs::read_to_string(shop.log_path()).unwrap();
    assert!(log.contains("Vault lost its password in rotate-root"), "it is not said");
}
