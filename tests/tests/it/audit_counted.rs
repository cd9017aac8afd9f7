//! Every kind of call that Vault takes, counted by whoever makes it, beside what the daemon counts in the audit log: the same, exactly.

use crate::audit_replay::{live_and_replayed, series, wait_until_read};
use crate::world::LONG;
use keyward_harness::{Shop, VaultOptions, VaultServer, Wishes, full, servers, unique, wait_until};
use serde_json::{Value, Value::Null, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

const LABELS: [&str; 4] = ["operation", "mount", "mount_type", "result"];
/// Those who make the calls at the same time, and how often each does.
const WORKERS: usize = 4;

/// How often a metric's series with these labels was counted.
type Counts = BTreeMap<Vec<String>, u64>;

/// A call: the operation as which it is counted and how it ends, with what status, and what is asked for under a mount.
type Call<'a> = (&'a str, &'a str, u16, &'a str, &'a str, Value);

/// Makes calls and counts them.
struct Client<'a> {
    vault: &'a VaultServer,
    counted: Mutex<Counts>,
}

/// Where calls go: the path as it stands in a URL, and the labels.
#[derive(Clone)]
struct Mount {
    path: String,
    label: String,
    kind: &'static str,
}

impl Mount {
    fn new(path: &str, kind: &'static str) -> Self {
        Self { path: encoded(path), label: path.to_owned(), kind }
    }
}

/// As it stands in a URL; slashes separate.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Client<'_> {
    fn count(&self, operation: &str, mount: &Mount, result: &str) {
        let labels = [operation, &mount.label, mount.kind, result].map(str::to_owned);
        *self.counted.lock().unwrap().entry(labels.into()).or_default() += 1;
    }

    fn call(&self, mount: &Mount, token: &str, call: Call<'_>) -> Value {
        let (operation, result, status, method, path, body) = call;
        let asked = format!("{}{path}", mount.path);
        let (answered, answer) = self.vault.api_as(token, method, &asked, Some(body).filter(|body| !body.is_null())).unwrap();
        assert_eq!(answered, status, "{method} {asked}: {answer}");
        self.count(operation, mount, result);
        answer
    }

    fn calls<'c>(&self, mount: &Mount, token: &str, calls: impl IntoIterator<Item = Call<'c>>) {
        calls.into_iter().for_each(|call| drop(self.call(mount, token, call)));
    }

    /// Mounts a secrets engine. Vault sets up a KV store of version 2 after it has answered; the calls until then count, too.
    fn mount(&self, path: &str, kind: &'static str, options: Value) -> Mount {
        let mount = Mount::new(path, kind);
        let at = format!("sys/mounts/{}", mount.path);
        self.vault.must("POST", at.trim_end_matches('/'), Some(json!({ "type": kind, "options": options }))).unwrap();
        if kind == "kv" && options["version"] == "2" {
            wait_until("the mount", LONG, || {
                let (status, _) = self.vault.api("GET", &format!("{}config", mount.path), None).unwrap();
                self.count("read", &mount, if status == 200 { "ok" } else { "failed" });
                (status == 200).then_some(())
            });
        }
        mount
    }
}

/// Everything that a KV store of version 2 can do with one key.
fn versioned(key: &str) -> Vec<(&'static str, &'static str, u16, &'static str, String, Value)> {
    let data = json!({ "data": { "k": "v" } });
    let versions = json!({ "versions": [1] });
    let at = |folder: &str| format!("{folder}/{key}");
    vec![
        ("create", "ok", 200, "POST", at("data"), data.clone()),
        ("update", "ok", 200, "PUT", at("data"), data.clone()),
        ("patch", "ok", 200, "PATCH", at("data"), data.clone()),
        ("read", "ok", 200, "GET", at("data"), Null),
        ("read", "ok", 200, "GET", at("data") + "?version=1", Null),
        ("read", "ok", 404, "GET", at("data") + "-absent", Null),
        ("update", "failed", 400, "POST", at("data"), json!({ "data": {}, "options": { "cas": 99 } })),
        ("read", "ok", 200, "GET", at("subkeys"), Null),
        ("delete", "ok", 204, "DELETE", at("data"), Null),
        ("read", "failed", 404, "GET", at("data"), Null),
        ("update", "ok", 204, "POST", at("delete"), versions.clone()),
        ("update", "ok", 204, "POST", at("undelete"), versions.clone()),
        ("update", "ok", 204, "PUT", at("destroy"), versions),
        ("update", "ok", 204, "POST", at("metadata"), json!({ "max_versions": 3 })),
        ("patch", "ok", 204, "PATCH", at("metadata"), json!({ "custom_metadata": { "owner": "shop" } })),
        ("read", "ok", 200, "GET", at("metadata"), Null),
        ("list", "ok", 200, "LIST", "metadata/".into(), Null),
        ("list", "ok", 200, "GET", "metadata/?list=true".into(), Null),
        ("delete", "ok", 204, "DELETE", at("metadata"), Null),
        ("create", "ok", 204, "PUT", at("metadata"), json!({ "max_versions": 2 })),
    ]
}

