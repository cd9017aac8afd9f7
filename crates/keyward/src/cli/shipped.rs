//! What `compose.yaml` and the `Dockerfile` say agrees with the files that they name and with this program. There is no container engine in
//! the tests, so nothing is started by them here; `cargo xtask image` builds the image where it can be built.

use super::guide::{read, root, trouble};
use crate::config::{Auth, Config, Environment, SecretRef};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Makes the certificates and ends; everything else goes on.
const ONCE: &str = "certificates";

fn compose() -> Value {
    serde_saphyr::from_str(&read(&root().join("compose.yaml"))).unwrap_or_else(|e| panic!("compose.yaml: {e}"))
}

/// The services by their names.
fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap_or_else(|| panic!("no services")).iter()
}

/// A list of texts; empty where there is none.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// What is mounted where.
fn mounts(service: &Value) -> Vec<(&str, &str)> {
    texts(&service["volumes"])
        .into_iter()
        .filter_map(|mount| mount.split_once(':'))
        .map(|(from, to)| (from, to.split(':').next().unwrap_or(to)))
        .collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The lines of a configuration file, without what is explained.
fn lines(file: &str) -> Vec<String> {
    let text = read(&root().join(file));
    text.lines().map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).filter(|line| !line.starts_with('#')).collect()
}

