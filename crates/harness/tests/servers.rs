//! The shared servers are real ones and do what their documentation says.
#![expect(clippy::unwrap_used, reason = "a test has nobody to hand an error to")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use keyward_harness::{AlertmanagerServer, Message, PrometheusServer, run_folder, servers, unique, wait_until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn vault_keeps_a_secret_and_logs_the_call() {
    let vault = servers().vault();
    let mount = vault.kv_mount();
    let (status, _) = vault.api("POST", &format!("{mount}/data/app"), Some(json!({ "data": { "colour": "blue" } }))).unwrap();
    assert_eq!(status, 200);
    let answer = vault.must("GET", &format!("{mount}/data/app"), None).unwrap();
    assert_eq!(answer.pointer("/data/data/colour"), Some(&Value::from("blue")));
    wait_until("the call in the audit log", LIMIT, || {
        std::fs::read_to_string(&vault.audit_log).unwrap().contains(&format!("{mount}/data/app")).then_some(())
    });
}

#[test]
fn a_token_may_do_what_its_policy_says_and_no_more() {
    let vault = servers().vault();
    let mount = vault.kv_mount();
    let token = vault.token(&format!("path \"{mount}/data/mine\" {{ capabilities = [\"create\", \"read\"] }}"), Value::Null);
    let body = || Some(json!({ "data": { "a": 1 } }));
    assert_eq!(vault.api_as(&token, "POST", &format!("{mount}/data/mine"), body()).unwrap().0, 200);
    assert_eq!(vault.api_as(&token, "POST", &format!("{mount}/data/other"), body()).unwrap().0, 403);
    assert_eq!(vault.api_as(&token, "GET", "auth/token/lookup-self", None).unwrap().0, 403);
}

#[test]
fn a_patch_merges_into_what_is_there() {
    let vault = servers().vault();
    let mount = vault.kv_mount();
    vault.must("POST", &format!("{mount}/data/app"), Some(json!({ "data": { "a": "1", "b": "2" } }))).unwrap();
    vault.must("PATCH", &format!("{mount}/data/app"), Some(json!({ "data": { "b": "3" } }))).unwrap();
    let answer = vault.must("GET", &format!("{mount}/data/app"), None).unwrap();
    assert_eq!(answer.pointer("/data/data"), Some(&json!({ "a": "1", "b": "3" })));
}

#[test]
fn vault_rotates_a_static_role_of_postgres() {
    let (vault, postgres) = (servers().vault(), servers().postgres());
    let mount = vault.database_mount(postgres);
    let (user, first) = postgres.fresh_role("app");
    vault.static_role(&mount, "app", &user).unwrap();
    let credentials = vault.must("GET", &format!("{}/static-creds/app", mount.path), None).unwrap();
    let second = credentials.pointer("/data/password").and_then(Value::as_str).unwrap();
    assert_eq!(postgres.psql_as(&user, second, &mount.database, "SELECT current_user").unwrap(), user);
    let refused = postgres.psql_as(&user, &first, &mount.database, "SELECT 1").unwrap_err().to_string();
    assert!(refused.contains("password authentication failed"), "{refused}");
}

