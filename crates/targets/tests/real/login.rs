//! Proofs of logins, and every way in which one fails.

use crate::{Ground, LIMIT, ca_query, url, url_at, value};
use keyward_harness::{PostgresServer, foreign_ca, servers, wait_until};
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::postgres::{
    Endpoint, FailureClass, LoginFailure, RefusalUnproved, login, login_everywhere, refuses_wrong_password,
    refuses_wrong_password_everywhere,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn one(hosts: &str, database: &str, query: &str) -> Endpoint {
    url_at(hosts, "", database, query).endpoints()[0].clone()
}

fn address(postgres: &PostgresServer) -> String {
    format!("{}:{}", postgres.host, postgres.port)
}

async fn class_of(endpoint: &Endpoint, user: &str, password: &Secret, probe: Option<&str>) -> FailureClass {
    let failure = login(endpoint, user, password, probe, LIMIT).await.unwrap_err();
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains(password.expose()), "{shown}");
    failure.class
}

#[tokio::test]
async fn a_right_password_is_proved_on_every_endpoint() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    let postgres = servers().postgres();
    let both = url_at(&format!("127.0.0.1:{0},localhost:{0}", postgres.port), "", &ground.database, &ca_query(postgres, "verify-full"));
    let proofs = login_everywhere(&both, &role, &password, None, LIMIT).await.unwrap();
    assert_eq!(proofs.len(), 2);
    assert!(proofs.iter().all(|p| p.encrypted && p.took > Duration::ZERO && p.took < LIMIT), "{proofs:?}");
    refuses_wrong_password_everywhere(&both, &role, &SystemRandom, LIMIT).await.unwrap();
    // One endpoint that fails is a failure.
    let half = url_at(&format!("127.0.0.1:{},127.0.0.1:1", postgres.port), "", &ground.database, &ca_query(postgres, "verify-full"));
    let failure = login_everywhere(&half, &role, &password, None, LIMIT).await.unwrap_err();
    assert_eq!((failure.class, failure.endpoint.as_str()), (FailureClass::Unreachable, "127.0.0.1:1"));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    let (endpoint, postgres) = (ground.endpoint(), servers().postgres());
    assert_eq!(class_of(&endpoint, &role, &value(), None).await, FailureClass::WrongPassword);
    assert_eq!(class_of(&endpoint, "nobody-here", &password, None).await, FailureClass::WrongPassword);
    let nowhere = one(&address(postgres), "no_such_database", &ca_query(postgres, "verify-full"));
    assert_eq!(class_of(&nowhere, &role, &password, None).await, FailureClass::NoSuchDatabase);
    for unreachable in ["127.0.0.1:1", "no-such-host.invalid:5432"] {
        let endpoint = one(unreachable, "d", "sslmode=disable");
        assert_eq!(class_of(&endpoint, &role, &password, None).await, FailureClass::Unreachable, "{unreachable}");
    }
    ground.psql(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"));
    assert_eq!(class_of(&endpoint, &role, &password, None).await, FailureClass::TooManyConnections);
    ground.psql(&format!("ALTER ROLE {role} CONNECTION LIMIT -1 NOLOGIN"));
    assert_eq!(class_of(&endpoint, &role, &password, None).await, FailureClass::Refused);
}

