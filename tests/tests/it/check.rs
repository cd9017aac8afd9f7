//! `keyward check` on a sound shop, and on what is commonly wrong.

use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, servers};
use serde_json::json;
use std::fs;

fn shop(wishes: &Wishes) -> Shop<'static> {
    Shop::open(servers().vault(), servers().postgres(), servers().smtp(), wishes).unwrap()
}

/// Exit code and standard output.
fn check(shop: &Shop<'_>) -> (Option<i32>, String) {
    let output = shop.run(&["check"]).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_sound_configuration_can_work() {
    let shop = shop(&Wishes::default());
    let (code, text) = check(&shop);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("keyward init postgres shop-database"), "the missing fence is named with its cure: {text}");
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let (code, text) = check(&shop);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains('✗') && text.contains("This configuration can work"), "{text}");
}

#[test]
fn a_missing_capability_is_named_with_the_line_that_grants_it() {
    let shop = shop(&Wishes::default());
    let policy =
        "path \"auth/token/lookup-self\" { capabilities = [\"read\"] } path \"sys/capabilities-self\" { capabilities = [\"update\"] }";
    let token = servers().vault().token(policy, json!(null));
    fs::write(shop.path("token"), token).unwrap();
    let text = fs::read_to_string(&shop.config).unwrap();
    let auth = text.lines().find(|l| l.starts_with("auth = ")).unwrap();
    let by_token = format!("auth = {{ token = {{ file = \"{}\" }} }}", shop.path("token").display());
    fs::write(&shop.config, text.replace(auth, &by_token)).unwrap();
    let (code, said) = check(&shop);
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains("/data/shop/legacy\" { capabilities = [\"read\", \"patch\"] }"), "{said}");
}

#[test]
fn a_sealed_vault_is_said_to_be_sealed() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    vault.seal().unwrap();
    let (code, text) = check(&shop);
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("sealed"), "{text}");
}
