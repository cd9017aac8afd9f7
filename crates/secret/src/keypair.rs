//! Key pairs that sign tokens (RFC 7515, 7517, 7518, 8037): made, written as PKCS#8 and JWK, and proved.
//!
//! Keys are made by the RustCrypto crates, whose randomness is an argument; signing and verifying, for the proof, is ring's, so that no
//! maker vouches for its own work. The private half leaves this module as [`Secret`] only.

use crate::{GeneratorError, Secret, Source};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::EncodePrivateKey;
use rand_core::{TryCryptoRng, TryRng};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey};
use rsa::traits::PublicKeyParts;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256 {
        /// The modulus's size: 2048 to 4096.
        bits: u16,
    },
}

/// A fresh key pair.
#[derive(Debug)]
pub struct KeyPair {
    /// The private half: PKCS#8 as PEM.
    pub private: Secret,
    /// The public half: a JWK with `kty` and its numbers, without `kid`.
    pub public: Map<String, Value>,
}

/// Why a key cannot be made or used. Says nothing of the key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// No randomness.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// It could not be made or written.
    #[error("no key pair could be made")]
    Make,
    /// The private half is no PKCS#8 PEM of this algorithm.
    #[error("the private key is no PKCS#8 PEM of its algorithm")]
    Private,
}

/// Randomness from a [`Source`], as the RustCrypto crates take it.
struct Random<'a>(&'a dyn Source);

impl TryRng for Random<'_> {
    type Error = GeneratorError;

    fn try_next_u32(&mut self) -> Result<u32, GeneratorError> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, GeneratorError> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), GeneratorError> {
        self.0.fill(bytes)
    }
}

impl TryCryptoRng for Random<'_> {}

impl SigningAlgorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 { .. } => "RS256",
        }
    }

    /// Makes a key pair. RSA takes a second or so.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn generate(self, random: &dyn Source) -> Result<KeyPair, KeyError> {
        match self {
            Self::EdDsa => ed25519(random),
            Self::Es256 => p256(random),
            Self::Rs256 { bits } => rsa(random, usize::from(bits)),
        }
    }
}

/// PKCS#8 version 1: ring's own version 2 is refused by OpenSSL before 3 and by what is built on it.
const ED25519_PREFIX: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn ed25519(random: &dyn Source) -> Result<KeyPair, KeyError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    random.fill(seed.as_mut_slice())?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| KeyError::Make)?;
    let der = Zeroizing::new([&ED25519_PREFIX[..], seed.as_slice()].concat());
    let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key()) });
    finished(&der, public)
}

fn p256(random: &dyn Source) -> Result<KeyPair, KeyError> {
    let mut scalar = Zeroizing::new([0_u8; 32]);
    // One draw in 2^32 is no scalar of the curve; whoever sees it a hundred times has no randomness.
    for _ in 0..100 {
        random.fill(scalar.as_mut_slice())?;
        let Ok(key) = p256::SecretKey::from_slice(scalar.as_slice()) else { continue };
        let point = key.public_key().to_sec1_point(false);
        let (x, y) = (point.x().ok_or(KeyError::Make)?, point.y().ok_or(KeyError::Make)?);
        let public = json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
        return finished(key.to_pkcs8_der().map_err(|_| KeyError::Make)?.as_bytes(), public);
    }
    Err(KeyError::Make)
}

fn rsa(random: &dyn Source, bits: usize) -> Result<KeyPair, KeyError> {
    let key = rsa::PrivateKey::new(&mut Random(random), bits).map_err(|_| KeyError::Make)?;
    let public = key.to_public_key();
    let public = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(public.n_bytes()), "e": URL_SAFE_NO_PAD.encode(public.e_bytes()) });
    finished(key.to_pkcs8_der().map_err(|_| KeyError::Make)?.as_bytes(), public)
}

fn finished(der: &[u8], public: Value) -> Result<KeyPair, KeyError> {
    let Value::Object(public) = public else { return Err(KeyError::Make) };
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(KeyPair { private: Secret::new(pem.as_str()), public })
}

