//! Values that stand in Vault and nowhere else.

use super::{Place, Subject};
use serde_json::Value;
use std::collections::BTreeSet;

pub struct Random;

impl Subject for Random {
    fn secret(&mut self, at: Place<'_>) -> String {
        let kv = &at.shop.kv;
        format!(
            "kind = \"random\"\npath = \"{kv}/shop/webhook\"\nissuer = \"self\"\nset = {{ token = \"{{value}}\", before = \"{{previous}}\" }}\n"
        )
    }

    fn judge(&mut self, at: Place<'_>) {
        let published = at.shop.published("shop/webhook").unwrap();
        assert!(published["token"].as_str().is_some_and(|token| token.len() > 20), "no value is published");
        assert_eq!(published["before"], Value::Null, "the value before is left over");
    }
}

/// The names of the keys in KV, by field.
fn keys(published: &Value) -> Vec<(String, String)> {
    let fields = published.as_object().unwrap();
    fields.iter().filter_map(|(field, key)| Some((field.clone(), key["kid"].as_str()?.to_owned()))).collect()
}

pub struct Hmac;

impl Subject for Hmac {
    fn secret(&mut self, at: Place<'_>) -> String {
        let kv = &at.shop.kv;
        format!("kind = \"jwt-hmac\"\npath = \"{kv}/shop/jwt\"\nalgorithm = \"HS256\"\ntoken_lifetime = \"1s\"\npropagation = \"1s\"\n")
    }

    fn judge(&mut self, at: Place<'_>) {
        let keys = keys(&at.shop.published("shop/jwt").unwrap());
        assert_eq!(keys.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["current"], "keys are left over");
    }
}

pub struct Keypair;

impl Subject for Keypair {
    fn secret(&mut self, at: Place<'_>) -> String {
        let kv = &at.shop.kv;
        format!(
            "kind = \"jwt-keypair\"\nalgorithm = \"EdDSA\"\ntoken_lifetime = \"1s\"\ncache_lifetime = \"1s\"\nskew = \"1s\"\n\
             path = \"{kv}/shop/signing\"\njwks = {{ path = \"{kv}/shop/signing-public\" }}\n"
        )
    }

    fn judge(&mut self, at: Place<'_>) {
        let keys = keys(&at.shop.published("shop/signing").unwrap());
        assert_eq!(keys.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["current"], "keys are left over");
        let jwks = at.shop.published("shop/signing-public").unwrap();
        let public: BTreeSet<&str> = jwks["jwks"]["keys"].as_array().unwrap().iter().map(|jwk| jwk["kid"].as_str().unwrap()).collect();
        assert_eq!(public, keys.iter().map(|(_, kid)| kid.as_str()).collect(), "the JWKS holds other keys than KV");
    }
}