/// The value of every line `key = "value"`.
fn values(lines: &[String], key: &str) -> Vec<String> {
    let of = |line: &String| {
        line.split_once('=').filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    lines.iter().filter_map(of).collect()
}

fn keyward_in_compose() -> Config {
    Config::load(&root().join("config/compose/keyward.toml"), &Environment::empty()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_compose_file_mounts_what_is_there_and_shows_nothing_beyond_this_machine() {
    let compose = compose();
    let (mut volumes, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services(&compose) {
        for (from, _) in mounts(service) {
            if from.starts_with('.') {
                assert!(root().join(from).exists(), "{name} mounts {from}, which is not there");
            } else {
                volumes.insert(from);
            }
        }
        secrets.extend(texts(&service["secrets"]));
        for port in texts(&service["ports"]) {
            let parts: Vec<&str> = port.split(':').collect();
            assert!(matches!(parts[..], ["127.0.0.1", outside, inside] if outside == inside), "{name} publishes {port}");
        }
        let image = service["image"].as_str().unwrap_or_default();
        let is_built = service["build"] == ".";
        assert!(
            is_built || image.split_once(':').is_some_and(|(_, tag)| tag != "latest" && !tag.is_empty()),
            "{name}: {image} is no version"
        );
        // Nobody can become more than they are, and nobody is root but the one that ends at once and has no network.
        assert_eq!((texts(&service["cap_drop"]), texts(&service["security_opt"])), (vec!["ALL"], vec!["no-new-privileges:true"]), "{name}");
        assert!(service["privileged"].is_null() && !mounts(service).iter().any(|(from, _)| from.contains("docker.sock")), "{name}");
        if name == ONCE {
            assert_eq!(service["network_mode"], "none");
        } else {
            assert_ne!(service["user"], "0:0", "{name}");
            assert!(service["read_only"] == true && service["restart"] == "unless-stopped", "{name}");
            let waits = &service["depends_on"][ONCE]["condition"];
            let has_certificates = mounts(service).iter().any(|(from, _)| from.starts_with("tls-"));
            assert!(
                !has_certificates || name == "prometheus" || waits == "service_completed_successfully",
                "{name} does not wait for its certificates"
            );
        }
    }
    assert_eq!(volumes, keys(&compose["volumes"]), "volumes that are used, and those that are declared");
    assert_eq!(secrets, keys(&compose["secrets"]), "secrets that are used, and those that are declared");
    let made = read(&root().join("config/compose/prepare.sh"));
    for (name, secret) in compose["secrets"].as_object().into_iter().flatten() {
        assert_eq!(secret["file"].as_str(), Some(format!("./config/compose/secrets/{name}").as_str()));
        assert!(made.split_whitespace().any(|word| word.trim_end_matches(';') == name), "prepare.sh does not make {name}");
    }
}

#[test]
fn the_compose_file_knows_no_token_and_no_password_and_a_sealed_vault_is_a_healthy_one() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            assert!(!variable.contains("TOKEN"), "{name}: {variable}");
            let is_secret = ["PASSWORD", "SECRET", "KEY"].iter().any(|word| variable.contains(word));
            assert!(!is_secret || variable.ends_with("_FILE"), "{name}: {variable}={value}");
        }
        assert!(!texts(&service["command"]).iter().any(|word| word.starts_with("-dev")), "{name} is a development server");
    }
    let vault = &compose["services"]["vault"];
    let check = texts(&vault["healthcheck"]["test"]);
    // `vault status` ends with 2 where it is sealed; a restart would not unseal it.
    assert!(check[0] == "CMD-SHELL" && check[1].contains("vault status") && check[1].ends_with("test $$? -ne 1"), "{check:?}");
    let (file, service) = ("./config/vault.hcl", mounts(vault));
    let to = service.iter().find(|(from, _)| *from == file).unwrap_or_else(|| panic!("{service:?}")).1;
    // One file, and not its folder: a server reads every file of a folder as one.
    assert_eq!(texts(&vault["command"]), ["server", &format!("-config={to}")]);
    for name in ["postgres", "prometheus", "alertmanager"] {
        assert_eq!(texts(&compose["services"][name]["healthcheck"]["test"])[0], "CMD", "{name}");
    }
}

#[test]
fn the_compose_file_is_the_one_for_production_because_everything_speaks_tls() {
    let (compose, vault) = (compose(), lines("config/vault.hcl"));
    let (listeners, certificates) = (vault.iter().filter(|line| line.starts_with("listener ")).count(), values(&vault, "tls_cert_file"));
    assert!(listeners >= 1 && certificates.len() == listeners && values(&vault, "tls_key_file").len() == listeners, "{vault:?}");
    assert!(values(&vault, "tls_disable").is_empty());
    let address = values(&vault, "api_addr");
    assert_eq!(address, ["https://vault:8200"]);
    assert_eq!(compose["services"]["vault"]["environment"]["VAULT_ADDR"], "https://127.0.0.1:8200");

    // Each certificate that is named is made for this name, and mounted where it is looked for.
    let made = read(&root().join("config/certificates.sh"));
    for (service, folder) in [("vault", "/vault/tls"), ("postgres", "/tls")] {
        assert!(made.contains(&format!("leaf /tls/{service} {service} ")), "no certificate is made for {service}");
        assert!(mounts(&compose["services"][service]).contains(&(&format!("tls-{service}"), folder)), "{service}");
        let user = compose["services"][service]["user"].as_str().unwrap_or_default();
        assert!(made.contains(&format!("leaf /tls/{service} {service} {user}\n")), "{service} cannot read its key");
    }
    assert_eq!(certificates[0], "/vault/tls/vault.pem");
    assert!(texts(&compose["services"]["postgres"]["command"]).contains(&"-cssl=on"));

    // Keyward asks for all of it by these names, and verifies.
    let keyward = keyward_in_compose();
    assert_eq!(keyward.warnings, Vec::<String>::new());
    assert_eq!(Some(keyward.vault.address.as_str().trim_end_matches('/')), address.first().map(String::as_str));
    let service = &compose["services"]["keyward"];
    let at = |volume: &str| mounts(service).into_iter().find(|(from, _)| *from == volume).unwrap_or_else(|| panic!("{volume}")).1;
    assert!(keyward.vault.ca_cert.as_deref().is_some_and(|ca| ca.starts_with(at("tls-ca"))), "{:?}", keyward.vault.ca_cert);
    assert!(keyward.vault.nodes.iter().all(|node| node.audit_log.as_deref().is_some_and(|log| log.starts_with(at("vault-logs")))));
    let text = read(&root().join("config/compose/keyward.toml"));
    assert_eq!(text.matches("postgresql://").count(), text.matches("sslmode=verify-full").count(), "each way to the database is verified");
    for line in texts(&service["ports"]) {
        assert!(line.ends_with(&format!(":{}", keyward.listen.port())), "{line}");
    }
    let Some(Auth::AppRole { role_id, secret_id, .. }) = &keyward.vault.auth else { panic!("no AppRole") };
    for reference in [role_id, secret_id] {
        let SecretRef::File(file) = reference else { panic!("no file") };
        let name = file.strip_prefix("/run/secrets").ok().and_then(Path::to_str).unwrap_or_default();
        assert!(texts(&service["secrets"]).contains(&name), "{}", file.display());
    }
    for named in text.split("/run/secrets/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(texts(&service["secrets"]).contains(&named), "{named} is not given to the container");
    }
}

#[test]
fn the_commands_that_the_compose_file_explains_exist() {
    let text = read(&root().join("compose.yaml"));
    let mut commands = 0;
    for line in text.lines().filter(|line| line.starts_with('#')) {
        if let Some((_, command)) = line.split_once("exec keyward ") {
            assert_eq!(trouble(command), None, "{command}");
            commands += 1;
        }
        for file in line.split_whitespace().map(|word| word.trim_end_matches([',', '.'])).filter(|word| word.starts_with("config/")) {
            assert!(file.contains("/secrets/") || root().join(file).exists(), "{file}");
        }
    }
    assert!(commands >= 3, "{commands}");
}

#[test]
fn the_image_is_built_from_what_is_there_and_runs_what_the_command_line_has() {
    let text = read(&root().join("Dockerfile"));
    let of = |word: &str| -> Vec<&str> { text.lines().filter_map(|line| line.trim_start().strip_prefix(word)).map(str::trim).collect() };
    // Both stages stand on one Debian, and the first has the Rust that the workspace asks for.
    let bases = of("FROM ");
    let [build, run] = bases[..] else { panic!("{bases:?}") };
    let rust = lines("Cargo.toml");
    let rust = values(&rust, "rust-version");
    assert!(build.starts_with(&format!("rust:{}-slim-bookworm AS build", rust[0])) && run == "debian:bookworm-slim", "{bases:?}");
    assert!(text.contains("cargo build --release --locked --package keyward\n") && root().join("Cargo.lock").exists());
    // What the build needs is let in, and nothing that holds a secret.
    let ignored = read(&root().join(".dockerignore"));
    let entries: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(entries, ["*", "!Cargo.toml", "!Cargo.lock", "!.cargo", "!crates", "!tests"]);
    // No root, no shell: a number, so that an orchestrator can see it.
    let user = of("USER ");
    assert!(
        matches!(user[..], [one] if one.split_once(':').is_some_and(|(u, g)| u.parse::<u32>().is_ok_and(|n| n > 0) && g.parse::<u32>().is_ok())),
        "{user:?}"
    );
    let [entry, command, health] = ["ENTRYPOINT ", "CMD ", "HEALTHCHECK "].map(|word| of(word).concat());
    let words = |json: &str| -> Vec<String> { serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}")) };
    let entry = words(&entry);
    assert_eq!(entry, ["/usr/bin/keyward"]);
    assert!(text.contains(&format!("/out{0} {0}\n", entry[0])), "what is run is what was built");
    let check = words(health.split_once("CMD ").map(|(_, json)| json).unwrap_or_default());
    assert_eq!(check.first(), entry.first());
    for line in [words(&command), check.get(1..).unwrap_or_default().to_vec()] {
        assert!(!line.is_empty());
        assert_eq!(trouble(&format!("keyward {}", line.join(" "))), None);
    }
    assert_eq!(of("EXPOSE "), [keyward_in_compose().listen.port().to_string()]);
    let state = keyward_in_compose().state_dir;
    assert!(of("VOLUME ").iter().all(|volume| Path::new(volume) == state), "the state outlives the container");
}