#[test]
fn postgres_demands_a_password_speaks_tls_and_logs_statements() {
    let postgres = servers().postgres();
    let (user, password) = postgres.fresh_role("consumer");
    let database = postgres.fresh_database();
    let mark = unique("mark");
    let sql = format!("SELECT '{mark}'; SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_eq!(postgres.psql_as(&user, &password, &database, &sql).unwrap(), format!("{mark}\nt"));
    assert!(postgres.psql_as(&user, "wrong", &database, "SELECT 1").is_err());
    assert!(postgres.log().unwrap().contains(&mark));
    let verifier = postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'")).unwrap();
    assert!(verifier.starts_with("SCRAM-SHA-256$"), "{verifier}");
}

#[test]
fn a_mail_on_the_plain_port_is_kept() {
    let smtp = servers().smtp();
    let to = format!("{}@example.org", unique("ops"));
    let answers = talk(smtp.plain_port, &["EHLO me", "MAIL FROM:<k@example.org>", &format!("RCPT TO:<{to}>"), "DATA"]);
    assert!(answers.last().unwrap().starts_with("354"), "{answers:?}");
    let text = "Subject: =?utf-8?q?Vault_ist_versiegelt?=\r\nX-Mark: 1\r\n\r\nline one\r\n.";
    let data = ["EHLO me", "MAIL FROM:<k@example.org>", &format!("RCPT TO:<{to}>"), "DATA", text];
    assert!(talk(smtp.plain_port, &data).last().unwrap().starts_with("250"));
    let mail = smtp.wait_for(|m| m.to == [to.clone()], LIMIT).unwrap();
    let expected = Message {
        from: "k@example.org".to_owned(),
        to: vec![to],
        subject: "Vault ist versiegelt".to_owned(),
        body: "line one\n".to_owned(),
        headers: vec![("Subject".to_owned(), "Vault ist versiegelt".to_owned()), ("X-Mark".to_owned(), "1".to_owned())],
        port: "plain".to_owned(),
    };
    assert_eq!(mail, expected);
}

#[test]
fn some_recipients_are_refused_for_good_or_for_now() {
    let port = servers().smtp().plain_port;
    let last = |to: &str| talk(port, &["EHLO me", "MAIL FROM:<k@example.org>", &format!("RCPT TO:<{to}>")]).pop().unwrap();
    assert!(last("refuse.all@example.org").starts_with("550"));
    assert!(last("later@example.org").starts_with("451"));
}

#[test]
fn the_starttls_port_takes_no_mail_in_the_clear() {
    let answers = talk(servers().smtp().starttls_port, &["EHLO me", "MAIL FROM:<k@example.org>"]);
    assert!(answers.last().unwrap().starts_with("530"), "{answers:?}");
}

#[test]
fn redis_keeps_a_new_user_over_its_acl_file() {
    let redis = servers().redis();
    let user = unique("app");
    assert_eq!(redis.cli(&["ACL", "SETUSER", &user, "on", ">secret", "+@read"]).unwrap(), "OK");
    assert_eq!(redis.cli(&["ACL", "SAVE"]).unwrap(), "OK");
    assert!(redis.cli(&["ACL", "LIST"]).unwrap().contains(&user));
    let refused = redis.cli(&["NO-SUCH-COMMAND"]).unwrap_err().to_string();
    assert!(refused.contains("unknown command"), "{refused}");
}

#[test]
fn prometheus_fires_a_rule_to_alertmanager() {
    let alertmanager = AlertmanagerServer::start("route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n").unwrap();
    let rules = run_folder().unwrap().join("always.yml");
    std::fs::write(&rules, "groups: [{ name: g, rules: [{ alert: Always, expr: vector(1) > 0 }] }]\n").unwrap();
    let config = format!(
        "global: {{ evaluation_interval: 1s }}\nrule_files: [{:?}]\nalerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [{:?}] }}] }}] }}\n",
        rules, alertmanager.target
    );
    let prometheus = PrometheusServer::start(&config).unwrap();
    let one = prometheus.query("vector(1) + 1").unwrap();
    assert_eq!(one[0].pointer("/value/1"), Some(&Value::from("2")));
    let named = |alerts: Vec<Value>| alerts.iter().any(|a| a.pointer("/labels/alertname") == Some(&Value::from("Always"))).then_some(());
    wait_until("the alert in Prometheus", LIMIT, || named(prometheus.alerts().unwrap()));
    wait_until("the alert in Alertmanager", LIMIT, || named(alertmanager.alerts().unwrap()));
}

/// Says each line and gives the last line of each answer, the greeting first.
fn talk(port: u16, lines: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut answer = || loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    };
    let mut answers = vec![answer()];
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        answers.push(answer());
    }
    answers
}
