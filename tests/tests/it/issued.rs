//! The kinds whose values somebody else makes, and a key that never leaves Vault: the real binary, a real Vault, a real HTTP server and a real program.

use crate::provider::{ADMIN, Provider};
use keyward_harness::{Shop, Wishes, servers, unique, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(1);

/// A class that nothing rotates by itself, and whose old values are ended at once.
const CLASS: &str = "\n[class.quick]\nschedule = \"annually\"\ngrace = \"0s\"\nretire = \"after-grace\"\n";

/// A shop with these secrets and no others, and a token that may do what they need and nothing else.
pub fn shop(secrets: impl Fn(&Shop<'_>) -> String, more_policy: &str) -> Shop<'static> {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let (kv, records) = (&shop.kv, &shop.records);
    let policy = format!(
        "path \"{records}/data/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}
         path \"{records}/destroy/*\" {{ capabilities = [\"update\"] }}
         path \"{records}/config\" {{ capabilities = [\"read\"] }}
         path \"{kv}/data/own/*\" {{ capabilities = [\"create\", \"read\", \"patch\"] }}
         path \"{kv}/metadata/own/*\" {{ capabilities = [\"read\", \"patch\"] }}
         path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}
         path \"auth/token/renew-self\" {{ capabilities = [\"update\"] }}
         path \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}
         path \"sys/leases/count\" {{ capabilities = [\"read\"] }}
         {more_policy}"
    );
    let token = servers().vault().token(&policy, json!({ "period": "1h", "no_default_policy": true }));
    fs::write(shop.path("token"), &token).unwrap();
    let text = fs::read_to_string(&shop.config).unwrap();
    let head = text.split("\n[[secret]]").next().unwrap();
    let auth = head.lines().find(|line| line.starts_with("auth = ")).unwrap();
    let head = head.replace(auth, &format!("auth = {{ token = {{ file = \"{}\" }} }}", shop.path("token").display()));
    let alert = &text[text.find("[alert]").unwrap()..];
    fs::write(&shop.config, format!("{head}{CLASS}{}\n{alert}", secrets(&shop))).unwrap();
    shop
}

pub fn rotate(shop: &Shop<'_>, name: &str) {
    let output = shop.run(&["rotate", name, "--alone"]).unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{name}: {said}");
}

/// `check` finds nothing wrong: the policy above is enough, and every kind is ready.
pub fn check(shop: &Shop<'_>) {
    let output = shop.run(&["check"]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !text.contains('✗'), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Lets the daemon do what was left for later, and sees that it showed none of these values.
pub fn tend(shop: &Shop<'_>, what: &str, done: impl Fn() -> bool, values: &[&str]) {
    let daemon = shop.serve().unwrap();
    wait_until(what, LONG, || done().then_some(()));
    drop(daemon);
    let log = fs::read_to_string(shop.log_path()).unwrap();
    for value in values {
        assert!(!log.contains(value), "the log shows a value");
    }
}

fn recipe(name: &str, shop: &Shop<'_>, provider: &Provider) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config/recipes").join(name);
    let text = fs::read_to_string(file).unwrap();
    fs::write(shop.path("admin-key"), ADMIN).unwrap();
    let key = text.split("{ file = \"").nth(1).unwrap().split('"').next().unwrap();
    text.replace("https://api.openai.com", &provider.address)
        .replace("https://api.smith.langchain.com", &provider.address)
        .replace("proj_REPLACE", "proj_test")
        .replace(key, &shop.path("admin-key").display().to_string())
        .replace("secret/integrations/", &format!("{}/own/", shop.kv))
        .replace("class = \"api-key\"", "class = \"quick\"")
}

#[test]
fn a_shipped_recipe_makes_proves_publishes_and_ends_keys() {
    for (file, name, path) in [("openai.toml", "openai", "own/openai"), ("langsmith.toml", "langsmith", "own/langchain")] {
        let provider = Provider::start();
        let shop = shop(|shop| recipe(file, shop, &provider), "");
        provider.give("svc_acct_by_hand", "by hand", "sk-by-hand-0000");
        let before =
            json!({ "data": { "api_key": "sk-by-hand-0000", "organization": "org-1", "project": "p", "nested": { "kept": [1, 2] } } });
        servers().vault().must("POST", &format!("{}/data/{path}", shop.kv), Some(before)).unwrap();
        check(&shop);
        rotate(&shop, name);
        let first = shop.published(path).unwrap();
        assert_eq!(provider.alive().get(first["api_key_id"].as_str().unwrap()).map(String::as_str), first["api_key"].as_str(), "{file}");
        assert_eq!((&first["organization"], &first["nested"]), (&json!("org-1"), &json!({ "kept": [1, 2] })));
        // An answer is lost after the provider made a key: it is found by its label, ended, and another one made.
        provider.lose_answers(1);
        rotate(&shop, name);
        let second = shop.published(path).unwrap();
        let id = |read: &Value| read["api_key_id"].as_str().unwrap().to_owned();
        assert_ne!(id(&first), id(&second));
        assert_eq!(provider.alive().len(), 3, "by hand, the first, the second; the orphan is gone: {:?}", provider.alive().keys());
        let keys = [&first, &second].map(|read| read["api_key"].as_str().unwrap().to_owned());
        let gone = || !provider.alive().contains_key(&id(&first));
        tend(&shop, "the end of the old key", gone, &[&keys[0], &keys[1], ADMIN]);
        assert!(provider.alive().contains_key(&id(&second)) && provider.alive().contains_key("svc_acct_by_hand"));
        assert!(provider.calls("DELETE") >= 2);
    }
}

#[test]
fn a_provider_that_refuses_is_told_from_one_that_is_not_there_and_nothing_changes() {
    let provider = Provider::start();
    let shop = shop(|shop| recipe("openai.toml", shop, &provider), "");
    fs::write(shop.path("admin-key"), "sk-of-somebody-else").unwrap();
    let output = shop.run(&["rotate", "openai", "--alone"]).unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(!output.status.success() && said.contains("401") && !said.contains("sk-of-somebody-else"), "{said}");
    assert_eq!(shop.record("openai").unwrap().pointer("/phase/state"), Some(&json!("idle")));
    assert!(provider.alive().is_empty());
}

/// A program that keeps its keys as files, one per key: what is in it is its label and its value.
/// Makes keys, proves and ends them, each a file in its folder.
pub const PROGRAM: &str = r#"#!/usr/bin/env python3
import json, os, sys, uuid
folder = sys.argv[1]
asked = json.load(sys.stdin)
path = lambda id: os.path.join(folder, id)
read = lambda id: json.load(open(path(id)))
ids = lambda: [id for id in os.listdir(folder) if id.startswith("key-")]
print(asked, file=sys.stderr)
if asked["do"] == "create":
    id, key = "key-" + uuid.uuid4().hex[:6], {"label": asked["label"], "value": "made-by-a-program-" + uuid.uuid4().hex}
    json.dump(key, open(path(id), "w"))
    if os.path.exists(path("die")):
        os.remove(path("die"))
        sys.exit(9)
    answer = {"id": id, "values": {"value": key["value"]}}
elif asked["do"] == "verify":
    answer = {"accepted": any(read(id)["value"] == asked["values"]["value"] for id in ids())}
elif asked["do"] == "list":
    answer = {"ids": [id for id in ids() if read(id)["label"] == asked["label"]]}
elif asked["do"] == "revoke":
    if os.path.exists(path(asked["id"])):
        os.remove(path(asked["id"]))
    answer = {"revoked": True}
json.dump(answer, sys.stdout)
"#;

#[test]
fn a_program_makes_proves_and_ends_values_and_its_orphans_are_found() {
    // What a program or a consumer keeps for itself is no leak, so it does not stand in the shop's folder.
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(
        |shop| {
            let (program, keys) = (folder.path().join("program"), folder.path().join("keys"));
            fs::create_dir(&keys).unwrap();
            fs::write(&program, PROGRAM).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            format!(
                "\n[[secret]]\nname = \"program\"\nclass = \"quick\"\nkind = \"exec\"\npath = \"{}/own/program\"\nenv = [\"PATH\"]\n\
                 program = [\"{}\", \"{}\"]\nset = {{ token = \"{{value}}\", token_id = \"{{id}}\" }}\n",
                shop.kv,
                program.display(),
                keys.display()
            )
        },
        "",
    );
    let keys = || -> Vec<String> {
        fs::read_dir(folder.path().join("keys")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    check(&shop);
    rotate(&shop, "program");
    let first = shop.published("own/program").unwrap();
    assert_eq!(keys(), [first["token_id"].as_str().unwrap()]);
    fs::write(folder.path().join("keys").join("die"), "").unwrap();
    rotate(&shop, "program");
    let second = shop.published("own/program").unwrap();
    assert_eq!(keys().len(), 2, "the one that was made when the program died is gone: {:?}", keys());
    let values = [&first, &second].map(|read| read["token"].as_str().unwrap().to_owned());
    tend(&shop, "the end of the old value", || keys().len() == 1, &[&values[0], &values[1]]);
    assert_eq!(keys(), [second["token_id"].as_str().unwrap()]);
}

/// An AppRole with a role, and the policy that its secret needs.
fn approle() -> (String, String) {
    let (vault, mount) = (servers().vault(), unique("approle"));
    vault.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    vault.must("POST", &format!("auth/{mount}/role/backend"), Some(json!({ "token_policies": "default" }))).unwrap();
    let role = format!("auth/{mount}/role/backend");
    let policy = [
        (role.clone(), "\"read\""),
        (format!("{role}/role-id"), "\"read\""),
        (format!("{role}/secret-id"), "\"update\", \"list\""),
        (format!("{role}/secret-id/lookup"), "\"update\""),
        (format!("{role}/secret-id-accessor/lookup"), "\"update\""),
        (format!("{role}/secret-id-accessor/destroy"), "\"update\""),
        ("sys/wrapping/wrap".to_owned(), "\"update\""),
        ("auth/token/revoke-self".to_owned(), "\"update\""),
    ];
    (role, policy.map(|(path, capabilities)| format!("path \"{path}\" {{ capabilities = [{capabilities}] }}\n")).concat())
}

fn accessors(role: &str) -> usize {
    let listed = || {
        let (status, listed) = servers().vault().api("GET", &format!("{role}/secret-id?list=true"), None).unwrap();
        match status {
            404 => Some(0),
            // Vault answers 500 to a list that meets a destroy: an accessor without its secret id.
            500 => None,
            _ => Some(listed.pointer("/data/keys").and_then(Value::as_array).unwrap_or_else(|| panic!("{status} {listed}")).len()),
        }
    };
    wait_until("the list of accessors", LONG, listed)
}

/// Whether a secret id logs in.
fn logs_in(role: &str, secret_id: &str) -> bool {
    let vault = servers().vault();
    let id = vault.must("GET", &format!("{role}/role-id"), None).unwrap();
    let login = json!({ "role_id": id["data"]["role_id"], "secret_id": secret_id });
    let (mount, _) = role.split_once("/role/").unwrap();
    vault.api("POST", &format!("{mount}/login"), Some(login)).unwrap().0 == 200
}

#[test]
fn a_secret_id_is_made_proved_published_and_its_predecessor_destroyed() {
    let (role, policy) = approle();
    let secret = |shop: &Shop<'_>| {
        format!(
            "\n[[secret]]\nname = \"app\"\nclass = \"quick\"\nkind = \"approle-secret-id\"\nrole = \"{role}\"\npath = \"{}/own/app\"\n",
            shop.kv
        )
    };
    let shop = shop(secret, &policy);
    check(&shop);
    rotate(&shop, "app");
    let first = shop.published("own/app").unwrap()["secret_id"].as_str().unwrap().to_owned();
    assert!(logs_in(&role, &first));
    rotate(&shop, "app");
    let second = shop.published("own/app").unwrap()["secret_id"].as_str().unwrap().to_owned();
    assert!(logs_in(&role, &first) && logs_in(&role, &second), "the grace");
    tend(&shop, "the end of the old secret id", || accessors(&role) == 1, &[&first, &second]);
    assert!(!logs_in(&role, &first) && logs_in(&role, &second));
}

#[test]
fn a_secret_id_reaches_a_file_of_its_owner_or_a_wrapping_token() {
    let (role, policy) = approle();
    let folder = tempfile::tempdir().unwrap();
    let secret = |shop: &Shop<'_>| {
        let file = folder.path().join("secret-id.out");
        let head = format!("\n[[secret]]\nclass = \"quick\"\nkind = \"approle-secret-id\"\nrole = \"{role}\"\n");
        format!("{head}name = \"app\"\npath = \"{}/own/app\"\nfile = \"{}\"\n", shop.kv, file.display())
    };
    let shop = shop(secret, &policy);
    check(&shop);
    rotate(&shop, "app");
    let file = folder.path().join("secret-id.out");
    let read = fs::read_to_string(&file).unwrap();
    assert!(logs_in(&role, &read));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let published = shop.published("own/app").unwrap();
    assert_eq!(published.as_object().unwrap().keys().collect::<Vec<_>>(), ["secret_id_accessor"], "only the accessor is in KV");

    let text = fs::read_to_string(&shop.config).unwrap();
    let at = text.lines().find(|line| line.starts_with("file = \"") && line.contains("secret-id.out")).unwrap();
    fs::write(&shop.config, text.replace(at, "wrap = \"5m\"")).unwrap();
    rotate(&shop, "app");
    let token = shop.published("own/app").unwrap()["wrapping_token"].as_str().unwrap().to_owned();
    let (status, unwrapped) = servers().vault().api_as(&token, "POST", "sys/wrapping/unwrap", None).unwrap();
    assert_eq!(status, 200);
    let secret_id = unwrapped["data"]["secret_id"].as_str().unwrap();
    assert!(logs_in(&role, secret_id));
    tend(&shop, "the end of the old secret id", || accessors(&role) == 1, &[&read, &token, secret_id]);
    assert!(logs_in(&role, secret_id) && !logs_in(&role, &read));
}

#[test]
fn a_transit_key_gets_a_version_per_rotation_and_old_ones_are_closed_by_policy_only() {
    let (vault, mount) = (servers().vault(), unique("transit"));
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "transit" }))).unwrap();
    for key in ["kept", "closed"] {
        vault.must("POST", &format!("{mount}/keys/{key}"), Some(json!({}))).unwrap();
    }
    let policy: String = ["kept", "closed"]
        .iter()
        .flat_map(|key| {
            let update = |path: String| format!("path \"{path}\" {{ capabilities = [\"update\"] }}\n");
            let calls = ["encrypt", "decrypt", "sign", "verify"].map(|call| update(format!("{mount}/{call}/{key}")));
            let own = ["rotate", "config"].map(|call| update(format!("{mount}/keys/{key}/{call}")));
            let read = format!("path \"{mount}/keys/{key}\" {{ capabilities = [\"read\"] }}\n");
            calls.into_iter().chain(own).chain([read])
        })
        .collect();
    let secret = |_: &Shop<'_>| {
        let one = |name: &str, more: &str| {
            format!("\n[[secret]]\nname = \"{name}\"\nclass = \"quick\"\nkind = \"transit-key\"\nkey = \"{mount}/keys/{name}\"\n{more}")
        };
        format!("{}{}", one("kept", ""), one("closed", "keep_versions = 1\n"))
    };
    let shop = shop(secret, &policy);
    check(&shop);
    let state = |key: &str| {
        let read = vault.must("GET", &format!("{mount}/keys/{key}"), None).unwrap();
        ["latest_version", "min_decryption_version"].map(|field| read["data"][field].as_u64().unwrap())
    };
    let sealed = vault.must("POST", &format!("{mount}/encrypt/kept"), Some(json!({ "plaintext": "aGVsbG8=" }))).unwrap();
    for name in ["kept", "closed"] {
        rotate(&shop, name);
        assert_eq!(state(name), [2, 1], "{name}");
    }
    tend(&shop, "the closing of old versions", || state("closed") == [2, 2], &[]);
    assert_eq!(state("kept"), [2, 1]);
    let opened = vault.must("POST", &format!("{mount}/decrypt/kept"), Some(json!({ "ciphertext": sealed["data"]["ciphertext"] }))).unwrap();
    assert_eq!(opened["data"]["plaintext"], "aGVsbG8=", "what was sealed before stays readable");
}