fn versioned_calls(client: &Client<'_>, mount: &Mount, token: &str, key: &str) {
    for (operation, result, status, method, path, body) in versioned(key) {
        client.call(mount, token, (operation, result, status, method, &path, body));
    }
}

/// Names that look like structure, like other names, or like nothing that anybody would write.
const WEIRD: [&str; 12] = [
    "with space",
    "quote\"inside",
    "type\":\"response\"}",
    "{\"path\":\"x\"}",
    "back\\slash",
    "line\\nbreak",
    "ünïcode-✓",
    "emoji😀",
    "<script>&amp;",
    "percent%41",
    "'; drop table x; --",
    "error",
];

fn odd_names(client: &Client<'_>, mount: &Mount, token: &str) {
    for name in WEIRD {
        versioned_calls(client, mount, token, &encoded(&format!("odd/{name}")));
    }
    versioned_calls(client, mount, token, &"a".repeat(500));
}

/// A KV store of version 1 with so many keys, and a list of all of them.
fn many_keys(client: &Client<'_>, mount: &Mount, token: &str, keys: usize) {
    std::thread::scope(|scope| {
        for worker in 0..2 * WORKERS {
            scope.spawn(move || {
                for n in (worker..keys).step_by(2 * WORKERS) {
                    client.call(mount, token, ("create", "ok", 204, "POST", &format!("many/{n:06}"), json!({ "k": "v" })));
                }
            });
        }
    });
    let listed = client.call(mount, token, ("list", "ok", 200, "LIST", "many", Null));
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), keys);
    client.calls(
        mount,
        token,
        [
            ("update", "ok", 204, "PUT", "many/000001", json!({ "k": "w" })),
            ("read", "ok", 200, "GET", "many/000001", Null),
            // Vault takes a secret with just this field for a failure, and answers 400 with the value: whoever asked has read it.
            ("create", "ok", 204, "POST", "error", json!({ "error": "none" })),
            ("read", "ok", 400, "GET", "error", Null),
            ("read", "ok", 404, "GET", "absent", Null),
            ("list", "ok", 404, "LIST", "absent", Null),
            ("delete", "ok", 204, "DELETE", "many/000001", Null),
        ],
    );
}

/// Logins, good and bad; the tokens of those who came in so, each with the name that the log has for them.
fn logins(client: &Client<'_>, root: &str, policy: &str) -> [(String, String); 2] {
    let text = |answer: &Value, pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let enable = |kind: &'static str| {
        let at = unique(kind);
        client.vault.must("POST", &format!("sys/auth/{at}"), Some(json!({ "type": kind }))).unwrap();
        Mount::new(&format!("auth/{at}/"), kind)
    };
    let approle = enable("approle");
    client.call(&approle, root, ("create", "ok", 204, "POST", "role/svc", json!({ "token_policies": [policy] })));
    let role = text(&client.call(&approle, root, ("read", "ok", 200, "GET", "role/svc/role-id", Null)), "/data/role_id");
    let secret = text(&client.call(&approle, root, ("update", "ok", 200, "POST", "role/svc/secret-id", json!({}))), "/data/secret_id");
    let good = json!({ "role_id": role, "secret_id": secret });
    let service = text(&client.call(&approle, "", ("update", "ok", 200, "POST", "login", good.clone())), "/auth/client_token");
    client.calls(
        &approle,
        "",
        [
            ("update", "ok", 200, "PUT", "login", good),
            ("update", "failed", 400, "POST", "login", json!({ "role_id": role, "secret_id": "wrong" })),
            ("update", "failed", 400, "POST", "login", json!({ "role_id": "wrong", "secret_id": "wrong" })),
        ],
    );
    let userpass = enable("userpass");
    client.call(&userpass, root, ("create", "ok", 204, "POST", "users/ann", json!({ "password": "p", "token_policies": [policy] })));
    client.call(&userpass, root, ("list", "ok", 200, "LIST", "users", Null));
    let person =
        text(&client.call(&userpass, "", ("update", "ok", 200, "POST", "login/ann", json!({ "password": "p" }))), "/auth/client_token");
    client.calls(
        &userpass,
        "",
        [
            ("update", "failed", 400, "POST", "login/ann", json!({ "password": "wrong" })),
            ("update", "failed", 400, "POST", "login/nobody", json!({ "password": "wrong" })),
        ],
    );
    let name = |mount: &Mount, ending: &str| format!("{}{ending}", mount.label["auth/".len()..].trim_end_matches('/'));
    [(service, name(&approle, "/svc")), (person, name(&userpass, "-ann"))]
}

