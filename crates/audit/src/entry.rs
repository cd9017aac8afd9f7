//! An audit entry as it stands in the log, borrowed from the line. Never an interpretation.
//!
//! Keys are found by name, never by order: Vault sorts them, OpenBao does not. Unknown keys are skipped. The server leaves
//! out whatever is empty, so an absent text is an empty one. A value of an unexpected type counts as absent.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::words::ErrorClass;

/// What every hash in the log begins with.
const HASHED: &str = "hmac-sha256:";

/// One line of the audit log.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Entry<'a> {
    /// RFC 3339 with up to nine fraction digits, UTC.
    #[serde(borrow, default, deserialize_with = "text")]
    pub time: Cow<'a, str>,
    /// `request` or `response`; other words may come.
    #[serde(borrow, default, deserialize_with = "text", rename = "type")]
    pub kind: Cow<'a, str>,
    /// The class of the entry's own error; a response may carry one more in its data.
    #[serde(default, deserialize_with = "error_class")]
    pub error: Option<ErrorClass>,
    /// Who called; on a successful login's response, who was let in.
    #[serde(borrow, default)]
    pub auth: Option<Auth<'a>>,
    /// What was called. Every entry has it.
    #[serde(borrow)]
    pub request: Request<'a>,
    /// What was answered.
    #[serde(borrow, default)]
    pub response: Option<Response<'a>>,
    /// The line began with a torn fragment of another one, which was skipped.
    #[serde(skip)]
    pub after_torn_fragment: bool,
}

/// A caller.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Auth<'a> {
    /// The token is there and no hash.
    #[serde(default, deserialize_with = "is_clear", rename = "client_token")]
    pub clear_token: bool,
    /// The accessor's hash (in clear if the device says `hmac_accessor=false`).
    #[serde(borrow, default, deserialize_with = "text")]
    pub accessor: Cow<'a, str>,
    /// `root`, `token-NAME`, `userpass-alice`, or just `approle`.
    #[serde(borrow, default, deserialize_with = "text")]
    pub display_name: Cow<'a, str>,
    /// The root policy is among its policies.
    #[serde(default, deserialize_with = "has_root", rename = "policies")]
    pub root: bool,
    /// The identity's id; tokens made by hand have none.
    #[serde(borrow, default, deserialize_with = "text")]
    pub entity_id: Cow<'a, str>,
    /// What the policies said.
    #[serde(default)]
    pub policy_results: Option<PolicyResults>,
    /// A JSON object that the auth method filled.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub metadata: Option<&'a str>,
}

impl Auth<'_> {
    /// The role that AppRole, Kubernetes or JWT logged in by, where the metadata has it.
    pub fn role_name(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Roles<'m> {
            #[serde(borrow, default, deserialize_with = "text")]
            role_name: Cow<'m, str>,
            #[serde(borrow, default, deserialize_with = "text")]
            role: Cow<'m, str>,
        }
        let roles: Roles<'_> = serde_json::from_str(self.metadata?).ok()?;
        [roles.role_name, roles.role].into_iter().find(|role| !role.is_empty()).map(Cow::into_owned)
    }
}

/// The verdict of the policies on a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct PolicyResults {
    /// Whether they allow it; always present where policies were asked at all.
    #[serde(default)]
    pub allowed: bool,
}

/// A call.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Request<'a> {
    /// The same in the request's and the response's entry; absent for `path-help` before Vault fixed it.
    #[serde(borrow, default, deserialize_with = "text")]
    pub id: Cow<'a, str>,
    /// `read`, `update` and so on.
    #[serde(borrow, default, deserialize_with = "text")]
    pub operation: Cow<'a, str>,
    /// With its slash: `secret/`, `auth/approle/`. Absent for unknown mounts.
    #[serde(borrow, default, deserialize_with = "text")]
    pub mount_point: Cow<'a, str>,
    /// `kv`, `system`, `approle` and so on.
    #[serde(borrow, default, deserialize_with = "text")]
    pub mount_type: Cow<'a, str>,
    /// The token is there and no hash.
    #[serde(default, deserialize_with = "is_clear", rename = "client_token")]
    pub clear_token: bool,
    /// The token's accessor, hashed.
    #[serde(borrow, default, deserialize_with = "text")]
    pub client_token_accessor: Cow<'a, str>,
    /// The namespace.
    #[serde(borrow, default)]
    pub namespace: Option<Namespace<'a>>,
    /// The path without `v1/` and without the namespace.
    #[serde(borrow, default, deserialize_with = "text")]
    pub path: Cow<'a, str>,
    /// The client's address, also where a standby forwarded the call.
    #[serde(borrow, default, deserialize_with = "text")]
    pub remote_address: Cow<'a, str>,
    /// The body: strings hashed, the rest in clear.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub data: Option<&'a str>,
}

