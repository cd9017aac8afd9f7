//! A password's SHA-256 digest, as Redis stores it, and a mark of that digest that may be stored elsewhere.

use keyward_secret::Secret;
use sha2::{Digest as _, Sha256};

/// Sixteen hexadecimal digits that tell one password from another: the beginning of the digest of its digest.
///
/// It is neither what the server compares with nor long enough to check a guess against with any certainty.
pub fn mark(password: &Secret) -> String {
    mark_of(&digest(password))
}

/// 64 lower-case hexadecimal digits, as in `ACL GETUSER`.
pub(super) fn digest(password: &Secret) -> String {
    hex(&Sha256::digest(password.expose().as_bytes()))
}

pub(super) fn mark_of(digest: &str) -> String {
    let mut mark = hex(&Sha256::digest(digest.as_bytes()));
    mark.truncate(16);
    mark
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_redis_stores() {
        // `ACL SETUSER u >password` followed by `ACL GETUSER u` on Redis 7.0.15.
        let stored = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        assert_eq!(digest(&Secret::new("password")), stored);
        assert_eq!(mark(&Secret::new("password")), mark_of(stored));
    }

    #[test]
    fn a_mark_tells_passwords_apart_and_shows_no_part_of_the_digest() {
        let [a, b] = ["a", "b"].map(Secret::new);
        assert_eq!(mark(&a).len(), 16);
        assert_ne!(mark(&a), mark(&b));
        assert!(!digest(&a).contains(&mark(&a)));
    }
}
