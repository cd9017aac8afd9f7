//! Placeholder until the real task lands.
use super::shared::Shared;
use std::sync::Arc;
/// x
pub async fn run(shared: Arc<Shared>) { shared.stopped().await }
