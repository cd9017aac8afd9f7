//! Random values of a named alphabet, length and prefix.

use crate::Secret;
use zeroize::Zeroizing;

/// Where random bytes come from: the operating system in the daemon, a seed in a simulation.
pub trait Source: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    /// [`GeneratorError::NoRandomness`] when the operating system has none to give.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GeneratorError>;
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Source for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GeneratorError> {
        getrandom::fill(bytes).map_err(|_| GeneratorError::NoRandomness)
    }
}

/// Why no value can be generated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GeneratorError {
    /// The operating system refused.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The alphabet cannot serve: too small, or with a character twice.
    #[error("the alphabet needs 2 to 256 different ASCII characters")]
    Alphabet,
    /// Too little randomness for a value that nobody may guess.
    #[error("{bits} bits of randomness are too few: at least {} are needed; make it longer", Generator::MIN_BITS)]
    TooShort {
        /// What the asked-for alphabet and length amount to.
        bits: u32,
    },
}

/// How a value is made: `length` characters of `alphabet` behind `prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    alphabet: Vec<u8>,
    length: usize,
    prefix: String,
}

impl Generator {
    /// Below this a value could be guessed from a leaked verifier (design rule: a random value of at least 128 bits).
    pub const MIN_BITS: u32 = 128;

    /// Letters and digits: safe in URLs, shells and connection strings.
    pub const ALPHANUMERIC: &'static str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// A generator over an alphabet of ASCII characters.
    ///
    /// # Errors
    /// [`GeneratorError::Alphabet`] for an unusable alphabet, [`GeneratorError::TooShort`] below [`Self::MIN_BITS`].
    pub fn new(alphabet: &str, length: usize, prefix: &str) -> Result<Self, GeneratorError> {
        let bytes = alphabet.as_bytes().to_vec();
        let mut sorted = bytes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if !alphabet.is_ascii() || sorted.len() != bytes.len() || bytes.len() < 2 {
            return Err(GeneratorError::Alphabet);
        }
        // Whole bits per character, times 16 for the fraction: log2 without floating point.
        let sixteenths = (bytes.len() as u128).pow(16).ilog2();
        let bits = u32::try_from(length).unwrap_or(u32::MAX).saturating_mul(sixteenths) / 16;
        if bits < Self::MIN_BITS {
            return Err(GeneratorError::TooShort { bits });
        }
        Ok(Self { alphabet: bytes, length, prefix: prefix.to_owned() })
    }

    /// 40 letters and digits: 238 bits.
    pub fn password() -> Self {
        Self { alphabet: Self::ALPHANUMERIC.as_bytes().to_vec(), length: 40, prefix: String::new() }
    }

    /// A fresh value. Every character is equally likely: bytes beyond the largest multiple of the alphabet are thrown away.
    ///
    /// # Errors
    /// [`GeneratorError::NoRandomness`] from the source.
    pub fn generate(&self, source: &dyn Source) -> Result<Secret, GeneratorError> {
        let size = self.alphabet.len();
        let fair = 256 - 256 % size;
        let mut text = Zeroizing::new(String::with_capacity(self.prefix.len() + self.length));
        text.push_str(&self.prefix);
        let mut left = self.length;
        while left > 0 {
            let mut block = Zeroizing::new([0_u8; 64]);
            source.fill(block.as_mut_slice())?;
            for byte in block.iter().map(|b| usize::from(*b)).filter(|b| *b < fair).take(left) {
                text.push(char::from(self.alphabet[byte % size])); // in bounds: remainder by the length
                left -= 1;
            }
        }
        Ok(Secret::new(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Source for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), GeneratorError> {
            for byte in bytes {
                *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        }
    }

    #[test]
    fn a_value_has_the_asked_for_shape() {
        let made = Generator::new("ab", 200, "kw_").map(|g| g.generate(&SystemRandom));
        let Ok(Ok(value)) = made else { panic!("{made:?}") };
        assert_eq!(value.expose().len(), 203);
        assert!(value.expose().starts_with("kw_"));
        assert!(value.expose()[3..].bytes().all(|b| b == b'a' || b == b'b'));
    }

    #[test]
    fn bytes_beyond_a_fair_share_are_thrown_away() {
        // 62 characters: bytes 248..=255 would favour the first eight of them.
        let Ok(value) = Generator::new(Generator::ALPHANUMERIC, 248 * 2, "").map(|g| g.generate(&Counting(0.into()))) else { panic!() };
        let Ok(value) = value else { panic!() };
        for c in Generator::ALPHANUMERIC.chars() {
            assert_eq!(value.expose().matches(c).count(), 8, "{c}");
        }
    }

    #[test]
    fn what_could_be_guessed_is_refused() {
        assert_eq!(Generator::new(Generator::ALPHANUMERIC, 8, ""), Err(GeneratorError::TooShort { bits: 47 }));
        assert_eq!(Generator::new("aa", 300, ""), Err(GeneratorError::Alphabet));
        assert!(Generator::new("0123456789abcdef", 32, "").is_ok());
    }
}
