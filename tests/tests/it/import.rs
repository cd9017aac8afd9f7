//! `keyward import`: from a `.env` file to Vault, whatever happens on the way.

use crate::secret::by_hand;
use crate::world::{Ended, interrupt, shop};
use keyward_harness::{Fault, Moment, Shop, VaultProxy};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use tempfile::TempDir;

const ENV: &str = "\
# The service
DEBUG=1
JWT_SECRET_KEY='jwt-signing-value-of-before'
ENCRYPTION_KEY=encryption-value-for-ever
DATABASE_URL=\"postgresql+asyncpg://app:p%40ss-of-the-database@db.internal:5432/shop\"
POSTGRES_PASSWORD='p@ss-of-the-database'
PUSHER_APP_ID=12345
PUSHER_KEY=pusher-key-of-before
PUSHER_SECRET=\"pusher-secret-of-before\" # from the dashboard
PUSHER_CLUSTER=eu
ROBLOX_API_KEY=
";

/// Values that may stand nowhere but in Vault and in the file.
const SECRET: [&str; 5] =
    ["jwt-signing-value", "encryption-value", "ss-of-the-database", "pusher-key-of-before", "pusher-secret-of-before"];

/// A `.env` file in a folder of its own, which no test looks through for leaks.
fn env(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, text).unwrap();
    (folder, file)
}

fn import(shop: &Shop<'_>, mount: &str, file: &Path, more: &[&str], code: i32, says: &[&str]) -> Ended {
    let file = file.display().to_string();
    let ended = by_hand(shop, &[&["import", &file, "--mount", mount], more].concat(), "");
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for part in says {
        assert!(ended.out.contains(part) || ended.err.contains(part), "it does not say \"{part}\": {}\n{}", ended.out, ended.err);
    }
    for value in SECRET {
        assert!(!format!("{ended:?}").contains(value), "a value was shown");
    }
    ended
}

fn read(shop: &Shop<'_>, mount: &str, path: &str) -> Option<(u64, Value)> {
    let (status, answer) = shop.vault.api("GET", &format!("{mount}/data/{path}"), None).unwrap();
    (status == 200).then(|| (answer["data"]["metadata"]["version"].as_u64().unwrap(), answer["data"]["data"].clone()))
}

#[test]
fn a_file_goes_to_where_it_belongs_and_a_second_run_changes_nothing() {
    let shop = shop();
    let (mount, (_folder, file)) = (&shop.vault.kv_mount(), env(ENV));
    import(&shop, mount, &file, &["--dry-run"], 0, &["new: will be written", "skipped: not in the source", "Not in the map", "DEBUG"]);
    assert_eq!(read(&shop, mount, "backend/api"), None);
    import(&shop, mount, &file, &[], 64, &["say --yes"]);
    assert_eq!(read(&shop, mount, "backend/api"), None);

    let first = import(&shop, mount, &file, &["--yes"], 0, &["written and read back", "the port in DATABASE_URL", "--remove-plaintext"]);
    assert!(!first.out.contains("All"), "{first:?}");
    let (version, api) = read(&shop, mount, "backend/api").unwrap();
    assert_eq!((version, api), (1, json!({ "jwt_secret": "jwt-signing-value-of-before", "encryption_key": "encryption-value-for-ever" })));
    let url = "postgresql+asyncpg://app:p%40ss-of-the-database@db.internal:5432/shop";
    let database = json!({
        "url": url, "password": "p@ss-of-the-database", "username": "app", "host": "db.internal", "port": "5432", "database": "shop",
    });
    assert_eq!(read(&shop, mount, "backend/database"), Some((1, database)));
    let pusher = json!({ "app_id": "12345", "key": "pusher-key-of-before", "secret": "pusher-secret-of-before", "cluster": "eu" });
    assert_eq!(read(&shop, mount, "integrations/pusher"), Some((1, pusher)));
    assert_eq!(read(&shop, mount, "integrations/roblox"), None);

    let again = import(&shop, mount, &file, &["--yes", "--output", "json"], 0, &[]);
    let again: Value = serde_json::from_str(&again.out).unwrap();
    let outcomes: Vec<&str> = again["fields"].as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert!(outcomes.iter().all(|outcome| ["unchanged", "missing"].contains(outcome)), "{again}");
    assert_eq!(read(&shop, mount, "backend/api").unwrap().0, 1);

    // A rotation is newer than the file; a field that somebody else added stays.
    let rotated = json!({ "data": { "jwt_secret": "rotated-since-then-by-keyward", "theirs": true } });
    shop.vault.must("POST", &format!("{mount}/data/backend/api"), Some(rotated)).unwrap();
    import(&shop, mount, &file, &["--yes"], 0, &["left alone: Vault has another value", "1 written and read back"]);
    let expected = json!({ "jwt_secret": "rotated-since-then-by-keyward", "theirs": true, "encryption_key": "encryption-value-for-ever" });
    assert_eq!(read(&shop, mount, "backend/api"), Some((3, expected)));

    // The plaintext of what stands in Vault goes; what does not stand there stays.
    import(&shop, mount, &file, &["--remove-plaintext"], 0, &["Taken out", "rotate them"]);
    let left = fs::read_to_string(&file).unwrap();
    assert!(left.contains("DEBUG=1\nJWT_SECRET_KEY='jwt-signing-value-of-before'\n"), "{left}");
    assert!(left.contains(&format!("# DATABASE_URL is kept in Vault: {mount}/backend/database url\n")), "{left}");
    assert!(SECRET[1..].iter().all(|value| !left.contains(value)), "{left}");
    import(&shop, mount, &file, &["--yes"], 0, &["not in the source; Vault has a value"]);

    // What was deleted in Vault does not rise again.
    shop.vault.must("DELETE", &format!("{mount}/data/backend/api"), None).unwrap();
    import(&shop, mount, &file, &["--yes"], 1, &["the secret was deleted in Vault"]);
    assert_eq!(read(&shop, mount, "backend/api"), None);
}

