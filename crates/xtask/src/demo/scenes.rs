//! The scenes, in order. Each says what is about to happen, does it, and checks it from outside.

use super::World;
use super::consumers::{self, Tally};
use super::telling::{Claims, chapter, fact};
use anyhow::{Context, Result, bail, ensure};
use keyward_harness::{Message, Process, Signal};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The whole play; the daemon as it is at the end.
pub(crate) fn all(world: &World<'_>, claims: &mut Claims) -> Result<Process> {
    prepare(world, claims)?;
    let daemon = world.shop.serve()?;
    let ready = || world.shop.http("/readyz").unwrap_or_default();
    wait("the daemon to be ready", Duration::from_secs(30), || ready().0 == 200).with_context(|| format!("/readyz says {}", ready().1))?;
    // An increase is counted from the first figure that Prometheus has.
    let is_scraped = || value(world, "count(keyward_rotations_total)") > 0.0;
    wait("Prometheus to see the daemon", Duration::from_mins(1), is_scraped)?;
    fact("The daemon is up and ready, and Prometheus sees it.");
    no_failed_login(world, claims)?;
    every_kind(world, claims);
    let daemon = killed_in_the_middle(world, claims, daemon)?;
    refused_by_the_database(world, claims)?;
    sealed(world, claims)?;
    seen_by_prometheus(world, claims);
    audited(world, claims);
    nothing_shown(world, claims);
    Ok(daemon)
}

