//! Who may change a role's password, and what the server's log shows of it.

use crate::{Ground, LIMIT, change, value};
use keyward_harness::{servers, wait_until};
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::postgres::{
    Admin, AdminError, Change, FENCE_FORMAT, FailureClass, FenceAnswer, FenceRow, Installed, LoginFailure, Phase, login,
};
use std::sync::Arc;
use std::time::Duration;

async fn logs_in(ground: &Ground, role: &str, password: &Secret) -> bool {
    match login(&ground.endpoint(), role, password, None, LIMIT).await {
        Ok(_) => true,
        Err(LoginFailure { class: FailureClass::WrongPassword, .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn installing_twice_changes_nothing() {
    let ground = Ground::bare();
    let (one, two, three) = (ground.admin(), ground.admin(), ground.admin());
    let together = tokio::join!(one.install(), two.install(), three.install());
    let mut done = [together.0.unwrap(), together.1.unwrap(), together.2.unwrap()];
    done.sort_by_key(|i| *i == Installed::Already);
    assert_eq!(done, [Installed::Now, Installed::Already, Installed::Already]);
    let (role, _) = ground.role();
    assert_eq!(ground.admin().apply(&change(&role, 1, Phase::Apply, "r1"), &value()).await.unwrap(), FenceAnswer::Applied);
    let state =
        "SELECT string_agg(p.oid::text || p.xmin::text, ',' ORDER BY p.oid) FROM pg_proc p WHERE pronamespace = 'keyward'::regnamespace";
    let before = ground.psql(state);
    assert_eq!(ground.admin().install().await.unwrap(), Installed::Already);
    assert_eq!(ground.psql(state), before);
    assert!(ground.admin().fence(&role).await.unwrap().is_some(), "rows survive");
}

#[tokio::test]
async fn an_admin_that_may_not_create_uses_a_schema_made_for_it() {
    let ground = Ground::bare();
    ground.psql(&format!("REVOKE CREATE ON DATABASE {} FROM {}", ground.database, ground.admin_role));
    let refused = ground.admin().install().await;
    assert!(matches!(&refused, Err(AdminError::MayNotCreate { .. })), "{refused:?}");
    ground.psql(&format!("CREATE SCHEMA keyward AUTHORIZATION {}", ground.admin_role));
    assert_eq!(ground.admin().install().await.unwrap(), Installed::Now);
}

#[tokio::test]
async fn another_format_or_another_owner_is_refused_by_name() {
    let ground = Ground::installed().await;
    ground.psql("CREATE OR REPLACE FUNCTION keyward.fence_format() RETURNS integer LANGUAGE sql AS 'SELECT 7'");
    let newer = ground.admin().install().await.unwrap_err();
    assert!(matches!(newer, AdminError::NewerFormat { found: 7, known: FENCE_FORMAT, .. }), "{newer}");
    ground.psql("ALTER SCHEMA keyward OWNER TO postgres");
    let foreign = ground.admin().install().await.unwrap_err();
    assert!(matches!(&foreign, AdminError::ForeignSchema { owner, .. } if owner == "postgres"), "{foreign}");
}

#[tokio::test]
async fn without_a_fence_nothing_is_changed() {
    let ground = Ground::bare();
    let (role, password) = ground.role();
    let missing = ground.admin().apply(&change(&role, 1, Phase::Apply, "r1"), &value()).await;
    assert!(matches!(missing, Err(AdminError::NotInstalled { .. })), "{missing:?}");
    assert!(logs_in(&ground, &role, &password).await);
}

/// Every stored phase against every attempt around it, judged by the rule as the design states it.
#[tokio::test]
async fn the_fence_lets_pass_what_is_later_or_the_same_rotation() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let admin = ground.admin();
    let phases = [Phase::Apply, Phase::Undo, Phase::Retire];
    admin.apply(&change(&role, 1, Phase::Apply, "mine"), &value()).await.unwrap();
    // The row as it stands, and what stands for the password.
    let look = format!(
        "SELECT number, phase, rotation FROM keyward.role_fence WHERE role = '{role}'; SELECT md5(rolpassword) FROM pg_authid WHERE rolname = '{role}';"
    );
    let mut passed = 0;
    for (stored, number, phase) in phases.into_iter().flat_map(|s| [4, 5, 6].into_iter().flat_map(move |n| phases.map(|p| (s, n, p)))) {
        for rotation in ["mine", "other"] {
            let reset =
                format!("UPDATE keyward.role_fence SET number = 5, phase = {}, rotation = 'mine' WHERE role = '{role}';", stored as i16);
            let before = ground.psql(&format!("{reset} {look}"));
            let answer = admin.apply(&change(&role, number, phase, rotation), &value()).await.unwrap();
            let after = ground.psql(&look);
            let shown = format!("{number} {phase:?} {rotation} against 5 {stored:?} mine");
            let may = (number, phase) > (5, stored) || ((number, phase) == (5, stored) && rotation == "mine");
            if may {
                assert_eq!(answer, FenceAnswer::Applied, "{shown}");
                let (row, password) = after.split_once('\n').unwrap();
                assert_eq!(row, format!("{number}|{}|{rotation}", phase as i16), "{shown}");
                assert!(!before.ends_with(password), "{shown}");
                passed += 1;
            } else {
                let stands = FenceRow { secret: "backend".into(), number: 5, phase: stored, rotation: "mine".into() };
                assert_eq!(answer, FenceAnswer::Fenced(stands), "{shown}");
                assert_eq!(after, before, "{shown}");
            }
        }
    }
    assert_eq!(passed, 11 + 9 + 7, "counted by hand, for stored phase 0, 1, 2");
}

#[tokio::test]
async fn an_actor_that_wakes_up_after_the_undo_is_refused() {
    let ground = Ground::installed().await;
    let (role, old) = ground.role();
    let (admin, candidate) = (ground.admin(), value());
    assert_eq!(admin.apply(&change(&role, 1, Phase::Apply, "r1"), &candidate).await.unwrap(), FenceAnswer::Applied);
    assert_eq!(admin.apply(&change(&role, 1, Phase::Undo, "r1"), &old).await.unwrap(), FenceAnswer::Applied);
    let late = admin.apply(&change(&role, 1, Phase::Apply, "r1"), &candidate).await.unwrap();
    assert!(matches!(late, FenceAnswer::Fenced(FenceRow { number: 1, phase: Phase::Undo, .. })), "{late:?}");
    assert!(logs_in(&ground, &role, &old).await && !logs_in(&ground, &role, &candidate).await);
}

#[tokio::test]
async fn a_role_belongs_to_one_secret() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let (admin, password) = (ground.admin(), value());
    admin.apply(&change(&role, 3, Phase::Apply, "r1"), &password).await.unwrap();
    let theirs = Change { secret: "reporting", ..change(&role, 9, Phase::Apply, "r2") };
    assert_eq!(admin.apply(&theirs, &value()).await.unwrap(), FenceAnswer::Foreign { secret: "backend".into() });
    assert!(logs_in(&ground, &role, &password).await);
    // Renamed: the role goes along, the number stays.
    assert!(!admin.reassign(&role, "other", "reporting").await.unwrap());
    assert!(admin.reassign(&role, "backend", "reporting").await.unwrap());
    let low = Change { number: 2, ..theirs };
    assert!(matches!(admin.apply(&low, &value()).await.unwrap(), FenceAnswer::Fenced(FenceRow { number: 3, .. })));
    assert_eq!(admin.apply(&theirs, &value()).await.unwrap(), FenceAnswer::Applied);
}

#[tokio::test]
async fn a_retired_role_lets_nobody_in() {
    let ground = Ground::installed().await;
    let (role, old) = ground.role();
    let answer = ground.admin().make_unusable(&change(&role, 1, Phase::Retire, "r1"), &SystemRandom).await.unwrap();
    assert_eq!(answer, FenceAnswer::Applied);
    assert!(!logs_in(&ground, &role, &old).await);
    let kept =
        servers().postgres().psql(&format!("SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid WHERE rolname = '{role}'"));
    assert_eq!(kept.unwrap(), "t");
}

#[tokio::test]
async fn some_roles_are_never_changed() {
    let ground = Ground::installed().await;
    let (mighty, _) = ground.role();
    let (replica, _) = ground.role();
    let (barred, _) = ground.role();
    ground.psql(&format!("ALTER ROLE {mighty} SUPERUSER; ALTER ROLE {replica} REPLICATION; ALTER ROLE {barred} NOLOGIN"));
    let long = "x".repeat(70);
    for role in [&mighty, &replica, &barred, &ground.admin_role, &long, &"nobody-here".to_owned()] {
        let refused = ground.admin().apply(&change(role, 1, Phase::Apply, "r1"), &value()).await;
        assert!(matches!(refused, Err(AdminError::RoleRefused { .. })), "{role}: {refused:?}");
        assert_eq!(ground.admin().fence(role).await.unwrap(), None, "a refused change leaves no row");
    }
    // Retiring what somebody has barred already does no harm.
    let retired = ground.admin().make_unusable(&change(&barred, 1, Phase::Retire, "r1"), &SystemRandom).await.unwrap();
    assert_eq!(retired, FenceAnswer::Applied);
}

#[tokio::test]
async fn names_and_passwords_of_any_characters_work() {
    let ground = Ground::installed().await;
    let role = keyward_harness::unique("we\"ird 'role\\");
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    ground.psql(&format!("CREATE ROLE {quoted} LOGIN"));
    if ground.psql("SELECT current_setting('server_version_num')::int >= 160000") == "t" {
        ground.psql(&format!("GRANT {quoted} TO {} WITH ADMIN TRUE", ground.admin_role));
    }
    for (number, password) in (1..).zip(["it's \"quoted\" \\ $1 %L", "pässwörd ½", "\u{1}control", &"long".repeat(100)]) {
        let password = Secret::new(password);
        assert_eq!(ground.admin().apply(&change(&role, number, Phase::Apply, "r'"), &password).await.unwrap(), FenceAnswer::Applied);
        assert!(logs_in(&ground, &role, &password).await, "{number}");
    }
}

#[tokio::test]
async fn what_is_no_verifier_is_refused() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let good = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$".to_owned() + &"A".repeat(43) + "=:" + &"A".repeat(43) + "=";
    let as_admin = |verifier: &str| {
        let sql = format!("SELECT outcome FROM keyward.apply('{role}', 'backend', 1, 0::smallint, 'r1', {verifier})");
        servers().postgres().psql_as(&ground.admin_role, &ground.admin_password, &ground.database, &sql)
    };
    for bad in [
        "'hunter2'",
        "'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        "''",
        "NULL",
        &format!("E'{good}\\nx'"),
        &format!("'{}'", &good[..good.len() - 2]),
    ] {
        let error = as_admin(bad).unwrap_err().to_string();
        assert!(error.contains("only a SCRAM-SHA-256 verifier"), "{bad}: {error}");
    }
    assert_eq!(as_admin(&format!("'{good}'")).unwrap(), "applied");
}

#[tokio::test]
async fn nobody_else_can_call_or_read_the_fence() {
    let ground = Ground::installed().await;
    let (role, password) = ground.role();
    for sql in ["SELECT * FROM keyward.role_fence", "SELECT keyward.fence('x')", "SELECT keyward.fence_format()"] {
        let error = servers().postgres().psql_as(&role, password.expose(), &ground.database, sql).unwrap_err().to_string();
        assert!(error.contains("permission denied for schema keyward"), "{sql}: {error}");
    }
}

/// Twenty actors and a person who alters the role all the while: the highest number stands in the end, with its password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_at_the_same_time_leave_the_latest_one_s_password() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let script = format!("ALTER ROLE {role} CONNECTION LIMIT 50;\n").repeat(200);
    // The person's own statement may lose against ours (`tuple concurrently updated`); only ours must not.
    let person = tokio::task::spawn_blocking(move || servers().postgres().psql(&script).is_ok());
    let admin = Arc::new(ground.admin());
    let mut actors = tokio::task::JoinSet::new();
    for number in (1..=20).rev() {
        let (admin, role) = (Arc::clone(&admin), role.clone());
        actors.spawn(async move {
            let (password, rotation) = (value(), format!("r{number}"));
            let answer = admin.apply(&change(&role, number, Phase::Apply, &rotation), &password).await;
            (number, password, answer.unwrap())
        });
    }
    let mut highest = None;
    for (number, password, answer) in actors.join_all().await {
        match answer {
            FenceAnswer::Applied if number == 20 => highest = Some(password),
            FenceAnswer::Applied => {}
            FenceAnswer::Fenced(row) => assert!(row.number > number, "{number} was fenced off by {row:?}"),
            FenceAnswer::Foreign { .. } => panic!("{number} {answer:?}"),
        }
    }
    assert!(logs_in(&ground, &role, &highest.expect("the highest number always passes")).await);
    assert_eq!(admin.fence(&role).await.unwrap().map(|row| row.number), Some(20));
    person.await.unwrap();
}

