//! What the reading thread is told between two looks: only the latest of each kind is kept, so that it is bounded by itself.

use super::managed::{Splits, Wanted};
use super::own::Marks;
use keyward_audit::RuleBook;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How a log is looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Care {
    /// Whether a hash chain is kept over it.
    pub evidence: bool,
    /// How often the chain is handed out to be signed.
    pub sign_every: Option<Duration>,
    /// How the paths of canaries begin.
    pub canary: Option<String>,
}

/// News for the reading thread.
#[derive(Default)]
pub struct News {
    /// What our own calls look like.
    pub own: Option<Marks>,
    /// The server's mounts and their types, as the log names them.
    pub mounts: Option<BTreeMap<String, String>>,
    /// Where the configured secrets are.
    pub splits: Option<Splits>,
    /// Another configuration: its secrets and rules.
    pub config: Option<(Wanted, RuleBook)>,
    /// How the log is looked after.
    pub care: Option<Care>,
    /// The thread is to end.
    pub stop: bool,
    woken: bool,
}

impl News {
    fn is_any(&self) -> bool {
        self.woken
            || self.stop
            || self.own.is_some()
            || self.mounts.is_some()
            || self.splits.is_some()
            || self.config.is_some()
            || self.care.is_some()
    }
}

/// The way into the reading thread.
#[derive(Default)]
pub struct Inbox(Mutex<News>, Condvar);

impl Inbox {
    /// Leaves news.
    pub fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.1.notify_one();
    }

    /// The file may have changed.
    pub fn wake(&self) {
        self.tell(|news| news.woken = true);
    }

    /// Whether the thread is to end; for a look between two chunks of a long log.
    pub fn stops(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stop
    }

    /// Waits for news, at most so long. `stop` stays.
    pub fn wait(&self, limit: Duration) -> News {
        let news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut news, _) = self.1.wait_timeout_while(news, limit, |news| !news.is_any()).unwrap_or_else(PoisonError::into_inner);
        let stop = news.stop;
        std::mem::replace(&mut *news, News { stop, ..News::default() })
    }
}
