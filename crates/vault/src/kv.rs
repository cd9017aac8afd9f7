//! KV version 2: documents of named fields, written with check-and-set only.
//!
//! Never a write without the version that it is based on, and never a delete of a key's metadata (that is in `removal`, which Keyward itself
//! never calls): it would make `cas=0` and low versions match again (seen on a real server).

use crate::call::{Call, Raw, checked};
use crate::client::Client;
use crate::{Kind, VaultError, path};
use jiff::Timestamp;
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use vaultrs::api::kv2::requests::{DestroySecretVersionsRequest, ReadConfigurationRequest, ReadSecretMetadataRequest};
use zeroize::Zeroizing;

/// One version of a document.
#[derive(Debug)]
pub struct KvDocument {
    /// The version read: for [`Client::kv_read`] the current one, to write against. 0 if there never was one.
    pub version: u64,
    /// The fields; `None` if absent, soft-deleted or destroyed.
    pub fields: Option<Fields>,
    /// Whether there is such a version, but soft-deleted, expired or destroyed.
    pub deleted: bool,
    /// Of the path as a whole, not of the version.
    pub custom_metadata: BTreeMap<String, String>,
    /// When this version was written.
    pub created_time: Option<Timestamp>,
}

/// What Vault keeps about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvMetadata {
    /// 0 for a path that has metadata and no version yet.
    pub current_version: u64,
    /// Versions below were pruned. 0 as long as none was.
    pub oldest_version: u64,
    /// The versions still known.
    pub versions: BTreeMap<u64, KvVersion>,
    /// Keys and values for people's eyes.
    pub custom_metadata: BTreeMap<String, String>,
    /// How many versions are kept; 0 means the mount's setting.
    pub max_versions: u64,
    /// After how long versions of this path expire; `None`: never, or as the mount says.
    pub delete_version_after: Option<Duration>,
}

/// One version's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvVersion {
    /// When it was written.
    pub created_time: Option<Timestamp>,
    /// When it was, or will be, soft-deleted.
    pub deletion_time: Option<Timestamp>,
    /// Whether its content is gone for good.
    pub destroyed: bool,
}

/// A KV v2 mount's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvConfig {
    /// How many versions are kept; 0 means Vault's default, 10.
    pub max_versions: u64,
    /// After how long versions expire; `None`: never.
    pub delete_version_after: Option<Duration>,
    /// Whether writes without check-and-set are refused.
    pub cas_required: bool,
}

impl Client {
    /// The current version of a document. A path that never existed is a document of version 0, no error.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such *mount*, [`Kind::Denied`], and those of any call.
    pub async fn kv_read(&self, mount: &str, path: &str) -> Result<KvDocument, VaultError> {
        self.kv_get(mount, path, None).await
    }

    /// One version of a document, `version` ≥ 1. Where there is none (yet, or any more), the answer's `version` is 0.
    pub async fn kv_read_version(&self, mount: &str, path: &str, version: u64) -> Result<KvDocument, VaultError> {
        if version == 0 {
            // Vault takes 0 for "the current one".
            return Err(VaultError::new(Kind::Invalid, format!("GET {mount}/data/{path}"), "there is no version 0"));
        }
        self.kv_get(mount, path, Some(version)).await
    }

    async fn kv_get(&self, mount: &str, path: &str, version: Option<u64>) -> Result<KvDocument, VaultError> {
        let (mount, path) = checked("GET KV data", mount, path)?;
        let mut endpoint = Raw::get(format!("{mount}/data/{path}"));
        if let Some(version) = version {
            endpoint = endpoint.query(format!("version={version}"));
        }
        let call = Call::read(endpoint);
        let answer = self.ask(&call).await?;
        if answer.status != 404 {
            return answer.data::<ReadData>(&call.attempted)?.document(&call.attempted);
        }
        // Three kinds of 404: a deleted version (with its metadata), nothing there (no errors), no such mount (with a message).
        if let Ok(Some(deleted)) = answer.data::<Option<ReadData>>(&call.attempted) {
            return deleted.document(&call.attempted);
        }
        if answer.bare::<NothingThere>(&call.attempted).is_ok_and(|n| n.errors.is_empty()) {
            return Ok(KvDocument { version: 0, fields: None, deleted: false, custom_metadata: BTreeMap::new(), created_time: None });
        }
        Err(answer.failure(&call.attempted, &[]))
    }

