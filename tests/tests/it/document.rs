//! What a rotation leaves of a document that others write in, too: everything but the named fields, to the last digit. And URLs that
//! hold passwords of any printable character.

use keyward_harness::{Shop, Wishes, servers};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Field → its JSON text as Vault returned it.
type Exact = BTreeMap<String, Box<RawValue>>;

#[derive(serde::Deserialize)]
struct Answer {
    data: Document,
}

#[derive(serde::Deserialize)]
struct Document {
    data: Exact,
}

fn exact(shop: &Shop<'_>, path: &str) -> Exact {
    let text = shop.vault.must_text("GET", &format!("{}/data/{path}", shop.kv), None).unwrap();
    serde_json::from_str::<Answer>(&text).unwrap().data.data
}

/// Fields of others, as JSON texts: nested, larger than any float holds exactly (what the server makes of them is what must stay), in many scripts, empty, and with signs that JSON may escape.
const THEIRS: [(&str, &str); 17] = [
    ("beyond_2_53", "9007199254740993"),
    ("beyond_u64", "123456789012345678901234567890"),
    ("negative", "-9007199254740995"),
    ("precise", "0.1000000000000000055511151231257827021181583404541015625"),
    ("exponent", "6.02214076e23"),
    ("nested", r#"{"z":[1,{"deep":{"deeper":[null,true,false,9007199254740993]}}],"a":{"":"empty name"}}"#),
    ("list", r#"[[],{},"",0,null,[9007199254740993]]"#),
    ("unicode", r#""Grüße, 世界 🗝 \u0001 \u202e and é""#),
    ("ключ", r#""имя поля""#),
    ("html", r#""<script>&amp;'\"\\/</script>""#),
    ("lines", r#""one\ntwo\r\n\ttabbed""#),
    ("empty", r#""""#),
    ("null_inside", r#"{"a":null}"#),
    ("with.dots and blanks", r#""x""#),
    ("true", "true"),
    ("pem", r#""-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n""#),
    ("long", r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#),
];

#[test]
fn forty_fields_of_others_stay_exactly_as_vault_returned_them() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let mine = shop.published("shop/legacy").unwrap();
    let mut fields: Vec<String> = THEIRS.iter().map(|(name, json)| format!("{}:{json}", Value::from(*name))).collect();
    fields.extend((fields.len()..38).map(|n| format!("\"field_{n}\":{{\"n\":{n},\"big\":{}}}", u64::MAX - n as u64)));
    fields.extend(["username", "password"].map(|name| format!("\"{name}\":{}", mine[name])));
    assert_eq!(fields.len(), 40);
    let path = format!("{}/data/shop/legacy", shop.kv);
    shop.vault.must_text("POST", &path, Some(&format!("{{\"data\":{{{}}}}}", fields.join(",")))).unwrap();
    let note = json!({ "custom_metadata": { "owner": "the billing team", "legacy_ticket": "OPS-1", "keyward": "not ours", "ß": "ü" } });
    let metadata = format!("{}/metadata/shop/legacy", shop.kv);
    shop.vault.must("POST", &metadata, Some(note.clone())).unwrap();

    let before = exact(&shop, "shop/legacy");
    assert_eq!(before.len(), 40);
    for _ in 0..2 {
        shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    }
    let after = exact(&shop, "shop/legacy");
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, value) in &after {
        let same = value.get() == before[name].get();
        assert_eq!(same, name != "password", "{name}: {} was {}", value.get(), before[name].get());
    }
    shop.consume("shop/legacy").unwrap();

    let kept = shop.vault.must("GET", &metadata, None).unwrap();
    let kept = kept.pointer("/data/custom_metadata").and_then(Value::as_object).unwrap();
    for (name, value) in note["custom_metadata"].as_object().unwrap() {
        assert_eq!(kept.get(name), Some(value), "{name}");
    }
    assert!(kept.contains_key("legacy.rotation") && kept.contains_key("legacy.number"), "{kept:?}");
}

/// Every printable character of ASCII.
fn printable() -> String {
    ('!'..='~').collect()
}

#[test]
fn a_url_with_a_password_of_every_printable_character_logs_in() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "legacy"]).unwrap();
    let (host, port, database) = (&shop.postgres.host, shop.postgres.port, &shop.database);
    let url = |value: &str| format!("postgresql://{}:{{{value}}}@{host}:{port}/{database}", shop.legacy);
    let toml = printable().replace('\\', "\\\\").replace('"', "\\\"");
    let sound = fs::read_to_string(&shop.config).unwrap();
    let legacy = format!("user = \"{}\"\n", shop.legacy);
    let set = format!(
        "{legacy}set = {{ username = \"{{username}}\", password = \"{{password}}\", url = \"{}\" }}\ngenerate = {{ alphabet = \"{toml}\", length = 1000 }}\n",
        url("password")
    );
    let changed = sound.replace(&legacy, &set);
    assert_ne!(changed, sound);
    fs::write(&shop.config, changed).unwrap();
    let mut seen = String::new();
    for _ in 0..3 {
        shop.must(&["rotate", "legacy", "--alone"]).unwrap();
        let published = shop.published("shop/legacy").unwrap();
        let by_url = shop.postgres.psql_url(published["url"].as_str().unwrap(), "SELECT count(*) FROM orders").unwrap();
        assert_eq!(by_url, "2");
        shop.consume("shop/legacy").unwrap();
        seen.push_str(published["password"].as_str().unwrap());
    }
    let missing: String = printable().chars().filter(|c| !seen.contains(*c)).collect();
    assert_eq!(missing, "", "3000 characters of 94 hold each of them");
}

#[test]
fn a_supplied_password_with_blanks_and_other_scripts_keeps_its_place_in_a_url() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let (host, port, database) = (&shop.postgres.host, shop.postgres.port, &shop.database);
    let more = format!(
        "\n[[secret]]\nname = \"by-hand\"\nclass = \"database\"\nkind = \"manual\"\npath = \"{}/shop/by-hand\"\n\
         set = {{ password = \"{{value}}\", url = \"postgresql://{}:{{value}}@{host}:{port}/{database}\" }}\n\
         login = {{ url = \"postgresql://{}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={}\" }}\n",
        shop.kv,
        shop.legacy,
        shop.legacy,
        shop.postgres.ca_pem_path.display()
    );
    fs::write(&shop.config, fs::read_to_string(&shop.config).unwrap() + &more).unwrap();
    let password = format!("{} äöü 世界 %41 +&=", printable());
    let quoted = password.replace('\'', "''");
    shop.postgres.psql(&format!("ALTER ROLE \"{}\" PASSWORD '{quoted}'", shop.legacy)).unwrap();
    let output = shop.run_with_input(&["supply", "by-hand", "--alone"], &password).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let published = shop.published("shop/by-hand").unwrap();
    assert_eq!(published["password"], password.as_str());
    assert_eq!(shop.postgres.psql_url(published["url"].as_str().unwrap(), "SELECT 1").unwrap(), "1");
}
