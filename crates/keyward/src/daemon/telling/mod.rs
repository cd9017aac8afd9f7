//! Tells people. One task owns the alerts' book and outbox, keeps both in the local store, and sends what is due.
//!
//! ```text
//! commands ──> book ──due──> outbox ──saved──> one delivery per route at a time ──> mail, webhook, Alertmanager
//! ```
//!
//! It never sends what was not saved first, never waits for a receiver before it takes the next command, and gives up nothing in
//! silence. Where the store cannot be written it tells all the same: telling twice after a crash is better than not telling.

mod stale;
mod trial;
mod ways;

pub use trial::test;

use super::reach;
use super::shared::{Live, Shared};
use crate::alerts::Command;
use crate::metrics::families as f;
use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Book, Delivery, Notice, Outbox, Retry, Route, SendError, Severity, Timing, Why};
use keyward_store::AlertState;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use ways::way_name;
pub use ways::{Channel, Ways};

/// How long the first alert waits for company. A seal is to be told within seconds.
const GROUP: SignedDuration = SignedDuration::from_secs(2);
/// Commands taken at once, so that a burst is saved by one transaction.
const BATCH: usize = 256;
/// The longest rest: the configuration may have been replaced meanwhile.
const REST: Duration = Duration::from_secs(1);
/// How often what merely lasts is saved, and ways that could not be built are tried again.
const SELDOM: Duration = Duration::from_mins(1);
/// How long a stop goes on sending.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often the store is asked for what was left, before it counts as lost.
const LOADS: u32 = 3;

const UNSAVED: &str = "alerts-not-saved";

/// The task. It ends when `rest_ended` does (its sender is used or dropped), which must come after the other tasks' end, so that
/// what they say last is told; what is due is then still sent, for a short while, and all else saved for the next start.
pub async fn run(shared: Arc<Shared>, mut commands: mpsc::Receiver<Command>, mut rest_ended: oneshot::Receiver<()>) {
    let mut teller = Teller::start(shared).await;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        teller.attend().await;
        let rest = teller.rest();
        tokio::select! {
            _ = commands.recv_many(&mut batch, BATCH) => teller.obey(&mut batch),
            Some(done) = teller.sending.join_next(), if !teller.sending.is_empty() => teller.take_result(done),
            () = tokio::time::sleep(rest) => {}
            _ = &mut rest_ended => break,
        }
    }
    while let Ok(command) = commands.try_recv() {
        batch.push(command);
    }
    teller.obey(&mut batch);
    teller.finish().await;
}

/// What became of one delivery.
struct Sent {
    id: u64,
    route: Route,
    result: Result<(), SendError>,
}

/// How much the state in the store lags behind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lag {
    None,
    /// A condition that was told goes on: worth saving now and then.
    Lasting,
    /// Something that must survive a crash.
    News,
}

struct Teller {
    shared: Arc<Shared>,
    live: Arc<Live>,
    ways: Ways,
    ways_built: Instant,
    ways_suspect: bool,
    book: Book,
    outbox: Outbox,
    lag: Lag,
    saved: Instant,
    sending: JoinSet<Sent>,
    busy: BTreeSet<Route>,
}

impl Teller {
    async fn start(shared: Arc<Shared>) -> Self {
        let live = shared.live();
        let now = Timestamp::now();
        let (book, outbox, lost) = restore(&shared, &live).await;
        declare_series(&shared);
        let mut teller = Self {
            ways: Ways::default(),
            ways_built: Instant::now(),
            ways_suspect: false,
            book,
            outbox,
            lag: Lag::None,
            saved: Instant::now(),
            sending: JoinSet::new(),
            busy: BTreeSet::new(),
            live,
            shared,
        };
        teller.adopt(now);
        if let Some(why) = lost {
            tracing::error!(why, "What was told and what waits to be told could not be restored.");
            teller.raise(memory_lost(&why, now), now);
        }
        teller
    }

    /// Everything that is due: other ways after a reload, notices into the outbox, the state into the store, deliveries on their way.
    async fn attend(&mut self) {
        let now = Timestamp::now();
        let live = self.shared.live();
        if !Arc::ptr_eq(&live, &self.live) {
            self.live = live;
            self.adopt(now);
        } else if self.ways_suspect && self.ways_built.elapsed() >= SELDOM {
            self.rebuild_ways(now);
        }
        self.enqueue_due(now);
        if self.lag == Lag::News || (self.lag == Lag::Lasting && self.saved.elapsed() >= SELDOM) {
            self.save(now).await;
        }
        self.send_due(now);
        self.show(now);
    }

