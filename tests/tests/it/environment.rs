//! The `VAULT_*` variables: they fill what the file leaves out, and one that contradicts it is an error unless `--address` decides.

use crate::world::{Ended, edit, shop};
use keyward_harness::{Shop, servers};

fn run_with(shop: &Shop<'_>, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    shop.command(arguments).envs(variables.iter().copied()).output().unwrap().into()
}

const ELSEWHERE: &str = "https://127.0.0.1:1";

#[test]
fn a_variable_that_contradicts_the_file_is_an_error() {
    let shop = shop();
    for (name, value, key) in [("VAULT_ADDR", ELSEWHERE, "address"), ("VAULT_CACERT", "/nowhere/ca.pem", "ca_cert")] {
        for arguments in [&["check"][..], &["plan"], &["rotate", "legacy", "--alone"], &["serve"]] {
            let ended = run_with(&shop, &[(name, value)], arguments);
            assert_eq!(ended.code, Some(64), "{ended:?}");
            let says = format!("the environment variable {name} contradicts \"{key}\" in [vault]");
            assert!(ended.error().contains(&says) && ended.err.contains("--address"), "{ended:?}");
            assert!(ended.err.contains("keyward.toml:"), "{ended:?}");
        }
    }
}

#[test]
fn verification_is_not_switched_off_by_a_variable_alone() {
    let shop = shop();
    let ended = run_with(&shop, &[("VAULT_SKIP_VERIFY", "true")], &["plan"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.error().contains("VAULT_SKIP_VERIFY") && ended.err.contains("insecure = true"), "{ended:?}");
}

#[test]
fn a_variable_that_says_the_same_is_none() {
    let shop = shop();
    let vault = servers().vault();
    let ca = vault.ca_pem_path.display().to_string();
    let ended = run_with(&shop, &[("VAULT_ADDR", &vault.address), ("VAULT_CACERT", &ca)], &["plan"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn the_address_option_decides_which_server_is_meant() {
    let shop = shop();
    let ours = &servers().vault().address;
    // The file's own: the variable is overruled.
    let ended = run_with(&shop, &[("VAULT_ADDR", ELSEWHERE)], &["plan", "--address", ours]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Another one: that server is asked, and no other.
    let ended = run_with(&shop, &[("VAULT_ADDR", ELSEWHERE)], &["plan", "--address", ELSEWHERE]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.error().contains(ELSEWHERE), "{ended:?}");
}

#[test]
fn what_the_file_leaves_out_is_filled_in() {
    let shop = shop();
    let vault = servers().vault();
    edit(&shop, &format!("address = \"{}\"\n", vault.address), "");
    let ended = run_with(&shop, &[], &["plan"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.error().contains("VAULT_ADDR or --address"), "{ended:?}");
    let ended = run_with(&shop, &[("VAULT_ADDR", &vault.address)], &["plan"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_persons_own_token_is_used_before_the_daemons() {
    let shop = shop();
    let ended = run_with(&shop, &[("VAULT_TOKEN", "hvs.none-of-this-server")], &["plan"]);
    assert_eq!(ended.code, Some(77), "{ended:?}");
    assert!(ended.err.contains("with the token in VAULT_TOKEN") && !ended.err.contains("hvs.none-of-this-server"), "{ended:?}");
    let token = shop.path("my-token");
    std::fs::write(&token, &servers().vault().root_token).unwrap();
    let ended = run_with(&shop, &[("VAULT_TOKEN_FILE", &token.display().to_string())], &["plan"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
