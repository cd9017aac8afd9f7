//! `jwt-keypair`, as configured.

use super::super::section::Section;
use super::super::shape::kv_path;
use super::PATH;
use super::jwt_hmac::read_fields;
use keyward_engine::kinds::JwtFields;
use keyward_secret::keypair::SigningAlgorithm;
use std::time::Duration;
use toml::Spanned;

/// `jwt-keypair`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtKeypair {
    /// The KV path of the private keys, mount first.
    pub path: String,
    /// The names of the published keys; default `current`, `previous`, `next`.
    pub fields: JwtFields,
    /// The KV path of the public keys; another one, because everybody may read it.
    pub jwks_path: String,
    /// The field of it that holds the JWKS; default `jwks`.
    pub jwks_field: String,
    /// What the keys sign with; RSA of 2048 bits by default.
    pub algorithm: SigningAlgorithm,
    /// How long a token lives, and so how long the previous key must be verified.
    pub token_lifetime: Duration,
    /// How long verifiers may keep a JWKS that they have read; default 10 minutes.
    pub cache_lifetime: Duration,
    /// How far clocks may differ; default one minute.
    pub skew: Duration,
}

impl JwtKeypair {
    /// From a rotation until nothing of the one before is left.
    pub fn settles_in(&self) -> Duration {
        self.token_lifetime.saturating_add(self.cache_lifetime.saturating_add(self.skew).saturating_mul(2))
    }
}

const DEFAULT_CACHE: Duration = Duration::from_mins(10);
const DEFAULT_SKEW: Duration = Duration::from_mins(1);
const DEFAULT_BITS: u16 = 2048;

pub(super) fn read(mut s: Section<'_>) -> Option<JwtKeypair> {
    let path = s.parsed("path", kv_path);
    let algorithms =
        [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Rs256 { bits: DEFAULT_BITS }].map(|a| (a.name(), a));
    let algorithm = s.choice("algorithm", &algorithms).map(Spanned::into_inner);
    let bits = s.number("bits", 2048..=4096);
    let algorithm = match (algorithm, bits.as_ref().map(|b| *b.get_ref())) {
        (Some(SigningAlgorithm::Rs256 { .. }), Some(bits)) => {
            if bits % 1024 != 0 {
                s.wrong(&s.span().clone(), "bits", "must be 2048, 3072 or 4096");
            }
            Some(SigningAlgorithm::Rs256 { bits: u16::try_from(bits).unwrap_or(DEFAULT_BITS) })
        }
        (Some(_), Some(_)) => {
            s.wrong(&s.span().clone(), "bits", "belongs to RS256 only");
            algorithm
        }
        _ => algorithm,
    };
    let token_lifetime = s.duration("token_lifetime");
    let cache_lifetime = s.duration("cache_lifetime").map_or(DEFAULT_CACHE, Spanned::into_inner);
    let skew = s.duration("skew").map_or(DEFAULT_SKEW, Spanned::into_inner);
    let fields = read_fields(&mut s);
    let jwks = s.inline("jwks").map(|mut jwks| {
        let path = jwks.parsed("path", kv_path);
        let field = jwks.text("field").map_or_else(|| "jwks".to_owned(), Spanned::into_inner);
        jwks.finish(&[("path", "name the KV version 2 secret that everybody may read, such as \"public/tokens\"")]);
        Some((path?, field))
    });
    if let (Some(path), Some(Some((public, _)))) = (&path, &jwks)
        && path.get_ref() == public.get_ref()
    {
        let what = "must be another path than that of the private keys: whoever may read one may read all of it";
        s.problems().at(&public.span(), format!("\"path\" in jwks of {} {what}", s.label()));
    }
    s.finish(&[
        PATH,
        ("algorithm", "say which: EdDSA, ES256 or RS256"),
        ("token_lifetime", "say how long a token lives, such as \"1h\": that long the previous key must be verified"),
        ("jwks", "say where the public keys go: { path = \"public/tokens\" }"),
    ]);
    let (jwks_path, jwks_field) = jwks??;
    Some(JwtKeypair {
        path: path?.into_inner(),
        fields,
        jwks_path: jwks_path.into_inner(),
        jwks_field,
        algorithm: algorithm?,
        token_lifetime: token_lifetime?.into_inner(),
        cache_lifetime,
        skew,
    })
}
