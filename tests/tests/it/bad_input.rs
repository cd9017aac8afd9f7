//! Bad input to commands: one clear error, the right exit code, nothing done.

use keyward_harness::{Shop, Wishes, servers};
use std::fs;

fn shop() -> Shop<'static> {
    Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap()
}

/// Runs with the configuration changed; exit code and standard error.
fn with(shop: &Shop<'_>, from: &str, to: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let sound = fs::read_to_string(&shop.config).unwrap();
    assert!(sound.contains(from), "{from} is not in the configuration");
    fs::write(&shop.config, sound.replacen(from, to, 1)).unwrap();
    let output = shop.run(arguments).unwrap();
    fs::write(&shop.config, sound).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_configuration_is_said_with_file_line_and_the_nearest_word() {
    let shop = shop();
    for (from, to, says) in [
        ("owner = \"shop\"", "ownr = \"shop\"", "owner"),
        ("kind = \"jwt-hmac\"", "kind = \"jwt-hmc\"", "jwt-hmac"),
        ("class = \"jwt\"", "class = \"jwtt\"", "jwt"),
        ("[class.database]\n", "[class.database]\nschedule = \"99 * * * *\"\n", "schedule"),
    ] {
        let (code, error) = with(&shop, from, to, &["plan"]);
        assert_eq!(code, Some(64), "{to}: {error}");
        assert!(error.contains("keyward.toml:") && error.contains(says), "{to}: {error}");
        assert_eq!(error.lines().count(), 1, "one problem is one line: {error}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let shop = shop();
    let output = shop.run(&["rotate", "shop-databas"]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("did you mean \"shop-database\"?"), "{error}");
    let vault = servers().vault().address.as_str();
    let (code, error) = with(&shop, &format!("address = \"{vault}\""), "address = \"https://127.0.0.1:1\"", &["status"]);
    assert_eq!(code, Some(69), "{error}");
    fs::remove_file(&shop.config).unwrap();
    let output = shop.run(&["status"]).unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let shop = shop();
    let _daemon = shop.serve().unwrap();
    keyward_harness::wait_until("the first daemon", std::time::Duration::from_secs(30), || shop.http("/livez").ok());
    let output = shop.run(&["serve"]).unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("keyward: "), "{error}");
}
