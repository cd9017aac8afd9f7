use crate::{anonymous, hides, root, with_token};
use keyward_harness::{VaultServer, servers, unique, wait_until};
use keyward_secret::Secret;
use keyward_vault::Kind;
use serde_json::{Value, json};
use std::time::Duration;

/// An AppRole mount with one role: (mount, role id).
fn approle(server: &VaultServer) -> (String, String) {
    let mount = unique("approle");
    server.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    let role = json!({ "token_policies": "default", "token_period": "1h" });
    server.must("POST", &format!("auth/{mount}/role/keyward"), Some(role)).unwrap();
    let id = server.must("GET", &format!("auth/{mount}/role/keyward/role-id"), None).unwrap();
    (mount, id["data"]["role_id"].as_str().unwrap().to_owned())
}

fn secret_id(server: &VaultServer, mount: &str) -> Secret {
    let answer = server.must("POST", &format!("auth/{mount}/role/keyward/secret-id"), Some(json!({}))).unwrap();
    Secret::new(answer["data"]["secret_id"].as_str().unwrap())
}

#[tokio::test]
async fn a_root_token_never_expires_and_a_periodic_one_is_renewed() {
    let info = root().lookup_self().await.unwrap();
    assert!(info.never_expires() && !info.renewable && info.policies == ["root"]);
    assert_eq!(root().renew_self().await.unwrap_err().kind, Kind::Invalid);
    let own = r#"path "auth/token/*" { capabilities = ["read", "update"] }"#;
    let token = servers().vault().token(own, json!({ "period": "1h", "display_name": "kw" }));
    // As read from a file: the last line break does not count.
    let client = with_token(&format!("{token}\n"));
    let info = client.lookup_self().await.unwrap();
    assert_eq!((info.period, info.creation_ttl), (Some(Duration::from_hours(1)), Duration::from_hours(1)));
    assert!(info.renewable && info.orphan && !info.never_expires() && info.ttl > Duration::from_mins(59));
    assert_eq!((info.display_name.as_str(), info.token_type.as_str()), ("token-kw", "service"));
    assert_eq!(client.renew_self().await.unwrap().ttl, Duration::from_hours(1));
}

#[tokio::test]
async fn a_token_that_expired_is_denied() {
    let own = r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#;
    let token = servers().vault().token(own, json!({ "ttl": "1s" }));
    let client = with_token(&token);
    let runtime = tokio::runtime::Handle::current();
    let error = tokio::task::spawn_blocking(move || {
        wait_until("the token to expire", Duration::from_secs(20), || runtime.block_on(client.lookup_self()).err())
    });
    let error = error.await.unwrap();
    assert_eq!((error.kind, error.status), (Kind::Denied, Some(403)));
    hides(&error, &token);
}

#[tokio::test]
async fn a_revoked_token_is_forgotten_and_dead() {
    let own = r#"path "auth/token/*" { capabilities = ["read", "update"] }"#;
    let token = servers().vault().token(own, json!(null));
    let (client, other) = (with_token(&token), with_token(&token));
    client.revoke_self().await.unwrap();
    assert!(!client.clone().has_token());
    assert_eq!(other.lookup_self().await.unwrap_err().kind, Kind::Denied);
}

#[test]
fn what_cannot_be_a_token_is_refused_and_not_shown() {
    let client = root();
    for bad in ["", " \n", "hvs.abc\ndef", "hvs.ä", "hvs.a b"] {
        let error = client.set_token(&Secret::new(bad)).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(!error.to_string().contains("hvs"));
    }
    assert!(client.has_token(), "the old token stays");
}

