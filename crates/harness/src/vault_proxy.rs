//! A way to a Vault server on which every call can be seen, and one of them made to go wrong; see [`HttpWay`].

use crate::hold::Hold;
use crate::http_way::HttpWay;
use crate::traffic::{Fault, Moment, Reach, Traffic};
use crate::vault::VaultServer;
use anyhow::Result;
use std::sync::Arc;

/// A proxy in front of one server; it ends when dropped.
pub struct VaultProxy {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    traffic: Arc<Traffic>,
    _way: HttpWay,
}

impl VaultProxy {
    /// Starts one in front of a server.
    pub fn start(vault: &VaultServer) -> Result<Self> {
        Self::start_on(&Arc::default(), vault)
    }

    /// The same with its calls among other traffic.
    pub fn start_on(traffic: &Arc<Traffic>, vault: &VaultServer) -> Result<Self> {
        let way = HttpWay::start(traffic, "", &vault.address, Some(&vault.ca_pem_path))?;
        Ok(Self { address: way.address.clone(), traffic: Arc::clone(traffic), _way: way })
    }

    /// The calls that passed since this was last asked, as `METHOD PATH` without `/v1/`.
    pub fn seen(&self) -> Vec<String> {
        self.traffic.seen().into_iter().map(|seen| seen.call).collect()
    }

    /// Plans a fault for the call `call` (as in [`Self::seen`]) after `pass` of them, and for `again` more after that.
    pub fn plan(&self, call: &str, pass: usize, again: usize, fault: Fault) {
        self.traffic.plan(call, pass, again, Reach::Alike, fault);
    }

    /// Plans an act at a moment of the call `call` after `pass` of them.
    pub fn act(&self, call: &str, pass: usize, moment: Moment, act: impl FnOnce() + Send + 'static) {
        self.traffic.act(call, pass, moment, act);
    }

    /// Holds up the call `call` after `pass` of them, before it reaches the server or before its answer is seen.
    #[must_use]
    pub fn hold(&self, call: &str, pass: usize, moment: Moment) -> Hold {
        self.traffic.hold(call, pass, moment)
    }

    /// Nothing is planned any more. Whether something was, that did not happen.
    pub fn clear(&self) -> bool {
        self.traffic.clear()
    }

    /// Whether what was planned has happened.
    pub fn has_happened(&self) -> bool {
        self.traffic.has_happened()
    }
}
