//! What a sound configuration becomes: defaults, overrides, the environment, references.

use keyward::config::{
    Auth, Config, ConfigErrors, Environment, KindConfig, Mode, ReferenceError, SecretRef, loose_permissions, resolve_local,
};
use keyward_engine::kinds::RetireWhen;
use keyward_rotation::schedule::CatchUp;
use keyward_targets::notify::Notify;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EVERYTHING: &str = r#"
mode = "observe"
state_dir = "/srv/keyward"

[vault]
address = "https://vault:8200"
namespace = "team/"
auth = { approle = { role_id = { file = "/run/secrets/role-id" }, secret_id = { env = "SECRET_ID" } } }
record_mount = "kw"

[[vault.node]]
name = "vault-1"
url = "https://vault-1:8200"
audit_log = "/vault/logs/audit.log"
audit_format = "cri"

[class.database]
schedule = "30 2 * * 0"
zone = "Europe/Berlin"
jitter = "10m"
window = "Sat,Sun 01:00-05:00"
catch_up = "wait"
grace = "36h"
backoff = { first = "2m" }
deadline = "6h"

[class.nightly]
schedule = "daily"
grace = "1h"

[[secret]]
name = "backend"
class = "database"
kind = "postgres-two-users"
owner = "payments"
mode = "act"
path = "/secret/backend/database/"
users = ["a", "b"]
set = { username = "{username}", password = "{password}", url = "postgresql://{username}:{password}@db/app" }
admin = { url = "postgresql://keyward@db/app?sslmode=verify-full", password = { vault = "kv/postgres", field = "password" } }
login = [
  { url = "postgresql://db/app?sslmode=verify-full", probe = "SELECT 1" },
  { url = "postgresql://replica/app?sslmode=verify-full" },
]
notify = [{ exec = ["/usr/bin/systemctl", "reload", "app"] }, { webhook = "https://app/reload" }]
pinned = ["host"]

[[secret]]
name = "legacy"
class = "nightly"
kind = "postgres-password"
path = "secret/legacy"
user = "legacy"
after = ["backend"]
generate = { alphabet = "hex", length = 64, prefix = "kw_" }
admin = { url = "postgresql://keyward@db/app?sslmode=verify-full", password = { file = "/run/secrets/pg" } }
login = { url = "postgresql://db/app?sslmode=verify-full" }

[[secret]]
name = "reporting"
class = "database"
kind = "vault-static-role"
role = "database/static-roles/reporting"
login = { url = "postgresql://db/app?sslmode=verify-full" }

[[secret]]
name = "openai"
class = "api-key"
kind = "manual"
path = "secret/integrations/openai"
set = { api_key = "{value}" }
verify = { get = "https://api.openai.com/v1/models", header = { Authorization = "Bearer {value}" } }

[[secret]]
name = "session-token"
class = "api-key"
kind = "random"
path = "secret/session"
issuer = "self"
set = { token = "{value}", old = "{previous}" }
renamed_from = "old-name"

[[secret]]
name = "signing"
class = "jwt"
kind = "jwt-hmac"
path = "secret/jwt"
algorithm = "HS512"
token_lifetime = "1h"
fields = { next = "upcoming" }

[[audit.rule]]
name = "root-token-used"
severity = "warning"
allow = { display_name = ["token-break-glass"] }
quiet = "Sun 01:00-02:00"

[[audit.rule]]
name = "access-off-hours"
hours = "Mon-Fri 07:00-19:00"
zone = "Europe/Berlin"
path = ["payroll/*"]

[alert]
to = ["oncall@example.com"]
repeat = { first = "10m" }

[alert.smtp]
url = "smtps://keyward@mail.example.com"
password = { file = "/run/secrets/smtp" }
from = "Keyward <keyward@example.com>"

[http]
listen = "0.0.0.0:9120"
"#;

const SMALL: &str = "[vault]\naddress = \"https://vault:8200\"\n";

