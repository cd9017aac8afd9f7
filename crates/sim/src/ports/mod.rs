//! The engine's ports over the simulated network: what one process sees of the world.

mod postgres;
mod vault;

pub(crate) use postgres::UNACCEPTABLE;

use crate::mutant::Mutant;
use crate::net::{Net, ProcId, Server};
use crate::world::{World, wall};
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_engine::kinds::{Laggards, Readers};
use keyward_engine::ports::Clock;
use keyward_engine::{Observer, Told, What};
use std::time::Duration;

/// The world as one process reaches it.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) net: Net,
    pub(crate) proc: ProcId,
}

#[async_trait]
impl Clock for Port {
    fn now(&self) -> Timestamp {
        let core = self.net.lock();
        wall(core.now(), core.procs.get(self.proc).map_or(0, |p| p.skew))
    }

    fn elapsed(&self) -> Duration {
        let core = self.net.lock();
        let (started, suspended) = core.procs.get(self.proc).map_or((0, 0), |p| (p.started, p.suspended));
        if core.world.mutant == Some(Mutant::TakeoverByWallClock) {
            drop(core);
            return Clock::now(self).duration_since(Timestamp::UNIX_EPOCH).unsigned_abs();
        }
        Duration::from_millis(core.now().saturating_sub(started).saturating_sub(suspended))
    }

    async fn sleep(&self, time: Duration) {
        self.net.sleep(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).await;
    }
}

#[async_trait]
impl Readers for Port {
    async fn laggards(&self, secret: &str, since: Timestamp) -> Laggards {
        let secret = secret.to_owned();
        let look = move |world: &mut World| Ok(world.laggards(&secret, since));
        let known: Result<Vec<String>, keyward_engine::Failure> =
            self.net.call(Server::Vault, || "asks who has not read yet".into(), look).await;
        // The daemon asks its own store, which the made network cannot take away: whoever could not be asked for counts as a reader.
        known.map_or_else(|failure| Laggards::Known(vec![format!("somebody ({failure})")]), Laggards::Known)
    }
}

impl Observer for Port {
    fn told(&self, told: &Told<'_>) {
        let mut core = self.net.lock();
        let name = core.procs.get(self.proc).map_or_else(String::new, |p| p.name.clone());
        let world = &mut core.world;
        if let What::Went { failure: Some(failure), .. } = &told.what {
            world.judge.read(&format!("{failure} {failure:?}"));
        }
        world.judge.read(told.rotation);
        world.story.say(world.now, &name, || match &told.what {
            What::Began { by, recovered: false } => format!("{}: rotation begins, asked by {by}", told.secret),
            What::Began { recovered: true, .. } => format!("{}: rotation {} is taken up", told.secret, told.rotation),
            What::Went { state, failure: None, .. } => format!("{}: {state:?} done", told.secret),
            What::Went { state, failure: Some(failure), .. } => format!("{}: {state:?} not done: {failure}", told.secret),
            What::Ended(end) => format!("{}: rotation {} ended: {end:?}", told.secret, told.rotation),
        });
    }
}
