//! A Redis with a replica, and its user's password: rotated, kept over restarts, the old one removed when nobody needs it.

use keyward_harness::{Process, RedisServer, RedisUsers, Shop, Wishes, servers, unique, wait_until};
use serde_json::json;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

struct Cache {
    nodes: [RedisServer; 2],
    user: String,
    old: String,
}

impl Cache {
    /// A master with an ACL file and a replica with a configuration file; the user exists on both, and so does Keyward's administrator.
    fn start() -> Self {
        let master = RedisServer::start().unwrap();
        let replica = master.replica(RedisUsers::ConfigFile).unwrap();
        let (user, old) = (unique("cache"), unique("old"));
        for (node, save) in [(&master, ["ACL", "SAVE"]), (&replica, ["CONFIG", "REWRITE"])] {
            node.cli(&["ACL", "SETUSER", &user, "on", &format!(">{old}"), "~*", "+@read", "+ping", "+@connection"]).unwrap();
            let rights =
                ["+acl|setuser", "+acl|getuser", "+acl|save", "+acl|dryrun", "+config|get", "+config|rewrite", "+info", "+client|list"];
            node.cli(&[&["ACL", "SETUSER", "keeper", "on", ">keeper-password"][..], &rights].concat()).unwrap();
            node.cli(&save).unwrap();
        }
        Self { nodes: [master, replica], user, old }
    }

    fn secret(&self, shop_dir: &std::path::Path, kv: &str) -> String {
        let nodes = self.nodes.each_ref().map(|node| format!("\"rediss://127.0.0.1:{}\"", node.tls_port)).join(", ");
        let (user, ca, dir) = (&self.user, self.nodes[0].ca_pem_path.display(), shop_dir.display());
        format!(
            r#"
[class.cache]
schedule = "weekly"
retire = "after-grace"
grace = "1s"

[[secret]]
name = "cache"
class = "cache"
kind = "redis-password"
path = "{kv}/shop/cache"
user = "{user}"
nodes = [{nodes}]
ca_cert = "{ca}"
admin = {{ user = "keeper", password = {{ file = "{dir}/redis-admin" }} }}
set = {{ password = "{{password}}" }}
probe = ["GET", "health"]
"#
        )
    }

    fn lets_in(&self, password: &str) -> [bool; 2] {
        self.nodes.each_ref().map(|node| node.cli_as(&self.user, password, &["GET", "health"]).is_ok())
    }
}

fn shop(cache: &Cache) -> Shop<'static> {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    std::fs::write(shop.path("redis-admin"), "keeper-password\n").unwrap();
    let text = std::fs::read_to_string(&shop.config).unwrap();
    std::fs::write(&shop.config, text + &cache.secret(&shop.dir, &shop.kv)).unwrap();
    let data = json!({ "data": { "password": cache.old, "host": "redis-1" } });
    servers().vault().must("POST", &format!("{}/data/shop/cache", shop.kv), Some(data)).unwrap();
    shop
}

fn serve(shop: &Shop<'_>) -> Process {
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    daemon
}

#[test]
fn a_redis_password_is_changed_on_every_node_and_survives_their_restart() {
    let cache = Cache::start();
    let shop = shop(&cache);
    let checked = shop.run(&["check"]).unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("/shop/cache is accepted"), "{said}");
    let daemon = serve(&shop);
    let told = shop.rotate("cache").unwrap();
    let published = shop.published("shop/cache").unwrap();
    let new = published["password"].as_str().unwrap().to_owned();
    assert_eq!(published["host"], "redis-1", "a field that was not named changed");
    assert!(new != cache.old && cache.lets_in(&new) == [true, true]);

    let log = || std::fs::read_to_string(shop.log_path()).unwrap_or_default();
    for node in &cache.nodes {
        node.restart().unwrap();
    }
    assert_eq!((cache.lets_in(&cache.old), cache.lets_in(&new)), ([true, true], [true, true]), "a restart forgot a password");
    // A daemon looks at what is left over when it starts.
    drop(daemon);
    let _daemon = serve(&shop);
    wait_until("the end of the old password", LONG, || (cache.lets_in(&cache.old) == [false, false]).then_some(()));
    wait_until("an empty list of what is left", LONG, || shop.record("cache").ok()?.get("later").is_none().then_some(()));
    for node in &cache.nodes {
        node.restart().unwrap();
    }
    assert_eq!((cache.lets_in(&cache.old), cache.lets_in(&new)), ([false, false], [true, true]), "a restart brought a password back");
    let written = cache.nodes.each_ref().map(|node| node.written().unwrap()).concat() + &log() + &told + &said;
    assert!(!written.contains(&new), "a password stands in a file");
}

#[test]
fn a_node_that_is_down_leaves_nothing_behind_on_the_other() {
    let cache = Cache::start();
    let shop = shop(&cache);
    cache.nodes[1].stop().unwrap();
    let output = shop.run(&["rotate", "cache", "--alone"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("cannot be reached"), "{said}");
    assert_eq!(shop.published("shop/cache").unwrap()["password"], json!(cache.old));
    let passwords = cache.nodes[0].cli(&["ACL", "GETUSER", &cache.user]).unwrap();
    let digests = passwords.lines().filter(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit())).count();
    assert_eq!(digests, 1, "{passwords}");
}
