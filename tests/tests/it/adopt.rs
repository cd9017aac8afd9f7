//! `keyward adopt`: what is proposed fits into the configuration, works, and rotates nothing.

use crate::secret::by_hand;
use crate::world::{run, shop};
use keyward_harness::Shop;
use serde_json::{Value, json};
use std::fs;

fn adopt(shop: &Shop<'_>, path: &str, more: &[&str]) -> String {
    let ended = by_hand(shop, &[&["adopt", &format!("{}/{path}", shop.kv)], more].concat(), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.contains("nobody-may-see") && !ended.err.contains("nobody-may-see"), "a value was shown");
    ended.out
}

#[test]
fn a_secret_that_exists_is_adopted_without_rotating_it() {
    let shop = shop();
    let (postgres, legacy) = (shop.postgres, shop.published("shop/legacy").unwrap());
    let password = legacy["password"].as_str().unwrap();
    let url = format!("postgresql://{}:{password}@{}:{}/{}", shop.legacy, postgres.host, postgres.port, shop.database);
    let document =
        json!({ "username": shop.legacy, "password": password, "url": url, "encryption_key": "nobody-may-see-this-key", "host": "db" });
    let data = format!("{}/data/shop/old", shop.kv);
    shop.vault.must("POST", &data, Some(json!({ "data": document }))).unwrap();
    let notes = json!({ "custom_metadata": { "rotation_period_days": "30", "owner": "billing" } });
    shop.vault.must("POST", &format!("{}/metadata/shop/old", shop.kv), Some(notes)).unwrap();

    // A role belongs to one secret: where another one rotates it already, the proposal does not fit, and that is said.
    let twice = by_hand(&shop, &["adopt", &format!("{}/shop/old", shop.kv)], "");
    assert!(twice.code == Some(1) && twice.err.contains("both rotate the role"), "{twice:?}");
    assert!(
        twice.out.is_empty() && twice.err.contains("kind = \"postgres-password\""),
        "nothing to append to the configuration: {twice:?}"
    );
    let before = fs::read_to_string(&shop.config).unwrap();
    let (head, rest) = before.split_once("[[secret]]\nname = \"legacy\"").unwrap();
    let after = rest.split_once("[[secret]]").unwrap().1;
    fs::write(&shop.config, format!("{head}[[secret]]{after}")).unwrap();
    let text = adopt(&shop, "shop/old", &[]);
    assert!(!text.contains(password), "{text}");
    for part in [
        "kind = \"postgres-password\"",
        "class = \"database-monthly\"",
        "pinned = [\"encryption_key\"]",
        "mode = \"observe\"",
        "rotation_period_days = 30",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let told: Value = serde_json::from_str(&adopt(&shop, "shop/old", &["--output", "json"])).unwrap();
    assert_eq!((&told["pinned"], &told["secrets"][0]["name"]), (&json!(["encryption_key"]), &json!("shop-old")));

    // It goes into the configuration, but for the administrator's name, which it cannot know; then Keyward watches it.
    let admin = format!("keeper_of_{}", shop.database);
    let text = text
        .replace("//keyward@", &format!("//{admin}@"))
        .replace("/etc/keyward/admin-password", &shop.path("admin-password").display().to_string());
    let configuration = fs::read_to_string(&shop.config).unwrap();
    fs::write(&shop.config, format!("{configuration}\n{text}\n")).unwrap();
    let plan = run(&shop, &["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.out.contains("shop-old"), "{plan:?}");
    let again = by_hand(&shop, &["adopt", &format!("{}/shop/old", shop.kv)], "");
    assert!(again.code == Some(0) && again.out.is_empty() && again.err.contains("managed already, as shop-old"), "{again:?}");
    assert_eq!(shop.vault.must("GET", &data, None).unwrap()["data"]["metadata"]["version"], 1);
    // With the mode taken away it rotates, and what is pinned stays.
    let acting = fs::read_to_string(&shop.config).unwrap().replace("mode = \"observe\"", "#");
    fs::write(&shop.config, acting).unwrap();
    shop.must(&["init", "postgres", "shop-old"]).unwrap();
    shop.must(&["rotate", "shop-old", "--alone"]).unwrap();
    let rotated = shop.published("shop/old").unwrap();
    assert_eq!((&rotated["encryption_key"], &rotated["host"]), (&document["encryption_key"], &document["host"]));
    let url = format!(
        "postgresql://{}:{}@{}:{}/{}",
        shop.legacy,
        rotated["password"].as_str().unwrap(),
        postgres.host,
        postgres.port,
        shop.database
    );
    assert!(rotated["password"] != document["password"] && rotated["url"] == json!(url));
    shop.consume("shop/old").unwrap();
}

#[test]
fn what_keyward_manages_or_nobody_has_is_not_proposed() {
    let shop = shop();
    let text = adopt(&shop, "shop/openai", &[]);
    assert_eq!(text, "");
    let ended = by_hand(&shop, &["adopt", &format!("{}/data/shop/openai", shop.kv)], "");
    assert!(ended.code == Some(1) && ended.err.contains("did you mean"), "{ended:?}");
}
