//! Services that use the library, while Keyward rotates what they hold: the examples of `keyward-client`, run.

#[path = "../../../crates/client/examples/axum_database.rs"]
#[expect(dead_code, reason = "an example is a program, whose main is not called here")]
mod axum_database;
#[path = "../../../crates/client/examples/reqwest_api_key.rs"]
#[expect(dead_code, reason = "an example is a program, whose main is not called here")]
mod reqwest_api_key;

use crate::world::{LONG, becomes_ready, shop};
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use axum_database::{Database, service};
use keyward_client::{Client, Daemon, Login, Secret, Settings, Source};
use keyward_harness::{Shop, wait_until};
use reqwest_api_key::Api;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// A consumer's own login: it may read what the shop publishes.
fn consumer(shop: &Shop<'_>) -> Settings {
    let vault = shop.vault;
    let rules = format!("path \"{}/data/shop/*\" {{ capabilities = [\"read\"] }}\n", shop.kv)
        + "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    let token = vault.token(&rules, json!({ "ttl": "1h" }));
    let variables = |name: &str| match name {
        "VAULT_ADDR" => Some(vault.address.clone()),
        "VAULT_CACERT" => Some(vault.ca_pem_path.display().to_string()),
        "VAULT_TOKEN" => Some(token.clone()),
        _ => None,
    };
    Settings { login: Login::Token(Source::Value(Secret::new(token.clone()))), ..Settings::from_variables(variables).unwrap() }
}

/// Serves on a free port; where.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

fn http() -> reqwest::Client {
    // Another test may have done it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// What a load came to.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    good: AtomicU64,
    bad: Mutex<Vec<String>>,
}

impl Load {
    fn count(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    fn note(&self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.good.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => self.bad.lock().unwrap().push(why),
        }
    }

    /// Waits for so many further requests, so that each stage is met by a load.
    fn goes_on(&self, further: u64) {
        let until = self.count() + further;
        wait_until("further requests", LONG, || (self.count() >= until).then_some(()));
    }
}

