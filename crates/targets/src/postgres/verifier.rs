//! SCRAM-SHA-256 verifiers: what PostgreSQL stores instead of a password (RFC 5803 in PostgreSQL's own spelling).
//!
//! The server takes such a text as it is, so that the clear password travels in no statement. Salted afresh at every call: two verifiers
//! of one password differ. 4096 iterations, PostgreSQL's own default; passwords are prepared (SASLprep) as libpq does it.
//! Still to be kept out of logs where possible: it allows guessing, though not of a random value of 128 bits or more.

use keyward_secret::{GeneratorError, Secret, Source};
use postgres_protocol::password::scram_sha_256;
use zeroize::Zeroizing;

/// The verifier of a password, with a fresh salt.
pub fn verifier_of(password: &Secret) -> Secret {
    Secret::new(scram_sha_256(password.expose().as_bytes()))
}

/// The verifier of 256 random bits that nobody keeps: whoever's password this is cannot log in by password any more.
///
/// # Errors
/// [`GeneratorError::NoRandomness`] from the source.
pub fn unusable_verifier(source: &dyn Source) -> Result<Secret, GeneratorError> {
    let mut bits = Zeroizing::new([0_u8; 32]);
    source.fill(bits.as_mut_slice())?;
    Ok(Secret::new(scram_sha_256(bits.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_secret::SystemRandom;

    #[test]
    fn a_verifier_has_the_server_s_shape_and_not_the_password() {
        let verifier = verifier_of(&Secret::new("hunter2"));
        let parts: Vec<&str> = verifier.expose().split(['$', ':']).collect();
        assert_eq!(parts.len(), 5, "mechanism, iterations, salt, stored key, server key");
        assert_eq!((parts[0], parts[1]), ("SCRAM-SHA-256", "4096"));
        assert!(!verifier.expose().contains("hunter2"));
        assert!(!verifier.same_as(&verifier_of(&Secret::new("hunter2"))), "salted afresh");
    }

    #[test]
    fn no_two_unusable_verifiers_are_alike() {
        let (Ok(one), Ok(two)) = (unusable_verifier(&SystemRandom), unusable_verifier(&SystemRandom)) else { panic!() };
        assert!(!one.same_as(&two));
    }
}
