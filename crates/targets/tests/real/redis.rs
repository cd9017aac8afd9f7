//! Redis users on real nodes: several passwords, restarts, replicas, TLS.

use crate::{LIMIT, value};
use keyward_harness::{RedisServer, RedisUsers, servers, unique};
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::redis::{Admin, FailureClass, Node, Persistence, RefusalUnproved, Removed, login, mark, refuses_wrong_password};
use std::time::Duration;

fn node(server: &RedisServer) -> Node {
    Node::parse(&format!("redis://127.0.0.1:{}", server.port)).unwrap()
}

/// A user that may read, with a first password.
fn user(server: &RedisServer) -> (String, Secret) {
    let (name, password) = (unique("app"), value());
    server.cli(&["ACL", "SETUSER", &name, "on", &format!(">{}", password.expose()), "~*", "+@read", "+ping"]).unwrap();
    (name, password)
}

fn probe(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn logs_in(node: &Node, user: &str, password: &Secret) -> Result<(), FailureClass> {
    login(node, user, password, &probe(&["PING"]), LIMIT).await.map_err(|failure| failure.class)
}

#[tokio::test]
async fn a_user_has_two_passwords_until_the_old_one_is_removed() {
    let redis = servers().redis();
    let (node, (user, old)) = (node(redis), user(redis));
    let (root, new) = (Secret::new(redis.password.as_str()), value());
    let admin = Admin::new(&node, "default", &root, LIMIT);
    assert_eq!(admin.preflight(&user).await.unwrap(), Persistence::AclFile);
    for _ in 0..2 {
        admin.add(&user, &new).await.unwrap();
    }
    assert_eq!((logs_in(&node, &user, &old).await, logs_in(&node, &user, &new).await), (Ok(()), Ok(())));
    assert_eq!(admin.remove(&user, &mark(&old)).await.unwrap(), Removed::Now);
    assert_eq!(admin.remove(&user, &mark(&old)).await.unwrap(), Removed::Absent);
    assert_eq!((logs_in(&node, &user, &old).await, logs_in(&node, &user, &new).await), (Err(FailureClass::WrongPassword), Ok(())));
    assert!(admin.has(&user, &mark(&new)).await.unwrap() && !admin.has(&user, &mark(&old)).await.unwrap());
}

#[tokio::test]
async fn a_change_survives_a_restart_only_where_it_was_written_down() {
    for (users, expected) in [(RedisUsers::AclFile, Persistence::AclFile), (RedisUsers::ConfigFile, Persistence::ConfigFile)] {
        let redis = RedisServer::start_with(users).unwrap();
        let (node, (user, old)) = (node(&redis), user(&redis));
        let root = Secret::new(redis.password.as_str());
        let admin = Admin::new(&node, "default", &root, LIMIT);
        let (new, forgotten) = (value(), value());
        admin.add(&user, &new).await.unwrap();
        assert_eq!(admin.persist().await.unwrap(), expected);
        admin.add(&user, &forgotten).await.unwrap();
        redis.restart().unwrap();
        for password in [&old, &new] {
            assert_eq!(logs_in(&node, &user, password).await, Ok(()), "{users:?}");
        }
        assert_eq!(logs_in(&node, &user, &forgotten).await, Err(FailureClass::WrongPassword), "{users:?}");
        let written = redis.written().unwrap();
        assert!([&old, &new, &forgotten].iter().all(|p| !written.contains(p.expose())), "{users:?}: a password stands in a file");
    }
    let redis = RedisServer::start_with(RedisUsers::Nowhere).unwrap();
    let (node, (user, _)) = (node(&redis), user(&redis));
    let root = Secret::new(redis.password.as_str());
    let admin = Admin::new(&node, "default", &root, LIMIT);
    let refused = admin.preflight(&user).await.unwrap_err();
    assert!(refused.detail.contains("a restart would forget"), "{refused}");
    assert!(admin.persist().await.is_err());
}

#[tokio::test]
async fn the_default_user_is_rotated_like_any_other() {
    let mut redis = RedisServer::start_with(RedisUsers::ConfigFile).unwrap();
    let (node, old, new) = (node(&redis), Secret::new(redis.password.as_str()), value());
    redis.cli(&["ACL", "SETUSER", "keeper", "on", ">k", "+@all"]).unwrap();
    let key = Secret::new("k");
    let admin = Admin::new(&node, "keeper", &key, LIMIT);
    admin.preflight("default").await.unwrap();
    admin.add("default", &new).await.unwrap();
    admin.remove("default", &mark(&old)).await.unwrap();
    admin.persist().await.unwrap();
    // The server counts as started when the new one logs in.
    redis.password = new.expose().to_owned();
    redis.restart().unwrap();
    assert_eq!((logs_in(&node, "default", &old).await, logs_in(&node, "default", &new).await), (Err(FailureClass::WrongPassword), Ok(())));
}

#[tokio::test]
async fn users_are_not_replicated_and_a_replica_s_own_login_is_left_alone() {
    let master = RedisServer::start().unwrap();
    let replica = master.replica(RedisUsers::AclFile).unwrap();
    let (user, _) = user(&master);
    let (at_master, at_replica, root) = (node(&master), node(&replica), Secret::new(master.password.as_str()));
    Admin::new(&at_master, "default", &root, LIMIT).preflight(&user).await.unwrap();
    let admin = Admin::new(&at_replica, "default", &root, LIMIT);
    for failure in [admin.preflight(&user).await.unwrap_err(), admin.add(&user, &value()).await.unwrap_err()] {
        assert_eq!(failure.class, FailureClass::NoSuchUser, "{failure}");
    }
    assert!(replica.cli(&["ACL", "GETUSER", &user]).unwrap().is_empty(), "a user was made");
    let refused = admin.preflight("default").await.unwrap_err();
    assert!(refused.detail.contains("masteruser"), "{refused}");
}

#[tokio::test]
async fn what_would_make_a_proof_worthless_is_refused() {
    let redis = servers().redis();
    let (node, (user, _)) = (node(redis), user(redis));
    let root = Secret::new(redis.password.as_str());
    let admin = Admin::new(&node, "default", &root, LIMIT);
    refuses_wrong_password(&node, &user, &SystemRandom, LIMIT).await.unwrap();
    redis.cli(&["ACL", "SETUSER", &user, "nopass"]).unwrap();
    assert!(admin.preflight(&user).await.unwrap_err().detail.contains("nopass"));
    let trusting = refuses_wrong_password(&node, &user, &SystemRandom, LIMIT).await.unwrap_err();
    assert!(matches!(trusting, RefusalUnproved::TrustsAnyone { .. }), "{trusting}");
    redis.cli(&["ACL", "SETUSER", &user, "off"]).unwrap();
    assert!(admin.preflight(&user).await.unwrap_err().detail.contains("switched off"));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let redis = servers().redis();
    let (plain, (user, password)) = (node(redis), user(redis));
    let class = async |node: &Node, password: &Secret, words: &[&str]| {
        let failure = login(node, &user, password, &probe(words), LIMIT).await.unwrap_err();
        assert!(!failure.to_string().contains(password.expose()), "{failure}");
        failure.class
    };
    assert_eq!(class(&plain, &value(), &["PING"]).await, FailureClass::WrongPassword);
    assert_eq!(class(&plain, &password, &["SET", "k", "v"]).await, FailureClass::InsufficientPrivilege);
    assert_eq!(class(&plain, &password, &["NONSENSE"]).await, FailureClass::Other);
    let nobody = Node { port: 1, ..plain.clone() };
    assert_eq!(class(&nobody, &password, &["PING"]).await, FailureClass::Unreachable);
    let secure = Node { port: redis.tls_port, tls: true, root_cert: Some(redis.ca_pem_path.clone()), ..plain.clone() };
    login(&secure, &user, &password, &probe(&["PING"]), LIMIT).await.unwrap();
    assert_eq!(class(&Node { root_cert: None, ..secure.clone() }, &password, &["PING"]).await, FailureClass::Tls);
    let limit = Duration::from_millis(300);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = Node { port: silent.local_addr().unwrap().port(), ..plain.clone() };
    let failure = login(&deaf, &user, &password, &probe(&["PING"]), limit).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Timeout);
    let narrow = unique("narrow");
    redis.cli(&["ACL", "SETUSER", &narrow, "on", ">n", "+acl|getuser", "+acl|dryrun", "+config|get", "+info"]).unwrap();
    let n = Secret::new("n");
    let refused = Admin::new(&plain, &narrow, &n, LIMIT).preflight(&user).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::InsufficientPrivilege, "{refused}");
    assert!(refused.detail.contains("ACL SETUSER"), "{refused}");
}

#[tokio::test]
async fn who_is_connected_is_seen_with_the_time_since() {
    let redis = servers().redis();
    let (node, (user, password)) = (node(redis), user(redis));
    let root = Secret::new(redis.password.as_str());
    let admin = Admin::new(&node, "default", &root, LIMIT);
    assert!(admin.connections(&user).await.unwrap().is_empty());
    let held = redis.hold_as(&user, password.expose()).unwrap();
    let connected = admin.connections(&user).await.unwrap();
    assert_eq!(connected.len(), 1, "{connected:?}");
    assert!(connected[0].addr.starts_with("127.0.0.1:") && connected[0].age < LIMIT);
    drop(held);
}
