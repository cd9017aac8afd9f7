//! JSON that a person brings, and that has to come into Vault as it was meant, or not at all.

use super::import::dotenv::closing_quote;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// What is wrong with a text that is JSON otherwise; never what it says.
pub fn trouble(json: &str) -> Option<&'static str> {
    if is_rounded(json) {
        return Some("holds a whole number that Vault would round; put it in quotes");
    }
    // Of two, parsers take the last one in silence.
    serde_json::from_str::<Unique>(json).is_err().then_some("names a field twice; take one of the two out")
}

/// Whether a whole number stands there which Vault would round in silence: all beyond 2^53 that no `f64` holds.
fn is_rounded(json: &str) -> bool {
    find_rounded(json).is_some()
}

fn find_rounded(json: &str) -> Option<()> {
    let is_lost = |token: &str| match token.parse::<i128>() {
        // Exact where it can be; what saturates is none of these numbers.
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the loss is what is looked for")]
        Ok(number) => (number as f64) as i128 != number,
        Err(_) => token.len() > 30 && token.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
    };
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = rest.get(start..)?;
        let end = match rest.strip_prefix('"') {
            Some(text) => 2 + closing_quote(text)?,
            None => rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len()),
        };
        if is_lost(rest.get(..end)?) {
            return Some(());
        }
        rest = rest.get(end..)?;
    }
    None
}

/// JSON without an object in which a name stands twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands there twice"));
            }
            members.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_be_rounded_is_seen() {
        for bad in ["9007199254740993", "-123456789012345678", "123456789012345678901", &"7".repeat(50)] {
            assert!(is_rounded(&format!("{{\"a\\\"b\": [1, {{\"n\":{bad}}}]}}")), "{bad}");
        }
        for good in ["9007199254740992", "1.10", "-5e3", "\"123456789012345678901\"", "0.1234567890123456789", "true", "\""] {
            assert!(!is_rounded(&format!("{{\"a1\": {good}}}")), "{good}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_in_one_object_is_seen() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"x":[{"b":{"c":null,"d":"","c":2.5}}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(trouble(bad).is_some_and(|why| why.contains("twice")), "{bad}");
        }
        for good in [r#"{"a":1,"b":{"a":true},"c":[{"a":-1},{"a":"a"}]}"#, "{}", r#"{"a":"{\"a\":1,\"a\":1}"}"#] {
            assert_eq!(trouble(good), None, "{good}");
        }
    }
}
