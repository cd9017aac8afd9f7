//! What preflight says, and who is seen to be connected.

use crate::{Ground, LIMIT, ca_query, change, url, url_at};
use keyward_harness::{servers, wait_until};
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::postgres::{
    Admin, AdminError, Check, FailureClass, LoginFailure, Phase, Subject, UrlError, Verdict, login, login_everywhere,
    refuses_wrong_password_everywhere,
};

fn verdict(checks: &[Check], subject: Subject, role: Option<&str>) -> Verdict {
    let mut found = checks.iter().filter(|c| c.subject == subject && c.role.as_deref() == role);
    let check = found.next().unwrap_or_else(|| panic!("no check of {subject:?} for {role:?} in {checks:?}"));
    assert!(found.next().is_none(), "one check of each: {checks:?}");
    assert!(!check.says.is_empty());
    check.verdict
}

#[tokio::test]
async fn a_ready_server_passes_and_says_what_it_logs() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let checks = ground.admin().preflight(&[&role]).await.unwrap();
    for subject in [Subject::Version, Subject::Encryption, Subject::Fence] {
        assert_eq!(verdict(&checks, subject, None), Verdict::Pass, "{subject:?}");
    }
    for subject in [Subject::Role, Subject::Alterable, Subject::Expiry] {
        assert_eq!(verdict(&checks, subject, Some(&role)), Verdict::Pass, "{subject:?}");
    }
    assert_eq!(verdict(&checks, Subject::ServerLog, None), Verdict::Note);
    assert_eq!(verdict(&checks, Subject::SessionDetails, None), Verdict::Note);
    let log = checks.iter().find(|c| c.subject == Subject::ServerLog).unwrap();
    assert!(log.says.contains("log_statement = all"), "{}", log.says);
}

#[tokio::test]
async fn what_would_fail_is_said_beforehand() {
    let ground = Ground::bare();
    let (barred, _) = ground.role();
    let (mighty, _) = ground.role();
    let (expiring, _) = ground.role();
    ground.psql(&format!(
        "ALTER ROLE {barred} NOLOGIN; ALTER ROLE {mighty} SUPERUSER; ALTER ROLE {expiring} VALID UNTIL '2031-01-02 03:04:05+00'"
    ));
    let own = ground.admin_role.clone();
    let checks = ground.admin().preflight(&[&barred, &mighty, &expiring, &own, "absent"]).await.unwrap();
    assert_eq!(verdict(&checks, Subject::Fence, None), Verdict::Fail);
    for role in [&barred, &mighty, &own, "absent"] {
        assert_eq!(verdict(&checks, Subject::Role, Some(role)), Verdict::Fail, "{role}");
    }
    assert_eq!(verdict(&checks, Subject::Expiry, Some(&expiring)), Verdict::Note);
    assert!(checks.iter().any(|c| c.says.contains("2031-01-02T03:04:05Z")), "{checks:?}");
    ground.psql(&format!("ALTER ROLE {own} NOCREATEROLE"));
    let checks = ground.admin().preflight(&[&expiring]).await.unwrap();
    assert_eq!(verdict(&checks, Subject::Alterable, Some(&expiring)), Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_role_are_seen_on_every_endpoint() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    let postgres = servers().postgres();
    let both = url_at(&format!("127.0.0.1:{0},localhost:{0}", postgres.port), "", &ground.database, &ca_query(postgres, "verify-full"));
    let admin = ground.admin();
    assert_eq!(admin.sessions(&both, &role).await.unwrap(), []);
    let (user, database, clear) = (role.clone(), ground.database.clone(), password.expose().to_owned());
    let consumer = std::thread::spawn(move || servers().postgres().psql_as(&user, &clear, &database, "SELECT pg_sleep(50)").is_ok());
    let count = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{role}'");
    let pid = wait_until("the consumer is connected", LIMIT, || Some(ground.psql(&count)).filter(|pid| !pid.is_empty()));
    let seen = admin.sessions(&both, &role).await.unwrap();
    assert_eq!(
        seen.iter().map(|s| s.endpoint.as_str()).collect::<Vec<_>>(),
        [format!("127.0.0.1:{}", postgres.port), format!("localhost:{}", postgres.port)]
    );
    assert!(seen.iter().all(|s| s.pid.to_string() == pid && s.application_name == "psql" && s.client_addr.is_none()), "{seen:?}");
    ground.psql(&format!("GRANT pg_read_all_stats TO {}", ground.admin_role));
    let seen = admin.sessions(&both, &role).await.unwrap();
    let first = seen.first().unwrap();
    assert_eq!(first.client_addr.as_deref(), Some("127.0.0.1"));
    assert!(first.backend_start.as_deref().is_some_and(|at| at.ends_with('Z') && at.contains('T')), "{first:?}");
    ground.psql(&format!("SELECT pg_terminate_backend({pid})"));
    assert!(!consumer.join().unwrap());
    // An endpoint that cannot be asked makes the whole answer an error.
    let half = url_at(&format!("127.0.0.1:{},127.0.0.1:1", postgres.port), "", &ground.database, &ca_query(postgres, "verify-full"));
    let partial = admin.sessions(&half, &role).await;
    assert!(matches!(partial, Err(AdminError::Server(LoginFailure { class: FailureClass::Unreachable, .. }))), "{partial:?}");
}

#[tokio::test]
async fn the_admin_goes_past_an_endpoint_that_is_down() {
    let ground = Ground::installed().await;
    let postgres = servers().postgres();
    let hosts = format!("{}@127.0.0.1:1,127.0.0.1:{}", ground.admin_role, postgres.port);
    let with_dead = url_at(&hosts, "", &ground.database, &ca_query(postgres, "verify-full"));
    let admin = Admin::new(with_dead, Secret::new(ground.admin_password.as_str()), LIMIT).unwrap();
    assert_eq!(admin.fence("anybody").await.unwrap(), None);
    assert!(!format!("{admin:?}").contains(&ground.admin_password));
    let nameless = Admin::new(url(postgres, "", &ground.database), Secret::new("x"), LIMIT);
    assert_eq!(nameless.unwrap_err(), UrlError::NoUser);
}

/// Ports behind `dyn` traits need futures that may move between threads.
#[tokio::test]
async fn every_call_can_be_spawned() {
    fn spawnable<T: Send>(_: T) {}
    let ground = Ground::bare();
    let (admin, endpoint, secret) = (ground.admin(), ground.endpoint(), Secret::new("x"));
    let both = url(servers().postgres(), "", &ground.database);
    spawnable((admin.install(), admin.preflight(&["r"]), admin.fence("r"), admin.sessions(&both, "r"), admin.reassign("r", "a", "b")));
    spawnable(admin.apply(&change("r", 1, Phase::Apply, "r1"), &secret));
    spawnable(admin.make_unusable(&change("r", 1, Phase::Retire, "r1"), &SystemRandom));
    spawnable(login(&endpoint, "r", &secret, None, LIMIT));
    spawnable(login_everywhere(&both, "r", &secret, None, LIMIT));
    spawnable(refuses_wrong_password_everywhere(&both, "r", &SystemRandom, LIMIT));
}
