//! Whether the published fields are still what Keyward last knew, told without keeping what they are: a keyed digest.
//!
//! The digest stands in the record, in Keyward's own mount, which held the value itself while it was a candidate.

use crate::failure::{Class, Failure};
use crate::ports::Document;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use keyward_rotation::record::{Author, Known};
use keyward_secret::{Fields, Source};
use sha2::Sha256;

/// What is known of these fields from now on.
pub(crate) fn known(fields: &Fields, names: &[String], by: Author, now: Timestamp, random: &dyn Source) -> Result<Known, Failure> {
    let mut salt = [0_u8; 16];
    random.fill(&mut salt).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
    let salt = hex(&salt);
    Ok(Known { digest: digest(&salt, fields, names)?, salt, by, at: now })
}

/// Whether somebody else changed the named fields since they were last known. What was never known is nobody's.
pub(crate) fn is_foreign(known: Option<&Known>, live: &Document, names: &[String]) -> bool {
    let nothing = Fields::new();
    let fields = live.fields.as_ref().unwrap_or(&nothing);
    known.is_some_and(|known| digest(&known.salt, fields, names).is_ok_and(|now| now != known.digest))
}

/// What the named fields are once `publish` was patched over `old`; a field that is `null` in a patch is gone.
pub(crate) fn patched(old: &Fields, publish: &Fields, names: &[String]) -> Fields {
    let mut fields = Fields::new();
    for name in names {
        if let Some(json) = publish.json(name).or_else(|| old.json(name)) {
            fields.set_json(name, json.duplicate());
        }
    }
    fields
}

fn digest(salt: &str, fields: &Fields, names: &[String]) -> Result<String, Failure> {
    let broken = |_| Failure::lasting(Class::Invalid, "the digest's key has no usable length");
    let mut digest = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).map_err(broken)?;
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    for name in names {
        let value = fields.json(name).map_or("null", |json| json.expose());
        for part in [name, value] {
            // With lengths in front, no two sets of fields read the same.
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
    }
    Ok(hex(&digest.finalize().into_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_secret::{Secret, SystemRandom};

    fn live(text: &str) -> Document {
        Document { version: 3, fields: Some(Fields::parse(&Secret::new(text)).unwrap_or_else(|e| panic!("{e}"))) }
    }

    #[test]
    fn only_the_named_fields_count_and_nothing_of_them_is_kept() {
        let names = ["password".to_owned(), "url".to_owned()];
        let fields = live(r#"{"password":"hunter2","other":1}"#).fields.unwrap_or_default();
        let known = known(&fields, &names, Author::Keyward, Timestamp::UNIX_EPOCH, &SystemRandom).unwrap_or_else(|e| panic!("{e}"));
        for (same, text) in [
            (true, r#"{"password":"hunter2","other":2}"#),
            (true, r#"{"password":"hunter2","url":null}"#),
            (false, r#"{"password":"hunter2","url":"x"}"#),
            (false, r#"{"password":"hunter3"}"#),
            (false, r#"{"password":["hunter2"]}"#),
            (false, "{}"),
        ] {
            assert_eq!(is_foreign(Some(&known), &live(text), &names), !same, "{text}");
        }
        assert!(is_foreign(Some(&known), &Document::default(), &names), "a deleted path is a change, too");
        assert!(!is_foreign(None, &live("{}"), &names), "what was never known is nobody's");
        assert!(!format!("{known:?}").contains("hunter"));
    }

    #[test]
    fn a_patch_over_the_old_fields_is_what_stands_there_afterwards() {
        let names = ["current".to_owned(), "previous".to_owned()];
        let old = live(r#"{"current":"b","previous":"a"}"#).fields.unwrap_or_default();
        let publish = live(r#"{"previous":null}"#).fields.unwrap_or_default();
        let known = known(&patched(&old, &publish, &names), &names, Author::Keyward, Timestamp::UNIX_EPOCH, &SystemRandom)
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(!is_foreign(Some(&known), &live(r#"{"current":"b"}"#), &names));
        assert!(is_foreign(Some(&known), &live(r#"{"current":"b","previous":"a"}"#), &names));
    }
}