    /// How long nothing needs to be done, unless a command or a result comes.
    fn rest(&self) -> Duration {
        let now = Timestamp::now();
        let next = self.book.next_due().map_or(REST, |due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
        next.clamp(Duration::from_millis(20), REST)
    }

    /// Takes over the configuration in force.
    fn adopt(&mut self, now: Timestamp) {
        self.book.set_timing(timing(&self.live));
        let stale: Vec<String> =
            self.book.open().into_iter().map(|told| told.alert.key).filter(|key| stale::is_stale(key, &self.live.config)).collect();
        for key in stale {
            self.resolve(&key, "it is configured no more", now);
        }
        self.rebuild_ways(now);
        self.outbox.hurry(now);
    }

    fn rebuild_ways(&mut self, now: Timestamp) {
        self.ways = Ways::build(&self.live.config.alert, &self.shared.environment);
        self.ways_built = Instant::now();
        self.ways_suspect = !self.ways.broken.is_empty();
        for channel in Channel::ALL {
            let key = format!("alert-way/{}", channel.label());
            match self.ways.broken.iter().find(|(broken, _)| *broken == channel) {
                Some((_, why)) => {
                    tracing::error!(way = channel.label(), why, "A way to people cannot be used.");
                    self.shared.metrics.inc(&f::DELIVERIES, &[channel.label(), "permanent"]);
                    let alert = way_broken(key, channel, why, now);
                    self.raise(alert, now);
                }
                None => self.resolve(&key, "it can be used again, or is configured no more", now),
            }
        }
        self.outbox.reroute(&self.ways.routes(), now);
    }

    fn obey(&mut self, batch: &mut Vec<Command>) {
        let now = Timestamp::now();
        for command in batch.drain(..) {
            match command {
                Command::Raise(alert) => self.raise(*alert, now),
                Command::Resolve { key, what } => self.resolve(&key, &what, now),
                Command::Test(answer) => {
                    let sending = trial::send(self.ways.clone(), Some(self.shared.metrics.clone()));
                    tokio::spawn(async move { answer.send(sending.await) });
                }
            }
        }
    }

    fn raise(&mut self, alert: Alert, now: Timestamp) {
        let lasts = alert.passes_after.is_none() && self.book.is_open(&alert.key);
        self.lag = self.lag.max(if lasts { Lag::Lasting } else { Lag::News });
        self.book.raise(alert, now);
    }

    fn resolve(&mut self, key: &str, what: &str, now: Timestamp) {
        if self.book.resolve(key, what, now) {
            self.lag = Lag::News;
        }
        if reach::is_of_a_way(key) {
            // A way is back, with another password perhaps: what was refused on it would wait for an hour.
            self.rebuild_ways(now);
            self.outbox.hurry(now);
        }
    }

    fn enqueue_due(&mut self, now: Timestamp) {
        let routes = self.ways.routes();
        for notice in self.book.due(now) {
            log(&notice, routes.is_empty());
            self.outbox.enqueue(&notice, &routes, now);
            self.lag = Lag::News;
        }
    }

    async fn save(&mut self, now: Timestamp) {
        let state = AlertState { book_json: self.book.to_json(), outbox_json: self.outbox.to_json(), saved: now };
        self.saved = Instant::now();
        self.lag = Lag::None;
        match self.shared.store.save_alerts(state).await {
            Ok(()) => self.resolve(UNSAVED, "the store can be written again", now),
            Err(error) => {
                tracing::error!(%error, "The alerts could not be saved.");
                self.raise(not_saved(&error.to_string(), now), now);
                // Not at once again: it may have taken its whole time limit.
                self.lag = Lag::Lasting;
            }
        }
    }

    /// Starts what is due: on each route one at a time and in order, the routes beside each other.
    fn send_due(&mut self, now: Timestamp) {
        for delivery in self.outbox.due(now, usize::MAX) {
            if self.busy.contains(&delivery.route) {
                continue;
            }
            let Some(notifier) = self.ways.notifier(&delivery.route) else { continue };
            self.busy.insert(delivery.route.clone());
            let metrics = self.shared.metrics.clone();
            self.sending.spawn(async move {
                let result = trial::deliver(notifier.as_ref(), &delivery, Some(&metrics)).await;
                Sent { id: delivery.id, route: delivery.route, result }
            });
        }
    }

    fn take_result(&mut self, done: Result<Sent, tokio::task::JoinError>) {
        let now = Timestamp::now();
        self.lag = Lag::News;
        match done {
            Ok(Sent { id, route, result }) => {
                self.busy.remove(&route);
                match result {
                    Ok(()) => {
                        tracing::info!(way = way_name(&route), "A notice was delivered.");
                        self.outbox.sent(id, now);
                    }
                    Err(error) => self.take_failure(id, &route, &error, now),
                }
            }
            Err(error) => {
                // It stays in the outbox; which route it was is unknown, so all are free again.
                tracing::error!(%error, "A delivery ended abnormally.");
                self.busy.clear();
            }
        }
    }

    fn take_failure(&mut self, id: u64, route: &Route, error: &SendError, now: Timestamp) {
        tracing::warn!(way = way_name(route), %error, "A notice was not delivered; it is tried again.");
        // The password may have been replaced since it was read.
        self.ways_suspect |= error.is_permanent();
        if let Some(delivery) = self.outbox.failed(id, error, now, random_share()) {
            tracing::error!(way = way_name(route), notice = delivery.message_id, "A notice was given up.");
            let alert = given_up(&delivery, error, now);
            self.raise(alert, now);
        }
    }

    fn show(&self, now: Timestamp) {
        let counts = self.book.counts(now);
        let metrics = &self.shared.metrics;
        for (severity, open) in Severity::ALL.into_iter().zip(counts.open) {
            #[expect(clippy::cast_precision_loss, reason = "the book is bounded")]
            metrics.set(&f::ALERTS_FIRING, &[severity.label()], open as f64);
        }
        #[expect(clippy::cast_precision_loss, reason = "the outbox is bounded")]
        metrics.set(&f::OUTBOX_PENDING, &[], self.outbox.len() as f64);
        let open: Vec<String> = self.book.open().iter().map(|told| format!("{} {}", told.alert.key, told.alert.headline())).collect();
        self.shared.board.update(|status| status.alerts = open);
    }

    /// Sends what can be sent within [`LAST_WORDS`] and saves the rest.
    async fn finish(mut self) {
        let until = Instant::now() + LAST_WORDS;
        // What waits for company waits no longer.
        let now = Timestamp::now();
        self.enqueue_due(now.checked_add(GROUP).unwrap_or(now));
        self.outbox.hurry(now);
        self.save(now).await;
        self.send_due(now);
        while let Ok(Some(done)) = tokio::time::timeout(until.saturating_duration_since(Instant::now()), self.sending.join_next()).await {
            self.take_result(done);
            self.send_due(Timestamp::now());
        }
        self.sending.shutdown().await;
        if !self.outbox.is_empty() {
            tracing::warn!(notices = self.outbox.len(), "Notices wait for the next start.");
        }
        self.save(Timestamp::now()).await;
    }
}

async fn restore(shared: &Shared, live: &Live) -> (Book, Outbox, Option<String>) {
    let new = || (Book::new(random_hex(), timing(live)), Outbox::new(Retry::default()));
    let mut loads = 1;
    let state = loop {
        match shared.store.load_alerts().await {
            Ok(state) => break state,
            Err(error) if loads >= LOADS => {
                let (book, outbox) = new();
                return (book, outbox, Some(error.to_string()));
            }
            Err(error) => tracing::warn!(%error, "The alerts could not be loaded; trying again."),
        }
        loads += 1;
        tokio::time::sleep(REST).await;
    };
    let Some(state) = state else {
        let (book, outbox) = new();
        return (book, outbox, None);
    };
    let (book, outbox) = (Book::from_json(&state.book_json, timing(live)), Outbox::from_json(&state.outbox_json, Retry::default()));
    let lost = book.as_ref().err().or(outbox.as_ref().err()).map(ToString::to_string);
    let (new_book, new_outbox) = new();
    (book.unwrap_or(new_book), outbox.unwrap_or(new_outbox), lost)
}

fn timing(live: &Live) -> Timing {
    let repeat = live.config.alert.repeat;
    let signed = |time: Duration| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    Timing { group: GROUP, first: signed(repeat.first), longest: signed(repeat.longest), ..Timing::default() }
}

fn declare_series(shared: &Shared) {
    for channel in Channel::ALL {
        for result in ["ok", "transient", "permanent"] {
            shared.metrics.series(&f::DELIVERIES, &[channel.label(), result]);
        }
        shared.metrics.series(&f::LAST_DELIVERY, &[channel.label()]);
    }
    for severity in Severity::ALL {
        shared.metrics.series(&f::ALERTS_FIRING, &[severity.label()]);
    }
}

/// The log tells too: it is all there is where nobody is configured to be told.
fn log(notice: &Notice, nobody: bool) {
    for told in &notice.alerts {
        let (key, alert, why) = (&told.alert.key, told.alert.headline(), notice.why.label());
        if notice.why == Why::Resolved {
            let what = told.over.as_ref().map_or("", |over| over.what.as_str());
            tracing::info!(key, alert, what, "Alert resolved.");
        } else {
            let severity = told.alert.severity.label();
            tracing::warn!(key, severity, alert, happened = told.alert.account.happened, why, nobody_to_tell = nobody, "Alert.");
        }
    }
}

fn about_alerts(key: String, severity: Severity, title: &str, account: Account, now: Timestamp) -> Alert {
    Alert { key, severity, title: title.to_owned(), account, owner: None, secret: Some("keyward".to_owned()), at: now, passes_after: None }
}

fn way_broken(key: String, channel: Channel, why: &str, now: Timestamp) -> Alert {
    let way = channel.label();
    let account = Account {
        happened: format!("The way to people by {way} cannot be used: {why}"),
        now: "What is to be told that way waits; other ways are used as usual.".to_owned(),
        next: "It is tried again every minute.".to_owned(),
        act: "Mend what is named above, then:\nkeyward alert test".to_owned(),
    };
    about_alerts(key, Severity::Warning, "alerts cannot be sent one way", account, now)
}

fn given_up(delivery: &Delivery, error: &SendError, now: Timestamp) -> Alert {
    let subject = delivery.notice.alerts.first().map_or_else(String::new, |told| told.alert.headline());
    let account = Account {
        happened: format!("A notice ({subject}) was refused for a week by {} and is given up: {error}", way_name(&delivery.route)),
        now: "That receiver was not told.".to_owned(),
        next: "Other receivers and other notices are not concerned.".to_owned(),
        act: "See to that receiver, then:\nkeyward alert test".to_owned(),
    };
    let alert =
        about_alerts(format!("alert-given-up/{}", way_name(&delivery.route)), Severity::Critical, "a notice was given up", account, now);
    Alert { passes_after: Some(SignedDuration::from_hours(24)), ..alert }
}

fn not_saved(why: &str, now: Timestamp) -> Alert {
    let account = Account {
        happened: format!("What was told, and what is still to be told, could not be saved: {why}"),
        now: "Alerts are sent nevertheless. If the daemon ended now, some would be told twice and some not at all.".to_owned(),
        next: "Saving is tried again at every change.".to_owned(),
        act: "See to the disk with Keyward's state folder:\ndf -h /var/lib/keyward".to_owned(),
    };
    about_alerts(UNSAVED.to_owned(), Severity::Critical, "alerts cannot be saved", account, now)
}

fn memory_lost(why: &str, now: Timestamp) -> Alert {
    let account = Account {
        happened: format!("At its start Keyward could not read what was told before and what still waited to be told: {why}"),
        now: "Notices that waited are lost. What is still wrong is seen and told anew; what ended meanwhile is not.".to_owned(),
        next: "Nothing; this is said once.".to_owned(),
        act: "Look at what is true now:\nkeyward status".to_owned(),
    };
    let alert = about_alerts("alerts-memory-lost".to_owned(), Severity::Warning, "the memory of alerts was lost", account, now);
    Alert { passes_after: Some(SignedDuration::from_hours(1)), ..alert }
}

/// Random digits that tell this installation's notices from others'.
fn random_hex() -> String {
    format!("{:08x}", random_u32())
}

/// Between 0 and 1, so that daemons do not all try again at the same moment.
fn random_share() -> f64 {
    f64::from(random_u32()) / f64::from(u32::MAX)
}

/// Nothing secret hangs on it: without the system's randomness the clock does.
fn random_u32() -> u32 {
    getrandom::u32().unwrap_or_else(|_| Timestamp::now().subsec_nanosecond().unsigned_abs())
}

#[cfg(test)]
mod tests;
