//! Who reads a secret and which value they know, and the page that is handed to an auditor, from a daemon's own life.

use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(2);

/// Each reader of the secret by name, with the value it knows.
fn readers(shop: &Shop<'_>) -> Option<Vec<(String, String)>> {
    let status: Value = serde_json::from_str(&shop.must(&["status", "shop-database", "--output", "json"]).ok()?).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let readers = status["usage"]["readers"].as_array()?.iter().map(|reader| (text(&reader["name"]), text(&reader["knows"])));
    Some(readers.collect())
}

#[test]
fn a_reader_is_known_with_its_value_and_stands_in_the_report() {
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database"]).unwrap();
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let path = format!("{}/data/shop/database", shop.kv);
    let token = vault.token(&format!("path \"{path}\" {{ capabilities = [\"read\"] }}"), json!({ "display_name": "till" }));
    let read = || assert_eq!(vault.api_as(&token, "GET", &path, None).unwrap().0, 200);
    let knows = |wanted: &str| {
        wait_until(wanted, LONG, || readers(&shop)?.iter().any(|(name, knows)| name == "token-till" && knows == wanted).then_some(()));
    };
    // Where the secret is mounted is asked for after the start: what is read before that is not counted, nor claimed to be.
    wait_until("the first read that is seen", LONG, || {
        read();
        readers(&shop)?.iter().any(|(name, knows)| name == "token-till" && knows == "only one").then_some(())
    });
    shop.rotate("shop-database").unwrap();
    knows("old");
    read();
    knows("new");
    let status = shop.must(&["status", "shop-database"]).unwrap();
    assert!(
        status.contains("token-till") && status.contains("the present value") && status.contains("vault-1: every read since"),
        "{status}"
    );
    vault
        .must("PUT", "sys/policies/acl/odd%3Cb%3Ename", Some(json!({ "policy": "path \"none/*\" { capabilities = [\"read\"] }" })))
        .unwrap();
    let told = || shop.must(&["audit", "report"]).ok().filter(|report| report.contains("odd<b>name"));
    let report = wait_until("the finding in the report", LONG, told);
    for part in ["policy-changed", "shop-database", "token-till", "1 proved, 0 failed", "Gaps in the logs: 0"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    drop(daemon);
    let html = shop.path("report.html");
    shop.must(&["audit", "report", "--html", html.to_str().unwrap()]).unwrap();
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("token-till") && page.contains("odd&#60;b&#62;name") && !page.contains("odd<b>name"));
    // Without a daemon the readers are still known, and nobody claims to see the present.
    let status = shop.must(&["status", "shop-database"]).unwrap();
    assert!(status.contains("token-till") && status.contains("vault-1: unknown: it is not read to its end yet"), "{status}");
}
