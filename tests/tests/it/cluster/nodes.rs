//! Three real Vaults from the files that are shipped, with this machine's folders and ports in the places of the example's.

use crate::documents::page::blocks;
use crate::world::{Ended, LONG};
use keyward_harness::{Process, Stop, VaultServer, free_port, keyward_binary, vault_binary, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
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

/// The page that says how they are set up.
const PAGE: &str = "docs/cluster.md";

/// All three, their certificates, and the people who hold the shares.
pub struct Cluster {
    dir: TempDir,
    pub nodes: [Node; 3],
    /// Where the load balancer of the page's configuration listens, once there is one.
    pub front: u16,
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
        let cluster = Self { dir: tempfile::tempdir().unwrap(), nodes: [1, 2, 3].map(node), front: free_port().unwrap() };
        fs::create_dir(cluster.path("bin")).unwrap();
        symlink(keyward_binary(), cluster.path("bin/keyward")).unwrap();
        symlink(vault_binary().unwrap(), cluster.path("bin/vault")).unwrap();
        let configuration = format!("state_dir = \"{}\"\n{}", cluster.path("state").display(), cluster.of_page("toml", "[[vault.node]]"));
        fs::write(cluster.path("keyward.toml"), configuration).unwrap();
        cluster.type_in("keyward tls issue", "");
        for (number, file) in FILES.iter().enumerate() {
            fs::write(cluster.path(&cluster.nodes[number].file()), cluster.server_file(file, number)).unwrap();
        }
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A block of the page, with this place's names for the example's.
    fn of_page(&self, language: &str, holds: &str) -> String {
        let block = blocks(PAGE).into_iter().find(|block| block.language == language && block.text.contains(holds));
        let mut text = block.unwrap_or_else(|| panic!("{PAGE} has no {language} block with {holds}")).text;
        for node in &self.nodes {
            text = text.replace(&format!("https://{}:8200", node.host()), &node.address());
        }
        text.replace("https://vault.example.com:8200", &format!("https://127.0.0.1:{}", self.front))
            .replace("/etc/keyward/vault-ca.pem", &self.path("tls/ca.pem").display().to_string())
            .replace("/var/log/vault/audit.log", &self.path("audit.log").display().to_string())
            .replace("/media/usb/vault-tls", &self.path("tls").display().to_string())
            .replace("/media/usb/vault", &self.path("shares").display().to_string())
    }

    /// Types a block of commands as the page has it, with this on standard input; it must end well. What was printed.
    pub fn type_in(&self, holds: &str, input: &str) -> String {
        let text = self.of_page("sh", holds);
        let ended = self.shell(&text, input);
        assert_eq!(ended.code, Some(0), "{text}{ended:?}");
        ended.out
    }

    /// Types commands, as whoever holds the root token once there is one.
    pub fn shell(&self, text: &str, input: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", text]).current_dir(self.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("HOME", self.dir.path()).env("KEYWARD_CONFIG", self.path("keyward.toml"));
        command.env("PATH", format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap()));
        command.env("VAULT_ADDR", format!("https://127.0.0.1:{}", self.front)).env("VAULT_CACERT", self.path("tls/ca.pem"));
        if let Ok(root) = fs::read_to_string(self.path("shares/root-token")) {
            command.env("VAULT_TOKEN", root.trim());
        }
        Ended::with_input(command, input)
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
        self.type_in("init --initialise", "");
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
        self.type_in("keyward unseal", &self.shares());
    }

    /// All nodes vote: only then one may be missed. A node that joins gets its vote after a while, by default of ten seconds.
    pub fn wait_for_votes(&self, through: &VaultServer) {
        let sooner = json!({ "server_stabilization_time": "2s" });
        through.must("POST", "sys/storage/raft/autopilot/configuration", Some(sooner)).unwrap();
        wait_until("three votes", LONG, || {
            let (_, answer) = through.api("GET", "sys/storage/raft/configuration", None).ok()?;
            let servers = answer.pointer("/data/config/servers")?.as_array()?;
            (servers.iter().filter(|server| server["voter"] == true).count() == 3).then_some(())
        });
        let said = self.type_in("list-peers", "");
        assert_eq!(said.lines().filter(|line| line.trim_end().ends_with("true")).count(), 3, "{said}");
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