/// Rotates; what is deferred for the sake of those who still hold the other user is tried again.
fn rotate(shop: &Shop<'_>, name: &str) {
    wait_until(&format!("a rotation of {name}"), LONG * 2, || {
        let output = shop.run(&["rotate", name, "--alone"]).unwrap();
        match output.status.code() {
            Some(0) => Some(()),
            Some(75) => None,
            _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    });
}

#[test]
fn a_services_database_password_rotates_under_load_without_a_failed_request() {
    let shop = shop();
    shop.must(&["init", "postgres", "shop-database"]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = Arc::new(Load::default());
    let users = Arc::new(Mutex::new(BTreeSet::new()));
    let secret = runtime.block_on(async {
        let client = Client::connect(consumer(&shop)).await.unwrap();
        client.watch(&format!("{}/shop/database", shop.kv), Duration::from_millis(250)).await.unwrap()
    });
    let place = format!("host={} port={} dbname={}", shop.postgres.host, shop.postgres.port, shop.database);
    let (watched, database) = (secret.clone(), Arc::new(Database::new(secret, &place)));
    let (address, http) = (runtime.block_on(serve(service(database))), http());
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (load, users, url, http, secret) =
            (Arc::clone(&load), Arc::clone(&users), format!("{address}/orders"), http.clone(), watched.clone());
        tasks.push(runtime.spawn(async move {
            while !load.stop.load(Ordering::Relaxed) {
                let answer = http.get(&url).send().await;
                load.note(match answer {
                    Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
                    Ok(answer) => Err(answer.status().to_string()),
                    Err(error) => Err(error.to_string()),
                });
                users.lock().unwrap().insert(secret.current().field("username").unwrap().expose().to_owned());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    load.goes_on(20);
    for _ in 0..3 {
        rotate(&shop, "shop-database");
        load.goes_on(50);
    }
    load.stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*load.bad.lock().unwrap(), [""; 0], "beside {} good ones", load.count());
    assert_eq!(*users.lock().unwrap(), shop.users.iter().cloned().collect(), "both users had their turns");
    assert!(load.count() >= 170);
}

#[test]
fn an_api_key_rotates_under_load_without_a_failed_call() {
    let shop = shop();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let accepted = Arc::new(Mutex::new(BTreeSet::from(["sk-before".to_owned()])));
    let known = Arc::clone(&accepted);
    let models = move |headers: HeaderMap| async move {
        let key =
            headers.get("authorization").and_then(|v| v.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned)).unwrap_or_default();
        if known.lock().unwrap().contains(&key) { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    };
    let address = runtime.block_on(serve(Router::new().route("/models", get(models))));
    let load = Arc::new(Load::default());
    let (http, url) = (http(), format!("{address}/models"));
    let api = runtime.block_on(async {
        let client = Client::connect(consumer(&shop)).await.unwrap();
        // So long an interval that only a refused call finds out.
        let secret = client.watch(&format!("{}/shop/openai", shop.kv), Duration::from_hours(1)).await.unwrap();
        Api::new(http, secret, "api_key")
    });
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (load, api, url) = (Arc::clone(&load), api.clone(), url.clone());
        tasks.push(runtime.spawn(async move {
            while !load.stop.load(Ordering::Relaxed) {
                let answer = api.get(&url).await.map_err(|e| e.to_string());
                load.note(answer.and_then(|a| if a.status() == StatusCode::OK { Ok(()) } else { Err(a.status().to_string()) }));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    load.goes_on(20);
    for new in ["sk-second-key-of-the-provider", "sk-third-key-of-the-provider"] {
        accepted.lock().unwrap().insert(new.to_owned());
        let supplied = shop.run_with_input(&["supply", "openai", "--alone"], new).unwrap();
        assert!(supplied.status.success(), "{}", String::from_utf8_lossy(&supplied.stderr));
        // The provider ends the old one at once.
        accepted.lock().unwrap().retain(|key| key == new);
        load.goes_on(40);
    }
    load.stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*load.bad.lock().unwrap(), [""; 0], "beside {} good ones", load.count());
}

#[test]
fn the_daemon_says_what_is_due_and_rotates_when_asked() {
    let shop = shop();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let daemon = Daemon::at(shop.path("state/keyward.sock"));
    assert!(runtime.block_on(daemon.due()).unwrap_err().to_string().contains("cannot be asked"));
    let serving = shop.serve().unwrap();
    becomes_ready(&shop);
    assert_eq!(runtime.block_on(daemon.due()).unwrap(), []);
    // A key that only a person can bring, and that nobody brought since 2020.
    drop(serving);
    let path = format!("{}/data/openai", shop.records);
    let mut kept = shop.vault.must("GET", &path, None).unwrap()["data"]["data"].clone();
    for time in ["first_seen", "last_success"] {
        kept["record"][time] = json!("2020-01-01T00:00:00Z");
    }
    shop.vault.must("POST", &path, Some(json!({ "data": kept }))).unwrap();
    let _serving = shop.serve().unwrap();
    becomes_ready(&shop);
    let due = wait_until("what is due", LONG, || runtime.block_on(daemon.due()).ok().filter(|due| !due.is_empty()));
    let [openai] = due.as_slice() else { panic!("{due:#?}") };
    assert_eq!((openai.name.as_str(), openai.path.as_deref()), ("openai", Some(format!("{}/shop/openai", shop.kv).as_str())));
    assert!(openai.overdue && openai.says.contains("keyward supply"), "{openai:?}");
    let before = shop.published("shop/legacy").unwrap();
    let rotated = runtime.block_on(daemon.rotate("legacy")).unwrap();
    assert!(rotated.succeeded() && rotated.rotation.starts_with("r-"), "{rotated:?}");
    assert_ne!(shop.published("shop/legacy").unwrap(), before);
    shop.consume("shop/legacy").unwrap();
    let refused = runtime.block_on(daemon.rotate("no-such-secret")).unwrap_err();
    assert!(refused.to_string().contains("no-such-secret"), "{refused}");
    assert!(runtime.block_on(daemon.rotate("../etc")).is_err());
}
