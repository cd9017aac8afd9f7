//! The whole way of a team that has nothing: an empty Vault and a `.env` file. What is typed is typed twice, and the second time changes
//! nothing. And the server's file that is shipped, on a real server.

use crate::init_world::World;
use crate::world::LONG;
use keyward_harness::{Process, Product, Signal, Stop, VaultOptions, VaultServer, servers, vault_binary, wait_until};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const ENV: &str = "\
JWT_SECRET_KEY='jwt-signing-value-of-before'
ENCRYPTION_KEY=encryption-value-for-ever
OPENAI_API_KEY=sk-openai-key-of-before
";

/// The team: a configuration on an empty Vault, and the root token once there is one.
struct Team {
    vault: VaultServer,
    world: World,
}

impl Team {
    fn new() -> Self {
        let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
        let world = World::on(&vault.address, &vault, &format!("audit_log = \"{}\"", vault.audit_log.display()));
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = world.path("keyward.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n[http]\nlisten = \"{http}\"\n")).unwrap();
        fs::write(world.path(".env"), ENV).unwrap();
        Self { vault, world }
    }

    fn share(&self, number: u8) -> String {
        fs::read_to_string(self.world.path(&format!("shares/share-{number}"))).unwrap()
    }

    fn root(&self) -> String {
        fs::read_to_string(self.world.path("shares/root-token")).unwrap().trim().to_owned()
    }

    /// What a read by root answers.
    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.vault.api_as(&self.root(), "GET", path, None).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer["data"].clone()
    }

    /// A command with the root token at hand, and its answer for programs.
    fn as_root(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.world.command(&[arguments, &["--output", "json"]].concat());
        let output = command.env("VAULT_TOKEN", self.root()).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {output:?}"));
        (output.status.code(), answer)
    }

    /// The names of the answer's rows, where each row says `state`.
    fn states(answer: &Value, rows: &str, state: &str) -> Vec<String> {
        let row = |row: &Value| row[state].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
        answer[rows].as_array().unwrap_or_else(|| panic!("{answer:#}")).iter().map(row).collect()
    }

    /// `init`, as it is typed every time; what became of each thing.
    fn init(&self, more: &[&str]) -> Vec<String> {
        let shares = self.world.path("shares");
        let typed = ["init", "--shares-to", shares.to_str().unwrap(), "--rotate-now", &self.world.static_role];
        let (code, answer) = self.world.json(&[&typed, more].concat());
        assert_eq!(code, Some(0), "{answer:#}");
        Self::states(&answer, "lines", "state")
    }

    fn import(&self) -> Vec<String> {
        let file = self.world.path(".env");
        let (code, answer) = self.as_root(&["import", file.to_str().unwrap(), "--mount", &self.world.kv, "--yes"]);
        assert_eq!(code, Some(0), "{answer:#}");
        Self::states(&answer, "fields", "outcome")
    }

    /// The policies as printed. Each stands in Vault, with every path (`init` grants making what was not there yet, too).
    fn policies(&self) -> Value {
        let (code, printed) = self.as_root(&["policy"]);
        assert_eq!(code, Some(0));
        for policy in printed.as_array().unwrap() {
            let there = self.get(&format!("sys/policies/acl/{}", policy["policy"].as_str().unwrap()));
            let there = there["policy"].as_str().unwrap();
            for path in policy["paths"].as_array().unwrap() {
                assert!(there.contains(&format!("path {} {{", path["path"])), "{path} is not in\n{there}");
            }
        }
        printed
    }

    /// Everything that this test looks at to see whether something changed.
    fn everything(&self) -> Value {
        let kv = &self.world.kv;
        let version = |path: &str| self.get(&format!("{kv}/metadata/{path}"))["current_version"].clone();
        let (records, mounts) = (&self.world.records, self.get("sys/mounts"));
        let number = |secret: &str| self.get(&format!("{records}/data/{secret}"))["data"]["record"]["number"].clone();
        serde_json::json!({
            "versions": (["backend/api", "integrations/openai", "webhook"].map(version)),
            "rotations": (["reporting", "webhook", "orders"].map(number)),
            "key": self.get(&format!("{}/keys/orders", self.world.transit))["latest_version"],
            "mounts": (mounts.as_object().unwrap().keys().collect::<Vec<_>>()),
            "audit": self.get("sys/audit"),
        })
    }

    fn daemon(&self) -> Process {
        let mut command = self.world.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(self.world.path("daemon.log")).unwrap());
        Process::start("keyward", command, Stop::Terminate).unwrap()
    }

    fn wait_for_node(&self, state: &str) {
        wait_until(&format!("the daemon to see that Vault is {state}"), LONG, || {
            let status: Value = serde_json::from_str(&self.world.run(&["status", "--output", "json"]).out).ok()?;
            (status["nodes"]["vault-1"]["state"] == state).then_some(())
        });
    }
}

