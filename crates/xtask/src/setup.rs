//! Puts on the machine what the tests need; never touches what is there already.

use anyhow::Result;
use keyward_harness::{packages, say, vault_binary};

pub(crate) fn run() -> Result<()> {
    packages::ensure(packages::FOR_TESTS)?;
    let vault = vault_binary()?;
    say(&format!("Vault for tests: {}", vault.display()));
    Ok(())
}
