//! Which secrets are overdue, judged apart from the planner: from the last proved success and the schedule alone.
//!
//! So a planner that hangs, or plans wrongly, is seen. What the planner last showed is used while it is fresh; once it stands still,
//! the records are read here.

use super::shared::{Live, Shared};
use crate::assembly::Managed;
use crate::metrics::families as f;
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_rotation::plan;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(15);
/// A planner that has not looked for so long stands still: it looks every few seconds, and its slowest look is bounded by time limits.
const STANDS_STILL: Duration = Duration::from_mins(3);
/// Records read in one look, where the planner does not.
const READS: usize = 50;

/// Until when a secret was last proved, or else first seen.
type Proved = HashMap<String, Timestamp>;

/// The watch. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut own = Proved::new();
    loop {
        look(&shared, &mut own).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shared.stopped() => return,
        }
    }
}

async fn look(shared: &Shared, own: &mut Proved) {
    let live = shared.live();
    own.retain(|name, _| live.secrets.contains_key(name));
    let idle = shared.planner_idle();
    tell_planner(shared, idle);
    if idle > STANDS_STILL {
        read(&live, own).await;
    } else {
        own.clear();
    }
    let shown = shared.board.status().secrets;
    let now = Timestamp::now();
    for (name, managed) in &live.secrets {
        let seen = shown.get(name).and_then(|s| s.last_success.or(s.first_seen));
        // What others have proved meanwhile counts, too; time never makes a proof undone.
        let Some(proved) = seen.max(own.get(name).copied()) else { continue };
        let since = plan::overdue_since(now, name, proved, &managed.policy);
        shared.metrics.set(&f::OVERDUE, &[name, &managed.config.class], f64::from(u8::from(since.is_some())));
        tell(shared, managed, since);
    }
}

/// Reads records in the planner's place, a bounded number at a look; those read longest ago first are not known, so all have their turn.
async fn read(live: &Live, own: &mut Proved) {
    let mut names: Vec<&String> = live.secrets.keys().collect();
    names.sort_by_key(|name| own.contains_key(*name));
    for name in names.into_iter().take(READS) {
        match live.engine.load(name).await {
            Ok(stored) => {
                if let Some(record) = stored.record {
                    own.insert(name.clone(), record.last_success.unwrap_or(record.first_seen));
                }
            }
            Err(_) => return, // the others would fare no better; the watch over Vault tells why
        }
    }
}

fn tell_planner(shared: &Shared, idle: Duration) {
    if idle <= STANDS_STILL {
        shared.alerts.resolve("planner-stopped", "the planner looks at the secrets again");
        return;
    }
    shared.alerts.raise(Alert {
        key: "planner-stopped".into(),
        severity: Severity::Critical,
        title: "the planner stands still".into(),
        account: Account {
            happened: format!("Keyward's planner has not looked at the secrets for {} minutes.", idle.as_secs() / 60),
            now: "What is published is proved at its intervals as before; nothing is rotated.".into(),
            next: "Secrets that become overdue meanwhile are told one by one.".into(),
            act: "Look for `planner` in the log, then restart the daemon: a slot that was missed is caught up with.".into(),
        },
        owner: None,
        secret: None,
        at: Timestamp::now(),
        passes_after: None,
    });
}

fn tell(shared: &Shared, managed: &Managed, since: Option<Timestamp>) {
    let name = &managed.spec.name;
    let key = format!("overdue/{name}");
    let Some(since) = since else {
        shared.alerts.resolve(key, format!("{name} is within its schedule again"));
        return;
    };
    shared.alerts.raise(Alert {
        key,
        severity: Severity::Warning,
        title: "overdue".into(),
        account: Account {
            happened: format!(
                "{name} was not rotated and proved for longer than its schedule allows: it was due at {}.",
                crate::view::whole_seconds(since)
            ),
            now: "The published value is older than it should be; nothing else is known to be wrong with it.".into(),
            next: "The planner goes on as `keyward plan` says.".into(),
            act: format!("keyward status {name}\nkeyward plan"),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::super::world::{World, vault_section};
    use super::*;
    use crate::alerts::Command;
    use keyward_engine::stored::{Held, encode};
    use keyward_harness::servers;
    use keyward_rotation::record::Record;
    use std::time::Instant;

    /// No planner runs in this test, and none has ever shown anything.
    #[tokio::test]
    async fn a_planner_that_does_not_run_is_told_and_what_is_overdue_is_seen_all_the_same() {
        let vault = servers().vault();
        let records = vault.kv_mount();
        let secret = "[[secret]]\nname = \"token\"\nclass = \"api-key\"\nkind = \"random\"\npath = \"kv/x\"\nissuer = \"self\"\nset = { token = \"{value}\" }\n";
        let mut world = World::new(&format!("{}record_mount = \"{records}\"\n{secret}", vault_section(vault))).await;
        let live = world.shared.live();
        live.vault.client().set_token(&vault.root_token.clone().into()).unwrap();
        let long_ago: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
        let fields = encode(&Record::first_seen("token", long_ago), &Held::default()).unwrap();
        live.vault.client().kv_write(&records, "token", 0, &fields).await.unwrap();
        world.shared.planner_looked(Instant::now().checked_sub(STANDS_STILL + Duration::from_mins(1)).unwrap());

        look(&world.shared, &mut Proved::new()).await;
        let Command::Raise(stopped) = world.said_of("planner-stopped").await else { panic!("it does not stand still?") };
        assert!(stopped.account.happened.contains("for 4 minutes"), "{}", stopped.account.happened);
        let Command::Raise(overdue) = world.said_of("overdue/token").await else { panic!("it is not overdue?") };
        assert!(overdue.account.happened.contains("2020-01-01T02:00:00Z"), "{}", overdue.account.happened);
        assert!(world.shared.metrics.series(&f::OVERDUE, &["token", "api-key"]).get() > 0.0);
    }
}
