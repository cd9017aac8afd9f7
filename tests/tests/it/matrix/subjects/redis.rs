//! A user of Redis on a master and its replica.

use super::{Node, Place, Subject};
use keyward_harness::{RedisServer, RedisUsers, RedisWay, unique};
use serde_json::json;

pub struct Cache {
    nodes: [Node; 2],
    user: String,
}

impl Cache {
    /// A master with an ACL file and a replica with a configuration file; the user exists on both, and so does Keyward's administrator.
    pub fn start() -> Self {
        let master = RedisServer::start().unwrap();
        let replica = master.replica(RedisUsers::ConfigFile).unwrap();
        let nodes = [master, replica].map(|redis| Node { redis, way: None });
        Self { nodes, user: unique("cache") }
    }

    fn digests(&self, node: &Node) -> usize {
        let shown = node.redis.cli(&["ACL", "GETUSER", &self.user]).unwrap();
        shown.lines().filter(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit())).count()
    }
}

impl Subject for Cache {
    fn secret(&mut self, at: Place<'_>) -> String {
        let first = unique("first");
        for (node, save) in self.nodes.iter().zip([["ACL", "SAVE"], ["CONFIG", "REWRITE"]]) {
            node.redis.cli(&["ACL", "SETUSER", &self.user, "on", &format!(">{first}"), "~*", "+@read", "+ping", "+@connection"]).unwrap();
            let rights =
                ["+acl|setuser", "+acl|getuser", "+acl|save", "+acl|dryrun", "+config|get", "+config|rewrite", "+info", "+client|list"];
            node.redis.cli(&[&["ACL", "SETUSER", "keeper", "on", ">keeper-password"][..], &rights].concat()).unwrap();
            node.redis.cli(&save).unwrap();
        }
        std::fs::write(at.shop.path("redis-admin"), "keeper-password\n").unwrap();
        at.shop.vault.must("POST", &format!("{}/data/shop/cache", at.shop.kv), Some(json!({ "data": { "password": first } }))).unwrap();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            node.way = Some(RedisWay::start(&at.ways.traffic, &format!("redis-{}", number + 1), &node.redis).unwrap());
        }
        let ports = self.nodes.each_ref().map(|node| node.way.as_ref().unwrap().port);
        format!(
            "kind = \"redis-password\"\npath = \"{}/shop/cache\"\nuser = \"{}\"\n\
             nodes = [\"redis://127.0.0.1:{}\", \"redis://127.0.0.1:{}\"]\n\
             admin = {{ user = \"keeper\", password = {{ file = \"{}/redis-admin\" }} }}\n\
             set = {{ password = \"{{password}}\" }}\nprobe = [\"GET\", \"health\"]\n",
            at.shop.kv,
            self.user,
            ports[0],
            ports[1],
            at.shop.dir.display()
        )
    }

    fn judge(&mut self, at: Place<'_>) {
        let published = at.shop.published("shop/cache").unwrap();
        let password = published["password"].as_str().unwrap();
        for (number, node) in self.nodes.iter().enumerate() {
            let lets_in = node.redis.cli_as(&self.user, password, &["GET", "health"]);
            assert!(lets_in.is_ok(), "node {number} refuses what is published: {lets_in:?}");
            assert_eq!(self.digests(node), 1, "node {number}: a password is left over");
        }
    }
}