    /// Writes a whole document and returns its new version. `cas` is the current version; 0: there must never have been one.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the version is another. Never repeated: see [`VaultError::outcome_unknown`].
    pub async fn kv_write(&self, mount: &str, path: &str, cas: u64, fields: &Fields) -> Result<u64, VaultError> {
        let (mount, path) = checked("POST KV data", mount, path)?;
        let endpoint = Raw::new(RequestMethod::POST, format!("{mount}/data/{path}")).body(write_body(cas, fields));
        self.kv_send(Call::write(endpoint), fields).await
    }

    /// Changes the given fields alone and returns the new version; a field whose JSON is `null` is removed. No field at all
    /// still makes a new version, which refuses every writer that is based on the older one.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the current version is not `cas`; [`Kind::NotFound`] when it is, but is soft-deleted or destroyed,
    /// or when there is no document at all. Never repeated.
    pub async fn kv_patch(&self, mount: &str, path: &str, cas: u64, fields: &Fields) -> Result<u64, VaultError> {
        let (mount, path) = checked("PATCH KV data", mount, path)?;
        let endpoint = Raw::new(RequestMethod::PATCH, format!("{mount}/data/{path}")).body(write_body(cas, fields));
        let call = Call::write(endpoint).merge_patch();
        if cas == 0 {
            return Err(VaultError::new(Kind::Invalid, call.attempted, "a patch needs the version that it is based on"));
        }
        self.kv_send(call, fields).await
    }

    async fn kv_send(&self, call: Call<'_, Raw>, fields: &Fields) -> Result<u64, VaultError> {
        let texts: Vec<Secret> = fields.names().filter_map(|n| fields.text(n)).collect();
        let attempted = call.attempted.clone();
        let call = texts.iter().fold(call, Call::hide);
        let answer = self.run(call).await?;
        Ok(answer.data::<Written>(&attempted)?.version)
    }

    /// Destroys the content of versions for good; their numbers stay taken. Versions that do not exist are passed over by Vault.
    pub async fn kv_destroy(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), VaultError> {
        let (mount, path) = checked("POST KV destroy", mount, path)?;
        if versions.is_empty() {
            return Ok(());
        }
        let endpoint = DestroySecretVersionsRequest { mount: mount.into(), path: path.into(), versions: versions.to_vec() };
        self.run(Call::write(endpoint)).await.map(drop)
    }

    /// What Vault keeps about a path.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the path never existed.
    pub async fn kv_metadata(&self, mount: &str, path: &str) -> Result<KvMetadata, VaultError> {
        let (mount, path) = checked("GET KV metadata", mount, path)?;
        let call = Call::read(ReadSecretMetadataRequest { mount: mount.into(), path: path.into() });
        let attempted = call.attempted.clone();
        let answer = self.run(call).await?;
        answer.data::<MetadataData>(&attempted)?.metadata(&attempted)
    }

    /// Merges keys into a path's custom metadata. Vault has no check-and-set for it: nothing may depend on it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the path never existed; [`Kind::Invalid`] beyond 64 keys, 128 bytes a key or 512 a value.
    pub async fn kv_patch_custom_metadata(&self, mount: &str, path: &str, map: &BTreeMap<String, String>) -> Result<(), VaultError> {
        let (mount, path) = checked("PATCH KV metadata", mount, path)?;
        let body = serde_json::json!({ "custom_metadata": map });
        let endpoint = Raw::new(RequestMethod::PATCH, format!("{mount}/metadata/{path}")).json(&body);
        self.run(Call::write(endpoint).merge_patch()).await.map(drop)
    }

    /// A KV v2 mount's settings.
    pub async fn kv_config(&self, mount: &str) -> Result<KvConfig, VaultError> {
        let mount = path::mount("GET KV config", mount)?;
        let call = Call::read(ReadConfigurationRequest { mount: mount.into() });
        let attempted = call.attempted.clone();
        let answer = self.run(call).await?;
        let data: ConfigData = answer.data(&attempted)?;
        Ok(KvConfig {
            max_versions: data.max_versions,
            delete_version_after: go_duration(&data.delete_version_after),
            cas_required: data.cas_required,
        })
    }
}

