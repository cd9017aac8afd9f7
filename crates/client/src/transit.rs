//! Encryption by keys that never leave Vault.

use crate::{Client, Error};
use zeroize::Zeroizing;

impl Client {
    /// Encrypts bytes with a named key of the transit engine at `mount`: `vault:v3:…`, which says which version of the key it was.
    ///
    /// # Errors
    /// What Vault answered; the bytes are not repeated.
    pub async fn encrypt(&self, mount: &str, key: &str, plaintext: &[u8]) -> Result<String, Error> {
        self.call(|| self.vault().transit_encrypt(mount, key, plaintext)).await
    }

    /// Decrypts what [`Self::encrypt`] gave, whatever version of the key it was, unless that is below the key's least.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn decrypt(&self, mount: &str, key: &str, ciphertext: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.call(|| self.vault().transit_decrypt(mount, key, ciphertext)).await
    }
}
