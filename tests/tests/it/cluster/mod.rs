//! Three Vaults from the shipped files, HAProxy and nginx before them, and Keyward over all of it: the leader is killed, a standby is
//! sealed, a node is removed and comes back, and rotation goes on.

mod front;
mod nodes;
mod restored;
mod rotating;

use crate::world::{LONG, becomes_ready, edit, mail, status, stop};
use front::Front;
use keyward_harness::{Message, Product, Shop, SmtpServer, Wishes, servers, wait_until};
use nodes::{Cluster, Node};
use rotating::{Rotating, SECRETS};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Instant;

/// What all parts share.
struct World<'a> {
    cluster: &'a Cluster,
    haproxy: &'a Front<'a>,
    nginx: &'a Front<'a>,
    shop: &'a Shop<'a>,
    smtp: &'a SmtpServer,
    rotating: &'a Rotating,
}

#[test]
fn a_cluster_behind_haproxy_loses_its_leader_and_more_and_rotation_goes_on() {
    if servers().vault().product == Product::OpenBao {
        // It does not say of a node that it was removed, and its standbys read for themselves.
        return;
    }
    let cluster = Cluster::new();
    cluster.nodes.iter().for_each(|node| cluster.start(node));
    cluster.initialise();
    let haproxy = Front::haproxy(&cluster);
    let nginx = Front::nginx(&cluster);
    cluster.nodes.iter().for_each(|node| cluster.wait_until_joined(node));
    cluster.unseal();
    wait_until("HAProxy to find the active node", LONG, || haproxy.leads());

    let smtp = SmtpServer::start().unwrap();
    let through = haproxy.client();
    let more = "\n[class.api-key]\ngrace = \"1s\"\nretire_deadline = \"10s\"\n".to_owned();
    let wishes = Wishes { audit: false, more, ..Wishes::default() };
    let shop = Shop::open(&through, servers().postgres(), &smtp, &wishes).unwrap();
    let node = format!("[[vault.node]]\nname = \"vault-1\"\nurl = \"{}\"\n", through.address);
    edit(&shop, &node, &cluster.tables());
    shop.must(&["init", "postgres", "shop-database"]).unwrap();
    let daemon = shop.serve().unwrap();
    becomes_ready(&shop);

    let rotating = Rotating::default();
    std::thread::scope(|scope| {
        // Dropped at the end, or when something fails: then it ends.
        let (_goes, ends) = mpsc::channel();
        scope.spawn(|| rotating.run(&shop, &{ ends }));
        let world = World { cluster: &cluster, haproxy: &haproxy, nginx: &nginx, shop: &shop, smtp: &smtp, rotating: &rotating };
        world.a_standby_is_told_from_the_active_node();
        cluster.wait_for_votes(&through);
        let gone = world.the_leader_is_killed();
        world.it_comes_back_sealed(gone);
        let removed = world.a_standby_is_removed();
        world.nobody_else_was_told_of(gone, removed);
    });
    world_is_well(&shop, &rotating);
    stop(&daemon);
}

/// Nothing of all this is left behind.
fn world_is_well(shop: &Shop<'_>, rotating: &Rotating) {
    let odd = rotating.odd();
    assert!(odd.is_empty(), "{odd:#?}");
    // The last rotation that was asked for may have been put off, which is told until the next one.
    for secret in SECRETS {
        shop.rotate(secret).unwrap();
    }
    wait_until("all alerts to be over", LONG, || status(shop)["alerts"].as_array().unwrap().is_empty().then_some(()));
    for secret in SECRETS {
        assert_eq!(shop.record(secret).unwrap()["phase"]["state"], "idle", "{secret}");
    }
    shop.consume("shop/database").unwrap();
}

