use crate::{root, with_token};
use keyward_harness::{servers, unique};
use keyward_vault::{Kind, TransitUsage};
use serde_json::json;

/// A transit mount with one key.
fn key(settings: serde_json::Value) -> String {
    let (vault, mount) = (servers().vault(), unique("transit"));
    vault.must("POST", &format!("sys/mounts/{mount}"), Some(json!({ "type": "transit" }))).unwrap();
    vault.must("POST", &format!("{mount}/keys/k"), Some(settings)).unwrap();
    mount
}

#[tokio::test]
async fn a_new_version_gives_back_a_probe_and_old_ones_are_closed_on_demand() {
    let client = root();
    for (settings, usage) in [
        (json!({}), TransitUsage::Encrypts { derived: false }),
        (json!({ "derived": true }), TransitUsage::Encrypts { derived: true }),
        (json!({ "type": "ed25519" }), TransitUsage::Signs),
        (json!({ "type": "rsa-2048" }), TransitUsage::Encrypts { derived: false }),
    ] {
        let mount = key(settings);
        let before = client.transit_key(&mount, "k").await.unwrap();
        assert_eq!((before.latest_version, before.min_decryption_version, before.usage), (1, 1, usage));
        assert_eq!(before.auto_rotate, None);
        client.rotate_transit_key(&mount, "k").await.unwrap();
        assert_eq!(client.transit_key(&mount, "k").await.unwrap().latest_version, 2);
        for version in [1, 2] {
            client.transit_probe(&mount, "k", usage, version).await.unwrap();
        }
        client.transit_min_decryption(&mount, "k", 2).await.unwrap();
        assert_eq!(client.transit_key(&mount, "k").await.unwrap().min_decryption_version, 2);
        assert!(client.transit_probe(&mount, "k", usage, 1).await.is_err(), "{usage:?}");
        client.transit_probe(&mount, "k", usage, 2).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_key_or_not_allowed_is_said() {
    let mount = key(json!({}));
    assert_eq!(root().transit_key(&mount, "none").await.unwrap_err().kind, Kind::NotFound);
    let narrow = with_token(&servers().vault().token("path \"sys/health\" { capabilities = [\"read\"] }", json!(null)));
    assert_eq!(narrow.rotate_transit_key(&mount, "k").await.unwrap_err().kind, Kind::Denied);
}