#[test]
fn the_whole_guide_is_played_from_an_empty_vault_and_a_second_time_changes_nothing() {
    let team = Team::new();
    if team.vault.product == Product::OpenBao {
        // Its audit device comes from the server's own file, which a person writes in the middle of this.
        return;
    }
    // Set up, bring in, print what each may do.
    assert!(team.init(&["--initialise"]).contains(&"created".to_owned()));
    let daemon = team.daemon();
    team.wait_for_node("active");
    assert_eq!(team.import().iter().filter(|outcome| *outcome == "written").count(), 3);

    // Three classes are rotated by the daemon, each proved.
    for (name, class) in [("reporting", "database"), ("webhook", "api-key"), ("orders", "root")] {
        let rotated = wait_until("a rotation that may be", LONG, || {
            let ended = team.world.run(&["rotate", name, "--output", "json"]);
            (ended.code != Some(75)).then_some(ended)
        });
        assert!(rotated.code == Some(0) && rotated.out.contains("\"rotated\""), "{class}: {rotated:?}");
    }
    let policies = team.policies();

    // Somebody used the root token, and the audit log tells people.
    wait_until("the finding", LONG, || team.world.run(&["audit", "report"]).out.contains("root-token-used").then_some(()));

    // Sealed, and opened by three people of five.
    assert!(team.vault.api_as(&team.root(), "PUT", "sys/seal", None).unwrap().0 < 300);
    team.wait_for_node("sealed");
    let opened = team.world.with_input(&["unseal"], &format!("{}{}{}", team.share(2), team.share(5), team.share(3)));
    assert_eq!(opened.code, Some(0), "{opened:?}");
    team.wait_for_node("active");

    // All of it once more.
    let before = wait_until("Vault to answer again", LONG, || {
        let (status, _) = team.vault.api_as(&team.root(), "GET", "sys/mounts", None).ok()?;
        (status == 200).then(|| team.everything())
    });
    let again = team.init(&["--initialise"]);
    assert!(again.iter().all(|state| state == "unchanged"), "{again:?}");
    let imported = team.import();
    assert!(imported.iter().all(|outcome| outcome == "unchanged" || outcome == "missing"), "{imported:?}");
    assert_eq!(team.policies(), policies);
    let opened = team.world.run(&["unseal"]);
    assert!(opened.code == Some(0) && opened.out.contains("vault-1: unchanged"), "{opened:?}");
    assert_eq!(team.everything(), before);

    // The first root token has done what it was for.
    let root = team.root();
    let shares = team.world.path("shares");
    let (code, last) =
        team.world.json(&["init", "--shares-to", shares.to_str().unwrap(), "--rotate-now", &team.world.static_role, "--revoke-root"]);
    assert_eq!(code, Some(0), "{last:#}");
    assert_eq!(team.vault.api_as(&root, "GET", "auth/token/lookup-self", None).unwrap().0, 403);
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait(LONG).is_some_and(|status| status.success()), "the daemon did not end well");
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
    // Where people's tokens go, nothing is shown without one.
    assert_ne!(ask(api, "/v1/sys/metrics?format=prometheus", ca).unwrap().0, "200");
}