/// `{"options":{"cas":N},"data":{…}}` in a buffer of its final size, so that no copy of a secret is left behind by growing.
fn write_body(cas: u64, fields: &Fields) -> Zeroizing<Vec<u8>> {
    let data = fields.to_json_text();
    let head = format!("{{\"options\":{{\"cas\":{cas}}},\"data\":");
    let mut body = Zeroizing::new(Vec::with_capacity(head.len() + data.expose().len() + 1));
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(data.expose().as_bytes());
    body.push(b'}');
    body
}

#[derive(Deserialize)]
struct NothingThere {
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Written {
    version: u64,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: VersionData,
}

impl ReadData<'_> {
    fn document(self, attempted: &str) -> Result<KvDocument, VaultError> {
        let fields = self
            .data
            .map(|raw| Fields::parse(&Secret::new(raw.get())))
            .transpose()
            .map_err(|_| VaultError::sent(Kind::Internal, attempted, None, vec!["the document is no JSON object".into()]))?;
        Ok(KvDocument {
            version: self.metadata.version,
            deleted: fields.is_none(),
            fields,
            custom_metadata: self.metadata.custom_metadata.unwrap_or_default(),
            created_time: self.metadata.created_time,
        })
    }
}

#[derive(Deserialize)]
struct VersionData {
    version: u64,
    custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "maybe_time")]
    created_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct MetadataData {
    current_version: u64,
    #[serde(default)]
    oldest_version: u64,
    #[serde(default)]
    versions: BTreeMap<String, VersionState>,
    custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    max_versions: u64,
    #[serde(default)]
    delete_version_after: String,
}

impl MetadataData {
    fn metadata(self, attempted: &str) -> Result<KvMetadata, VaultError> {
        let mut versions = BTreeMap::new();
        for (number, state) in self.versions {
            let number = number
                .parse()
                .map_err(|_| VaultError::sent(Kind::Internal, attempted, None, vec!["a version in the metadata is no number".into()]))?;
            let VersionState { created_time, deletion_time, destroyed } = state;
            versions.insert(number, KvVersion { created_time, deletion_time, destroyed });
        }
        Ok(KvMetadata {
            current_version: self.current_version,
            oldest_version: self.oldest_version,
            versions,
            custom_metadata: self.custom_metadata.unwrap_or_default(),
            max_versions: self.max_versions,
            delete_version_after: go_duration(&self.delete_version_after),
        })
    }
}

#[derive(Deserialize)]
struct VersionState {
    #[serde(default, deserialize_with = "maybe_time")]
    created_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "maybe_time")]
    deletion_time: Option<Timestamp>,
    #[serde(default)]
    destroyed: bool,
}

#[derive(Deserialize)]
struct ConfigData {
    #[serde(default)]
    max_versions: u64,
    #[serde(default)]
    delete_version_after: String,
    #[serde(default)]
    cas_required: bool,
}

/// A time as Go writes it; empty, absent and Go's year 1 all mean "none".
pub(crate) fn maybe_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|t| t.parse().ok()).filter(|t: &Timestamp| *t > Timestamp::UNIX_EPOCH))
}

/// A duration as Go writes it (`3h25m19s`, `1.5s`); `None` for zero, negative (Vault's "off") and what is none.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, remaining) = after.split_at(unit_end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = remaining;
    }
    Duration::try_from_secs_f64(total).ok().filter(|d| !d.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_the_version_and_the_named_fields_alone() {
        let mut fields = Fields::new();
        fields.set_text("password", &Secret::new("a\"b"));
        fields.set_json("gone", Secret::new("null"));
        let body = write_body(7, &fields);
        assert_eq!(body.as_slice(), br#"{"options":{"cas":7},"data":{"gone":null,"password":"a\"b"}}"#);
        assert_eq!(body.len(), body.capacity());
        assert_eq!(write_body(0, &Fields::new()).as_slice(), br#"{"options":{"cas":0},"data":{}}"#);
    }

    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(go_duration(text), seconds.map(Duration::from_secs), "{text}");
    }

    #[test]
    fn go_durations_are_read() {
        check("3h25m19s", Some(3 * 3600 + 25 * 60 + 19));
        check("768h0m0s", Some(768 * 3600));
        check("1500ms500ms", Some(2));
        for none in ["0s", "", "-1s", "5", "s", "5 days"] {
            check(none, None);
        }
    }
}