/// Signs a message as a token is signed: the raw bytes that JWS writes in base64url.
///
/// # Errors
/// [`KeyError::Private`] for a key that is none of this algorithm.
pub fn sign(alg: &str, private: &Secret, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let der = der(private)?;
    let wrong = |_| KeyError::Private;
    let random = SystemRandom::new();
    match alg {
        "EdDSA" => Ok(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(wrong)?.sign(message).as_ref().to_vec()),
        "ES256" => {
            let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).map_err(wrong)?;
            pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| KeyError::Private)
        }
        "RS256" => {
            let pair = RsaKeyPair::from_pkcs8(&der).map_err(wrong)?;
            let mut signed = vec![0; pair.public().modulus_len()];
            pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed).map_err(|_| KeyError::Private)?;
            Ok(signed)
        }
        _ => Err(KeyError::Private),
    }
}

fn der(private: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let lines = private.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    let mut body = Zeroizing::new(String::with_capacity(private.expose().len()));
    lines.filter(|line| !line.starts_with("-----")).for_each(|line| body.push_str(line));
    STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_| KeyError::Private)
}

/// Whether a JWK verifies a signature of [`sign`].
pub fn verifies(alg: &str, jwk: &Value, message: &[u8], signed: &[u8]) -> bool {
    let number = |name: &str| jwk.get(name).and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let verified = match (alg, jwk.get("kty").and_then(Value::as_str)) {
        ("EdDSA", Some("OKP")) => number("x").map(|x| UnparsedPublicKey::new(&signature::ED25519, x).verify(message, signed)),
        ("ES256", Some("EC")) => number("x").zip(number("y")).map(|(x, y)| {
            let point = [&[4][..], &x, &y].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signed)
        }),
        ("RS256", Some("RSA")) => number("n")
            .zip(number("e"))
            .map(|(n, e)| RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)),
        _ => None,
    };
    verified.is_some_and(|outcome| outcome.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom as System;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    /// A token as an issuer makes it, with the signature that `sign` gives.
    fn token(alg: &str, private: &Secret) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(json!({ "alg": alg, "kid": "k" })), part(json!({ "sub": "shop", "exp": 4_000_000_000_u64 })));
        let signed = sign(alg, private, message.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed))
    }

    /// What a service does that knows the JWKS only: somebody else's library decides.
    fn check(algorithm: SigningAlgorithm, theirs: Algorithm) {
        let pair = algorithm.generate(&System).unwrap_or_else(|e| panic!("{e}"));
        let other = algorithm.generate(&System).unwrap_or_else(|e| panic!("{e}"));
        let jwk = |pair: &KeyPair| {
            let mut jwk = pair.public.clone();
            jwk.extend([("kid".to_owned(), json!("k")), ("alg".to_owned(), json!(algorithm.name())), ("use".to_owned(), json!("sig"))]);
            Value::Object(jwk)
        };
        let token = token(algorithm.name(), &pair.private);
        let verify = |pair: &KeyPair| {
            let key: Jwk = serde_json::from_value(jwk(pair)).unwrap_or_else(|e| panic!("{e}"));
            let key = DecodingKey::from_jwk(&key).unwrap_or_else(|e| panic!("{e}"));
            decode::<Value>(&token, &key, &Validation::new(theirs)).map(|t| t.claims["sub"].clone()).ok()
        };
        assert_eq!(verify(&pair), Some(json!("shop")), "{algorithm:?}");
        assert_eq!(verify(&other), None, "{algorithm:?}");
        let signed = sign(algorithm.name(), &pair.private, b"message").unwrap_or_else(|e| panic!("{e}"));
        assert!(verifies(algorithm.name(), &jwk(&pair), b"message", &signed));
        assert!(
            !verifies(algorithm.name(), &jwk(&pair), b"other", &signed) && !verifies(algorithm.name(), &jwk(&other), b"message", &signed)
        );
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_signed_is_verified_by_another_library_that_knows_the_jwk_only() {
        check(SigningAlgorithm::EdDsa, Algorithm::EdDSA);
        check(SigningAlgorithm::Es256, Algorithm::ES256);
        check(SigningAlgorithm::Rs256 { bits: 2048 }, Algorithm::RS256);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for alg in ["EdDSA", "ES256", "RS256", "HS256"] {
            let Err(error) = sign(alg, &Secret::new("hunter2"), b"m") else { panic!("{alg}") };
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert!(!verifies("EdDSA", &json!({ "kty": "OKP", "x": "AA" }), b"m", b"s"));
    }
}