fn sound(text: &str, environment: &Environment) -> Config {
    Config::parse(text, "k.toml", environment).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(text: &str, environment: &Environment) -> ConfigErrors {
    match Config::parse(text, "k.toml", environment) {
        Ok(_) => panic!("passed"),
        Err(errors) => errors,
    }
}

#[test]
fn the_shipped_example_is_sound_and_without_warnings() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/keyward.toml");
    let config = Config::load(&example, &Environment::empty()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    // As some editors write it.
    let marked = format!("\u{feff}{}", std::fs::read_to_string(&example).unwrap_or_else(|e| panic!("{e}")));
    assert!(Config::parse(&marked, "k.toml", &Environment::empty()).is_ok());
}

#[test]
fn the_shipped_recipes_are_sound_and_without_warnings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/recipes");
    for name in ["openai.toml", "langsmith.toml"] {
        let recipe = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{e}"));
        let config = sound(&format!("{SMALL}{recipe}"), &Environment::empty());
        assert_eq!((config.secrets.len(), config.warnings.len()), (1, 1), "{name}: {:?}", config.warnings); // nobody is told, in so small a file
    }
}

#[test]
fn what_is_written_is_what_comes_out() {
    let config = sound(EVERYTHING, &Environment::empty());
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!((config.mode, config.state_dir.as_path()), (Mode::Observe, Path::new("/srv/keyward")));
    assert_eq!(config.socket, PathBuf::from("/srv/keyward/keyward.sock"));
    assert_eq!(config.store, PathBuf::from("/srv/keyward/keyward.db"));
    assert_eq!((config.vault.namespace.as_deref(), config.vault.record_mount.as_str()), (Some("team"), "kw"));
    let secret_id = SecretRef::Env("SECRET_ID".into());
    let role_id = SecretRef::File("/run/secrets/role-id".into());
    assert_eq!(config.vault.auth, Some(Auth::AppRole { mount: "approle".into(), role_id, secret_id }));
    assert_eq!(config.vault.nodes[0].audit_log.as_deref(), Some(Path::new("/vault/logs/audit.log")));
    assert_eq!(config.vault.nodes[0].audit_format, keyward_tail::Format::Cri);
    let names: Vec<&str> = config.secrets.iter().map(|s| s.kind.name()).collect();
    assert_eq!(names, ["postgres-two-users", "postgres-password", "vault-static-role", "manual", "random", "jwt-hmac"]);
    assert_eq!(config.audit_rules[0].allow.as_ref().map(|a| a.display_names.clone()), Some(vec!["token-break-glass".to_owned()]));
    let hours = |hours: &Option<keyward_audit::Hours>| hours.as_ref().map(ToString::to_string);
    assert_eq!(hours(&config.audit_rules[0].quiet).as_deref(), Some("Sun 01:00-02:00 UTC"));
    let office = &config.audit_rules[1];
    assert_eq!(hours(&office.hours).as_deref(), Some("Mon-Fri 07:00-19:00 Europe/Berlin"));
    assert_eq!(office.paths.as_deref(), Some(&["payroll/*".to_owned()][..]));
    // Noon in July, and the same moment of the clock in Berlin two hours before it.
    let at = |text: &str| text.parse().unwrap_or(jiff::Timestamp::MIN);
    let contains = |time: &str| office.hours.as_ref().is_some_and(|hours| hours.contain(at(time)));
    assert!(contains("2026-07-01T05:30:00Z") && !contains("2026-07-01T04:30:00Z") && !contains("2026-07-04T10:00:00Z"));
    assert_eq!((config.alert.repeat.first, config.alert.repeat.longest), (Duration::from_mins(10), Duration::from_hours(12)));
}

