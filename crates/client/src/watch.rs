//! A secret that is watched: it is read at an interval, and whoever holds the handle learns of a new version.

use crate::document::Document;
use crate::live::{Live, Origin, backoff};
use crate::{Client, Error};
use jiff::Timestamp;
use std::time::Duration;

/// Each look is a call and a line in Vault's audit log: more often than this does not pay, because a refused login looks at once.
const SHORTEST: Duration = Duration::from_millis(200);

struct Watched {
    client: Client,
    path: String,
    /// Its number, and when it was written: after a restore of Vault numbers come again.
    seen: (u64, Option<Timestamp>),
    interval: Duration,
}

impl Client {
    /// Watches a secret: it is read every `interval`, and at once on [`Live::refresh`]. Vault tells nobody of a change by itself.
    ///
    /// # Errors
    /// As [`Client::get`], for the first look.
    pub async fn watch(&self, path: &str, interval: Duration) -> Result<Live<Document>, Error> {
        let first = self.get(path).await?;
        let (path, seen) = (first.path.clone(), (first.version, first.written));
        Ok(Live::start(first, Watched { client: self.clone(), path, seen, interval: interval.max(SHORTEST) }))
    }
}

impl Origin for Watched {
    type Value = Document;

    fn name(&self) -> String {
        self.path.clone()
    }

    async fn look(&mut self, _asked: bool) -> Result<Option<Document>, Error> {
        let read = self.client.get(&self.path).await?;
        let seen = (read.version, read.written);
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        Ok(Some(read))
    }

    fn pause(&self, failures: u32) -> Duration {
        if failures == 0 { self.interval } else { backoff(failures, self.interval.max(Duration::from_secs(5))) }
    }
}
