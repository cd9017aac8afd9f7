//! Calls to Vault that the audit task makes for its logs: canaries, and signatures under the evidence's chain. Each is bounded by the
//! client's time limits, and none holds the task up.

use super::canary::{self, Canaries};
use super::reading::ToSign;
use super::told;
use crate::daemon::shared::{Live, Shared};
use crate::metrics::families as f;
use jiff::Timestamp;
use keyward_audit::{hex, statement};
use keyward_secret::{Source, SystemRandom};
use keyward_store::Seal;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// More errands than this are not under way at once.
const MAX_UNDER_WAY: usize = 64;
/// A signature that was refused is asked for again after so long.
const SIGN_AGAIN: Duration = Duration::from_mins(1);

/// What is under way.
#[derive(Default)]
pub struct Errands {
    under_way: JoinSet<()>,
    last_canary: Option<Instant>,
    last_refusal: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Errands {
    /// Lets a canary fly to every node whose log is followed, if it is time.
    pub fn canaries(&mut self, shared: &Arc<Shared>, live: &Arc<Live>, nodes: &[String], canaries: &Arc<Canaries>) {
        self.reap();
        let Some(interval) = live.config.audit.canary.filter(|_| live.vault.client().has_token()) else { return };
        if self.last_canary.is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        self.last_canary = Some(Instant::now());
        for node in live.config.vault.nodes.iter().filter(|node| nodes.contains(&node.name)) {
            if self.under_way.len() >= MAX_UNDER_WAY {
                return;
            }
            let mut nonce = [0; 16];
            if SystemRandom.fill(&mut nonce).is_err() {
                return;
            }
            let nonce = hex(&nonce);
            let (client, url, name) = (live.vault.client().clone(), node.url.to_string(), node.name.clone());
            let path = format!("{}{nonce}", canary::path(&live.config.vault.record_mount));
            let (shared, canaries) = (Arc::clone(shared), Arc::clone(canaries));
            self.under_way.spawn(async move {
                canaries.flies(&nonce, Instant::now());
                match client.knock(&url, &path).await {
                    Ok(()) => {
                        canaries.answered(&name);
                        shared.metrics.inc(&f::AUDIT_CANARIES_SENT, &[&name]);
                    }
                    Err(error) => tracing::debug!(node = name, %error, "A canary was not answered."),
                }
            });
        }
    }

    /// Has what a log's thread handed out signed, and keeps the signature.
    pub fn sign(&mut self, shared: &Arc<Shared>, live: &Arc<Live>, node: &str, to_sign: &ToSign) {
        let key = live.config.audit.evidence.as_ref().and_then(|evidence| evidence.key.clone());
        let Some((mount, key)) = key.filter(|_| live.vault.client().has_token()) else { return };
        let refused = *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_some_and(|at| at.elapsed() < SIGN_AGAIN) || self.under_way.len() >= MAX_UNDER_WAY {
            return;
        }
        let Some((lines, chain)) = to_sign.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (shared, live, node) = (Arc::clone(shared), Arc::clone(live), node.to_owned());
        let (slot, last_refusal) = (Arc::clone(to_sign), Arc::clone(&self.last_refusal));
        self.under_way.spawn(async move {
            // As the store keeps it, so that the same words come out when it is verified.
            let now = Timestamp::now();
            let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
            let signed = live.vault.client().sign(&mount, &key, &statement(&node, lines, &chain, at)).await.map_err(|e| e.to_string());
            let kept = match signed {
                Ok(signature) => {
                    // The journal may be shipped elsewhere: what stands there too cannot be taken back here.
                    tracing::info!(node, lines, chain = hex(&chain), %at, signature, "The audit log's chain was signed.");
                    let seal = Seal { node: node.clone(), lines, chain: hex(&chain), at, key: format!("{mount}/{key}"), signature };
                    shared.store.record_seal(seal).await.map_err(|e| e.to_string())
                }
                Err(why) => Err(why),
            };
            match kept {
                Ok(()) => shared.alerts.resolve(told::seal_key(&node), "the audit log's chain is signed again"),
                Err(why) => {
                    *last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((lines, chain));
                    shared.alerts.raise(told::not_signed(&node, &format!("{mount}/{key}"), &why, now));
                }
            }
        });
    }

    fn reap(&mut self) {
        while let Some(done) = self.under_way.try_join_next() {
            if let Err(error) = done {
                tracing::error!(%error, "An errand of the audit task ended abnormally.");
            }
        }
    }
}