/// Somebody's `ALTER ROLE` commits while ours waits for it: PostgreSQL answers `tuple concurrently updated`, and the change is simply tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_somebody_else_at_the_same_time_is_no_failure() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let waits = format!("SELECT FROM pg_stat_activity WHERE usename = '{}' AND wait_event_type = 'Lock'", ground.admin_role);
    let script = format!(
        "BEGIN; ALTER ROLE {role} CONNECTION LIMIT 40; SELECT pg_advisory_lock_shared(hashtext('{role}')); \
         DO $$ BEGIN WHILE NOT EXISTS ({waits}) LOOP PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$; COMMIT"
    );
    let person = std::thread::spawn(move || servers().postgres().psql(&script));
    let altered = format!("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = hashtext('{role}')::int8::bit(32)::int8::oid");
    wait_until("the role is altered but not committed", LIMIT, || {
        (ground.psql(&format!("SELECT EXISTS ({altered})")) == "t").then_some(())
    });
    let password = value();
    assert_eq!(ground.admin().apply(&change(&role, 1, Phase::Apply, "r1"), &password).await.unwrap(), FenceAnswer::Applied);
    person.join().unwrap().unwrap();
    assert!(logs_in(&ground, &role, &password).await);
    let log = servers().postgres().log().unwrap();
    assert!(log.lines().any(|l| l.contains(&ground.admin_role) && l.contains("ERROR:  tuple concurrently updated")), "it did happen");
    assert_eq!(ground.psql(&format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'")), "40", "their change stands too");
}

/// Holds the role's row in an open transaction, as somebody's slow `ALTER ROLE` does, until the returned process ends.
fn hold(role: &str) -> std::thread::JoinHandle<bool> {
    let sql = format!("BEGIN; ALTER ROLE {role} CONNECTION LIMIT 40; SELECT pg_sleep(50), 'holding {role}'");
    let holder = std::thread::spawn(move || servers().postgres().psql(&sql).is_ok());
    let waiting = format!("SELECT pid FROM pg_stat_activity WHERE query LIKE '%''holding {role}''%' AND wait_event = 'PgSleep'");
    wait_until("the role's row is held", LIMIT, || servers().postgres().psql(&waiting).ok().filter(|pid| !pid.is_empty()));
    holder
}

fn end_holding(role: &str) {
    let sql =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%holding {role}''%' AND pid <> pg_backend_pid()");
    servers().postgres().psql(&sql).unwrap();
}

/// Lines of the server's log, continuation lines included, that name the role.
fn log_about(role: &str) -> String {
    servers().postgres().log().unwrap().lines().filter(|line| line.contains(role)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_an_error_nor_the_log_carries_the_inner_statement() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let holder = hold(&role);
    // Cancelled by the server's own time limit while it waits for the row.
    let cancelled = ground.admin_with(Duration::from_secs(2)).apply(&change(&role, 1, Phase::Apply, "r1"), &value()).await.unwrap_err();
    let AdminError::Server(failure) = &cancelled else { panic!("{cancelled:?}") };
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(failure.detail.contains("statement timeout"), "the server gives up first, and says so: {failure}");
    // Killed while it waits: the log's context is beyond what a function can catch, so that nothing with a verifier in it may ever wait.
    let (admin, name) = (ground.admin(), role.clone());
    let killed = tokio::spawn(async move { admin.apply(&change(&name, 1, Phase::Apply, "r1"), &value()).await });
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}' AND wait_event_type = 'Lock'",
        ground.admin_role
    );
    wait_until("the call waits and is killed", LIMIT, || servers().postgres().psql(&kill).ok().filter(|done| done == "t"));
    let killed = killed.await.unwrap().unwrap_err();
    end_holding(&role);
    assert!(!holder.join().unwrap(), "it was cut off");
    let log = log_about(&role);
    assert!(log.contains(&format!("SQL statement \"ALTER ROLE {role}\"")), "the context shows what it waited in: {log}");
    assert!(!log.contains("PASSWORD 'SCRAM"), "{log}");
    for shown in [format!("{cancelled} {cancelled:?}"), format!("{killed} {killed:?}")] {
        assert!(!shown.contains("SCRAM"), "{shown}");
    }
    // The way is free again, for the same change.
    assert_eq!(ground.admin().apply(&change(&role, 1, Phase::Apply, "r1"), &value()).await.unwrap(), FenceAnswer::Applied);
}