#[test]
fn a_secret_carries_its_class() {
    let config = sound(EVERYTHING, &Environment::empty());
    let Some(backend) = config.secret("backend") else { panic!() };
    assert_eq!((backend.policy.schedule.spec(), backend.policy.schedule.zone()), ("30 2 * * 0", "Europe/Berlin"));
    assert_eq!((backend.policy.jitter, backend.policy.catch_up), (Duration::from_mins(10), CatchUp::Wait));
    assert_eq!((backend.policy.backoff.first, backend.policy.backoff.longest), (Duration::from_mins(2), Duration::from_hours(1)));
    assert_eq!((backend.policy.deadline, backend.policy.concurrency), (Some(Duration::from_hours(6)), 4));
    assert!(backend.policy.window.is_some());
    assert_eq!(
        (backend.retire, backend.grace, backend.retire_deadline),
        (RetireWhen::WhenUnused, Duration::from_hours(36), Duration::from_hours(120))
    );
    assert_eq!((backend.mode, backend.owner.as_deref()), (Mode::Act, Some("payments")));
    assert_eq!(backend.notify.len(), 2);
    assert!(matches!(&backend.notify[0], Notify::Program { argv } if argv[0] == "/usr/bin/systemctl"));
    let KindConfig::PostgresTwoUsers(kind) = &backend.kind else { panic!() };
    assert_eq!((kind.path.as_str(), kind.login.len()), ("secret/backend/database", 2));
    assert_eq!(backend.kind.owned_fields(), ["password", "url", "username"]);
    assert_eq!(kind.admin.password, SecretRef::Vault { path: "kv/postgres".into(), field: "password".into() });
    let Some(legacy) = config.secret("legacy") else { panic!() };
    assert_eq!(
        (legacy.mode, legacy.retire, legacy.kind.owned_fields()),
        (Mode::Observe, RetireWhen::AfterGrace, vec!["password", "username"])
    );
}

#[test]
fn four_classes_are_shipped() {
    let config = sound(SMALL, &Environment::empty());
    let shipped: Vec<_> = config.classes.iter().map(|(name, c)| (name.as_str(), c.policy.schedule.spec(), c.retire, c.proof)).collect();
    let hour = Duration::from_hours(1);
    let expected = [
        ("api-key", "monthly", RetireWhen::AfterGrace, hour),
        ("database", "weekly", RetireWhen::WhenUnused, Duration::from_mins(5)),
        ("jwt", "quarterly", RetireWhen::AfterGrace, hour),
        ("root", "annually", RetireWhen::AfterGrace, hour),
    ];
    assert_eq!(shipped, expected);
    assert_eq!((config.mode, config.listen.to_string().as_str()), (Mode::Act, "127.0.0.1:9120"));
    assert_eq!(config.store, PathBuf::from("/var/lib/keyward/keyward.db"));
    assert!(config.warnings.iter().any(|w| w.contains("nobody will be told")), "{:?}", config.warnings);
}

#[test]
fn generated_keys_are_long_enough() {
    let config = sound(EVERYTHING, &Environment::empty());
    let length = |name: &str| {
        let generator = &config.secret(name).unwrap_or_else(|| panic!("{name}")).generator;
        generator.generate(&keyward_secret::SystemRandom).map_or(0, |value| value.expose().len())
    };
    assert_eq!((length("backend"), length("legacy"), length("signing")), (40, 67, 86));
}

#[test]
fn variables_fill_what_the_file_leaves_out() {
    let environment = Environment::new([
        ("VAULT_ADDR", "https://vault:8200"),
        ("VAULT_NAMESPACE", "team"),
        ("VAULT_CACERT", "/ca.pem"),
        ("VAULT_SKIP_VERIFY", "false"),
        ("VAULT_TOKEN", "hunter2"),
    ]);
    let config = sound("", &environment);
    assert_eq!(config.vault.address.as_str(), "https://vault:8200/");
    assert_eq!((config.vault.namespace.as_deref(), config.vault.ca_cert.as_deref()), (Some("team"), Some(Path::new("/ca.pem"))));
    assert_eq!(config.vault.personal_token, Some(SecretRef::Env("VAULT_TOKEN".into())));
    assert!(config.vault.auth.is_none());
    assert!(!format!("{environment:?}{config:?}").contains("hunter2"));
}

#[test]
fn an_empty_variable_is_none() {
    assert!(sound(SMALL, &Environment::new([("VAULT_ADDR", ""), ("VAULT_NAMESPACE", "")])).vault.namespace.is_none());
}

