//! `cargo xtask demo`: Keyward's whole job on real servers, told as it happens, with a table of claims at the end.
//!
//! Nothing is staged for show: every ✓ is measured from outside the daemon, by consumers, by the mail server, by Prometheus.

mod consumers;
mod scenes;
mod telling;

use anyhow::{Context, Result, bail};
use keyward_harness::{PostgresServer, PrometheusServer, Shop, SmtpServer, VaultOptions, VaultServer, Wishes};
use std::time::Instant;
use telling::{Claims, chapter, fact};

/// What every scene works with.
pub(crate) struct World<'a> {
    pub(crate) shop: &'a Shop<'a>,
    pub(crate) vault: &'a VaultServer,
    pub(crate) postgres: &'a PostgresServer,
    pub(crate) smtp: &'a SmtpServer,
    pub(crate) prometheus: &'a PrometheusServer,
}

/// Runs the demo; with `keep` it leaves everything running until Enter is pressed.
pub(crate) fn run(keep: bool) -> Result<()> {
    let started = Instant::now();
    crate::setup::run()?;
    crate::test::build_daemon()?;
    chapter(
        "Setting the stage",
        "A Vault (Raft, Shamir 5/3, TLS, audit log), a PostgreSQL, a mail server and a Prometheus, all real, all on this machine.",
    );
    let vault = VaultServer::start(&VaultOptions::default()).context("start Vault")?;
    let postgres = PostgresServer::start().context("start PostgreSQL")?;
    let smtp = SmtpServer::start().context("start the mail server")?;
    let shop = Shop::open(&vault, &postgres, &smtp, &Wishes::default())?;
    let prometheus = PrometheusServer::start(&prometheus_config(&shop)?).context("start Prometheus")?;
    fact(&format!("Vault {}   PostgreSQL 127.0.0.1:{}   Prometheus {}", vault.address, postgres.port, prometheus.address));
    fact(&format!("Keyward's configuration: {}", shop.config.display()));

    let world = World { shop: &shop, vault: &vault, postgres: &postgres, smtp: &smtp, prometheus: &prometheus };
    let mut claims = Claims::default();
    let daemon = scenes::all(&world, &mut claims).inspect_err(|_| telling::last_of_the_log(&shop))?;
    let failed = claims.print(started.elapsed());
    if keep {
        telling::wait_for_enter(&world)?;
    }
    drop(daemon);
    if failed > 0 {
        bail!("{failed} claim(s) do not hold");
    }
    Ok(())
}

/// Scrapes every second and evaluates the shipped rules every second.
fn prometheus_config(shop: &Shop<'_>) -> Result<String> {
    let rules = crate::cargo::root()?.join("alerts/keyward.yml");
    Ok(format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n  - job_name: keyward\n    \
         static_configs: [{{ targets: [\"127.0.0.1:{}\"] }}]\n",
        rules.display(),
        shop.port
    ))
}