/// Refused: by policy, by a token that nobody has, by no token at all.
fn denied(client: &Client<'_>, mount: &Mount, powerless: &str) {
    for token in [powerless, "hvs.CAESIJnobodyhasthistoken", ""] {
        client.calls(
            mount,
            token,
            [
                ("read", "denied", 403, "GET", "data/x", Null),
                ("list", "denied", 403, "LIST", "metadata/", Null),
                ("delete", "denied", 403, "DELETE", "data/x", Null),
            ],
        );
    }
    client.call(mount, powerless, ("create", "denied", 403, "POST", "data/new", json!({ "data": {} })));
}

/// An answer that only its wrapper's holder sees.
fn wrapped(client: &Client<'_>, mount: &Mount, token: &str) {
    client.call(mount, token, ("create", "ok", 200, "POST", "data/gift", json!({ "data": { "k": "v" } })));
    let headers = [("x-vault-token", token), ("x-vault-wrap-ttl", "60s")];
    let (status, answer) = client.vault.api_with(&headers, "GET", &format!("{}data/gift", mount.path), None).unwrap();
    assert!(status == 200 && answer["data"].is_null(), "{answer}");
    client.count("read", mount, "ok");
    let wrapper = answer["wrap_info"]["token"].as_str().unwrap();
    let (status, answer) = client.vault.api_as(wrapper, "POST", "sys/wrapping/unwrap", Some(json!({}))).unwrap();
    assert_eq!((status, &answer["data"]["data"]["k"]), (200, &json!("v")));
}

fn transit(client: &Client<'_>, token: &str) {
    let mount = client.mount(&format!("{}/", unique("transit")), "transit", Null);
    client.calls(
        &mount,
        token,
        [
            ("update", "ok", 200, "POST", "keys/k", json!({})),
            ("read", "ok", 200, "GET", "keys/k", Null),
            ("list", "ok", 200, "LIST", "keys", Null),
            ("update", "ok", 200, "POST", "keys/k/rotate", json!({})),
        ],
    );
    let sealed = client.call(&mount, token, ("update", "ok", 200, "POST", "encrypt/k", json!({ "plaintext": "aGVsbG8=" })));
    client.calls(
        &mount,
        token,
        [
            ("update", "ok", 200, "POST", "decrypt/k", json!({ "ciphertext": sealed["data"]["ciphertext"] })),
            ("update", "failed", 400, "POST", "decrypt/k", json!({ "ciphertext": "vault:v1:AAAA" })),
            ("update", "ok", 200, "POST", "hmac/k", json!({ "input": "aGVsbG8=" })),
            ("delete", "failed", 400, "DELETE", "keys/k", Null),
        ],
    );
}

fn database(client: &Client<'_>, token: &str) {
    let made = client.vault.database_mount(servers().postgres());
    let mount = Mount::new(&format!("{}/", made.path), "database");
    client.count("create", &mount, "ok"); // its connection
    let (user, _) = servers().postgres().fresh_role("static");
    let statements =
        json!({ "db_name": made.connection, "creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"] });
    client.calls(
        &mount,
        token,
        [
            ("read", "ok", 200, "GET", "config/postgres", Null),
            ("create", "ok", 204, "POST", "roles/reader", statements),
            ("read", "ok", 200, "GET", "creds/reader", Null),
            ("read", "failed", 400, "GET", "creds/nobody", Null),
            (
                "create",
                "ok",
                204,
                "POST",
                "static-roles/s",
                json!({ "db_name": made.connection, "username": user, "rotation_period": "24h" }),
            ),
            ("read", "ok", 200, "GET", "static-creds/s", Null),
            ("update", "ok", 204, "POST", "rotate-role/s", json!({})),
            ("update", "failed", 400, "POST", "rotate-role/nobody", json!({})),
            ("list", "ok", 200, "LIST", "roles", Null),
            ("delete", "ok", 204, "DELETE", "roles/reader", Null),
        ],
    );
}

/// A policy made, changed, read and deleted, which is one finding, and one deletion.
fn change_a_policy(vault: &VaultServer) {
    let name = unique("policy");
    let at = format!("sys/policies/acl/{name}");
    for capability in ["read", "list"] {
        let policy = format!("path \"none/*\" {{ capabilities = [\"{capability}\"] }}");
        vault.must("PUT", &at, Some(json!({ "policy": policy }))).unwrap();
        vault.must("GET", &at, None).unwrap();
    }
    vault.must("DELETE", &at, None).unwrap();
}

