//! Who still lives on an old value, as the followed audit logs tell.

use async_trait::async_trait;
use jiff::Timestamp;
use keyward_audit::Usage;
use keyward_engine::kinds::{Laggards, Readers};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The usage of every node whose audit log is followed. A node without one is a blind spot, and is said to be one.
#[derive(Default)]
pub struct UsageReaders(Mutex<BTreeMap<String, Option<Arc<Mutex<Usage>>>>>);

impl UsageReaders {
    /// Replaces what is known of the nodes: each with its usage, or none where its log is not followed.
    pub fn set_nodes(&self, nodes: BTreeMap<String, Option<Arc<Mutex<Usage>>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    fn judge(&self, secret: &str, since: Timestamp) -> Laggards {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.is_empty() {
            return Laggards::Unknown("no audit log is followed".into());
        }
        let mut who = Vec::new();
        for (node, usage) in nodes.iter() {
            let Some(usage) = usage else { return Laggards::Unknown(format!("the audit log of {node} is not followed")) };
            let usage = usage.lock().unwrap_or_else(PoisonError::into_inner);
            if usage.forgotten() > 0 {
                return Laggards::Unknown(format!("more identities read through {node} than can be remembered"));
            }
            // The log must reach back to before the new value was published, or a reader of the old one may be missing.
            if usage.since(secret).is_none_or(|first| first > since) {
                return Laggards::Unknown(format!("the audit log of {node} was not followed yet when the new value was published"));
            }
            who.extend(usage.laggards(secret, since).into_iter().map(|reader| reader.identity));
        }
        who.sort_unstable();
        who.dedup();
        Laggards::Known(who)
    }
}

#[async_trait]
impl Readers for UsageReaders {
    async fn laggards(&self, secret: &str, since: Timestamp) -> Laggards {
        self.judge(secret, since)
    }
}