#[test]
fn what_cannot_be_told_stops_it_before_anything_is_written() {
    let shop = shop();
    let mount = &shop.vault.kv_mount();
    let check = |text: &str, more: &[&str], code, says: &[&str]| {
        let (_folder, file) = env(text);
        import(&shop, mount, &file, &[&["--yes"], more].concat(), code, says);
        assert_eq!(read(&shop, mount, "backend/api"), None);
    };
    let stale = ENV.replace("POSTGRES_PASSWORD='p@ss-of-the-database'", "POSTGRES_PASSWORD=pusher-key-of-before");
    check(&stale, &[], 65, &["POSTGRES_PASSWORD and the password in DATABASE_URL differ", "Nothing was written"]);
    check("JWT_SECRET=jwt-signing-value$word\nX", &[], 65, &["line 1", "single quotes", "line 2"]);
    check("JWT_SECRET= # jwt-signing-value, or what is it", &[], 65, &["line 1", "some tools take for a comment"]);
    check("DEBUG=1", &[], 1, &["none of the variables of the map"]);
    let (_folder, map) = env("[[secret]]\npath = \"a\"\nfeilds = {}");
    check(ENV, &["--map", &map.display().to_string()], 64, &[":3: unknown field"]);
}

#[test]
fn plaintext_goes_from_all_its_places_and_stays_where_others_are_made_of_it() {
    let shop = shop();
    let text = "JWT_SECRET=jwt-signing-value-twice\nREDIS_PASSWORD=pusher-key-of-before\nWORKER=\"redis://:${REDIS_PASSWORD}@cache/1\"\n\
                JWT_SECRET='jwt-signing-value-twice'\n";
    let (mount, (_folder, file)) = (&shop.vault.kv_mount(), env(text));
    let says = ["REDIS_PASSWORD stays in the file, because WORKER there is made of it", "Taken out"];
    import(&shop, mount, &file, &["--yes", "--remove-plaintext"], 0, &says);
    let left = fs::read_to_string(&file).unwrap();
    assert!(
        !left.contains("jwt-signing-value") && left.contains("REDIS_PASSWORD=") && left.matches("kept in Vault").count() == 1,
        "{left}"
    );
    import(&shop, mount, &file, &["--yes", "--remove-plaintext"], 0, &["1 unchanged"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), left);
}

#[test]
fn a_program_hears_what_was_written_before_it_failed() {
    let shop = shop();
    let (mount, (_folder, file)) = (&shop.vault.kv_mount(), env(ENV));
    let proxy = VaultProxy::start(shop.vault).unwrap();
    proxy.plan(&format!("POST {mount}/data/backend/database"), 0, 0, Fault::Status(403));
    let ended = import(&shop, mount, &file, &["--yes", "--address", &proxy.address, "--output", "json"], 77, &[]);
    let answer: Value = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let done = json!([format!("{mount}/backend/api, version 1: encryption_key, jwt_secret written and read back")]);
    assert_eq!((&answer["outcome"], &answer["done"]), (&json!("failed"), &done), "{answer:#}");
}

