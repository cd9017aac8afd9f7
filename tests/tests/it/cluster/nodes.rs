//! Three real Vaults from the files that are shipped, with this machine's folders and ports in the places of the example's.

use crate::world::{Ended, LONG};
use keyward_harness::{Process, Stop, VaultServer, free_port, keyward_binary, vault_binary, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

const FILES: [&str; 3] = [
    include_str!("../../../../config/cluster/vault-1.hcl"),
    include_str!("../../../../config/cluster/vault-2.hcl"),
    include_str!("../../../../config/cluster/vault-3.hcl"),
];
/// How many of the five shares open a node.
const THRESHOLD: u8 = 3;

/// A shipped file with something else in the places of what is the example's. All of that must stand there, so that the file cannot
/// drift away from this test.
pub fn shipped(file: &str, replaced: &[(String, String)]) -> String {
    let mut text = file.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "the shipped file says {from} no more:\n{file}");
        text = text.replace(from, to);
    }
    text
}

/// One node.
pub struct Node {
    pub name: String,
    pub api: u16,
    cluster: u16,
    process: Mutex<Option<Process>>,
}

/// All three, their certificates, and the people who hold the shares.
pub struct Cluster {
    dir: TempDir,
    pub nodes: [Node; 3],
}

impl Cluster {
    /// Ports, certificates by `keyward tls issue`, and the servers' files. Nothing runs yet.
    pub fn new() -> Self {
        let node = |number: usize| Node {
            name: format!("vault-{number}"),
            api: free_port().unwrap(),
            cluster: free_port().unwrap(),
            process: Mutex::default(),
        };
        let cluster = Self { dir: tempfile::tempdir().unwrap(), nodes: [1, 2, 3].map(node) };
        fs::write(cluster.path("keyward.toml"), cluster.configuration()).unwrap();
        for node in &cluster.nodes {
            let (name, folder) = (node.host(), cluster.path("tls").display().to_string());
            cluster.must(&["tls", "issue", &name, "--dns", "vault.example.com", "--folder", &folder]);
        }
        for (number, file) in FILES.iter().enumerate() {
            fs::write(cluster.path(&cluster.nodes[number].file()), cluster.server_file(file, number)).unwrap();
        }
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configuration(&self) -> String {
        let (dir, ca) = (self.dir.path().display(), self.path("tls/ca.pem"));
        let first = self.nodes[0].address();
        format!("state_dir = \"{dir}/state\"\n[vault]\naddress = \"{first}\"\nca_cert = \"{}\"\n{}", ca.display(), self.tables())
    }

    /// The nodes, as they stand in Keyward's configuration.
    pub fn tables(&self) -> String {
        let table = |node: &Node| format!("[[vault.node]]\nname = \"{}\"\nurl = \"{}\"\n", node.name, node.address());
        self.nodes.iter().map(table).collect()
    }

    fn server_file(&self, file: &str, number: usize) -> String {
        let own = &self.nodes[number];
        let mut replaced = vec![
            ("0.0.0.0:8200".to_owned(), format!("127.0.0.1:{}", own.api)),
            ("0.0.0.0:8201".to_owned(), format!("127.0.0.1:{}", own.cluster)),
            (format!("https://{}:8201", own.host()), format!("https://127.0.0.1:{}", own.cluster)),
            ("/vault/file".to_owned(), self.storage(own).display().to_string()),
            ("/vault/tls".to_owned(), self.path("tls").display().to_string()),
        ];
        replaced.extend(self.nodes.iter().map(|node| (format!("https://{}:8200", node.host()), node.address())));
        let text = shipped(file, &replaced);
        assert!(!text.contains("example.com:"), "an address of the example is left:\n{text}");
        text
    }

    fn storage(&self, node: &Node) -> PathBuf {
        self.path(&format!("{}-data", node.name))
    }

    /// Starts a node, which may have run before; returns once it answers.
    pub fn start(&self, node: &Node) {
        fs::create_dir_all(self.storage(node)).unwrap();
        let mut command = Command::new(vault_binary().unwrap());
        command.arg("server").arg(format!("-config={}", node.file())).current_dir(self.dir.path());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{}.log", node.name))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        node.set(Some(Process::start(&node.name, command, Stop::Kill).unwrap()));
        wait_until(&format!("{} to answer", node.name), LONG, || self.server(node).health().ok());
    }

    /// Kills it without warning, and takes its data away.
    pub fn wipe(&self, node: &Node) {
        node.kill();
        fs::remove_dir_all(self.storage(node)).unwrap();
    }

    /// Initialises the first node: the others join it.
    pub fn initialise(&self) {
        let shares = self.path("shares").display().to_string();
        self.must(&["--address", &self.nodes[0].address(), "init", "--initialise", "--shares-to", &shares]);
    }

    /// What holders of shares type into `keyward unseal`.
    pub fn shares(&self) -> String {
        let share = |number: u8| fs::read_to_string(self.path(&format!("shares/share-{number}"))).unwrap().trim().to_owned();
        (1..=THRESHOLD).map(|number| share(number) + "\n").collect()
    }

    /// A node that is empty becomes one that has joined, sealed.
    pub fn wait_until_joined(&self, node: &Node) {
        wait_until(&format!("{} to join", node.name), LONG, || {
            let (_, status) = self.server(node).api("GET", "sys/seal-status", None).ok()?;
            (status["initialized"] == true).then_some(())
        });
    }

    /// The shares are given to whichever node is sealed; it is open afterwards.
    pub fn unseal(&self) {
        let ended = Ended::with_input(self.command(&["unseal"]), &self.shares());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    /// All nodes vote: only then one may be missed. A node that joins gets its vote after a while, by default of ten seconds.
    pub fn wait_for_votes(through: &VaultServer) {
        let sooner = json!({ "server_stabilization_time": "2s" });
        through.must("POST", "sys/storage/raft/autopilot/configuration", Some(sooner)).unwrap();
        wait_until("three votes", LONG, || {
            let (_, answer) = through.api("GET", "sys/storage/raft/configuration", None).ok()?;
            let servers = answer.pointer("/data/config/servers")?.as_array()?;
            (servers.iter().filter(|server| server["voter"] == true).count() == 3).then_some(())
        });
    }

    /// A node, asked itself.
    pub fn server(&self, node: &Node) -> VaultServer {
        self.at(node.api)
    }

    /// Whatever of the cluster listens at this port. Each call of this is a client of its own, with connections of its own.
    pub fn at(&self, port: u16) -> VaultServer {
        let root = fs::read_to_string(self.path("shares/root-token")).unwrap_or_default();
        let described = json!({
            "address": format!("https://127.0.0.1:{port}"), "ca_pem_path": self.path("tls/ca.pem"), "root_token": root.trim(), "unseal_keys": [],
            "audit_log": self.path("none"), "product": "Vault", "pid": 0, "binary": vault_binary().unwrap(),
        });
        serde_json::from_value(described).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(keyward_binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.arg("--config").arg(self.path("keyward.toml")).args(arguments).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// A command that must end well; its answer for programs.
    fn must(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).unwrap()
    }
}

impl Node {
    /// As it is called in the shipped files, and in its certificate.
    pub fn host(&self) -> String {
        format!("{}.example.com", self.name)
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.api)
    }

    fn file(&self) -> String {
        format!("{}.hcl", self.name)
    }

    /// Kills it without warning.
    pub fn kill(&self) {
        self.set(None);
    }

    fn set(&self, process: Option<Process>) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }
}
