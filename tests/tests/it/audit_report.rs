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
    the_paths_name(&shop, &format!("{}/shop/database", shop.kv), "vault-1: every read since");
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
    // For a program it says all of that, and which file it made.
    let said = shop.must(&["audit", "report", "--html", html.to_str().unwrap(), "--output", "json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["written"], &said["totals"]["rotated"]), (&json!(html), &json!(1)), "{said:#}");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("token-till") && page.contains("odd&#60;b&#62;name") && !page.contains("odd<b>name"));
    // Without a daemon the readers are still known, and nobody claims to see the present.
    let status = shop.must(&["status", "shop-database"]).unwrap();
    assert!(status.contains("token-till") && status.contains("vault-1: unknown: it is not read to its end yet"), "{status}");
    the_paths_name(&shop, &format!("{}/shop/database", shop.kv), "vault-1: unknown: it is not read to its end yet");
}

/// `keyward paths` names the till among the readers of this path, in each of its forms.
fn the_paths_name(shop: &Shop<'_>, path: &str, coverage: &str) {
    let listed: Value = serde_json::from_str(&shop.must(&["paths", "--output", "json"]).unwrap()).unwrap();
    let entry = listed["paths"].as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap();
    let readers = entry["usage"]["readers"].as_array().unwrap();
    assert!(readers.iter().any(|reader| reader["name"] == "token-till"), "{entry:#}");
    assert_eq!(entry["fields"], json!(["password", "url", "username"]));
    for (arguments, heading) in [(&["paths"][..], format!("\n{path}\n")), (&["paths", "--markdown"], format!("\n## `{path}`\n"))] {
        let page = shop.must(arguments).unwrap();
        let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading} in\n{page}"));
        let paragraph = rest.trim_start().split("\n\n").next().unwrap();
        let seen = paragraph.replace('`', "");
        assert!(seen.contains("token-till from 127.0.0.1") && seen.contains(coverage), "{arguments:?}: {paragraph}");
    }
}
