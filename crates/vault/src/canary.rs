//! A call whose only purpose is to be found again in the audit log.

use crate::VaultError;
use crate::call::{Call, Raw};
use crate::client::Client;
use crate::path;
use crate::transport::address;

impl Client {
    /// Reads a path through one node, at `node` (`https://host:port`), with this client's token. What stands there, if anything, does
    /// not matter and is dropped: a 404 is as good. Sent once.
    ///
    /// # Errors
    /// [`crate::Kind::Denied`] without `read` on the path; whatever keeps the node from answering.
    pub async fn knock(&self, node: &str, path: &str) -> Result<(), VaultError> {
        let base = address(node, self.insecure())?;
        let path = path::path("GET the canary's path", path)?;
        self.ask_at(base.as_str(), &Call::write(Raw::get(path))).await
    }
}
