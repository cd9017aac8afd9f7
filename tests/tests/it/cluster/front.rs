//! HAProxy and nginx before the nodes, from the files that are shipped.

use super::nodes::{Cluster, Node, shipped};
use keyward_harness::{Process, Stop, VaultServer, free_port, haproxy, nginx};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// A load balancer; it ends when dropped.
pub struct Front<'a> {
    cluster: &'a Cluster,
    pub port: u16,
    _process: Process,
}

impl<'a> Front<'a> {
    pub fn haproxy(cluster: &'a Cluster) -> Self {
        let port = cluster.front;
        let mut replaced = vec![
            ("bind :8200".to_owned(), format!("bind 127.0.0.1:{port}")),
            ("/etc/haproxy/vault-ca.pem".to_owned(), cluster.path("tls/ca.pem").display().to_string()),
        ];
        replaced.extend(cluster.nodes.iter().map(moved));
        let file = cluster.path("haproxy.cfg");
        fs::write(&file, shipped(include_str!("../../../../config/cluster/haproxy.cfg"), &replaced)).unwrap();
        let mut command = Command::new(haproxy());
        command.arg("-db").arg("-f").arg(&file);
        Self::start(cluster, port, "HAProxy", command)
    }

    pub fn nginx(cluster: &'a Cluster) -> Self {
        let port = free_port().unwrap();
        let log = cluster.path("nginx-error.log").display().to_string();
        let mut replaced = vec![
            ("listen 8200".to_owned(), format!("listen 127.0.0.1:{port}")),
            ("/run/nginx.pid".to_owned(), cluster.path("nginx.pid").display().to_string()),
            ("/var/log/nginx/error.log".to_owned(), log.clone()),
        ];
        replaced.extend(cluster.nodes.iter().map(moved));
        let file = cluster.path("nginx.conf");
        fs::write(&file, shipped(include_str!("../../../../config/cluster/nginx.conf"), &replaced)).unwrap();
        let mut command = Command::new(nginx());
        command.arg("-c").arg(&file).args(["-e", &log, "-g", "daemon off;"]);
        Self::start(cluster, port, "nginx", command)
    }

    fn start(cluster: &'a Cluster, port: u16, name: &str, mut command: Command) -> Self {
        let log = fs::File::create(cluster.path(&format!("{name}.log"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self { cluster, port, _process: Process::start(name, command, Stop::Kill).unwrap() }
    }

    /// A client of its own: its first call is a new connection, its later ones go the same way.
    pub fn client(&self) -> VaultServer {
        self.cluster.at(self.port)
    }

    /// Whether a client of this moment is led to the active node, and which that is; `None` where no answer comes.
    pub fn leads(&self) -> Option<(bool, String)> {
        let (status, leader) = self.client().api_as("", "GET", "sys/leader", None).ok()?;
        (status == 200).then(|| (leader["is_self"] == Value::Bool(true), leader["leader_address"].as_str().unwrap_or_default().to_owned()))
    }
}

/// A node's address in the shipped file, and here. Its name, which its certificate must have, stays.
fn moved(node: &Node) -> (String, String) {
    (format!("{}:8200", node.host()), format!("127.0.0.1:{}", node.api))
}
