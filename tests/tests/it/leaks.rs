//! Every shop looks for secret values when it closes; this shows that it would find one.

use crate::backup::Desk;
use crate::issued::PROGRAM;
use crate::world_of_vault::append;
use keyward_harness::{Shop, Wishes, servers};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Passwords stood in server logs and in the SQL history: the manual of ALTER ROLE warns of it, Vault's plugin sends clear text by default.
#[test]
fn failure_20_a_value_where_none_may_stand_is_found() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    assert_eq!(shop.leaks().unwrap(), []);
    let password = shop.published("shop/legacy").unwrap()["password"].as_str().unwrap().to_owned();
    for (file, text) in [("somewhere.log", format!("login as x with {password} failed")), ("state.db", format!("\0\u{1}{password}\0"))] {
        fs::write(shop.path(file), text).unwrap();
        let leaks = shop.leaks().unwrap();
        assert!(leaks.iter().any(|leak| leak.value == "shop/legacy.password" && leak.place.ends_with(file)), "{leaks:?}");
        assert!(!format!("{leaks:?}").contains(&password), "the report shows what it found");
        fs::remove_file(shop.path(file)).unwrap();
    }
}

/// The arguments of a process are everybody's to read, and its environment is inherited.
#[test]
fn a_program_that_keyward_starts_gets_no_token_in_its_words_nor_in_its_environment() {
    let vault = servers().vault();
    let policy =
        "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\"] }\npath \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    let token = vault.token(policy, Value::Null);
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &token, "");
    let (script, seen) = (desk.dir.path().join("copy"), desk.dir.path().join("seen"));
    watched(&script, &seen, "cat > /dev/null");
    let copy = format!("[backup.copy]\nprogram = [\"{}\", \"{{name}}\"]", script.display());
    desk.configure(&vault.address, &vault.ca_pem_path, &copy);
    assert_eq!(desk.must(&["backup"])["copied"], true);
    let seen = String::from_utf8_lossy(&fs::read(seen).unwrap()).into_owned();
    assert!(seen.contains("copy") && seen.contains("backup"), "it was looked at: {seen}");
    assert!(!seen.contains(&token), "the token stands there");
}

/// A script that notes its own words and variables, and the words of whoever started it, and then does this.
fn watched(script: &Path, seen: &Path, then: &str) {
    let look = format!("cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline >> '{}'", seen.display());
    fs::write(script, format!("#!/bin/sh\n{look}\n{then}\n")).unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_program_that_makes_or_takes_a_value_finds_none_in_its_words_nor_in_its_environment() {
    let place = tempfile::tempdir().unwrap();
    let (program, makes_keys) = (place.path().join("provider"), place.path().join("program.py"));
    fs::write(&makes_keys, PROGRAM).unwrap();
    let then = format!("[ \"$2\" = was-told ] || exec python3 '{}' \"$1\"", makes_keys.display());
    watched(&program, &place.path().join("seen"), &then);
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let (kv, at, folder) = (&shop.kv, program.display(), place.path().display());
    let secret = format!(
        "[[secret]]\nname = \"issued\"\nclass = \"api-key\"\nkind = \"exec\"\npath = \"{kv}/shop/issued\"\nenv = [\"PATH\"]\n\
         program = [\"{at}\", \"{folder}\"]\nset = {{ api_key = \"{{value}}\", id = \"{{id}}\" }}\n\
         notify = [{{ exec = [\"{at}\", \"{folder}\", \"was-told\"] }}]\n"
    );
    append(&shop, &secret);
    shop.must(&["rotate", "issued", "--alone"]).unwrap();
    let seen = String::from_utf8_lossy(&fs::read(place.path().join("seen")).unwrap()).into_owned();
    assert!(seen.matches("provider").count() > 2 && seen.contains("was-told") && seen.contains("rotate\0issued"), "{seen}");
    let values = shop.values().unwrap();
    assert!(values.iter().any(|(name, _)| name == "shop/issued.api_key"), "there is a value to be looked for");
    for (name, value) in &values {
        assert!(!seen.contains(value), "{name} stands there");
    }
}

/// Commands that change something beyond Vault say it for a program, too.
#[test]
fn what_was_changed_is_said_for_a_program() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&shop.must(&[arguments, &["--output", "json"]].concat()).unwrap())
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}"))
    };
    let fence = || json(&["init", "postgres", "legacy"])[0]["fence"].clone();
    assert_eq!([fence(), fence()], ["installed", "unchanged"]);
    let ways = json(&["alert", "test"]);
    assert!(ways[0]["way"].is_string() && ways[0]["failure"].is_null(), "{ways:#}");
}