impl<'a> World<'a> {
    /// Waits until Keyward says of these nodes just that, of one of the others that it is active, and of the rest that they are standbys: in
    /// its status and in its metrics. HAProxy leads to that active node then. Gives the active node.
    fn settles(&self, odd: &[(&Node, &str)]) -> &'a Node {
        let began = Instant::now();
        wait_until("the nodes' states", LONG * 2, || {
            let states = states(&status(self.shop));
            assert!(began.elapsed() < LONG, "{states:?}, and not {:?}", names(odd));
            let active = self.cluster.nodes.iter().find(|node| states.get(&node.name).is_some_and(|state| state == "active"))?;
            let expected = |node: &Node| {
                let odd = odd.iter().find(|(o, _)| o.name == node.name).map(|(_, state)| *state);
                (node.name.clone(), odd.unwrap_or(if node.name == active.name { "active" } else { "standby" }).to_owned())
            };
            let expected: BTreeMap<String, String> = self.cluster.nodes.iter().map(expected).collect();
            let leads = || self.haproxy.leads().is_some_and(|(is_self, leader)| is_self && leader == active.address());
            (states == expected && measured(self.shop) == expected && leads()).then_some(active)
        })
    }

    /// A mail that tells that this happened to this node.
    fn told(&self, node: &Node, happened: &str) {
        let begin = format!("The Vault node {} ", node.name);
        let wanted = |m: &Message| m.body.lines().any(|line| line.contains(&begin) && line.contains(happened));
        let told = self.smtp.wait_for(wanted, LONG);
        assert!(told.is_some(), "no mail says that {} {happened}, but {:#?}", node.name, self.smtp.messages());
    }

    /// A mail that tells that it is over.
    fn told_over(&self, node: &Node, by: &str) {
        mail(self.smtp, &["RESOLVED", &format!("{}: {by}", node.name)]);
    }

    fn doctor_finds(&self, trouble: &str, arguments: &[&str]) {
        let ended = self.cluster.run(&[arguments, &["doctor", "--output", "json"]].concat());
        assert!(ended.out.contains(&format!("\"{trouble}\"")), "{ended:?}");
    }

    /// A read through a new connection: status, and whether it was answered at all.
    fn read(&self, front: &Front<'_>) -> Option<u16> {
        front.client().api("GET", &format!("{}/data/shop/openai", self.shop.kv), None).ok().map(|(status, _)| status)
    }

    /// Nine reads in a row are answered as they should be.
    fn is_read_through(&self, front: &Front<'_>) {
        wait_until("reads in a row", LONG, || (0..9).all(|_| self.read(front) == Some(200)).then_some(()));
    }

    /// What `doctor` says of an address that leads to a standby, and what the comment in nginx's file does.
    fn a_standby_is_told_from_the_active_node(&self) {
        let active = self.settles(&[]);
        let standby = self.cluster.nodes.iter().find(|node| node.name != active.name).unwrap();
        self.doctor_finds("vault-standby", &["--address", &standby.address()]);
        let standby = wait_until("nginx to lead to a standby", LONG, || {
            let client = self.nginx.client();
            let (_, leader) = client.api_as("", "GET", "sys/leader", None).ok()?;
            (leader["is_self"] == Value::Bool(false)).then_some(client)
        });
        let read = || standby.api("GET", &format!("{}/data/shop/openai", self.shop.kv), None).ok();
        wait_until("a standby to forward", LONG, || read().filter(|(status, _)| *status == 200));
        let (status, _) = standby.api("GET", "sys/storage/raft/snapshot", None).unwrap();
        assert_eq!(status, 307, "a standby forwards no snapshot");
        wait_until("nginx to lead to the active node", LONG, || self.nginx.leads().filter(|(is_self, _)| *is_self));
    }

    /// Gives the node that was the leader.
    fn the_leader_is_killed(&self) -> &'a Node {
        let leader = self.settles(&[]);
        leader.kill();
        let next = self.settles(&[(leader, "unreachable")]);
        assert_ne!(next.name, leader.name);
        self.told(leader, "does not answer");
        self.rotating.goes_on();
        // nginx finds the closed port, and the same connection goes on to the next node: none is lost.
        let answers: Vec<Option<u16>> = (0..9).map(|_| self.read(self.nginx)).collect();
        assert!(answers.iter().all(Option::is_some), "{answers:?}");
        self.is_read_through(self.nginx);
        leader
    }

    fn it_comes_back_sealed(&self, node: &Node) {
        self.cluster.start(node);
        self.settles(&[(node, "sealed")]);
        self.told(node, "is sealed");
        self.rotating.goes_on();
        // HAProxy asks the nodes; nginx sees only that connections are taken.
        self.is_read_through(self.haproxy);
        wait_until("nginx to lead to the sealed node", LONG, || self.read(self.nginx).filter(|status| *status == 503));
        self.cluster.unseal();
        self.settles(&[]);
        self.told_over(node, "it is unsealed");
        self.rotating.goes_on();
    }

    /// Gives the node that was removed.
    fn a_standby_is_removed(&self) -> &'a Node {
        let active = self.settles(&[]);
        let node = self.cluster.nodes.iter().find(|node| node.name != active.name).unwrap();
        let body = json!({ "server_id": node.name });
        self.haproxy.client().must("POST", "sys/storage/raft/remove-peer", Some(body)).unwrap();
        self.settles(&[(node, "removed")]);
        self.told(node, "was removed from its cluster");
        self.rotating.goes_on();
        // No share opens it, and none is asked for.
        let ended = self.cluster.run(&["unseal", "--node", &node.name]);
        assert!(ended.code == Some(2) && ended.out.contains("removed from its cluster"), "{ended:?}");
        self.doctor_finds("vault-removed", &[]);
        // Emptied, it joins anew.
        self.cluster.wipe(node);
        self.cluster.start(node);
        self.cluster.wait_until_joined(node);
        self.cluster.unseal();
        self.settles(&[]);
        self.told_over(node, "it is not removed from its cluster");
        self.rotating.goes_on();
        node
    }

    /// Of nodes to which nothing happened, nothing was told.
    fn nobody_else_was_told_of(&self, gone: &Node, removed: &Node) {
        let mails = self.smtp.messages();
        let said = |node: &Node, what: &str| mails.iter().any(|m| m.body.contains(&format!("The Vault node {} {what}", node.name)));
        for node in &self.cluster.nodes {
            assert_eq!(said(node, "was removed"), node.name == removed.name, "{}: {mails:#?}", node.name);
            // The one that was removed was sealed when it had joined anew, and may have been seen so.
            if node.name != removed.name {
                assert_eq!(said(node, "is sealed"), node.name == gone.name, "{}: {mails:#?}", node.name);
            }
        }
    }
}

fn names<'n>(odd: &'n [(&Node, &str)]) -> Vec<(&'n str, &'n str)> {
    odd.iter().map(|(node, state)| (node.name.as_str(), *state)).collect()
}

/// What the metrics say of each node. One that is in two states at once has both in a row, which nobody expects.
fn measured(shop: &Shop<'_>) -> BTreeMap<String, String> {
    let (_, page) = shop.http("/metrics").unwrap();
    let mut measured = BTreeMap::<String, String>::new();
    let holds = page.lines().filter_map(|line| line.strip_prefix("keyward_vault_node_state{node=\"")?.strip_suffix("\"} 1"));
    for (node, state) in holds.map(|labels| labels.split_once("\",state=\"").unwrap()) {
        measured.entry(node.to_owned()).or_default().push_str(state);
    }
    measured
}

/// What Keyward says of each node.
fn states(status: &Value) -> BTreeMap<String, String> {
    let nodes = status["nodes"].as_object().unwrap();
    nodes.iter().map(|(name, node)| (name.clone(), node["state"].as_str().unwrap_or_default().to_owned())).collect()
}
