//! Whether the newest backup of Vault is as young as `[backup] every` wants it, judged by what stands in the folder: a command that nobody runs,
//! or that fails every night, is seen all the same. It never makes a backup, and never opens one.

use super::shared::Shared;
use crate::commands::backup::kept::{self, Kept};
use crate::config::BackupConfig;
use crate::metrics::families as f;
use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Severity};
use std::sync::Arc;
use std::time::Duration;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a look may take: a network disk may not answer.
const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "backup-overdue";

/// What a look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The newest backup, if there is one.
    Newest(Option<Kept>),
    /// The folder cannot be looked into.
    Unreadable(String),
}

/// The watch. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    loop {
        look(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shared.stopped() => return,
        }
    }
}

async fn look(shared: &Shared) {
    let config = shared.live().config.backup.clone();
    let Some(folder) = config.folder.clone() else {
        show(shared, 0, false);
        shared.alerts.resolve(KEY, "no folder of backups is watched");
        return;
    };
    let asked = tokio::task::spawn_blocking(move || kept::find(&folder));
    let seen = match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(Ok(found))) => Seen::Newest(found.last().cloned()),
        Ok(Ok(Err(error))) => Seen::Unreadable(error.to_string()),
        Ok(Err(error)) => Seen::Unreadable(error.to_string()),
        Err(_) => Seen::Unreadable(format!("its disk does not answer within {} s", LIMIT.as_secs())),
    };
    let now = Timestamp::now();
    let overdue = overdue(&config, &seen, now);
    let at = if let Seen::Newest(Some(newest)) = &seen { newest.at.as_second() } else { 0 };
    show(shared, at, overdue.is_some());
    match overdue {
        Some(happened) => shared.alerts.raise(alert(happened, now)),
        None => shared.alerts.resolve(KEY, "the newest backup is young enough"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
fn show(shared: &Shared, at: i64, is_overdue: bool) {
    shared.metrics.set(&f::BACKUP_LAST, &[], at as f64);
    shared.metrics.set(&f::BACKUP_OVERDUE, &[], f64::from(u8::from(is_overdue)));
}

/// Why it is overdue; `None` when it is not, or nobody wants to be told.
fn overdue(config: &BackupConfig, seen: &Seen, now: Timestamp) -> Option<String> {
    let (every, folder) = (config.every?, config.folder.as_ref()?.display());
    match seen {
        Seen::Unreadable(why) => Some(format!("Nobody knows how old the newest backup of Vault is: {folder} cannot be looked into: {why}")),
        Seen::Newest(None) => Some(format!("There is no backup of Vault in {folder}.")),
        Seen::Newest(Some(newest)) => {
            let age = now.duration_since(newest.at);
            let limit = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
            let made = crate::view::whole_seconds(newest.at);
            (age > limit).then(|| format!("The newest backup of Vault in {folder} was made at {made}, {} hours ago.", age.as_hours()))
        }
    }
}

fn alert(happened: String, at: Timestamp) -> Alert {
    Alert {
        key: KEY.into(),
        severity: Severity::Warning,
        title: "backup overdue".into(),
        account: Account {
            happened,
            now: "Vault works; if it is lost now, everything written since that backup is lost with it.".into(),
            next: "Keyward looks again every half minute, and makes none by itself.".into(),
            act: "keyward backup\nkeyward backup list".into(),
        },
        owner: None,
        secret: Some("vault".into()),
        at,
        passes_after: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::super::world::World;
    use super::*;
    use crate::alerts::Command;

    #[test]
    fn only_what_is_older_than_wanted_is_overdue() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let config = BackupConfig { folder: Some("/b".into()), every: Some(Duration::from_hours(24)), ..BackupConfig::default() };
        let made = |text: &str| Seen::Newest(Some(Kept { at: text.parse().unwrap(), name: String::new() }));
        let says = |config: &BackupConfig, seen: &Seen| overdue(config, seen, now).unwrap_or_default();
        assert_eq!(says(&config, &made("2026-11-23T12:00:00Z")), "");
        assert!(says(&config, &made("2026-11-23T11:59:59Z")).contains("24 hours ago"));
        assert_eq!(says(&config, &made("2026-12-01T00:00:00Z")), "", "made by a clock that was ahead");
        assert!(says(&config, &Seen::Newest(None)).contains("no backup of Vault in /b"));
        assert!(says(&config, &Seen::Unreadable("gone".into())).contains("gone"));
        assert_eq!(says(&BackupConfig { every: None, ..config }, &Seen::Newest(None)), "");
    }

    #[tokio::test]
    async fn the_watch_tells_of_an_empty_folder_and_is_quiet_once_a_backup_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let backup = format!("[backup]\nfolder = \"{}\"\nevery = \"24h\"\n", folder.path().display());
        let mut world = World::new(&format!("[vault]\naddress = \"http://127.0.0.1:1\"\n{backup}")).await;
        look(&world.shared).await;
        let Command::Raise(alert) = world.said_of(KEY).await else { panic!("it is not told?") };
        assert!(alert.account.happened.contains("no backup"), "{}", alert.account.happened);
        assert!(world.shared.metrics.series(&f::BACKUP_OVERDUE, &[]).get() > 0.0);
        std::fs::write(folder.path().join(kept::name(Timestamp::now(), true)), b"x").unwrap();
        look(&world.shared).await;
        assert!(matches!(world.said_of(KEY).await, Command::Resolve { .. }));
        let metrics = &world.shared.metrics;
        assert!(metrics.series(&f::BACKUP_OVERDUE, &[]).get() < 1.0 && metrics.series(&f::BACKUP_LAST, &[]).get() > 1.0);
    }
}