/// PostgreSQL's own example of a password policy refuses a password that is the role's name, and does so inside the statement with the verifier.
#[tokio::test]
async fn a_refusal_by_a_password_policy_says_why_and_shows_no_verifier() {
    let ground = Ground::installed().await;
    let (role, old) = ground.role();
    ground.psql(&format!("ALTER ROLE {} SET session_preload_libraries = 'passwordcheck'", ground.admin_role));
    let refused = ground.admin().apply(&change(&role, 1, Phase::Apply, "r1"), &Secret::new(role.as_str())).await.unwrap_err();
    let shown = format!("{refused} {refused:?}");
    assert!(shown.contains("password must not") && !shown.contains("SCRAM"), "{shown}");
    let log = servers().postgres().log().unwrap();
    assert!(log.contains("ERROR:  password must not"), "the server logs the refusal");
    assert!(!log_about(&role).contains("PASSWORD 'SCRAM"), "{}", log_about(&role));
    assert_eq!(ground.admin().fence(&role).await.unwrap(), None, "row and password change together or not at all");
    assert!(logs_in(&ground, &role, &old).await);
}

#[tokio::test]
async fn the_log_of_a_server_that_logs_everything_shows_verifiers_at_most() {
    let ground = Ground::installed().await;
    let (role, _) = ground.role();
    let (admin, password) = (ground.admin(), value());
    admin.apply(&change(&role, 1, Phase::Apply, "r1"), &password).await.unwrap();
    assert!(logs_in(&ground, &role, &password).await);
    let log = servers().postgres().log().unwrap();
    let about = log_about(&role);
    assert!(about.contains("$6 = 'SCRAM-SHA-256$4096:"), "log_statement = all does log bound parameters: {about}");
    assert!(!log.contains(password.expose()), "a clear password stands in the server's log");
    quiet_where_allowed(&ground, &admin, &role).await;
}

/// From PostgreSQL 15 on, an admin that is allowed to keeps verifiers out of the log too.
async fn quiet_where_allowed(ground: &Ground, admin: &Admin, role: &str) {
    if ground.psql("SELECT current_setting('server_version_num')::int >= 150000") != "t" {
        return;
    }
    ground.psql(&format!("GRANT SET ON PARAMETER log_parameter_max_length TO {}", ground.admin_role));
    let before = servers().postgres().log().unwrap().matches("SCRAM-SHA-256").count();
    let own = |log: &str| log.lines().filter(|line| line.contains(role) && line.contains("SCRAM")).count();
    let lines = own(&servers().postgres().log().unwrap());
    admin.apply(&change(role, 2, Phase::Apply, "r2"), &value()).await.unwrap();
    assert!(before > 0 && lines > 0);
    assert_eq!(own(&servers().postgres().log().unwrap()), lines);
}
