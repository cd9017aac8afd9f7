//! Every shop looks for secret values when it closes; this shows that it would find one.

use keyward_harness::{Shop, Wishes, servers};
use std::fs;

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
