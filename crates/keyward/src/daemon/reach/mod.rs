//! Sees that the databases and the ways to people can be reached: until each was, the daemon is not ready, and later somebody is told.
//!
//! It never changes anything there and sends no notice. A rotation and a delivery find out for themselves; this is so that a person
//! hears of it before.

mod judge;
mod places;
mod words;

use super::shared::{Live, Shared};
use crate::config::Config;
use jiff::Timestamp;
use judge::{Memory, Say};
use places::{Place, Trouble, places};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two looks at a database that is well.
const DATABASE: Duration = Duration::from_mins(1);
/// Between two looks at a way to people that is well.
const WAY: Duration = Duration::from_mins(10);
/// How long one try may take.
const LIMIT: Duration = Duration::from_secs(45);
/// The longest rest: the configuration may have been replaced meanwhile.
const REST: Duration = Duration::from_secs(1);

/// The names of what must be reached under a configuration.
pub fn names(config: &Config) -> Vec<String> {
    places(config).into_keys().collect()
}

/// The name in the key of an alert of this task.
pub fn name_in(key: &str) -> Option<&str> {
    key.strip_prefix(words::OUT_OF_REACH)?.strip_prefix('/')
}

/// Whether the key is that of a way to people.
pub fn is_of_a_way(key: &str) -> bool {
    name_in(key).is_some_and(|name| name.starts_with(places::BY))
}

/// The task. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut task = Reach { shared: Arc::clone(&shared), live: None, watched: BTreeMap::new(), tries: JoinSet::new() };
    loop {
        task.adopt();
        task.send_out();
        let rest = task.rest();
        tokio::select! {
            Some(tried) = task.tries.join_next(), if !task.tries.is_empty() => match tried {
                Ok(tried) => task.take_in(&tried),
                Err(error) => tracing::error!(%error, "A try to reach something ended abnormally."),
            },
            () = tokio::time::sleep(rest) => {}
            () = shared.stopped() => return,
        }
    }
}

struct Watched {
    place: Place,
    memory: Memory,
    next: Instant,
}

struct Tried {
    name: String,
    place: Place,
    result: Result<(), Trouble>,
}

struct Reach {
    shared: Arc<Shared>,
    live: Option<Arc<Live>>,
    watched: BTreeMap<String, Watched>,
    tries: JoinSet<Tried>,
}

impl Reach {
    /// Takes over the places of the configuration in force. What did not change is not tried anew.
    fn adopt(&mut self) {
        let live = self.shared.live();
        if self.live.as_ref().is_some_and(|known| Arc::ptr_eq(known, &live)) {
            return;
        }
        let mut wanted = places(&live.config);
        for name in self.watched.keys().filter(|name| !wanted.contains_key(*name)) {
            self.shared.alerts.resolve(words::key(name), "it is configured no more");
        }
        self.watched.retain(|name, watched| wanted.get(name) == Some(&watched.place));
        wanted.retain(|name, _| !self.watched.contains_key(name));
        self.watched
            .extend(wanted.into_iter().map(|(name, place)| (name, Watched { place, memory: Memory::default(), next: Instant::now() })));
        self.live = Some(live);
    }

    /// Starts the tries that are due, all at once; each has a time limit of its own.
    fn send_out(&mut self) {
        let Some(live) = &self.live else { return };
        let now = Instant::now();
        for (name, watched) in self.watched.iter_mut().filter(|(_, watched)| watched.next <= now) {
            // Not again before the answer, which sets the next one; should it never come, there is another try.
            watched.next = now + LIMIT * 2;
            let (name, place) = (name.clone(), watched.place.clone());
            let (live, environment) = (Arc::clone(live), self.shared.environment.clone());
            self.tries.spawn(async move {
                let late = |_| Err(Trouble { why: format!("no answer within {} s", LIMIT.as_secs()), told_elsewhere: false });
                let result = tokio::time::timeout(LIMIT, place.reach(&live, &environment)).await.unwrap_or_else(late);
                Tried { name, place, result }
            });
        }
    }

    fn rest(&self) -> Duration {
        let next = self.watched.values().map(|watched| watched.next).min();
        next.map_or(REST, |at| at.saturating_duration_since(Instant::now())).clamp(Duration::from_millis(10), REST)
    }

    fn take_in(&mut self, tried: &Tried) {
        // An answer about what was configured otherwise meanwhile says nothing any more.
        let Some(watched) = self.watched.get_mut(&tried.name).filter(|watched| watched.place == tried.place) else { return };
        let told = tried.result.as_ref().err().is_none_or(|trouble| !trouble.told_elsewhere);
        let say = watched.memory.take(tried.result.is_ok(), told);
        let usual = if matches!(watched.place, Place::Way { .. }) { WAY } else { DATABASE };
        watched.next = Instant::now() + watched.memory.pause(usual);
        match &tried.result {
            Ok(()) => self.shared.board.reached(&tried.name),
            Err(trouble) => {
                tracing::warn!(what = tried.name, error = trouble.why, "Something that is needed cannot be reached.");
                self.shared.board.waits(&tried.name, &trouble.why);
            }
        }
        match (say, &tried.result) {
            (Say::Raise, Err(trouble)) => {
                self.shared.alerts.raise(words::out_of_reach(&tried.name, &tried.place, &trouble.why, Timestamp::now()));
            }
            (Say::Resolve, _) => self.shared.alerts.resolve(words::key(&tried.name), "it can be reached"),
            _ => {}
        }
    }
}
