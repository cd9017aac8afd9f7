//! What is said about configurations that are not sound: exact texts, because people act on them. The cases are data, in `config_errors/`.
//!
//! In a case, a first line `@vault` stands for a sound `[vault]` (two lines); `@secret` for that and a sound `[[secret]]`, whose lines the
//! case replaces by key: a line with a value takes the place of the one with that key or is added; a key alone takes its line away.

use keyward::config::{Config, Environment};

const VAULT: &str = "[vault]\naddress = \"https://vault:8200\"\n";

const SECRET: &str = r#"[[secret]]
name = "db"
class = "database"
kind = "postgres-two-users"
path = "secret/app/db"
users = ["app_a", "app_b"]
admin = { url = "postgresql://keyward@db/app?sslmode=verify-full", password = { file = "/run/secrets/pg" } }
login = { url = "postgresql://db/app?sslmode=verify-full" }"#;

fn said(text: &str) -> String {
    match Config::parse(text, "k.toml", &Environment::empty()) {
        Ok(_) => panic!("passed:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn expand(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("@vault\n") {
        return format!("{VAULT}{rest}");
    }
    let Some(changes) = text.strip_prefix("@secret\n") else { return text.to_owned() };
    let key = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
    let changes: Vec<&str> = changes.lines().collect();
    let mut lines: Vec<String> = Vec::new();
    for line in SECRET.lines() {
        match changes.iter().find(|change| key(change) == key(line)) {
            None => lines.push(line.to_owned()),
            Some(change) if change.contains(" = ") => lines.push((*change).to_owned()),
            Some(_) => {}
        }
    }
    let added = changes.iter().filter(|change| !SECRET.lines().any(|line| key(line) == key(change)));
    lines.extend(added.map(|change| (*change).to_owned()));
    format!("{VAULT}{}\n", lines.join("\n"))
}

/// Runs every case of a file; there must be as many as are named, so that none is lost by a slip in the file.
fn check(cases: &str, count: usize) {
    let mut seen = 0;
    for case in cases.split("\n=== ").skip(1) {
        let Some((name, rest)) = case.split_once('\n') else { panic!("{case}") };
        let Some((text, expected)) = rest.split_once("\n--->\n") else { panic!("{case}") };
        let said = said(&expand(&format!("{text}\n")));
        assert_eq!(said.lines().collect::<Vec<_>>(), expected.trim_end().lines().collect::<Vec<_>>(), "{name}");
        assert!(!said.contains("hunter2"), "{name} repeats a secret");
        seen += 1;
    }
    assert_eq!(seen, count);
}

#[test]
fn a_sound_secret_passes() {
    let config = Config::parse(&expand("@secret\n"), "k.toml", &Environment::empty());
    assert_eq!(config.map(|c| c.secrets.len()).map_err(|e| e.to_string()), Ok(1));
}

#[test]
fn sections_and_keys() {
    check(include_str!("config_errors/sections.txt"), 43);
}

#[test]
fn one_secret() {
    check(include_str!("config_errors/one_secret.txt"), 42);
}

#[test]
fn other_kinds_and_several_secrets() {
    check(include_str!("config_errors/kinds.txt"), 16);
}

#[test]
fn leases_and_root_passwords() {
    check(include_str!("config_errors/vault.txt"), 7);
}

#[test]
fn redis_password() {
    check(include_str!("config_errors/redis.txt"), 7);
}

#[test]
fn what_others_issue() {
    check(include_str!("config_errors/issued.txt"), 8);
}

#[test]
fn the_rest_of_many_problems_is_counted() {
    let keys: String = (0..13).map(|i| format!("zzz{i} = 1\n")).collect();
    let Err(errors) = Config::parse(&format!("{VAULT}[http]\n{keys}"), "k.toml", &Environment::empty()) else { panic!() };
    assert_eq!((errors.problems().len(), errors.to_string().lines().count()), (13, 11));
    assert!(errors.to_string().ends_with("… and 3 more"));
}

#[test]
fn no_syntax_error_repeats_what_stands_there() {
    let broken = [
        "password = hunter2",
        "password = \"hunter2",
        "password = 'hunter2\nx",
        "p = 1\npassword hunter2",
        "p = \"\\hunter2\"",
        "p = [hunter2",
    ];
    for text in broken {
        assert!(!said(text).contains("hunter2"), "{}", said(text));
    }
}
