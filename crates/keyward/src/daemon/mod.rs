//! The daemon: its tasks, what they share, and how it starts and stops.
//!
//! It starts unready where the world is not ready, says what it waits for, and recovers by itself. It fails at once only for
//! what no waiting mends: a configuration that is wrong, a port or a state folder that somebody else uses.

pub mod audit;
mod backup;
pub mod board;
pub mod control;
mod errand;
mod heartbeat;
pub mod http;
mod leases;
mod live;
pub mod observer;
mod overdue;
pub mod planner;
pub mod proof;
mod pulse;
mod reach;
pub mod requests;
pub mod rotations;
pub mod sd_notify;
pub mod shared;
pub mod skew;
mod supervisor;
pub mod telling;
pub mod token;
mod unreadable;
pub mod watch;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod world;

use crate::alerts::Alerts;
use crate::config::{Config, Environment};
use crate::metrics::{Metrics, families as f};
use crate::ports::{SystemClock, UsageReaders};
use anyhow::{Context, Result};
use jiff::Timestamp;
use keyward_engine::Claims;
use keyward_store::{Sqlite, StateDir};
use live::Lasting;
use observer::Ear;
use shared::Shared;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;
use tokio::signal::unix::{SignalKind, signal};

/// A task on its way.
type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a stop waits for rotations that are under way.
pub const DRAIN: Duration = Duration::from_secs(20);
/// How long a stop waits for everything.
const STOP: Duration = Duration::from_secs(30);

pub use live::{Lasting as EngineParts, build};

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting at all; see the module.
pub async fn serve(config: Config, config_file: PathBuf, environment: Environment) -> Result<()> {
    let state = StateDir::lock(&config.state_dir)?;
    let opened = Sqlite::open(&config.store, Timestamp::now()).await?;
    if let Some(aside) = &opened.moved_aside {
        tracing::error!(file = %aside.display(), "The local store was damaged and moved aside; history and the place in the audit logs begin anew.");
    }
    let store = Arc::new(opened.store);
    let metrics = Metrics::default();
    metrics.set(&f::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    metrics.set(&f::START, &[], Timestamp::now().as_second() as f64);
    metrics.set(&f::RELOAD_OK, &[], 1.0);
    for result in ["ok", "failed"] {
        metrics.series(&f::RELOADS, &[result]);
    }

    let http = http::bind(config.listen)?;
    let control = control::bind(&config.socket)?;
    let lasting = Arc::new(Lasting {
        owner: state.instance().as_str().to_owned(),
        claims: Claims::default(),
        clock: SystemClock::default(),
        ear: Arc::new(Ear::new(metrics.clone())),
        readers: Arc::new(UsageReaders::default()),
        environment: environment.clone(),
    });
    let live = live::build(config, &lasting, None)?;
    live::declare_series(&metrics, &live);
    let (alerts, commands) = Alerts::channel();
    let shared = Arc::new(Shared::new(live, metrics, alerts, store.clone(), Arc::clone(&lasting.readers), environment, config_file));
    announce(&shared);

    let mut supervisor = Supervisor::new(Arc::clone(&shared));
    // The alert task owns the receiving end and outlives the others, so that what they say last still goes out.
    let (rest_runs, rest_ended) = tokio::sync::oneshot::channel();
    let telling = tokio::spawn(telling::run(Arc::clone(&shared), commands, rest_ended));
    start_tasks(&mut supervisor, &shared, &lasting, http, control);
    heartbeat::start(Arc::clone(&shared)).await;
    let watchdog = tokio::spawn(sd_notify::feed_watchdog(Arc::clone(&shared)));
    sd_notify::ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), instance = state.instance().as_str(), "Keyward is up.");

    wait_for_the_end(&shared, &lasting).await?;
    tracing::info!("Stopping.");
    sd_notify::stopping();
    let _ = shared.stopping.send_replace(true);
    let drained = supervisor.drain(STOP).await;
    drop(rest_runs);
    let told = tokio::time::timeout(STOP, telling).await.is_ok();
    watchdog.abort();
    drop(shared);
    if let Some(store) = Arc::into_inner(store) {
        store.close().await?;
    }
    tracing::info!(drained, told, "Stopped.");
    Ok(())
}

/// What readiness waits for, on the board from the first moment.
fn announce(shared: &Shared) {
    let live = shared.live();
    shared.board.update(|status| {
        env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
        status.started = Some(Timestamp::now());
        status.waiting_for = awaited(&live.config);
    });
    for warning in &live.config.warnings {
        tracing::warn!(warning, "The configuration works, but should be looked at.");
    }
}

/// What readiness waits for under a configuration.
fn awaited(config: &Config) -> Vec<String> {
    let login = ["vault login".to_owned()];
    let records = (!config.secrets.is_empty()).then(|| "vault".to_owned());
    let logs = config.vault.nodes.iter().filter(|n| n.audit_log.is_some()).map(|n| format!("audit log of {}", n.name));
    login.into_iter().chain(records).chain(logs).chain(reach::names(config)).collect()
}

fn start_tasks(
    supervisor: &mut Supervisor,
    shared: &Arc<Shared>,
    lasting: &Arc<Lasting>,
    http: http::Listener,
    control: tokio::net::UnixListener,
) {
    let task = |run: fn(Arc<Shared>) -> Running| {
        let shared = Arc::clone(shared);
        move || run(Arc::clone(&shared))
    };
    supervisor.spawn("planner", task(|shared| Box::pin(planner::run(shared))));
    supervisor.spawn("overdue", task(|shared| Box::pin(overdue::run(shared))));
    supervisor.spawn("watch", task(|shared| Box::pin(watch::run(shared))));
    supervisor.spawn("token", task(|shared| Box::pin(token::run(shared))));
    supervisor.spawn("proof", task(|shared| Box::pin(proof::run(shared))));
    supervisor.spawn("leases", task(|shared| Box::pin(leases::run(shared))));
    supervisor.spawn("reach", task(|shared| Box::pin(reach::run(shared))));
    supervisor.spawn("backup", task(|shared| Box::pin(backup::run(shared))));
    supervisor.spawn("audit", task(|shared| Box::pin(audit::run(shared))));
    let (http, control) = (Arc::new(http), Arc::new(control));
    let on = Arc::clone(shared);
    supervisor.spawn("http", move || http::serve(Arc::clone(&http), Arc::clone(&on)));
    let (on, ear) = (Arc::clone(shared), Arc::clone(&lasting.ear));
    supervisor.spawn("control", move || control::run(Arc::clone(&control), Arc::clone(&on), Arc::clone(&ear)));
}

/// Waits for SIGTERM or SIGINT, reading the configuration again at each SIGHUP.
async fn wait_for_the_end(shared: &Shared, lasting: &Lasting) -> Result<()> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut terminate, mut interrupt, mut hangup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                sd_notify::reloading();
                live::reload(shared, lasting);
                sd_notify::ready();
            }
        }
    }
}
