//! A secret's record under its present name, or under the former one that `renamed_from` names.

use crate::assembly::Managed;
use keyward_engine::stored::Stored;
use keyward_engine::{Engine, Failure};

/// The record as it stands. Nothing is changed: what was not carried over yet is read under its former name.
///
/// # Errors
/// What Vault answered, or why the record cannot be read.
pub async fn look(engine: &Engine, managed: &Managed) -> Result<Stored, Failure> {
    let stored = engine.load(&managed.spec.name).await?;
    match &managed.config.renamed_from {
        Some(from) if stored.record.is_none() => {
            let former = engine.load(from).await?;
            // Its version belongs to another path, and decides nothing under this one.
            Ok(Stored { version: stored.version, ..former })
        }
        _ => Ok(stored),
    }
}

/// The record of a secret that is to be acted on: one that is seen for the first time gets one, or takes over that of its former name.
///
/// # Errors
/// As [`look`]; also that a rotation under the former name is not finished, or what the target answered.
pub async fn take(engine: &Engine, managed: &Managed) -> Result<Stored, Failure> {
    let name = managed.spec.name.as_str();
    let stored = engine.load(name).await?;
    if stored.record.is_some() {
        return Ok(stored);
    }
    if let Some(from) = &managed.config.renamed_from
        && engine.carry_over(&managed.spec, from).await?
    {
        tracing::info!(secret = name, from, "The record was carried over from the secret's former name.");
    }
    engine.load_or_create(name).await
}