#[test]
fn json_and_other_secrets_are_sources_too() {
    let shop = shop();
    let (mount, (folder, _)) = (&shop.vault.kv_mount(), env(""));
    let file = folder.path().join("config.json");
    fs::write(&file, r#"{"openai":{"key":"sk-from-a-json-document"},"PORT":8080,"JWT_SECRET":"jwt-from-a-json-document"}"#).unwrap();
    let map = folder.path().join("map.toml");
    fs::write(&map, "[[secret]]\npath = \"openai\"\nfields = { api_key = \"openai.key\" }\nsettings = { port = \"PORT\" }\n").unwrap();
    let by_map = ["--yes", "--map", &map.display().to_string(), "--settings", "apart"];
    import(&shop, mount, &file, &by_map, 0, &["Not in the map, and left where they are: JWT_SECRET"]);
    assert_eq!(read(&shop, mount, "openai"), Some((1, json!({ "api_key": "sk-from-a-json-document" }))));
    assert_eq!(read(&shop, mount, "openai-settings"), Some((1, json!({ "port": 8080 }))));

    let (from, into) = (format!("{}/shop/database", shop.kv), format!("{mount}/copy/database"));
    let copy = |code, says: &str| {
        let ended = by_hand(&shop, &["import", "--from-vault", &from, "--into", &into, "--yes"], "");
        assert!(ended.code == Some(code) && ended.out.contains(says), "{ended:?}");
    };
    copy(0, "5 written and read back");
    assert_eq!(read(&shop, mount, "copy/database"), Some((1, shop.published("shop/database").unwrap())));
    copy(0, "5 unchanged");
    let ended = by_hand(&shop, &["import", "--print-map"], "");
    assert!(ended.code == Some(0) && ended.out.contains("[[secret]]"), "{ended:?}");
}

#[test]
fn somebody_elses_write_in_between_is_not_overwritten() {
    let shop = shop();
    let (mount, (_folder, file)) = (shop.vault.kv_mount(), env(ENV));
    let proxy = VaultProxy::start(shop.vault).unwrap();
    let theirs = json!({ "data": { "jwt_secret": "written-by-somebody-else" } });
    let (vault, path) = (keyward_harness::servers().vault(), format!("{mount}/data/backend/api"));
    // While the last secret is compared, the first one is written by somebody else: its own write then loses by check-and-set.
    let call = format!("GET {mount}/data/integrations/langchain");
    proxy.act(&call, 0, Moment::Before, move || drop(vault.must("POST", &path, Some(theirs)).unwrap()));
    import(
        &shop,
        &mount,
        &file,
        &["--yes", "--address", &proxy.address],
        0,
        &["encryption_key written and read back; jwt_secret left alone"],
    );
    assert!(proxy.has_happened());
    let expected = json!({ "jwt_secret": "written-by-somebody-else", "encryption_key": "encryption-value-for-ever" });
    assert_eq!(read(&shop, &mount, "backend/api"), Some((2, expected)));
}

#[test]
fn broken_off_before_or_after_any_write_it_is_completed_by_the_next_run() {
    let shop = shop();
    let (_folder, file) = env(ENV);
    for path in ["backend/api", "backend/database", "integrations/pusher"] {
        for moment in [Moment::Before, Moment::After] {
            let mount = shop.vault.kv_mount();
            let proxy = VaultProxy::start(shop.vault).unwrap();
            let (tell, told) = mpsc::channel::<u32>();
            proxy.act(&format!("POST {mount}/data/{path}"), 0, moment, move || {
                let pid = told.recv().unwrap();
                interrupt(pid);
            });
            fs::write(shop.path("token"), &shop.vault.root_token).unwrap();
            let mut command =
                shop.command(&["import", &file.display().to_string(), "--mount", &mount, "--yes", "--address", &proxy.address]);
            command.env("VAULT_TOKEN_FILE", shop.path("token")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            tell.send(child.id()).unwrap();
            assert!(!child.wait().unwrap().success());
            assert!(proxy.has_happened());
            import(&shop, &mount, &file, &["--yes"], 0, &["skipped"]);
            for path in ["backend/api", "backend/database", "integrations/pusher"] {
                assert_eq!(read(&shop, &mount, path).unwrap().0, 1, "{path} was written once, broken off at {moment:?}");
            }
        }
    }
}