/// Looks until `f` says yes.
fn wait(what: &str, limit: Duration, mut f: impl FnMut() -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !f() {
        if began.elapsed() > limit {
            bail!("waited {limit:?} for {what} in vain");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(began.elapsed())
}

fn prepare(world: &World<'_>, claims: &mut Claims) -> Result<()> {
    chapter("First steps", "An operator installs the fence function, asks whether the configuration can work, and what will happen when.");
    fact(world.shop.must(&["init", "postgres", "shop-database", "legacy"])?.trim_end());
    let check = world.shop.run(&["check"])?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    for line in text.lines().filter(|l| l.contains('✗') || l.contains('!')).take(6) {
        fact(line.trim());
    }
    claims.check("`keyward check` finds nothing that cannot work", || {
        ensure!(
            check.status.success(),
            "it ended with {}: {}",
            check.status,
            text.lines().filter(|l| l.contains('✗')).collect::<Vec<_>>().join("; ")
        );
        Ok(format!("{} checks", text.matches('✓').count()))
    });
    fact(world.shop.must(&["plan"])?.trim_end());
    Ok(())
}

/// Two users take turns under load.
fn no_failed_login(world: &World<'_>, claims: &mut Claims) -> Result<()> {
    chapter(
        "Five rotations under load",
        "Two consumers log in to PostgreSQL every 50 ms with what they read from Vault, while shop-database is rotated five times.",
    );
    let tally = Tally::default();
    let mut users = Vec::new();
    let rotated = std::thread::scope(|scope| -> Result<u32> {
        let consumers = consumers::start(scope, world.shop, "shop/database", &tally);
        let outcome = rotate_five_times(world, &mut users);
        tally.stop();
        for consumer in consumers {
            let _ = consumer.join();
        }
        outcome
    })?;
    let (ok, failed) = (tally.ok.load(Ordering::Relaxed), tally.failed.load(Ordering::Relaxed));
    fact(&format!("{rotated} rotations, {ok} logins, {failed} failed; the user in force was in turn {}", users.join(", ")));
    claims.check("no login fails while two users take turns", || {
        ensure!(rotated >= 5, "only {rotated} rotations");
        ensure!(failed == 0, "{failed} of {} logins failed, first: {}", ok + failed, tally.first_failure());
        ensure!(ok > 100, "only {ok} logins: too few to mean anything");
        Ok(format!("{rotated} rotations, {ok} logins, 0 failed"))
    });
    claims.check("only the named fields change", || {
        let now = world.shop.published("shop/database")?;
        ensure!(
            now.get("region") == Some(&Value::from("eu-1")) && now.pointer("/pool/size") == Some(&Value::from(10)),
            "another field changed"
        );
        Ok("region and pool are what they were".into())
    });
    Ok(())
}

fn rotate_five_times(world: &World<'_>, users: &mut Vec<String>) -> Result<u32> {
    let mut rotated = 0;
    let began = Instant::now();
    while rotated < 5 {
        ensure!(began.elapsed() < Duration::from_mins(2), "five rotations took longer than two minutes");
        let output = world.shop.run(&["rotate", "shop-database"])?;
        match output.status.code() {
            Some(0) => {
                rotated += 1;
                let user = world.shop.published("shop/database")?;
                users.push(user.get("username").and_then(Value::as_str).unwrap_or("?").to_owned());
                if rotated == 1 {
                    fact(String::from_utf8_lossy(&output.stderr).trim_end());
                }
                fact(String::from_utf8_lossy(&output.stdout).trim_end());
                // A consumer that re-reads every half second must have had its turn before the idle user is changed again.
                std::thread::sleep(Duration::from_millis(1_500));
            }
            // Deferred: the idle user is still in use. That is the gate at work; it is asked again.
            Some(75) => std::thread::sleep(Duration::from_millis(200)),
            _ => bail!("keyward rotate: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        }
    }
    Ok(rotated)
}

fn every_kind(world: &World<'_>, claims: &mut Claims) {
    chapter(
        "The other kinds",
        "A single user, a static role of Vault's own, a JWT key set, a random token, and a key that a person brings.",
    );
    for name in ["legacy", "reporting", "session-signing", "webhook-token"] {
        claims.check(&format!("{name} is rotated and proved"), || Ok(world.shop.must(&["rotate", name])?.trim_end().to_owned()));
    }
    claims.check("openai takes the key that a person brings", || {
        let output = world.shop.run_with_input(&["supply", "openai"], "sk-demo-brought-by-a-person")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let now = world.shop.published("shop/openai")?;
        ensure!(now.get("api_key") == Some(&Value::from("sk-demo-brought-by-a-person")), "the key was not published");
        ensure!(now.get("organization") == Some(&Value::from("org-1")), "the organization changed");
        Ok("published by standard input, never by an argument".into())
    });
}

/// SIGKILL between ALTER ROLE and the proof.
fn killed_in_the_middle(world: &World<'_>, claims: &mut Claims, daemon: Process) -> Result<Process> {
    chapter(
        "Killed right after ALTER ROLE",
        "The password of `legacy` is changed in PostgreSQL; before Keyward can prove and publish it, the daemon gets kill -9. What Vault \
         hands out is dead now. Then the daemon is started again.",
    );
    // What it counted since the last scrape would die with it.
    let (counted, query) = (total(world, "rotated")?, "sum(keyward_rotations_total{outcome=\"rotated\"})");
    wait("Prometheus to see all rotations", Duration::from_secs(30), || value(world, query) >= counted)?;
    let verifier = || world.postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", world.shop.legacy));
    let before = verifier()?;
    // Two locks make the moment: one holds the ALTER ROLE back until the other stands, which then holds the proof.
    let role = world.postgres.psql_hold(&world.shop.database, &format!("ALTER ROLE \"{}\" CONNECTION LIMIT -1", world.shop.legacy))?;
    let mut rotate = world.shop.command(&["rotate", "legacy"]);
    rotate.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut rotate = rotate.spawn().context("run keyward rotate")?;
    let is_staged = || world.shop.record("legacy").is_ok_and(|record| rotation_id(&record).is_some());
    wait("the new password to be stored in Vault", Duration::from_secs(20), is_staged)?;
    let table = world.postgres.psql_hold(&world.shop.database, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")?;
    drop(role);
    wait("the password to change in PostgreSQL", Duration::from_secs(20), || verifier().is_ok_and(|now| now != before))?;
    let staged = rotation_id(&world.shop.record("legacy")?).context("the record is not staged")?;
    daemon.signal(Signal::KILL)?;
    daemon.wait(Duration::from_secs(5)).context("the daemon survived kill -9")?;
    let _ = rotate.wait();
    drop(table);
    let dead = world.shop.consume("shop/legacy").is_err();
    fact(&format!(
        "Rotation {staged} is staged in Vault; the daemon is dead; the published password {}.",
        if dead { "no longer works" } else { "still works" }
    ));
    let restarted = Instant::now();
    let daemon = world.shop.serve()?;
    let mut works = None;
    wait("the rotation to be finished", Duration::from_secs(30), || {
        works = works.or_else(|| world.shop.consume("shop/legacy").is_ok().then(|| restarted.elapsed()));
        works.is_some() && world.shop.record("legacy").is_ok_and(|r| r.pointer("/phase/state") == Some(&Value::from("idle")))
    })?;
    let noted = world.vault.must("GET", &format!("{}/metadata/shop/legacy", world.shop.kv), None)?;
    claims.check("after kill -9 the same rotation is finished, and the value works", || {
        ensure!(dead, "the old password still worked: the kill came too early to prove anything");
        let finished = noted.pointer("/data/custom_metadata/legacy.rotation").and_then(Value::as_str).unwrap_or("none");
        ensure!(finished == staged, "rotation {finished} was finished, {staged} was staged");
        Ok(format!("{staged}, {:.1} s after the restart", works.unwrap_or_default().as_secs_f64()))
    });
    Ok(daemon)
}

fn rotation_id(record: &Value) -> Option<String> {
    record.pointer("/phase/rotation").and_then(Value::as_str).map(str::to_owned)
}

/// The user whose turn it is may not connect: the new password cannot be proved.
fn refused_by_the_database(world: &World<'_>, claims: &mut Claims) -> Result<()> {
    chapter(
        "A database that refuses the new password",
        "The user whose turn it is may not connect (CONNECTION LIMIT 0), so that its new password cannot be proved.",
    );
    let before = world.shop.published("shop/database")?;
    let current = before.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
    let idle = world.shop.users.iter().find(|user| **user != current).context("no idle user")?;
    world.postgres.psql(&format!("ALTER ROLE \"{idle}\" CONNECTION LIMIT 0"))?;
    let output = world.shop.run(&["rotate", "shop-database"])?;
    world.postgres.psql(&format!("ALTER ROLE \"{idle}\" CONNECTION LIMIT -1"))?;
    fact(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
    claims.check("a refused password is rolled back, and the old one works", || {
        ensure!(output.status.code() == Some(1), "keyward rotate ended with {}", output.status);
        ensure!(world.shop.published("shop/database")? == before, "what is published changed");
        world.shop.consume("shop/database")?;
        Ok("what consumers read is what it was".into())
    });
    claims.check("the mail says why", || {
        let mail = mail(world, Duration::from_secs(15), |m| m.subject.contains("shop-database") && m.subject.contains("rolled back"))?;
        fact(&first_lines(&mail, 7));
        ensure!(mail.body.contains("connection"), "the mail does not name the cause");
        Ok(mail.subject)
    });
    let again = world.shop.must(&["rotate", "shop-database"])?;
    fact(again.trim_end());
    Ok(())
}

fn sealed(world: &World<'_>, claims: &mut Claims) -> Result<()> {
    chapter("Vault is sealed", "Nothing can be rotated now; a person must hear of it at once, although Vault is shut.");
    let rotations = || world.shop.metric("keyward_planner_last_tick_timestamp_seconds");
    let began = Instant::now();
    world.vault.seal()?;
    claims.check("mail within 15 s of the seal", || {
        let mail = mail(world, Duration::from_secs(15), |m| m.subject.contains("CRITICAL") && m.body.contains("Vault is sealed"))?;
        fact(&first_lines(&mail, 12));
        Ok(format!("{:.1} s: {}", began.elapsed().as_secs_f64(), mail.subject))
    });
    claims.check("Prometheus fires on the seal", || {
        wait("KeywardVaultSealed to fire", Duration::from_secs(15), || firing(world, "KeywardVaultSealed"))?;
        Ok("KeywardVaultSealed is firing".into())
    });
    world.vault.unseal()?;
    let unsealed = Instant::now();
    claims.check("mail when it is well again", || {
        let mail = mail(world, Duration::from_secs(30), |m| m.subject.contains("RESOLVED") && m.body.contains("seal"))?;
        Ok(format!("{:.1} s: {}", unsealed.elapsed().as_secs_f64(), mail.subject))
    });
    claims.check("the schedule goes on without a burst", || {
        let before = total(world, "rotated")?;
        wait("the planner to look again", Duration::from_secs(15), || rotations().is_some())?;
        world.shop.must(&["rotate", "webhook-token"])?;
        let after = total(world, "rotated")?;
        ensure!((after - before - 1.0).abs() < 0.5, "{} rotations ran where one was asked for", after - before);
        Ok("one rotation asked for, one done".into())
    });
    Ok(())
}

fn seen_by_prometheus(world: &World<'_>, claims: &mut Claims) {
    chapter("What Prometheus saw", "The daemon's own figures, scraped every second.");
    for (claim, query, least) in [
        ("the rotations, across the restart", "sum(increase(keyward_rotations_total{outcome=\"rotated\"}[10m]))", 8.0),
        ("the one that was rolled back", "sum(keyward_rotations_total{outcome=\"rolled_back\"})", 1.0),
        ("calls counted from the audit log", "sum(keyward_audit_entries_total)", 100.0),
        ("proofs of what consumers read", "sum(keyward_proofs_total{result=\"valid\"})", 1.0),
    ] {
        claims.check(&format!("Prometheus shows {claim}"), || {
            let mut seen = 0.0;
            let enough = wait(claim, Duration::from_secs(15), || {
                seen = value(world, query);
                seen >= least
            });
            enough.map(|_| format!("{seen}")).with_context(|| format!("{query} is {seen}, at least {least} was expected"))
        });
    }
}

fn audited(world: &World<'_>, claims: &mut Claims) {
    chapter("Who used the root token?", "This demo did, to look at things. Keyward read it in Vault's audit log.");
    claims.check("a finding for the root token reaches a person", || {
        let mail = mail(world, Duration::from_secs(20), |m| m.body.to_lowercase().contains("root token"))?;
        Ok(mail.subject)
    });
}

/// Looks through everything that Keyward and PostgreSQL wrote for every value that was ever published.
fn nothing_shown(world: &World<'_>, claims: &mut Claims) {
    chapter("Nothing shown", "Every value that was published is looked for in logs, mails, metrics, the local store and PostgreSQL's log.");
    claims.check("no value stands where it should not", || {
        for page in ["/metrics", "/api/v1/status"] {
            world.shop.http(page)?;
        }
        let leaks = world.shop.leaks()?;
        ensure!(leaks.is_empty(), "{leaks:?}");
        Ok(format!("{} values looked for", world.shop.values()?.len()))
    });
}

fn mail(world: &World<'_>, limit: Duration, wanted: impl FnMut(&Message) -> bool) -> Result<Message> {
    let seen = || world.smtp.messages().iter().map(|m| m.subject.clone()).collect::<Vec<_>>().join(" | ");
    world.smtp.wait_for(wanted, limit).with_context(|| format!("no such mail within {limit:?}; there are: {}", seen()))
}

fn first_lines(mail: &Message, lines: usize) -> String {
    let head = [format!("Subject: {}", mail.subject)];
    head.into_iter().chain(mail.body.lines().take(lines).map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

fn firing(world: &World<'_>, alert: &str) -> bool {
    world.prometheus.alerts().is_ok_and(|all| {
        all.iter().any(|a| a.pointer("/labels/alertname") == Some(&Value::from(alert)) && a.get("state") == Some(&Value::from("firing")))
    })
}

fn value(world: &World<'_>, query: &str) -> f64 {
    let answer = world.prometheus.query(query).unwrap_or_default();
    answer.first().and_then(|r| r.pointer("/value/1")?.as_str()?.parse().ok()).unwrap_or(0.0)
}

/// The sum of one outcome over all secrets, from the daemon's own page.
fn total(world: &World<'_>, outcome: &str) -> Result<f64> {
    let (_, page) = world.shop.http("/metrics")?;
    let wanted = format!("outcome=\"{outcome}\"");
    let lines = page.lines().filter(|l| l.starts_with("keyward_rotations_total{") && l.contains(&wanted));
    Ok(lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
