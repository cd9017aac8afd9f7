//! Unique names, passwords and numbers from the operating system.
//!
//! Never used for a secret of the daemon itself.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut out)).context("read /dev/urandom")?;
    Ok(out)
}

/// Any port number.
pub(crate) fn port() -> Result<u16> {
    Ok(u16::from_le_bytes(bytes()?))
}

/// 128 random bits in lower hex.
pub(crate) fn password() -> Result<String> {
    Ok(format!("{:032x}", u128::from_le_bytes(bytes()?)))
}

/// Names this process in folder names and unique names: eight hex digits.
pub(crate) fn nonce() -> Result<&'static str> {
    static NONCE: OnceLock<String> = OnceLock::new();
    if let Some(nonce) = NONCE.get() {
        return Ok(nonce);
    }
    let fresh = format!("{:08x}", u32::from_le_bytes(bytes()?));
    Ok(NONCE.get_or_init(|| fresh))
}

/// A name nobody else uses: `prefix`, then letters, digits and underscores, fit for a mount, an SQL identifier without quotes
/// (where `prefix` is) and a mail address.
///
/// # Panics
/// When the operating system gives no random bytes.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{number}", crate::or_panic(nonce()))
}
