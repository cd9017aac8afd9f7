//! Key pairs by the whole: three algorithms, and a verifier of somebody else's that knows the JWKS only.

use crate::issued::{check, rotate, shop, tend};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use keyward_harness::Shop;
use serde_json::{Value, json};

const ALGORITHMS: [(&str, Algorithm); 3] = [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)];

/// A service that signs: it reads `current` and makes a token.
fn token(keys: &Value, algorithm: Algorithm) -> String {
    let current = &keys["current"];
    let pem = current["key"].as_str().unwrap().as_bytes();
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    };
    let header = Header { kid: current["kid"].as_str().map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &json!({ "sub": "shop", "exp": 4_000_000_000_u64 }), &key.unwrap()).unwrap()
}

/// A service that verifies: it reads the JWKS and knows nothing else.
fn verified(token: &str, jwks: &Value, algorithm: Algorithm) -> bool {
    let set: JwkSet = serde_json::from_value(jwks["jwks"].clone()).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let Some(jwk) = set.find(&kid) else { return false };
    decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &Validation::new(algorithm)).is_ok()
}

#[test]
fn tokens_are_verified_through_a_whole_life_of_keys() {
    let secrets = |shop: &Shop<'_>| {
        let one = |(name, _): &(&str, Algorithm)| {
            let low = name.to_lowercase();
            format!(
                "\n[[secret]]\nname = \"{low}\"\nclass = \"quick\"\nkind = \"jwt-keypair\"\nalgorithm = \"{name}\"\ntoken_lifetime = \"1s\"\n\
                 cache_lifetime = \"1s\"\nskew = \"1s\"\npath = \"{kv}/own/{low}\"\njwks = {{ path = \"{kv}/own/{low}-public\" }}\n",
                kv = shop.kv
            )
        };
        ALGORITHMS.iter().map(one).collect()
    };
    let shop = shop(secrets, "");
    let read = |name: &str| (shop.published(&format!("own/{name}")).unwrap(), shop.published(&format!("own/{name}-public")).unwrap());
    let mut tokens = Vec::new();
    for (name, algorithm) in ALGORITHMS {
        let low = name.to_lowercase();
        rotate(&shop, &low);
        let (keys, jwks) = read(&low);
        tokens.push(token(&keys, algorithm));
        assert!(verified(tokens.last().unwrap(), &jwks, algorithm), "{name}");
        rotate(&shop, &low);
        let (keys, jwks) = read(&low);
        assert!(keys["next"]["kid"].is_string() && jwks["jwks"]["keys"].as_array().unwrap().len() == 2, "{name}");
        assert!(!jwks.to_string().contains("PRIVATE") && jwks["jwks"]["keys"].as_array().unwrap().iter().all(|jwk| jwk.get("d").is_none()));
        assert!(verified(&token(&keys, algorithm), &jwks, algorithm), "{name}: the old key signs still");
    }
    let before: Vec<Value> = ALGORITHMS.iter().map(|(name, _)| read(&name.to_lowercase()).0).collect();
    let settled = || ALGORITHMS.iter().all(|(name, _)| read(&name.to_lowercase()).1["jwks"]["keys"].as_array().unwrap().len() == 1);
    let values: Vec<&str> = before.iter().flat_map(|keys| ["current", "next"].map(|field| keys[field]["key"].as_str().unwrap())).collect();
    // A PEM's lines stand apart in a log.
    let lines: Vec<&str> = values.iter().map(|pem| pem.lines().nth(1).unwrap()).collect();
    tend(&shop, "the old keys to leave", settled, &lines);
    for ((name, algorithm), (was, old)) in ALGORITHMS.into_iter().zip(before.iter().zip(tokens)) {
        let (keys, jwks) = read(&name.to_lowercase());
        assert_eq!(keys["current"]["kid"], was["next"]["kid"], "{name}");
        assert!(verified(&token(&keys, algorithm), &jwks, algorithm) && !verified(&old, &jwks, algorithm), "{name}");
    }
    check(&shop);
}
