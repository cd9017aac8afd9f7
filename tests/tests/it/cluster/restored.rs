//! All three nodes are lost with their data, and what is in the backup comes back into three new ones.

use super::front::Front;
use super::nodes::Cluster;
use crate::world::LONG;
use keyward_harness::{Product, servers, wait_until};
use serde_json::{Value, json};
use std::fs;

#[test]
fn three_nodes_that_were_lost_come_back_from_their_backup() {
    if servers().vault().product == Product::OpenBao {
        return;
    }
    let cluster = Cluster::new();
    let front = open(&cluster, "keyward --address NODE init --initialise --shares-to SHARES");
    let through = front.client();
    through.must("POST", "sys/mounts/secret", Some(json!({ "type": "kv", "options": { "version": "2" } }))).unwrap();
    let write = |value: &str| {
        let body = json!({ "data": { "value": value } });
        wait_until("the mount", LONG, || through.must("POST", "secret/data/app", Some(body.clone())).ok());
    };
    write("of then");
    let backup = cluster.path("vault.snap").display().to_string();
    let ended = cluster.shell(&format!("keyward backup --to {backup}"), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    write("lost");
    let (of_then, root) = (cluster.shares(), through.root_token.clone());

    cluster.nodes.iter().for_each(|node| cluster.wipe(node));
    fs::rename(cluster.path("shares"), cluster.path("shares-of-then")).unwrap();
    drop(front);
    let front = open(&cluster, "keyward --address NODE init --initialise --server-only --shares-to SHARES");
    // HAProxy leads to nobody from then on: only the nodes themselves say that they are sealed.
    let restored = cluster.shell(&format!("keyward restore {backup} --force --yes --output json"), "");
    let said: Value = serde_json::from_str(&restored.out).unwrap_or_else(|e| panic!("{e}: {restored:?}"));
    assert_eq!((restored.code, &said["state"], &said["restart"]), (Some(2), &json!("sealed"), &json!(false)), "{restored:?}");
    assert_eq!((&said["counts"], &said["next"]), (&said["opens_with"], &json!(["keyward unseal", "keyward reconcile"])), "{said:#}");
    for node in &cluster.nodes {
        assert_eq!(cluster.server(node).health().unwrap(), 503, "{} is not sealed by it", node.name);
    }
    let opened = cluster.shell("keyward unseal", &of_then);
    assert_eq!((opened.code, opened.out.matches(": unsealed").count()), (Some(0), 3), "{opened:?}");
    let read = wait_until("the value of then", LONG, || {
        let (status, read) = front.client().api_as(&root, "GET", "secret/data/app", None).ok()?;
        (status == 200).then_some(read)
    });
    assert_eq!(read["data"]["data"]["value"], "of then");
    let again = cluster.shell("keyward unseal", &of_then);
    assert_eq!((again.code, again.out.matches("unchanged").count()), (Some(0), 3), "{again:?}");
}

/// Starts all nodes, initialises the first, and unseals the others.
fn open<'a>(cluster: &'a Cluster, init: &str) -> Front<'a> {
    cluster.nodes.iter().for_each(|node| cluster.start(node));
    let shares = cluster.path("shares").display().to_string();
    let ended = cluster.shell(&init.replace("NODE", &cluster.nodes[0].address()).replace("SHARES", &shares), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    cluster.nodes.iter().for_each(|node| cluster.wait_until_joined(node));
    cluster.unseal();
    let front = Front::haproxy(cluster);
    wait_until("HAProxy to find the active node", LONG, || front.leads());
    cluster.wait_for_votes(&front.client());
    front
}
