//! Every query in the alert rules and dashboards names a metric that the daemon really exports.

use keyward_harness::{Shop, Wishes, servers};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The words of a text that begin with `keyward_`, without the suffixes of a histogram.
fn names(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("keyward_"));
    let base = |w: &str| ["_bucket", "_sum", "_count"].iter().find_map(|s| w.strip_suffix(s)).unwrap_or(w).to_owned();
    words.map(base).collect()
}

#[test]
fn rules_and_dashboards_ask_only_for_what_is_exported() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut asked = names(&fs::read_to_string(root.join("alerts/keyward.yml")).unwrap());
    for board in fs::read_dir(root.join("dashboards")).unwrap() {
        asked.extend(names(&fs::read_to_string(board.unwrap().path()).unwrap()));
    }
    assert!(asked.len() > 20, "only {} names found: the search is broken", asked.len());
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let _daemon = shop.serve().unwrap();
    let began = Instant::now();
    loop {
        let page = shop.http("/metrics").map(|(_, page)| page).unwrap_or_default();
        let exported: BTreeSet<String> =
            page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned)).collect();
        let missing: Vec<&String> = asked.difference(&exported).collect();
        if missing.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not exported: {missing:?}");
        std::thread::yield_now();
    }
}
