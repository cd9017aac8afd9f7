use super::*;
use crate::commands::check::report::Mark;
use crate::config::Environment;

const FILE: &str = r#"
[vault]
address = "https://vault.example.com:8200"
auth = { token = { file = "/run/secrets/token" } }

[[vault.node]]
name = "vault-1"
url = "https://vault-1.example.com:8200"
audit_log = "/var/log/vault/audit.log"

[[secret]]
name = "backend"
class = "database"
kind = "postgres-two-users"
path = "secret/backend"
users = ["a", "b"]
admin = { url = "postgresql://keyward@db/app?sslmode=verify-full", password = { vault = "secret/admin", field = "password" } }
login = { url = "postgresql://db/app?sslmode=verify-full" }

[[secret]]
name = "reporting"
class = "database"
kind = "vault-static-role"
role = "database/static-roles/reporting"
login = { url = "postgresql://db/app?sslmode=verify-full" }

[[secret]]
name = "watched"
class = "api-key"
kind = "random"
issuer = "self"
mode = "observe"
path = "secret/watched"
set = { token = "{value}" }
"#;

fn config() -> Config {
    Config::parse(FILE, "k.toml", &Environment::empty()).unwrap_or_else(|e| panic!("{e}"))
}

fn place(path: &str, is_missing: bool) -> (String, Place) {
    (format!("secret/{path}"), Place { mount: "secret".into(), path: path.into(), is_missing, is_guessed: false })
}

fn at(places: &[(String, Place)]) -> Vec<(String, String)> {
    let places = places.iter().cloned().collect();
    needs(&config(), &places).into_iter().map(|n| (n.path, n.capabilities.join(" "))).collect()
}

#[test]
fn every_path_that_keyward_will_touch_is_named() {
    let expected = [
        ("auth/token/lookup-self", "read"),
        ("auth/token/renew-self", "update"),
        ("database/rotate-role/reporting", "update"),
        ("database/static-creds/reporting", "read"),
        ("database/static-roles/reporting", "read"),
        ("keyward/config", "read"),
        ("keyward/data/backend", "create read update"),
        ("keyward/data/canary/nonce", "read"),
        ("keyward/data/class/api-key", "read"),
        ("keyward/data/class/database", "read"),
        ("keyward/data/reporting", "create read update"),
        ("keyward/data/watched", "read"),
        ("keyward/destroy/backend", "update"),
        ("keyward/destroy/reporting", "update"),
        ("secret/data/admin", "read"),
        ("secret/data/backend", "read patch"),
        ("secret/data/watched", "read"),
        ("secret/metadata/backend", "patch"),
        ("sys/audit-hash/file", "update"),
        ("sys/leases/count", "read"),
    ];
    let found = at(&[place("backend", false), place("admin", false), place("watched", false)]);
    assert_eq!(found, expected.map(|(path, capabilities)| (path.to_owned(), capabilities.to_owned())));
}

#[test]
fn a_path_that_does_not_exist_yet_needs_create() {
    let found = at(&[place("backend", true)]);
    assert!(found.contains(&("secret/data/backend".into(), "create read patch".into())), "{found:?}");
}

#[test]
fn the_paths_of_a_configuration_are_those_published_and_those_referred_to() {
    assert_eq!(paths(&config()).into_iter().collect::<Vec<_>>(), ["secret/admin", "secret/backend", "secret/watched"]);
}

#[test]
fn what_is_missing_is_said_with_the_line_that_grants_it() {
    let needs = needs(&config(), &[place("backend", false)].into_iter().collect());
    let granted = |n: &Need| (n.path.clone(), n.capabilities.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
    let mut all: BTreeMap<_, _> = needs.iter().map(granted).collect();
    let findings = judge(&needs, &Capabilities(all.clone()));
    assert_eq!(findings.iter().map(|f| f.mark).collect::<Vec<_>>(), [Mark::Well]);

    all.insert("secret/data/backend".into(), vec!["read".into()]);
    all.insert("secret/metadata/backend".into(), vec!["deny".into()]);
    all.insert("keyward/data/backend".into(), vec!["deny".into()]);
    all.insert("keyward/data/reporting".into(), vec!["read".into(), "update".into()]);
    let findings = judge(&needs, &Capabilities(all));
    let shown: Vec<_> = findings.iter().skip(1).map(|f| (f.mark, f.says.as_str(), f.cure.as_deref().unwrap_or_default(), f.exit)).collect();
    let expected = [
        (
            Mark::Wrong,
            "the token may not create, read, update keyward/data/*: needed for the records of rotations",
            r#"path "keyward/data/*" { capabilities = ["create", "read", "update"] }"#,
            Exit::Denied,
        ),
        (
            Mark::Wrong,
            "the token may not patch secret/data/backend: needed to publish backend",
            r#"path "secret/data/backend" { capabilities = ["read", "patch"] }"#,
            Exit::Denied,
        ),
        (
            Mark::Warning,
            "the token may not patch secret/metadata/backend: needed to note number and time of the rotation of backend for people",
            r#"path "secret/metadata/backend" { capabilities = ["patch"] }"#,
            Exit::Denied,
        ),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn one_path_of_two_secrets_is_one_need() {
    let mut all = Gathered::default();
    all.add("x", &["patch"], "to publish a");
    all.add("x", &["read"], "to publish b");
    let need = all.0.into_values().next().unwrap_or_else(|| panic!("a need"));
    assert_eq!((need.capabilities, need.why.as_str()), (vec!["read", "patch"], "to publish a, and to publish b"));
}

#[test]
fn a_policy_line_is_sound_hcl_whatever_the_path() {
    assert_eq!(policy_line(r#"s/a"b${c}"#, &["read"]), r#"path "s/a\"b$${c}" { capabilities = ["read"] }"#);
}
