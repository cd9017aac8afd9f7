//! The team: a configuration on an empty Vault, the root token once there is one, and what its people type.

use crate::init_world::World;
use crate::world::LONG;
use keyward_harness::{Process, Stop, VaultOptions, VaultServer, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const ENV: &str = "\
JWT_SECRET_KEY='jwt-signing-value-of-before'
ENCRYPTION_KEY=encryption-value-for-ever
OPENAI_API_KEY=sk-openai-key-of-before
";

/// So that a secret can be rotated again at once.
const CLASSES: &str = "[class.database]\ngrace = \"1s\"\n[class.api-key]\ngrace = \"1s\"\n[class.root]\ngrace = \"1s\"\n";

pub struct Team {
    pub vault: VaultServer,
    pub world: World,
}

impl Team {
    pub fn new() -> Self {
        let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
        let world = World::on(&vault.address, &vault, &format!("audit_log = \"{}\"", vault.audit_log.display()));
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (file, backups) = (world.path("keyward.toml"), world.path("backups"));
        let text = fs::read_to_string(&file).unwrap();
        let more = format!("[http]\nlisten = \"{http}\"\n[backup]\nfolder = \"{}\"\n{CLASSES}", backups.display());
        fs::write(&file, format!("{text}\n{more}")).unwrap();
        fs::write(world.path(".env"), ENV).unwrap();
        Self { vault, world }
    }

    pub fn root(&self) -> String {
        fs::read_to_string(self.world.path("shares/root-token")).unwrap().trim().to_owned()
    }

    /// What a read by root answers, as soon as Vault does.
    fn get(&self, path: &str) -> Value {
        let root = self.root();
        let answer = wait_until(path, LONG, || self.vault.api_as(&root, "GET", path, None).ok().filter(|(status, _)| *status == 200));
        answer.1["data"].clone()
    }

    /// A command with this token at hand, and its answer for programs.
    fn with_token(&self, token: &str, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.world.command(&[arguments, &["--output", "json"]].concat());
        let output = command.env("VAULT_TOKEN", token).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {output:?}"));
        (output.status.code(), answer)
    }

    /// A command as root that must end well.
    fn as_root(&self, arguments: &[&str]) -> Value {
        let (code, answer) = self.with_token(&self.root(), arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {answer:#}");
        answer
    }

    /// What the answer's rows say of themselves.
    fn states(answer: &Value, rows: &str, state: &str) -> Vec<String> {
        let row = |row: &Value| row[state].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
        answer[rows].as_array().unwrap_or_else(|| panic!("{answer:#}")).iter().map(row).collect()
    }

    /// `init`, as it is typed every time; what became of each thing.
    pub fn init(&self, more: &[&str]) -> Vec<String> {
        let shares = self.world.path("shares");
        let typed = ["init", "--shares-to", shares.to_str().unwrap(), "--rotate-now", &self.world.static_role];
        let (code, answer) = self.world.json(&[&typed, more].concat());
        assert_eq!(code, Some(0), "{answer:#}");
        Self::states(&answer, "lines", "state")
    }

    pub fn import(&self) -> Vec<String> {
        let file = self.world.path(".env");
        Self::states(&self.as_root(&["import", file.to_str().unwrap(), "--mount", &self.world.kv, "--yes"]), "fields", "outcome")
    }

    /// The policies as printed. Each stands in Vault, with every path (`init` grants making what was not there yet, too).
    pub fn policies(&self) -> Value {
        let printed = self.as_root(&["policy"]);
        for policy in printed.as_array().unwrap() {
            let there = self.get(&format!("sys/policies/acl/{}", policy["policy"].as_str().unwrap()));
            let there = there["policy"].as_str().unwrap();
            for path in policy["paths"].as_array().unwrap() {
                assert!(there.contains(&format!("path {} {{", path["path"])), "{path} is not in\n{there}");
            }
        }
        printed
    }

    /// The policy of services.
    fn policy(&self) -> String {
        format!("{}-backend", self.world.name)
    }

    /// A token for a service, in a file; its accessor.
    pub fn make_token(&self) -> String {
        let file = self.world.path("service-token");
        let made = self.as_root(&["token", "create", "--policy", &self.policy(), "--used-every", "7d", "--to", file.to_str().unwrap()]);
        let warnings = made["warnings"].to_string();
        for part in ["you work with a root token", "dies 1d after it was last renewed", "dead by the second time"] {
            assert!(warnings.contains(part), "{part} is not in {warnings}");
        }
        let accessor = self.look_up_and_renew();
        assert_eq!(made["accessor"].as_str(), Some(accessor.as_str()));
        accessor
    }

    /// The accessor of the service's token, which is alive, and renewed.
    pub fn look_up_and_renew(&self) -> String {
        let file = self.world.path("service-token");
        let found = self.as_root(&["token", "lookup", "--file", file.to_str().unwrap()]);
        assert_eq!(
            (&found["alive"], &found["period_seconds"], &found["orphan"]),
            (&json!(true), &json!(86_400), &json!(true)),
            "{found:#}"
        );
        let renewed = self.as_root(&["token", "renew", "--file", file.to_str().unwrap()]);
        assert_eq!((&renewed["changed"], &renewed["accessor"]), (&json!("token renewed"), &found["accessor"]), "{renewed:#}");
        found["accessor"].as_str().unwrap().to_owned()
    }

    /// What became of the token.
    pub fn revoke(&self, accessor: &str) -> String {
        self.as_root(&["token", "revoke", "--accessor", accessor])["changed"].as_str().unwrap().to_owned()
    }

    /// Makes the role of another service: its state, and the accessor of the secret id that was made for it.
    pub fn approle(&self) -> (String, Value) {
        let file = self.world.path("service-secret-id");
        let (mount, policy) = (&self.world.approle, self.policy());
        let made = self.as_root(&["approle", "create", "billing", "--mount", mount, "--policy", &policy, "--to", file.to_str().unwrap()]);
        (made["state"].as_str().unwrap().to_owned(), made["secret_id"]["accessor"].clone())
    }

    pub fn another_secret_id(&self) {
        let file = self.world.path("service-secret-id");
        fs::remove_file(&file).unwrap();
        let made =
            self.as_root(&["approle", "rotate", "billing", "--mount", &self.world.approle, "--to", file.to_str().unwrap(), "--end-old"]);
        assert_eq!((&made["secret_id"]["proved_by_login"], made["ended"].as_array().unwrap().len()), (&json!(true), 1), "{made:#}");
    }

    /// The daemon rotates these, and each has another number afterwards.
    pub fn rotate(&self, names: &[&str]) {
        for name in names {
            let before = self.number(name);
            let rotated = wait_until("a rotation that may be", LONG, || {
                let ended = self.world.run(&["rotate", name, "--output", "json"]);
                (ended.code != Some(75)).then_some(ended)
            });
            assert!(rotated.code == Some(0) && rotated.out.contains("\"rotated\""), "{name}: {rotated:?}");
            assert_ne!(self.number(name), before, "{name}");
        }
    }

    /// How often a secret was rotated, as its record says; `Null` where it has none yet.
    fn number(&self, secret: &str) -> Value {
        let path = format!("{}/data/{secret}", self.world.records);
        let (_, answer) = self.vault.api_as(&self.root(), "GET", &path, None).unwrap();
        answer["data"]["data"]["record"]["number"].clone()
    }

    pub fn report_says(&self, finding: &str) {
        wait_until(finding, LONG, || self.world.run(&["audit", "report"]).out.contains(finding).then_some(()));
    }

    /// Three people of five come with their shares.
    pub fn open(&self, who: [u8; 3]) {
        let opened = self.world.with_input(&["unseal"], &who.map(|number| self.share("shares", number)).concat());
        assert_eq!(opened.code, Some(0), "{opened:?}");
        self.wait_for_node("active");
    }

    fn share(&self, folder: &str, number: u8) -> String {
        fs::read_to_string(self.world.path(&format!("{folder}/share-{number}"))).unwrap()
    }

    pub fn backup(&self) {
        let made = self.as_root(&["backup"]);
        let whole = self.as_root(&["backup", "check", made["file"].as_str().unwrap()]);
        assert_eq!(whole["archive"]["opens_with"], json!({ "shares": 5, "threshold": 3 }), "{whole:#}");
    }

    /// The Vault dies, and nothing is left of its data.
    pub fn lose(&mut self) {
        self.vault.kill().unwrap();
        let data = self.vault.audit_log.parent().unwrap().parent().unwrap().join("raft");
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir(&data).unwrap();
    }

    /// The first backup goes into the empty Vault, by its own root token. It is sealed then, and its own shares do not open it.
    pub fn restore(&self) {
        let new = self.world.path("new");
        let (code, made) = self.world.json(&["init", "--initialise", "--server-only", "--shares-to", new.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{made:#}");
        let token = fs::read_to_string(new.join("root-token")).unwrap().trim().to_owned();
        let (_, mounts) = self.vault.api_as(&token, "GET", "sys/mounts", None).unwrap();
        assert!(mounts["data"]["sys/"].is_object() && mounts["data"][format!("{}/", self.world.records)].is_null(), "{mounts}");

        let backup = self.world.json(&["backup", "list"]).1;
        let backup = backup[0]["file"].as_str().unwrap().to_owned();
        let (code, restored) = self.with_token(&token, &["restore", &backup, "--force", "--yes"]);
        assert_eq!((code, &restored["state"], &restored["restart"]), (Some(2), &json!("sealed"), &json!(false)), "{restored:#}");
        assert_eq!(restored["next"], json!(["keyward unseal", "keyward reconcile"]), "{restored:#}");
        let own = self.world.with_input(&["unseal"], &[1, 2, 3].map(|number| self.share("new", number)).concat());
        assert!(own.code == Some(2) && own.err.contains("refused the share"), "{own:?}");
        fs::remove_dir_all(&new).unwrap();
    }

    /// Says what does not fit, and changes nothing; then, with a yes, makes it true again.
    pub fn reconcile(&self) {
        let names = ["reconcile", "reporting", "webhook", "orders"];
        let said = wait_until("what is true of the secrets", LONG, || {
            let said = self.world.run(&names);
            (said.out.contains("✗ reporting") && said.out.contains("✓ webhook") && said.out.contains("✓ orders")).then_some(said)
        });
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(self.logs_in().is_err(), "nothing is done without a yes");
        let mended = self.world.run(&[names.as_slice(), &["--yes"]].concat());
        assert_eq!(mended.code, Some(0), "{mended:?}");
        self.agrees();
    }

    /// `reconcile` finds nothing to do.
    pub fn agrees(&self) {
        let said = self.world.run(&["reconcile", "reporting", "webhook", "orders"]);
        assert!(said.code == Some(0) && said.out.contains("Vault and the targets agree."), "{said:?}");
    }

    /// A login with what Vault hands out for the static role.
    pub fn logs_in(&self) -> anyhow::Result<String> {
        let read = self.get(&format!("{}/static-creds/{}", self.world.database_mount, self.world.static_role));
        let (user, password) = (read["username"].as_str().unwrap(), read["password"].as_str().unwrap());
        servers().postgres().psql_as(user, password, &self.world.database, "SELECT 1")
    }

    /// Everything that this test looks at to see whether something changed.
    pub fn everything(&self) -> Value {
        let kv = &self.world.kv;
        let version = |path: &str| self.get(&format!("{kv}/metadata/{path}"))["current_version"].clone();
        json!({
            "versions": (["backend/api", "integrations/openai", "webhook"].map(version)),
            "rotations": (["reporting", "webhook", "orders"].map(|name| self.number(name))),
            "key": self.get(&format!("{}/keys/orders", self.world.transit))["latest_version"],
            "mounts": (self.get("sys/mounts").as_object().unwrap().keys().collect::<Vec<_>>()),
            "audit": self.get("sys/audit"),
            "policies": self.get("sys/policies/acl?list=true"),
            "role": self.get(&format!("auth/{}/role/billing", self.world.approle)),
            "secret ids": self.get(&format!("auth/{}/role/billing/secret-id?list=true", self.world.approle)),
        })
    }

    pub fn daemon(&self) -> Process {
        let mut command = self.world.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(self.world.path("daemon.log")).unwrap());
        Process::start("keyward", command, Stop::Terminate).unwrap()
    }

    pub fn wait_for_node(&self, state: &str) {
        wait_until(&format!("the daemon to see that Vault is {state}"), LONG, || {
            let status: Value = serde_json::from_str(&self.world.run(&["status", "--output", "json"]).out).ok()?;
            (status["nodes"]["vault-1"]["state"] == state).then_some(())
        });
    }

    pub fn end_root(&self) {
        let root = self.root();
        self.init(&["--revoke-root"]);
        assert_eq!(self.vault.api_as(&root, "GET", "auth/token/lookup-self", None).unwrap().0, 403);
    }

    /// The daemon's log holds none of what was handed out; what stands in files is its owner's alone.
    pub fn nothing_was_shown(&self) {
        let log = fs::read_to_string(self.world.path("daemon.log")).unwrap();
        for name in ["service-token", "service-secret-id"] {
            let file = self.world.path(name);
            assert!(!log.contains(fs::read_to_string(&file).unwrap().trim()), "the log shows what is in {name}");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
