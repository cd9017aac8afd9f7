//! The demo's voice: chapters, facts, claims.

use super::World;
use anyhow::{Context, Result};
use keyward_harness::{Shop, say};
use std::time::Duration;

/// A new chapter: what is about to happen.
pub(crate) fn chapter(title: &str, about: &str) {
    say(&format!("\n━━ {title}"));
    say(&format!("   {about}"));
}

/// Something that was seen.
pub(crate) fn fact(text: &str) {
    for line in text.lines() {
        say(&format!("   │ {line}"));
    }
}

/// What was claimed, and whether it held.
#[derive(Default)]
pub(crate) struct Claims(Vec<(String, Result<String, String>)>);

impl Claims {
    /// Checks a claim: `proof` says by what it holds, or why it does not.
    pub(crate) fn check(&mut self, claim: &str, proof: impl FnOnce() -> Result<String>) {
        let outcome = proof().map_err(|error| format!("{error:#}"));
        match &outcome {
            Ok(by) => say(&format!("   ✓ {claim}: {by}")),
            Err(why) => say(&format!("   ✗ {claim}: {why}")),
        }
        self.0.push((claim.to_owned(), outcome));
    }

    /// Prints the table; how many do not hold.
    pub(crate) fn print(&self, took: Duration) -> usize {
        say(&format!("\n━━ What was claimed, and what was seen ({:.0} s)\n", took.as_secs_f64()));
        let width = self.0.iter().map(|(claim, _)| claim.chars().count()).max().unwrap_or(0);
        for (claim, outcome) in &self.0 {
            match outcome {
                Ok(by) => say(&format!("  ✓ {claim:<width$}  {by}")),
                Err(why) => say(&format!("  ✗ {claim:<width$}  {why}")),
            }
        }
        let failed = self.0.iter().filter(|(_, outcome)| outcome.is_err()).count();
        say(&format!("\n  {} of {} hold.", self.0.len() - failed, self.0.len()));
        failed
    }
}

/// The end of the daemon's log, for whoever has to find out why a scene broke off.
pub(crate) fn last_of_the_log(shop: &Shop<'_>) {
    let log = std::fs::read_to_string(shop.log_path()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    say("\n━━ The end of the daemon's log");
    for line in lines.iter().skip(lines.len().saturating_sub(20)) {
        say(&format!("   {}", line.chars().take(400).collect::<String>()));
    }
}

/// Leaves everything running until Enter is pressed.
pub(crate) fn wait_for_enter(world: &World<'_>) -> Result<()> {
    say("\n━━ Everything stays up. Look around:");
    say(&format!("   Keyward     http://127.0.0.1:{}/metrics  and /api/v1/status", world.shop.port));
    say(&format!("   Prometheus  {}", world.prometheus.address));
    say(&format!("   Vault       {}  (root token {}; it dies with this demo)", world.vault.address, world.vault.root_token));
    say(&format!("   Command     keyward --config {} status", world.shop.config.display()));
    say("   Press Enter to end it.");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("wait for Enter")?;
    Ok(())
}