/// How often each of them reads a managed secret: by the name that Keyward shows.
fn readers(shop: &Shop<'_>) -> Option<BTreeMap<String, u64>> {
    let status: Value = serde_json::from_str(&shop.must(&["status", "shop-database", "--output", "json"]).ok()?).unwrap();
    let readers = status["usage"]["readers"].as_array().unwrap().iter();
    Some(readers.map(|reader| (reader["name"].as_str().unwrap().to_owned(), reader["reads"].as_u64().unwrap())).collect())
}

fn found(shop: &Shop<'_>, rule: &str) -> u64 {
    series(&shop.http("/metrics").unwrap().1, "keyward_findings_total", &["rule"]).get(&vec![rule.to_owned()]).copied().unwrap_or(0)
}

#[test]
fn a_workload_of_every_kind_is_counted_as_whoever_made_it_counted() {
    let keys = if full() { 20_000 } else { 2_000 };
    let vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let shop = Shop::open(&vault, servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let _daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    let managed = Mount::new(&format!("{}/", shop.kv), "kv");
    let read = |token: &str| {
        let path = format!("{}data/shop/database", managed.path);
        assert_eq!(vault.api_as(token, "GET", &path, None).unwrap().0, 200);
    };
    let policy = unique("reader");
    let text = format!("path \"{}data/shop/*\" {{ capabilities = [\"read\"] }}", managed.path);
    vault.must("PUT", &format!("sys/policies/acl/{policy}"), Some(json!({ "policy": text }))).unwrap();
    let scout = vault.token(&text, json!({ "display_name": "scout" }));
    wait_until("the first read that is seen", LONG, || {
        read(&scout);
        readers(&shop)?.contains_key("token-scout").then_some(())
    });

    let client = Client { vault: &vault, counted: Mutex::default() };
    let root = vault.root_token.as_str();
    let (one, two) = (
        client.mount(&format!("{}/", unique("plain")), "kv", json!({ "version": "1" })),
        client.mount(&format!("{} \"ünïcode\" back\\slash/", unique("odd")), "kv", json!({ "version": "2" })),
    );
    let [(service, service_name), (person, person_name)] = logins(&client, root, &policy);
    let till = vault.token(&text, json!({ "display_name": "till" }));
    let powerless = vault.token("path \"none/*\" { capabilities = [\"read\"] }", Null);
    let before = found(&shop, "policy-changed");
    let rounds = 3;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (client, two) = (&client, &two);
            let powerless = &powerless;
            scope.spawn(move || {
                for n in 0..rounds {
                    versioned_calls(client, two, root, &format!("{worker}/{n}"));
                    denied(client, two, powerless);
                    change_a_policy(client.vault);
                }
            });
        }
        scope.spawn(|| many_keys(&client, &one, root, keys));
        scope.spawn(|| odd_names(&client, &two, root));
        scope.spawn(|| {
            wrapped(&client, &two, root);
            transit(&client, root);
            database(&client, root);
        });
        for (token, times) in [(&till, 17), (&service, 11), (&person, 7)] {
            scope.spawn(move || (0..times).for_each(|_| read(token)));
        }
    });
    // In another file, and last: once it is counted, so is all before it.
    let archived = vec![vault.audit_log.with_extension("log.1")];
    fs::rename(&vault.audit_log, &archived[0]).unwrap();
    vault.reopen_audit().unwrap();
    versioned_calls(&client, &two, root, "after");
    let last = client.mount(&format!("{}/", unique("last")), "kv", json!({ "version": "1" }));
    client.call(&last, root, ("list", "ok", 404, "LIST", "nothing", Null));
    let labels = |page: &str| series(page, "keyward_audit_entries_total", &LABELS);
    wait_until("the last call to be counted", LONG, || {
        labels(&shop.http("/metrics").ok()?.1).keys().any(|of| of[1] == last.label).then_some(())
    });

    let lines_before = wait_until_read(&shop, &archived);
    let (page, _) = live_and_replayed(&shop, &archived, lines_before);
    let counted = client.counted.into_inner().unwrap();
    let mounts: Vec<&String> = counted.keys().map(|of| &of[1]).collect();
    let live: Counts = labels(&page).into_iter().filter(|(of, _)| mounts.contains(&&of[1])).collect();
    assert_eq!(live, counted);
    assert!(counted.values().sum::<u64>() > keys as u64 + 500, "{counted:?}");
    let policies = rounds * WORKERS as u64;
    assert_eq!(found(&shop, "policy-changed") - before, policies);
    // Nobody else deletes anything there.
    assert_eq!(labels(&page).get(["delete", "sys/", "system", "ok"].map(str::to_owned).as_slice()), Some(&policies));
    let mut readers = wait_until("the readers", LONG, || readers(&shop));
    readers.remove("token-scout");
    let expected = [("token-till".to_owned(), 17), (service_name, 11), (person_name, 7)];
    assert_eq!(readers, BTreeMap::from(expected));
}
