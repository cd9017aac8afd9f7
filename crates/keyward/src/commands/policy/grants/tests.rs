use super::*;
use crate::config::Environment;

const TEXT: &str = r#"
[vault]
address = "https://v:8200"
auth = { approle = { role_id = { file = "/r" }, secret_id = { file = "/s" } } }
[init]
transit_keys = ["transit/keys/backend"]
[[init.connection]]
name = "database/config/postgres"
url = "postgresql://db/app?sslmode=verify-full"
user = "vault"
admin = { url = "postgresql://postgres@db/app?sslmode=verify-full", password = { file = "/p" } }
[[init.role]]
name = "database/roles/reports"
connection = "postgres"
access = "read"
[[secret]]
name = "hook"
class = "api-key"
kind = "random"
path = "secret/hook"
issuer = "self"
set = { token = "{value}" }
[[secret]]
name = "orders"
class = "root"
kind = "transit-key"
key = "transit/keys/orders"
[[secret]]
name = "billing"
class = "api-key"
kind = "approle-secret-id"
role = "auth/approle/role/billing"
path = "secret/billing"
"#;

fn config() -> Config {
    Config::parse(TEXT, "k.toml", &Environment::empty()).unwrap_or_else(|e| panic!("{e}"))
}

fn paths(role: Role) -> Vec<String> {
    grants(role, &config(), &Known::default()).into_iter().map(|g| format!("{} {}", g.path, g.capabilities.join(","))).collect()
}

#[test]
fn a_service_reads_what_is_published_and_nothing_else() {
    let expected = [
        "auth/token/lookup-self read",
        "auth/token/renew-self update",
        "database/creds/reports read",
        "secret/data/hook read",
        "sys/leases/renew update",
        "transit/decrypt/backend update",
        "transit/decrypt/orders update",
        "transit/encrypt/backend update",
        "transit/encrypt/orders update",
    ];
    assert_eq!(paths(Role::Backend), expected);
}

#[test]
fn a_mount_that_is_to_be_made_ends_where_the_configuration_says() {
    let text = TEXT.replace("[init]\n", "[init]\nkv = [\"secret/deep\"]\n").replace("secret/hook", "secret/deep/down/hook");
    let config = Config::parse(&text, "k.toml", &Environment::empty()).unwrap_or_else(|e| panic!("{e}"));
    let known = crate::commands::policy::known::guess(&config);
    let paths: Vec<String> = grants(Role::Backend, &config, &known).into_iter().map(|g| g.path).collect();
    assert!(paths.contains(&"secret/deep/data/down/hook".to_owned()), "{paths:?}");
    let items = wanted::things(&config, &BTreeMap::new(), &BTreeSet::new());
    let named = |name: &str| items.iter().any(|item| item.name.starts_with(name));
    assert!(named("mount secret/deep/ (KV") && named("mount secret/ (KV"), "billing is in secret/ itself");
}

#[test]
fn a_key_that_signs_need_not_encrypt() {
    let known = Known { signing: BTreeSet::from(["transit/keys/orders".to_owned()]), ..Known::default() };
    let paths: Vec<String> = grants(Role::Keyward, &config(), &known).into_iter().map(|g| g.path).collect();
    assert!(paths.contains(&"transit/sign/orders".to_owned()) && !paths.contains(&"transit/encrypt/orders".to_owned()), "{paths:?}");
}

#[test]
fn nobody_but_the_administrator_has_sudo_and_nobody_deletes() {
    for role in Role::ALL {
        for grant in grants(role, &config(), &Known::default()) {
            assert!(role == Role::Admin || !grant.capabilities.contains(&"sudo"), "{role:?} {grant:?}");
            assert!(!grant.capabilities.contains(&"delete") && !grant.why.is_empty(), "{role:?} {grant:?}");
        }
    }
}

#[test]
fn what_only_a_daemon_does_is_not_for_hands() {
    let by_hand = paths(Role::Rotation);
    assert!(paths(Role::Keyward).contains(&"auth/token/renew-self update".to_owned()));
    let is_daemons = |line: &String| ["renew-self", "leases/count", "keyward/config"].iter().any(|part| line.contains(part));
    assert!(!by_hand.iter().any(is_daemons), "{by_hand:?}");
}

#[test]
fn a_policy_bears_its_mark_and_a_reason_over_every_path() {
    let text = text(Role::Backend, &grants(Role::Backend, &config(), &Known::default()));
    assert!(text.starts_with(MARK), "{text}");
    assert!(text.contains("\n# to read hook\npath \"secret/data/hook\" {\n  capabilities = [\"read\"]\n}\n"), "{text}");
}