/// A namespace.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Namespace<'a> {
    /// Empty for the root namespace, else with a slash at its end.
    #[serde(borrow, default, deserialize_with = "text")]
    pub path: Cow<'a, str>,
}

/// An answer.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Response<'a> {
    /// A token that the answer carries: after a login or a token's creation.
    #[serde(default)]
    pub auth: Option<TokenMade>,
    /// A JSON object: strings hashed, the rest in clear.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub data: Option<&'a str>,
    /// Present if the answer is a lease; the lease's id stands in it in clear.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub secret: Option<&'a str>,
    /// Present if the answer was wrapped.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub wrap_info: Option<&'a str>,
}

/// A token that was made.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct TokenMade {
    /// The root policy is among its policies.
    #[serde(default, deserialize_with = "has_root", rename = "policies")]
    pub root: bool,
    /// Its life in seconds; 0 for one that never ends.
    #[serde(default, deserialize_with = "number")]
    pub token_ttl: u64,
}

impl Request<'_> {
    /// Whether the body asks for a token without parent.
    pub fn asks_for_no_parent(&self) -> bool {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            no_parent: serde_json::Value,
        }
        let body = self.data.and_then(|data| serde_json::from_str::<Body>(data).ok());
        body.is_some_and(|body| body.no_parent == serde_json::Value::Bool(true))
    }
}

impl Response<'_> {
    /// Whether the data is nothing but an error message, which is how the server answers a failed validation.
    ///
    /// Exactly one key, as the server itself tells: a secret may well have a field that is called `error`.
    pub fn is_only_an_error(&self) -> bool {
        let Some(data) = self.data.filter(|data| first_key(data).is_some_and(|rest| rest.starts_with("\"error\""))) else {
            return false;
        };
        let keys: Result<Keys, _> = serde_json::from_str(data);
        keys.is_ok_and(|keys| keys.0 == 1)
    }

    /// The HTTP status of a raw answer, such as that to the read of a deleted version.
    pub fn http_status(&self) -> Option<u16> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default, deserialize_with = "number")]
            http_status_code: u64,
        }
        let data = self.data.filter(|data| first_key(data).is_some_and(|rest| rest.starts_with("\"http_")))?;
        let raw: Raw = serde_json::from_str(data).ok()?;
        u16::try_from(raw.http_status_code).ok().filter(|status| *status > 0)
    }

    /// Whether the answer came with a lease.
    pub fn has_lease(&self) -> bool {
        self.secret.is_some_and(|secret| secret.contains("\"lease_id\""))
    }
}

/// What follows the opening brace of an object.
fn first_key(object: &str) -> Option<&str> {
    object.trim_start().strip_prefix('{').map(str::trim_start)
}

/// Whether a list of policies names the root policy. A quote inside a name would be escaped, so the quoted word can only be a whole name.
pub(crate) fn names_root(policies: &str) -> bool {
    memmem::find(policies.as_bytes(), b"\"root\"").is_some()
}

/// Whether a token is there and no hash. The server hashes every token, so such a one means that nothing is hashed.
pub(crate) fn is_in_clear(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(HASHED)
}

/// Counts an object's keys and keeps nothing.
struct Keys(usize);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Keys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    keys += 1;
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Count)
    }
}

/// A leaf of whatever type: only strings and numbers are kept.
enum Leaf<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Absent,
    Strange,
}

struct LeafVisitor;

impl<'de> Visitor<'de> for LeafVisitor {
    type Value = Leaf<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Text(Cow::Borrowed(text)))
    }

    // A text with an escape in it cannot be borrowed from the line.
    fn visit_str<E>(self, text: &str) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Strange)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Strange)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Strange)
    }

    fn visit_unit<E>(self) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Leaf<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Leaf::Strange)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf::Strange)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    Ok(match deserializer.deserialize_any(LeafVisitor)? {
        Leaf::Text(text) => text,
        _ => Cow::Borrowed(""),
    })
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Ok(Option::<&RawValue>::deserialize(deserializer)?.map(RawValue::get))
}

fn has_root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(raw(deserializer)?.is_some_and(names_root))
}

fn is_clear<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(is_in_clear(&text(deserializer)?))
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match deserializer.deserialize_any(LeafVisitor)? {
        Leaf::Number(number) => number,
        _ => 0,
    })
}

fn error_class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ErrorClass>, D::Error> {
    Ok(match deserializer.deserialize_any(LeafVisitor)? {
        Leaf::Text(text) if text.is_empty() => None,
        Leaf::Text(text) => Some(ErrorClass::of(&text)),
        Leaf::Absent => None,
        Leaf::Number(_) | Leaf::Strange => Some(ErrorClass::Other),
    })
}