#[tokio::test]
async fn a_login_gives_a_token_that_works() {
    let server = servers().vault();
    let (mount, role_id) = approle(server);
    let client = anonymous(server);
    let padded = Secret::new(format!("{}\n", secret_id(server, &mount).expose()));
    let login = client.approle_login(&mount, &role_id, &padded).await.unwrap();
    assert!(login.renewable && login.ttl == Duration::from_hours(1) && login.policies == ["default"]);
    assert!(!format!("{login:?}").contains(login.token.expose()));
    assert!(!client.has_token(), "a login does not use its token by itself");
    client.set_token(&login.token).unwrap();
    assert_eq!(client.lookup_self().await.unwrap().accessor, login.accessor);
}

#[tokio::test]
async fn refused_logins_say_what_to_do_and_that_they_lock() {
    let server = servers().vault();
    let (mount, role_id) = approle(server);
    let client = anonymous(server);
    let wrong = Secret::new("11111111-2222-3333-4444-555555555555");
    let error = client.approle_login(&mount, &role_id, &wrong).await.unwrap_err();
    assert_eq!((error.kind, error.status), (Kind::Denied, Some(400)));
    assert!(error.hint.is_some_and(|h| h.contains("issue a new secret id")), "{error}");
    hides(&error, wrong.expose());
    // Locked out: now the right one is refused, too.
    for _ in 0..5 {
        assert_eq!(client.approle_login(&mount, &role_id, &wrong).await.unwrap_err().kind, Kind::Denied);
    }
    let locked = client.approle_login(&mount, &role_id, &secret_id(server, &mount)).await.unwrap_err();
    assert_eq!((locked.kind, locked.status), (Kind::Denied, Some(403)));
    assert!(locked.hint.is_some_and(|h| h.contains("lockout")), "{locked}");
}

/// Wraps a secret id, which the harness's plain calls cannot ask for: Vault's own command line does it.
fn wrapped(server: &VaultServer, arguments: &[&str]) -> Secret {
    let output = std::process::Command::new(&server.binary)
        .args(["write", "-wrap-ttl=60s", "-format=json"])
        .args(arguments)
        .env("VAULT_ADDR", &server.address)
        .env("VAULT_TOKEN", &server.root_token)
        .env("VAULT_CACERT", &server.ca_pem_path)
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Secret::new(answer["wrap_info"]["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    let server = servers().vault();
    let (mount, role_id) = approle(server);
    let client = anonymous(server);
    let wrapping = wrapped(server, &["-f", &format!("auth/{mount}/role/keyward/secret-id")]);
    let unwrapped = client.unwrap_secret_id(&wrapping, &mount).await.unwrap();
    client.approle_login(&mount, &role_id, &unwrapped).await.unwrap();
    let again = client.unwrap_secret_id(&wrapping, &mount).await.unwrap_err();
    assert_eq!(again.kind, Kind::Denied);
    assert!(again.hint.is_some_and(|h| h.contains("somebody else")), "{again}");
    hides(&again, wrapping.expose());
}

#[tokio::test]
async fn a_wrapping_of_something_else_is_not_unwrapped() {
    let server = servers().vault();
    let (mount, _) = approle(server);
    let wrapping = wrapped(server, &["sys/wrapping/wrap", "secret_id=forged"]);
    let error = anonymous(server).unwrap_secret_id(&wrapping, &mount).await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(error.to_string().contains("sys/wrapping/wrap"), "{error}");
}

#[tokio::test]
async fn capabilities_are_those_of_the_policy() {
    let server = servers().vault();
    let policy = r#"
        path "a/data/x" { capabilities = ["read", "patch"] }
        path "sys/capabilities-self" { capabilities = ["update"] }"#;
    let client = with_token(&server.token(policy, json!(null)));
    let capabilities = client.capabilities_self(&["a/data/x", "a/data/y"]).await.unwrap();
    assert!(capabilities.allows("a/data/x", "read") && capabilities.allows("a/data/x", "patch"));
    assert!(!capabilities.allows("a/data/x", "update") && !capabilities.allows("a/data/y", "read"));
    assert!(root().capabilities_self(&["any"]).await.unwrap().allows("any", "delete"));
    assert!(client.capabilities_self(&[]).await.unwrap().0.is_empty());
}