#[tokio::test]
async fn a_probe_does_what_the_consumer_does_and_changes_nothing() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    ground.psql("CREATE TABLE courses (id int); INSERT INTO courses VALUES (1)");
    let endpoint = ground.endpoint();
    let count = Some("SELECT count(*) FROM courses");
    assert_eq!(class_of(&endpoint, &role, &password, count).await, FailureClass::InsufficientPrivilege);
    ground.psql(&format!("GRANT ALL ON courses TO {role}"));
    login(&endpoint, &role, &password, count, LIMIT).await.unwrap();
    login(&endpoint, &role, &password, Some("SELECT generate_series(1, 100000)"), LIMIT).await.unwrap();
    let delete = Some("DELETE FROM courses");
    assert_eq!(class_of(&endpoint, &role, &password, delete).await, FailureClass::Other("25006".into()));
    assert_eq!(ground.psql("SELECT count(*) FROM courses"), "1");
    let missing = Some("SELECT * FROM no_such_table");
    assert_eq!(class_of(&endpoint, &role, &password, missing).await, FailureClass::Other("42P01".into()));
    ground.psql("CREATE TABLE names (name text); INSERT INTO names VALUES ('private')");
    ground.psql(&format!("GRANT ALL ON names TO {role}"));
    let quoting = login(&endpoint, &role, &password, Some("SELECT name::int FROM names"), LIMIT).await.unwrap_err();
    assert_eq!(quoting.class, FailureClass::Other("22P02".into()));
    assert!(!quoting.to_string().contains("private"), "{quoting}");
    let slow = login(&endpoint, &role, &password, Some("SELECT pg_sleep(60)"), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(slow.class, FailureClass::Timeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_gone_when_the_proof_is_done() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    login(&ground.endpoint(), &role, &password, None, LIMIT).await.unwrap();
    login(&ground.endpoint(), &role, &password, Some("SELECT pg_sleep(60)"), Duration::from_secs(1)).await.unwrap_err();
    wait_until("no session is left", LIMIT, || {
        (ground.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'")) == "0").then_some(())
    });
}

/// Forwards from 127.0.0.2, a name that stands in no certificate, to the server.
async fn forwarder(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    own
}

#[tokio::test]
async fn sslmode_means_what_libpq_means() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    let postgres = servers().postgres();
    let folder = tempfile::tempdir().unwrap();
    let right = format!("&sslrootcert={}", postgres.ca_pem_path.display());
    let wrong = format!("&sslrootcert={}", foreign_ca(folder.path()).unwrap().display());
    let (named, nameless) = (address(postgres), format!("127.0.0.2:{}", forwarder(postgres.port).await));
    // Host, parameters, whether it works, whether it is encrypted.
    let table = [
        (&named, "sslmode=disable".to_owned(), Some(false)),
        (&named, "sslmode=prefer".to_owned(), Some(true)),
        (&named, "sslmode=require".to_owned(), Some(true)),
        (&named, format!("sslmode=require{right}"), Some(true)),
        (&named, format!("sslmode=require{wrong}"), None),
        (&named, format!("sslmode=verify-ca{right}"), Some(true)),
        (&named, format!("sslmode=verify-ca{wrong}"), None),
        (&named, format!("sslmode=verify-full{right}"), Some(true)),
        (&named, format!("sslmode=verify-full{wrong}"), None),
        (&named, "sslmode=verify-full".to_owned(), None),
        (&named, "sslmode=verify-full&sslrootcert=/no/such/file.pem".to_owned(), None),
        (&nameless, format!("sslmode=require{right}"), Some(true)),
        (&nameless, format!("sslmode=verify-ca{right}"), Some(true)),
        (&nameless, format!("sslmode=verify-full{right}"), None),
        (&named, format!("sslmode=verify-full{right}&channel_binding=require"), Some(true)),
        (&named, "sslmode=disable&channel_binding=require".to_owned(), None),
    ];
    for (host, query, expected) in table {
        let outcome = login(&one(host, &ground.database, &query), &role, &password, None, LIMIT).await;
        match expected {
            Some(encrypted) => assert_eq!(outcome.as_ref().map(|p| p.encrypted), Ok(encrypted), "{host} {query}: {outcome:?}"),
            None => assert_eq!(outcome.as_ref().map_err(|f| &f.class), Err(&FailureClass::Tls), "{host} {query}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_limit_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = one(&listener.local_addr().unwrap().to_string(), "d", "sslmode=prefer");
    let start = std::time::Instant::now();
    let failure = login(&silent, "u", &value(), None, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(listener);
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_clear_where_tls_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = one(&listener.local_addr().unwrap().to_string(), "d", "sslmode=require");
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).await.unwrap();
        client.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        rest
    });
    assert_eq!(class_of(&endpoint, "u", &value(), None).await, FailureClass::Tls);
    assert_eq!(server.await.unwrap(), b"", "nothing follows the refusal");
}

#[tokio::test]
async fn a_server_that_asks_for_the_clear_password_and_repeats_it_is_not_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = one(&listener.local_addr().unwrap().to_string(), "d", "sslmode=disable");
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(client.read(&mut buffer).await.unwrap() > 0, "the start-up message");
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
        let n = client.read(&mut buffer).await.unwrap();
        // 'p', length, the password, NUL.
        let mut fields = b"SFATAL\0CXX000\0Myou said ".to_vec();
        fields.extend_from_slice(&buffer[5..n]);
        fields.push(0);
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        client.write_all(&[b"E".as_slice(), &length, &fields].concat()).await.unwrap();
    });
    assert_eq!(class_of(&endpoint, "u", &value(), None).await, FailureClass::Other("XX000".into()));
    server.await.unwrap();
}

/// A server of our own, because these tests rewrite who may come in how.
#[tokio::test]
async fn where_anyone_is_let_in_nothing_is_proved() {
    let postgres = PostgresServer::start().unwrap();
    let roles = ["trusting", "rejected", "careful"];
    for role in roles {
        postgres.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).unwrap();
    }
    let lines = "host all trusting 127.0.0.1/32 trust\nhost all rejected 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n";
    postgres.set_hba(lines).unwrap();
    wait_until("the new rules hold", LIMIT, || postgres.psql_as("trusting", "wrong", "postgres", "SELECT 1").ok());
    let endpoint = url(&postgres, "", "postgres").endpoints()[0].clone();
    let proved = |role| {
        let endpoint = endpoint.clone();
        async move { refuses_wrong_password(&endpoint, role, &SystemRandom, LIMIT).await }
    };
    let trusting = proved("trusting").await;
    assert!(matches!(&trusting, Err(RefusalUnproved::TrustsAnyone { user, .. }) if user == "trusting"), "{trusting:?}");
    let rejected = proved("rejected").await;
    assert!(matches!(&rejected, Err(RefusalUnproved::Unanswered(LoginFailure { class: FailureClass::Refused, .. }))), "{rejected:?}");
    proved("careful").await.unwrap();
    postgres.stop().unwrap();
    let stopped = proved("careful").await;
    assert!(matches!(&stopped, Err(RefusalUnproved::Unanswered(LoginFailure { class: FailureClass::Unreachable, .. }))), "{stopped:?}");
}
