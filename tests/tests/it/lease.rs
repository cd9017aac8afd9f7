//! A dynamic lease that is published: proved, renewed beyond the life of its token, and its predecessor revoked with its user.

use crate::world_of_vault::{Engine, append, exists, serve};
use keyward_harness::{Shop, Wishes, servers, wait_until};
use serde_json::Value;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

/// A shop that publishes a lease of `orders`.
pub fn shop(engine: &Engine) -> Shop<'static> {
    let vault = servers().vault();
    let policy = format!(
        "path \"{mount}/roles/orders\" {{ capabilities = [\"read\"] }}
         path \"auth/token/roles/{role}\" {{ capabilities = [\"read\"] }}
         path \"auth/token/create/{role}\" {{ capabilities = [\"update\"] }}
         path \"auth/token/renew-accessor\" {{ capabilities = [\"update\"] }}
         path \"auth/token/revoke-accessor\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/lookup\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/renew\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}",
        mount = engine.mount.path,
        role = engine.token_role
    );
    let wishes = Wishes { policy, ..Wishes::default() };
    let shop = Shop::open(vault, servers().postgres(), servers().smtp(), &wishes).unwrap();
    let secret = format!(
        r#"
[class.lease]
schedule = "weekly"
retire = "after-grace"
grace = "1s"

[[secret]]
name = "orders"
class = "lease"
kind = "vault-dynamic-lease"
path = "{kv}/shop/orders"
role = "{mount}/roles/orders"
token_role = "{token_role}"
login = {{ url = "{login}" }}
"#,
        kv = shop.kv,
        mount = engine.mount.path,
        token_role = engine.token_role,
        login = engine.login()
    );
    append(&shop, &secret);
    shop
}

/// The user and the password that are published.
pub fn published(shop: &Shop<'_>) -> (String, String) {
    let read = shop.published("shop/orders").unwrap();
    let text = |name: &str| read[name].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

#[test]
fn a_published_lease_outlives_its_token_s_period_and_its_predecessor_is_dropped() {
    let engine = Engine::with_roles("20s", "200h");
    let shop = shop(&engine);
    let checked = shop.run(&["check"]).unwrap();
    assert!(checked.status.success() || !String::from_utf8_lossy(&checked.stdout).contains("orders: ✗"), "{checked:?}");
    let daemon = serve(&shop);
    let told = shop.rotate("orders").unwrap();
    let (first, first_password) = published(&shop);
    engine.logs_in(&first, &first_password).unwrap();
    let record = shop.record("orders").unwrap();
    let kept = |name: &str| record["kept"][name].as_str().unwrap().to_owned();
    assert_eq!(kept("user"), first);
    let token =
        servers().vault().must("POST", "auth/token/lookup-accessor", Some(serde_json::json!({ "accessor": kept("accessor") }))).unwrap();
    assert_eq!(token["data"]["orphan"], true);
    assert_eq!(token["data"]["display_name"], "token-keyward-orders");
    assert_eq!(token["data"]["meta"]["keyward_secret"], "orders");
    // Longer than its period: without the watch it would have died with its token.
    let begun = token["data"]["creation_time"].as_i64().unwrap();
    wait_until("more than a period", LONG, || (seconds_now() > begun + 22).then_some(()));
    engine.logs_in(&first, &first_password).unwrap();

    shop.rotate("orders").unwrap();
    let (second, second_password) = published(&shop);
    assert_ne!(first, second);
    engine.logs_in(&second, &second_password).unwrap();
    engine.logs_in(&first, &first_password).unwrap();
    // A daemon looks at what is left over when it starts.
    drop(daemon);
    let _daemon = serve(&shop);
    wait_until("the end of the first user", LONG, || (!exists(&first)).then_some(()));
    wait_until("an empty list of what is left", LONG, || shop.record("orders").ok()?.get("later").is_none().then_some(()));
    engine.logs_in(&second, &second_password).unwrap();
    let log = std::fs::read_to_string(shop.log_path()).unwrap() + &told;
    assert!(!log.contains(&first_password) && !log.contains(&second_password));
    assert_eq!(shop.record("orders").unwrap()["kept"]["user"], Value::from(second));
}

#[test]
fn a_role_whose_leases_are_too_short_is_refused_before_anything_is_made() {
    let engine = Engine::with_roles("1h", "24h");
    let shop = shop(&engine);
    let output = shop.run(&["rotate", "orders", "--alone"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("raise max_ttl"), "{said}");
    assert!(engine.users().is_empty(), "{:?}", engine.users());
}

fn seconds_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
