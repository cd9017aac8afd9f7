//! Named fields of a secret document, each held as canonical JSON text, so that any JSON value can be compared and sent.

use crate::Secret;
use serde_json::Value;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Why a text is no set of fields. Says nothing of the text itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldsError {
    /// Not JSON, or not an object.
    #[error("expected a JSON object of fields")]
    NotAnObject,
}

/// The fields of one document: name → canonical JSON text (keys sorted, no blanks).
///
/// Canonical, because comparing what Vault returns with what we sent must not depend on the order of keys.
#[derive(Debug, Default)]
pub struct Fields(BTreeMap<String, Secret>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The fields of a JSON object.
    pub fn from_json(object: serde_json::Map<String, Value>) -> Self {
        Self(object.into_iter().map(|(name, value)| (name, Secret::new(value.to_string()))).collect())
    }

    /// The fields of a JSON object's text.
    ///
    /// # Errors
    /// [`FieldsError::NotAnObject`]; the text is not repeated.
    pub fn parse(text: &Secret) -> Result<Self, FieldsError> {
        serde_json::from_str(text.expose()).map(Self::from_json).map_err(|_| FieldsError::NotAnObject)
    }

    /// Sets a field to a text (a JSON string).
    pub fn set_text(&mut self, name: &str, text: &Secret) {
        self.0.insert(name.to_owned(), Secret::new(Value::from(text.expose()).to_string()));
    }

    /// Sets a field to a JSON value given as its text; `null` in a patch removes the field.
    pub fn set_json(&mut self, name: &str, json: Secret) {
        self.0.insert(name.to_owned(), json);
    }

    /// A field that is a JSON string, as its text; `None` when absent or not a string.
    pub fn text(&self, name: &str) -> Option<Secret> {
        serde_json::from_str::<String>(self.0.get(name)?.expose()).ok().map(Secret::new)
    }

    /// A field's canonical JSON text.
    pub fn json(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy of those fields that are named, where they are present.
    pub fn only<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(|n| Some((n.to_owned(), self.0.get(n)?.duplicate()))).collect())
    }

    /// A second copy.
    pub fn duplicate(&self) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.clone(), value.duplicate())).collect())
    }

    /// Whether every field of `self` stands in `other` with the same value; a field that is `null` here must be absent there.
    pub fn contained_in(&self, other: &Self) -> bool {
        self.0.iter().all(|(name, value)| match other.0.get(name) {
            Some(theirs) => value.same_as(theirs),
            None => value.expose() == "null",
        })
    }

    /// The whole as the text of a JSON object.
    pub fn to_json_text(&self) -> Secret {
        let mut text = Zeroizing::new(String::from("{"));
        for (i, (name, value)) in self.0.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.expose());
        }
        text.push('}');
        Secret::new(text.as_str())
    }
}

/// A JSON text with keys sorted and blanks gone.
///
/// # Errors
/// [`FieldsError::NotAnObject`] when the text is not JSON.
pub fn canonical_json(text: &Secret) -> Result<Secret, FieldsError> {
    serde_json::from_str::<Value>(text.expose()).map(|v| Secret::new(v.to_string())).map_err(|_| FieldsError::NotAnObject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(&Secret::new(text)).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn any_json_survives_and_compares_whatever_its_order() {
        let a = fields(r#"{"n":1.50,"o":{"b":[1,2],"a":"é\n"},"s":"x"}"#);
        let b = fields(r#"{ "s":"x", "o":{"a":"\u00e9\u000a","b":[1,2]}, "n":1.5, "more":true }"#);
        assert!(a.contained_in(&b));
        assert!(!b.contained_in(&a));
        assert_eq!(fields(a.to_json_text().expose()).len(), 3);
    }

    #[test]
    fn a_null_means_absent() {
        assert!(fields(r#"{"gone":null}"#).contained_in(&fields("{}")));
        assert!(!fields(r#"{"gone":null}"#).contained_in(&fields(r#"{"gone":1}"#)));
    }

    #[test]
    fn an_error_repeats_nothing() {
        let error = Fields::parse(&Secret::new("hunter2")).map(|_| ());
        assert_eq!(error, Err(FieldsError::NotAnObject));
        assert!(!FieldsError::NotAnObject.to_string().contains("hunter2"));
    }
}
