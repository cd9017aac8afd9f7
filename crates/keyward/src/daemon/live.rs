//! Builds what a configuration stands for, and replaces it on SIGHUP: whole and checked, or not at all.

use super::observer::Ear;
use super::shared::{Live, Shared};
use crate::assembly::{Parts, assemble};
use crate::config::{Config, Environment, VaultConfig};
use crate::metrics::{Metrics, families as f};
use crate::ports::{SystemClock, UsageReaders, VaultPort};
use crate::references::Resolver;
use crate::session;
use anyhow::{Result, bail};
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::{Claims, Class, Engine, Settings};
use keyward_secret::SystemRandom;
use std::sync::Arc;

/// What outlives every configuration of one process.
pub struct Lasting {
    /// Who this process is in records.
    pub owner: String,
    /// The secrets it works on right now.
    pub claims: Claims,
    /// One clock for all engines of the process: how long an owner has been silent is measured across configurations.
    pub clock: SystemClock,
    /// The engine's observer.
    pub ear: Arc<Ear>,
    /// Who reads what.
    pub readers: Arc<UsageReaders>,
    /// The environment as it was at the start.
    pub environment: Environment,
}

/// What `config` stands for. `known` is the client in use, kept where the server is the same, so that its login lives on.
///
/// # Errors
/// The CA file or the address cannot serve.
pub fn build(config: Config, lasting: &Lasting, known: Option<&Live>) -> Result<Live> {
    let vault = match known {
        Some(live) if same_server(&live.config.vault, &config.vault) => Arc::clone(&live.vault),
        _ => Arc::new(VaultPort::new(session::client(&config.vault)?, &config.vault.record_mount)),
    };
    let resolver = Arc::new(Resolver::new(lasting.environment.clone(), Arc::clone(&vault)));
    let engine = Engine::new(
        vault.clone(),
        Arc::new(lasting.clock),
        Arc::new(SystemRandom),
        lasting.ear.clone(),
        lasting.owner.clone(),
        Settings::default(),
        lasting.claims.clone(),
    );
    let parts = Parts { vault: Arc::clone(&vault), resolver: Arc::clone(&resolver), readers: Arc::clone(&lasting.readers) };
    let secrets = assemble(&config, &parts);
    lasting.readers.set_via(config.secrets.iter().map(|s| (s.name.clone(), s.readers_via.clone())).collect());
    Ok(Live { config, secrets, vault, resolver, engine: Arc::new(engine) })
}

fn same_server(a: &VaultConfig, b: &VaultConfig) -> bool {
    let place =
        |v: &VaultConfig| (v.address.clone(), v.namespace.clone(), v.ca_cert.clone(), v.skip_verify, v.insecure, v.record_mount.clone());
    place(a) == place(b) && a.auth == b.auth
}

/// Takes secrets that are configured no more from the figures and from the board.
pub fn forget_others(shared: &Shared, live: &Live) {
    for family in f::ALL.iter().filter(|family| family.labels.contains(&"secret")) {
        shared.metrics.registry().retain(family, "secret", |name| live.secrets.contains_key(name));
    }
    shared.board.update(|status| status.secrets.retain(|name, _| live.secrets.contains_key(name)));
}

/// Makes every series of the configured secrets exist.
pub fn declare_series(metrics: &Metrics, live: &Live) {
    let exposed = live.config.vault.skip_verify || (live.config.vault.insecure && live.config.vault.address.scheme() == "http");
    metrics.set(&f::INSECURE, &[], f64::from(u8::from(exposed)));
    for (name, managed) in &live.secrets {
        let (class, kind) = (managed.config.class.as_str(), managed.config.kind.name());
        metrics.set(&f::SECRET_INFO, &[name, class, kind], 1.0);
        for outcome in super::rotations::OUTCOMES {
            metrics.series(&f::ROTATIONS, &[name, class, outcome]);
        }
        for family in [&f::LAST_SUCCESS, &f::NEXT_DUE, &f::OVERDUE, &f::CONSECUTIVE_FAILURES, &f::RETIRE_PENDING] {
            metrics.series(family, &[name, class]);
        }
        for state in crate::view::STATES {
            metrics.series(&f::SECRET_STATE, &[name, class, state]);
        }
        for result in super::proof::RESULTS {
            metrics.series(&f::PROOFS, &[name, class, result]);
        }
        if metrics.registry().is_new(&f::CREDENTIAL_VALID, &[name, class]) {
            metrics.set(&f::CREDENTIAL_VALID, &[name, class], 1.0);
        }
        metrics.series(&f::ROTATION_SECONDS, &[class]);
        let steps = managed.spec.kind.table().rows.iter().map(|row| row.step.name()).chain(["undo"]);
        for step in steps {
            metrics.series(&f::STEP_SECONDS, &[step]);
            for class in Class::ALL {
                metrics.series(&f::FAILURES, &[step, class.name()]);
            }
        }
    }
}

/// Reads the configuration again and puts it in force, or keeps the one that is and says why.
pub fn reload(shared: &Shared, lasting: &Lasting) {
    let outcome = read_again(shared, lasting);
    let ok = outcome.is_ok();
    shared.metrics.set(&f::RELOAD_OK, &[], f64::from(u8::from(ok)));
    shared.metrics.inc(&f::RELOADS, &[if ok { "ok" } else { "failed" }]);
    match outcome {
        Ok(live) => {
            declare_series(&shared.metrics, &live);
            forget_others(shared, &live);
            shared.board.waits_only_for(&super::awaited(&live.config));
            shared.replace(live);
            shared.alerts.resolve("config", "the configuration was read again and is in force");
            tracing::info!("The configuration was read again and is in force.");
        }
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "The configuration was refused; the one in force stays.");
            shared.alerts.raise(refused(&format!("{error:#}")));
        }
    }
}

fn read_again(shared: &Shared, lasting: &Lasting) -> Result<Live> {
    let now = shared.live();
    let config = Config::load(&shared.config_file, &lasting.environment)?;
    let fixed = [
        ("state_dir", now.config.state_dir == config.state_dir),
        ("socket", now.config.socket == config.socket),
        ("[http] listen", now.config.listen == config.listen),
        ("[store] url", now.config.store == config.store),
    ];
    if let Some((key, _)) = fixed.into_iter().find(|(_, same)| !same) {
        bail!("{key} cannot be changed while the daemon runs; restart it");
    }
    build(config, lasting, Some(&now))
}

fn refused(error: &str) -> Alert {
    Alert {
        key: "config".into(),
        severity: Severity::Warning,
        title: "a new configuration was refused".into(),
        account: Account {
            happened: format!("Keyward was told to read its configuration again, and refused it: {error}"),
            now: "The configuration that was in force before still is.".into(),
            next: "Nothing, until it is told again.".into(),
            act: "Mend the file, then:\nkeyward check\nkill -HUP the daemon (systemctl reload keyward)".into(),
        },
        owner: None,
        secret: None,
        at: Timestamp::now(),
        passes_after: None,
    }
}
