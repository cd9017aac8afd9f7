//! Troubles of the server: where it is, whom it shows itself as, its state and its settings. They are caused on small servers of their own.

use super::{ALWAYS, Found, Small, closed_port, shared};
use keyward_harness::{Process, Stop, foreign_ca, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

#[test]
fn an_address_that_leads_nowhere_or_to_somebody_else() {
    let vault = shared();
    let small = Small::new();
    let port = vault.address.rsplit(':').next().unwrap();
    let ca = &vault.ca_pem_path;
    small.configure(&format!("https://127.0.0.1:{}", closed_port()), ca, "");
    let away = small.doctor().has(&["vault-unreachable"]);
    assert_eq!(away.code, Some(69));
    small.configure("https://nowhere.invalid:8200", ca, "");
    small.doctor().has(&["vault-name-unresolved"]).has_not(&["vault-unreachable"]);
    small.configure(&format!("http://127.0.0.1:{port}"), ca, "");
    small.doctor().has(&["vault-tls-plain"]);
    small.configure(&vault.address, &foreign_ca(&small.path("")).unwrap(), "");
    small.doctor().has(&["vault-tls-untrusted"]).has_not(&["vault-tls-name"]);
    // The certificate names 127.0.0.1 and localhost; this way leads to the same server.
    small.configure(&format!("https://127.0.0.2:{}", another_way(port.parse().unwrap())), ca, "");
    small.doctor().has(&["vault-tls-name"]).has_not(&["vault-tls-untrusted"]);
}

/// A way to that port of 127.0.0.1 by another address of this machine.
fn another_way(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (mut from_too, mut to_too) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || drop(copy(&mut &from, &mut &to)));
            std::thread::spawn(move || drop(copy(&mut to_too, &mut from_too)));
        }
    });
    here
}

#[test]
fn a_clock_that_is_wrong_and_certificates_that_end() {
    let small = Small::new();
    let at = |shift: &str| {
        let mut command = Command::new("faketime");
        command.args(["-f", shift]).arg(keyward_harness::keyward_binary());
        small.arrange(&mut command);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Found::by(&mut command)
    };
    at("-10m").has(&["clock-skew"]).has_not(&["vault-certificate-ending"]);
    // The harness's certificates are good for a year.
    at("+360d").has(&["clock-skew", "vault-certificate-ending"]);
    at("+400d").has(&["vault-tls-expired"]);
}

/// A small server that forgets everything when it ends.
struct Forgetful {
    _process: Process,
    address: String,
}

const ROOT: &str = "a-root-token-for-a-test";

impl Forgetful {
    /// `dev`: initialised and unsealed at once.
    fn start(small: &Small, name: &str, dev: bool, settings: &str) -> Self {
        let port = closed_port();
        let file = small.path(&format!("{name}.hcl"));
        let listener = if dev {
            String::new()
        } else {
            format!(
                "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\ndisable_mlock = true\n"
            )
        };
        fs::write(&file, format!("{listener}{settings}")).unwrap();
        let mut command = Command::new(&shared().binary);
        command.arg("server").arg(format!("-config={}", file.display())).env("HOME", small.path(""));
        if dev {
            command
                .args(["-dev", "-dev-no-store-token"])
                .arg(format!("-dev-root-token-id={ROOT}"))
                .arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(name, command, Stop::Kill).unwrap();
        let server = Self { _process: process, address: format!("http://127.0.0.1:{port}") };
        wait_until("the small server", crate::world::LONG, || {
            let state = server.health()?;
            (!dev || state == 200).then_some(())
        });
        server
    }
}

impl Forgetful {
    /// What its health answers.
    fn health(&self) -> Option<u16> {
        self.call("GET", "sys/health", None).map(|(status, _)| status)
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        // Whoever comes first installs it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let method = method.parse::<reqwest::Method>().unwrap();
            let mut request = reqwest::Client::new().request(method, format!("{}/v1/{path}", self.address)).header("x-vault-token", ROOT);
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            let text = answer.text().await.ok()?;
            Some((status, serde_json::from_str(&text).unwrap_or_default()))
        })
    }
}

#[test]
fn a_server_that_is_set_up_like_a_toy() {
    let small = Small::new();
    let settings = "telemetry {\n  prometheus_retention_time = \"30s\"\n}\napi_addr = \"http://vault.invalid:8200\"\n";
    let toy = Forgetful::start(&small, "toy", true, settings);
    small.configure(&toy.address, &shared().ca_pem_path, "");
    small.token(ROOT);
    let found = small.doctor_as(ROOT);
    found
        .has(&ALWAYS)
        .has(&["storage-without-snapshot", "tls-off", "metrics-retention", "redirect-unresolved", "audit-device-missing", "personal-root"])
        .has_not(&["metrics-off", "audit-raw"]);
    let log = small.path("raw.log");
    let device = json!({ "type": "file", "options": { "file_path": log, "log_raw": "true" } });
    assert_eq!(toy.call("PUT", "sys/audit/raw", Some(device)).unwrap().0, 204);
    small.doctor_as(ROOT).has(&["audit-raw"]).has_not(&["audit-device-missing"]);
    assert_eq!(toy.call("PUT", "sys/seal", None).unwrap().0, 204);
    wait_until("the seal", crate::world::LONG, || (toy.health()? == 503).then_some(()));
    let sealed = small.doctor().has(&["vault-sealed"]).has_not(&["vault-uninitialised"]);
    assert_eq!(sealed.code, Some(69));
}

#[test]
fn a_server_that_holds_nothing() {
    let small = Small::new();
    let empty = Forgetful::start(&small, "empty-server", false, "telemetry {\n  prometheus_retention_time = \"0s\"\n}\n");
    small.configure(&empty.address, &shared().ca_pem_path, "");
    small.doctor().has(&["vault-uninitialised"]).has_not(&["vault-sealed"]);
    // Brought to life by hand, it keeps no metrics.
    let made = empty.call("PUT", "sys/init", Some(json!({ "secret_shares": 1, "secret_threshold": 1 }))).unwrap().1;
    let key = &made["keys_base64"][0];
    assert_eq!(empty.call("PUT", "sys/unseal", Some(json!({ "key": key }))).unwrap().0, 200);
    wait_until("the small server", crate::world::LONG, || (empty.health()? == 200).then_some(()));
    let token = made["root_token"].as_str().unwrap();
    small.token(token);
    small.doctor_as(token).has(&["metrics-off"]).has_not(&["metrics-retention", "redirect-unresolved"]);
}
