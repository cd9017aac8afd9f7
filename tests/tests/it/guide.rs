//! The whole way of a team that has nothing: an empty Vault and a `.env` file, until a Vault that was lost is back from its backup and rotates
//! again. What is typed is typed twice, and the second time changes nothing. And the server's file that is shipped, on a real server.

mod team;

use crate::world::LONG;
use keyward_harness::{Process, Product, PrometheusServer, Signal, Stop, servers, vault_binary, wait_until};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use team::Team;

#[test]
fn the_whole_guide_is_played_from_an_empty_vault_and_a_second_time_changes_nothing() {
    let mut team = Team::new();
    if team.vault.product == Product::OpenBao {
        // Its audit device comes from the server's own file, which a person writes in the middle of this.
        return;
    }
    // Set up, bring in, hand out tokens.
    assert!(team.init(&["--initialise"]).contains(&"created".to_owned()));
    let daemon = team.daemon();
    team.wait_for_node("active");
    assert_eq!(team.import().iter().filter(|outcome| *outcome == "written").count(), 3);
    let service = team.make_token();
    let (state, secret_id) = team.approle();
    assert!(state == "created" && secret_id.is_string(), "{state}: {secret_id}");
    team.another_secret_id();

    // Three classes are rotated by the daemon, each proved. What each may do is printed. Somebody used the root token, and people hear of it.
    team.rotate(&["reporting", "webhook", "orders"]);
    let policies = team.policies();
    team.report_says("root-token-used");

    // Sealed, and opened by three people of five.
    assert!(team.vault.api_as(&team.root(), "PUT", "sys/seal", None).unwrap().0 < 300);
    team.wait_for_node("sealed");
    team.open([2, 5, 3]);

    // A backup; then two rotations that it does not know; then the Vault is lost with all its data.
    team.backup();
    team.report_says("raw-access");
    let then = team.everything();
    team.rotate(&["reporting", "webhook"]);
    assert_ne!(team.everything(), then);
    team.lose();
    team.wait_for_node("unreachable");

    // A new one in its place takes the backup, and opens with the shares of the old.
    team.vault.restart().unwrap();
    team.wait_for_node("uninitialised");
    team.restore();
    team.wait_for_node("sealed");
    team.open([1, 4, 2]);
    assert_eq!(team.everything(), then, "it is as it was when the backup was made");

    // What the database was told since does not fit any more: that is seen, and made true again. Then rotation goes on.
    assert!(team.logs_in().is_err(), "Vault hands out a password of before");
    team.reconcile();
    team.logs_in().unwrap();
    team.rotate(&["reporting", "webhook", "orders"]);
    team.logs_in().unwrap();

    // All of it once more.
    let before = team.everything();
    let again = team.init(&["--initialise"]);
    assert!(again.iter().all(|state| state == "unchanged"), "{again:?}");
    let imported = team.import();
    assert!(imported.iter().all(|outcome| outcome == "unchanged" || outcome == "missing"), "{imported:?}");
    assert!(team.policies() == policies, "other policies are printed than before");
    assert_eq!(team.look_up_and_renew(), service, "the token that was handed out before the backup is alive");
    assert_eq!(team.approle(), ("unchanged".to_owned(), serde_json::Value::Null));
    let opened = team.world.run(&["unseal"]);
    assert!(opened.code == Some(0) && opened.out.contains("vault-1: unchanged"), "{opened:?}");
    team.agrees();
    team.backup();
    assert_eq!(team.everything(), before);

    // What was handed out is ended, and the first root token has done what it was for.
    assert_eq!(team.revoke(&service), "token revoked");
    assert!(team.revoke(&service).contains("dead already"));
    team.end_root();
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait(LONG).is_some_and(|status| status.success()), "the daemon did not end well");
    team.nothing_was_shown();
}

/// Status and body of a GET without a token.
fn ask(port: u16, path: &str, ca: &Path) -> Option<(String, String)> {
    let url = format!("https://127.0.0.1:{port}{path}");
    let output =
        Command::new("curl").args(["--silent", "--max-time", "10", "--write-out", "\n%{http_code}", "--cacert"]).arg(ca).arg(url).output();
    let text = String::from_utf8(output.unwrap().stdout).ok()?;
    text.rsplit_once('\n').map(|(body, status)| (status.to_owned(), body.to_owned()))
}

#[test]
fn the_shipped_server_file_starts_a_vault_that_shows_its_metrics_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("file")).unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = [free(), free(), free(), free()];
    let [api, cluster, metrics, metrics_cluster] = taken.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let shipped = include_str!("../../../config/vault.hcl");
    // The folders, the certificate and the ports are this machine's; all the rest is as it is shipped.
    let tls = servers().vault().ca_pem_path.parent().unwrap().to_owned();
    let file = shipped
        .replace("/vault/file", dir.path().join("file").to_str().unwrap())
        .replace("/vault/tls/vault.pem", tls.join("server.pem").to_str().unwrap())
        .replace("/vault/tls/vault.key", tls.join("server.key").to_str().unwrap())
        .replace("0.0.0.0:8210", &format!("127.0.0.1:{metrics}"))
        .replace("0.0.0.0:8211", &format!("127.0.0.1:{metrics_cluster}"))
        .replace("0.0.0.0:8200", &format!("127.0.0.1:{api}"))
        .replace("https://vault:8200", &format!("https://127.0.0.1:{api}"))
        .replace("https://vault:8201", &format!("https://127.0.0.1:{cluster}"));
    fs::write(dir.path().join("vault.hcl"), file).unwrap();
    drop(taken);
    let mut command = Command::new(vault_binary().unwrap());
    command.args(["server", "-config=vault.hcl"]).current_dir(dir.path());
    command.stdout(fs::File::create(dir.path().join("log")).unwrap()).stderr(Stdio::null());
    let _server = Process::start("Vault", command, Stop::Kill).unwrap();
    let ca = &servers().vault().ca_pem_path;
    // Never initialised (501), and its metrics answer all the same.
    wait_until("the shipped server", LONG, || ask(api, "/v1/sys/health", ca).filter(|(status, _)| status == "501"));
    let page =
        wait_until("its metrics", LONG, || ask(metrics, "/v1/sys/metrics?format=prometheus", ca).filter(|(status, _)| status == "200"));
    assert!(page.1.contains("vault_raft_storage_get_count"), "{}", page.1);
    // Prometheus, by its shipped file, finds them.
    let shipped = include_str!("../../../config/prometheus.yml");
    let config = shipped
        .replace("/etc/prometheus/alerts", concat!(env!("CARGO_MANIFEST_DIR"), "/../alerts"))
        .replace("/etc/prometheus/tls/ca.pem", ca.to_str().unwrap())
        .replace("server_name: vault", "server_name: localhost")
        .replace("vault:8210", &format!("127.0.0.1:{metrics}"))
        .replace("interval: 15s", "interval: 1s");
    let prometheus = PrometheusServer::start(&config).unwrap();
    wait_until("Vault to be scraped", LONG, || {
        let targets = prometheus.targets().ok()?;
        targets.iter().any(|target| target["labels"]["job"] == "vault" && target["health"] == "up").then_some(())
    });
    // Where people's tokens go, nothing is shown without one.
    assert_ne!(ask(api, "/v1/sys/metrics?format=prometheus", ca).unwrap().0, "200");
}
