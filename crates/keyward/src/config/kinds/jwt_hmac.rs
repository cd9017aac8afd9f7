//! `jwt-hmac`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use keyward_engine::kinds::JwtFields;
use std::time::Duration;
use toml::Spanned;

/// `jwt-hmac`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtHmac {
    /// The published secret's KV path, mount first.
    pub path: String,
    /// What the keys sign with.
    pub algorithm: HmacAlgorithm,
    /// How long a token lives, and so how long the previous key must verify.
    pub token_lifetime: Duration,
    /// How long until every consumer has read a new key; default 5 minutes.
    pub propagation: Duration,
    /// The names of the published keys; default `current`, `previous`, `next`.
    pub fields: JwtFields,
}

/// The signing algorithms of RFC 7518 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl HmacAlgorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// A key must have at least the size of the hash (RFC 7518 §3.2).
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    /// Characters out of 62 that hold as many random bits as the hash.
    pub const fn key_characters(self) -> usize {
        match self {
            Self::Hs256 => 43,
            Self::Hs384 => 65,
            Self::Hs512 => 86,
        }
    }
}

/// How long a new key may need to reach its consumers, by default.
const DEFAULT_PROPAGATION: Duration = Duration::from_mins(5);

pub(super) fn read(mut s: Section<'_>) -> Option<JwtHmac> {
    let path = s.parsed("path", kv_path);
    let algorithms = [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512].map(|a| (a.name(), a));
    let algorithm = s.choice("algorithm", &algorithms);
    let token_lifetime = s.duration("token_lifetime");
    let propagation = s.duration("propagation").map_or(DEFAULT_PROPAGATION, Spanned::into_inner);
    let fields = read_fields(&mut s);
    s.finish(&[
        PATH,
        ("algorithm", "say which: HS256, HS384 or HS512"),
        ("token_lifetime", "say how long a token lives, such as \"1h\": that long the previous key must still verify"),
    ]);
    let (path, algorithm) = (path?.into_inner(), algorithm?.into_inner());
    Some(JwtHmac { path, algorithm, token_lifetime: token_lifetime?.into_inner(), propagation, fields })
}

/// The names of the three fields.
pub(super) fn read_fields(s: &mut Section<'_>) -> JwtFields {
    let mut fields = JwtFields { current: "current".into(), previous: "previous".into(), next: "next".into() };
    if let Some(mut names) = s.inline("fields") {
        for (key, field) in [("current", &mut fields.current), ("previous", &mut fields.previous), ("next", &mut fields.next)] {
            if let Some(name) = names.text(key) {
                *field = name.into_inner();
            }
        }
        if fields.current == fields.previous || fields.previous == fields.next || fields.current == fields.next {
            names.problems().at(names.span(), format!("{} must give three different names", names.label()));
        }
        names.finish(&[]);
    }
    fields
}
