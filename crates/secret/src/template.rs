//! Templates that build published fields from a credential's named values: `postgresql://{username}:{password}@db/app`.

use crate::Secret;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The named values of one credential (`username`, `password`, `value`, …).
pub type Values = BTreeMap<String, Secret>;

/// Why a template cannot serve.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("a brace without its partner in the template; write {{{{ or }}}} for a literal brace")]
    Brace,
    /// A name that this kind of secret does not offer.
    #[error("unknown placeholder {{{name}}}")]
    Unknown {
        /// The name between the braces.
        name: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(String),
}

/// A parsed template. In a template that is a URL (it contains `://`) values are percent-encoded, so that a
/// password of any character keeps its place (RFC 3986 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    is_url: bool,
}

impl Template {
    /// Parses `{name}` placeholders; `{{` and `}}` stand for literal braces.
    ///
    /// # Errors
    /// [`TemplateError::Brace`] for a brace without its partner.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' if rest.next_if_eq(&'{').is_some() => plain.push('{'),
                '}' if rest.next_if_eq(&'}').is_some() => plain.push('}'),
                '{' => {
                    let name: String = std::iter::from_fn(|| rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_')).collect();
                    if name.is_empty() || rest.next() != Some('}') {
                        return Err(TemplateError::Brace);
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Value(name));
                }
                '}' => return Err(TemplateError::Brace),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces, is_url: text.contains("://") })
    }

    /// The placeholders' names, in order of appearance.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Value(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with every placeholder filled in.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`] for a placeholder that has no value.
    pub fn render(&self, values: &Values) -> Result<Secret, TemplateError> {
        let mut text = Zeroizing::new(String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(name) => {
                    let value = values.get(name).ok_or_else(|| TemplateError::Unknown { name: name.clone() })?;
                    if self.is_url {
                        percent_encode(value.expose(), &mut text);
                    } else {
                        text.push_str(value.expose());
                    }
                }
            }
        }
        Ok(Secret::new(text.as_str()))
    }
}

/// Everything but RFC 3986's unreserved characters becomes `%XX`, straight into a buffer that is wiped.
fn percent_encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)])); // in bounds: four bits
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect()
    }

    fn check(template: &str, pairs: &[(&str, &str)], expected: &str) {
        let rendered = Template::parse(template).and_then(|t| t.render(&values(pairs)));
        assert_eq!(rendered.as_ref().map(Secret::expose), Ok(expected), "{template}");
    }

    #[test]
    fn placeholders_are_filled_in() {
        check("{username}", &[("username", "app_a")], "app_a");
        check("user={username} pass={password}", &[("username", "u"), ("password", "p w")], "user=u pass=p w");
        check("{{\"k\": \"{value}\"}}", &[("value", "v")], "{\"k\": \"v\"}");
    }

    #[test]
    fn values_in_a_url_are_percent_encoded() {
        let all: String = (' '..='~').collect();
        let rendered = Template::parse("postgresql://u:{password}@db/app").and_then(|t| t.render(&values(&[("password", &all)])));
        let Ok(url) = rendered else { panic!("{rendered:?}") };
        let inner = url.expose().trim_start_matches("postgresql://u:").trim_end_matches("@db/app");
        assert!(inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{inner}");
        assert!(inner.contains("%40") && inner.contains("%2F") && inner.contains("%25"));
        check("x://{v}", &[("v", "é")], "x://%C3%A9");
    }

    #[test]
    fn what_cannot_serve_is_refused() {
        for bad in ["{", "}", "{a", "{}", "a}b", "{a b}"] {
            assert_eq!(Template::parse(bad), Err(TemplateError::Brace), "{bad}");
        }
        let unknown = Template::parse("{nope}").and_then(|t| t.render(&Values::new())).map(|_| ());
        assert_eq!(unknown, Err(TemplateError::Unknown { name: "nope".into() }));
    }
}