#[test]
fn a_contradiction_needs_a_word() {
    let elsewhere = Environment::new([("VAULT_ADDR", "https://other:8200"), ("VAULT_NAMESPACE", "team")]);
    let text = format!("{SMALL}namespace = \"mine\"\n");
    let errors = refused(&text, &elsewhere).to_string();
    let expected = "k.toml:2: the environment variable VAULT_ADDR contradicts \"address\" in [vault]; unset it, or say with --address which server is meant\n\
        k.toml:3: the environment variable VAULT_NAMESPACE contradicts \"namespace\" in [vault]; unset it, or say with --address which server is meant";
    assert_eq!(errors, expected);
    let decided = |address: &str| sound(&text, &elsewhere.clone().with_address(Some(address.to_owned()))).vault;
    let (file, variables) = (decided("https://vault:8200/"), decided("https://other:8200"));
    assert_eq!((file.address.as_str(), file.namespace.as_deref()), ("https://vault:8200/", Some("mine")));
    assert_eq!((variables.address.as_str(), variables.namespace.as_deref()), ("https://other:8200/", Some("team")));
    let same = Environment::new([("VAULT_ADDR", "https://vault:8200/")]);
    assert_eq!(sound(SMALL, &same).vault.address.as_str(), "https://vault:8200/");
}

#[test]
fn variables_cannot_open_what_the_file_keeps_shut() {
    let errors = refused("", &Environment::new([("VAULT_ADDR", "http://vault:8200")])).to_string();
    assert!(errors.contains("plain http beyond loopback"), "{errors}");
    let errors = refused(SMALL, &Environment::new([("VAULT_SKIP_VERIFY", "1")])).to_string();
    assert!(errors.contains("insecure = true"), "{errors}");
    let errors = refused(SMALL, &Environment::new([("VAULT_SKIP_VERIFY", "perhaps")])).to_string();
    assert_eq!(errors, "k.toml: the environment variable VAULT_SKIP_VERIFY must be true or false");
    let loopback = sound("", &Environment::new([("VAULT_ADDR", "http://127.0.0.1:8200")]));
    assert_eq!(loopback.vault.address.scheme(), "http");
    let insecure = sound("[vault]\naddress = \"http://vault:8200\"\ninsecure = true\n", &Environment::empty());
    assert!(insecure.warnings.iter().any(|w| w.starts_with("k.toml:1: insecure = true is in use")), "{:?}", insecure.warnings);
}

#[test]
fn a_missing_file_says_where_it_was_looked_for() {
    let errors = Config::load(Path::new("/nowhere/keyward.toml"), &Environment::empty()).map(|_| ());
    let expected = "/nowhere/keyward.toml: cannot read the configuration: No such file or directory (os error 2); write one, or name yours with --config or KEYWARD_CONFIG";
    assert_eq!(errors.map_err(|e| e.to_string()), Err(expected.to_owned()));
}

#[test]
fn references_to_files_lose_one_newline() {
    let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let path = folder.path().join("value");
    let reference = SecretRef::File(path.clone());
    let resolve = |content: &[u8]| {
        std::fs::write(&path, content).unwrap_or_else(|e| panic!("{e}"));
        resolve_local(&reference, &Environment::empty())
    };
    for (content, expected) in
        [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("hunter2\n\n", "hunter2\n"), (" x ", " x ")]
    {
        let value = resolve(content.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(value.expose(), expected);
    }
    for unusable in [&b""[..], b"\n", b"hunter2\xff", &vec![b'x'; 65 * 1024]] {
        let Err(error) = resolve(unusable) else { panic!() };
        assert!(matches!(error, ReferenceError::Unusable { .. }) && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn loose_files_are_pointed_out() {
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|e| panic!("{e}"));
    let reference = SecretRef::File(file.path().to_owned());
    for (mode, loose) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true)] {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loose_permissions(&reference).is_some(), loose, "{mode:o}");
    }
}

#[test]
fn other_references() {
    let environment = Environment::new([("P", "hunter2")]);
    assert!(resolve_local(&SecretRef::Env("P".into()), &environment).is_ok_and(|v| v.expose() == "hunter2"));
    assert!(matches!(resolve_local(&SecretRef::Env("Q".into()), &environment), Err(ReferenceError::Env { .. })));
    let vault = SecretRef::Vault { path: "kv/x".into(), field: "f".into() };
    assert!(matches!(resolve_local(&vault, &environment), Err(ReferenceError::NeedsVault { .. })));
    assert!(matches!(resolve_local(&SecretRef::File("/nowhere".into()), &environment), Err(ReferenceError::File { .. })));
}
