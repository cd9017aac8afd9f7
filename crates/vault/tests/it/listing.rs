use crate::{fields, root, with_token};
use keyward_harness::servers;
use keyward_vault::Kind;

#[tokio::test]
async fn a_folder_is_listed_to_its_bottom_within_bounds() {
    let (client, mount) = (root(), servers().vault().kv_mount());
    for path in ["top", "a/one", "a/b/two", "a/b/c/three", "closed/four"] {
        client.kv_write(&mount, path, 0, &fields(&[("k", "v")])).await.unwrap();
    }
    assert_eq!(client.kv_list(&mount, "").await.unwrap(), ["a/", "closed/", "top"]);
    assert_eq!(client.kv_list(&mount, "/a/").await.unwrap(), ["b/", "one"]);
    assert_eq!(client.kv_list(&mount, "nowhere").await.unwrap(), [""; 0]);
    let all = client.kv_list_all(&mount, "", 100).await.unwrap();
    assert_eq!(all.paths, ["a/b/c/three", "a/b/two", "a/one", "closed/four", "top"]);
    assert!(all.complete && all.denied.is_empty());
    let below = client.kv_list_all(&mount, "a", 2).await.unwrap();
    assert!(!below.complete && below.paths.len() <= 2, "{below:?}");
    let allowed = |folder: &str| format!("path \"{mount}/metadata/{folder}\" {{ capabilities = [\"list\"] }}\n");
    let policy = ["", "a", "a/b", "a/b/c"].map(allowed).concat();
    let some = with_token(&servers().vault().token(&policy, serde_json::Value::Null));
    let seen = some.kv_list_all(&mount, "", 100).await.unwrap();
    assert_eq!((seen.paths.len(), seen.denied), (4, vec!["closed/".to_owned()]));
    assert_eq!(some.kv_list(&mount, "closed").await.unwrap_err().kind, Kind::Denied);
    assert_eq!(client.kv_list("no-such-mount", "").await.unwrap_err().kind, Kind::NotFound);
}
