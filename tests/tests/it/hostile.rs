//! A log that wants to overwhelm: endless names, then files of garbage. The daemon stays small, its series stay few, and it says so.

use crate::world::{LONG, edit};
use keyward_harness::{Process, Shop, Wishes, full, servers, wait_until};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Resident memory that is never exceeded, and by how much it may grow in the second half.
const MOST_KIB: u64 = 64 << 10;
const GROWTH_KIB: u64 = 6 << 10;
/// What an optimised daemon's program and libraries take when all of them are in memory. The daemon under test is not optimised, and its
/// program alone takes twice as much.
const PROGRAM_KIB: u64 = 24 << 10;
/// Series that the audit log has at most, whatever stands in it.
const MOST_SERIES: usize = 12_000;

/// A denied call that shares no name with any other one; each has all its texts from its number.
fn line(n: u64, out: &mut String) {
    out.clear();
    let (mix, kind) = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), if n.is_multiple_of(2) { "request" } else { "response" });
    let (high, low) = (mix >> 32, mix & 0xffff_ffff);
    write!(
        out,
        r#"{{"auth":{{"accessor":"hmac-sha256:{mix:064x}","client_token":"hmac-sha256:{low:064x}","display_name":"name-{mix}","entity_id":"{high:x}-{n}","policies":["p{n}"],"policy_results":{{"allowed":{}}},"token_type":"service"}},"error":"error number {mix}\n","request":{{"id":"{mix:x}-{n}","mount_point":"mount-{mix}/","mount_type":"type-{n}","namespace":{{"id":"root","path":"ns-{high}/"}},"operation":"op-{low}","path":"mount-{mix}/data/{n}","remote_address":"10.{}.{}.{}"}},"time":"2026-11-23T{:02}:{:02}:{:02}.{:06}Z","type":"{kind}"}}"#,
        n.is_multiple_of(3),
        n >> 16 & 255,
        n >> 8 & 255,
        n & 255,
        n / 3_600_000 % 24,
        n / 60_000 % 60,
        n / 1_000 % 60,
        n % 1_000,
    )
    .unwrap();
    out.push('\n');
}

fn write_lines(path: &Path, numbers: std::ops::Range<u64>) {
    let file = File::options().create(true).append(true).open(path).unwrap();
    let (mut file, mut text) = (BufWriter::with_capacity(1 << 20, file), String::new());
    for n in numbers {
        line(n, &mut text);
        file.write_all(text.as_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// What no server writes: noise, NULs, half lines, other formats, brackets without end, one line without end.
fn garbage(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let mut good = String::new();
    line(seed, &mut good);
    let piece = match seed % 7 {
        0 => noise(bytes),
        1 => vec![0; bytes],
        2 => good.as_bytes()[..good.len() / 2].repeat(bytes / good.len()),
        3 => b"<json:object name=\"auth\"><json:string name=\"accessor\">x</json:string></json:object>\n".repeat(bytes / 86),
        4 => [b"{\"request\":".as_slice(), &b"[".repeat(bytes)].concat(),
        5 => b"{\"type\":\"request\",\"request\":{\"id\":\"a\",\"id\":\"b\"}}\n".repeat(bytes / 50),
        _ => vec![b'x'; bytes],
    };
    // No two files are alike, as no two logs are.
    [format!("file {seed}\n").into_bytes(), piece, vec![b'\n']].concat()
}

fn resident(daemon: &Process, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The memory of a daemon that is optimised: this one's without its program, and the other program. In KiB.
fn memory(daemon: &Process, what: &str) -> u64 {
    resident(daemon, what).saturating_sub(resident(daemon, "RssFile:")) + PROGRAM_KIB
}

/// The sum of all series of a family that have a text in their labels.
fn sum(page: &str, family: &str, label: &str) -> u64 {
    let series = page.lines().filter(|line| line.starts_with(family) && line.contains(label));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn page(shop: &Shop<'_>) -> String {
    shop.http("/metrics").unwrap().1
}

fn wait_for_lines(shop: &Shop<'_>, lines: u64) {
    let limit = if full() { LONG * 5 } else { LONG };
    wait_until("the lines to be counted", limit, || (sum(&page(shop), "keyward_audit_lines_total{", "") >= lines).then_some(()));
}

#[test]
fn endless_names_and_garbage_cost_neither_memory_nor_series() {
    let (lines, files, bytes) = if full() { (1_000_000, 100, 1 << 20) } else { (60_000, 20, 256 << 10) };
    let shop =
        Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
    let log = shop.path("hostile.log");
    edit(&shop, "name = \"vault-1\"", &format!("name = \"vault-1\"\naudit_log = \"{}\"", log.display()));
    write_lines(&log, 0..lines / 2);
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    wait_for_lines(&shop, lines / 2);
    let half = memory(&daemon, "VmRSS:");
    write_lines(&log, lines / 2..lines);
    wait_for_lines(&shop, lines);
    let whole = memory(&daemon, "VmRSS:");
    let seen = page(&shop);
    assert_eq!(sum(&seen, "keyward_audit_lines_total{", "kind=\"response\""), lines / 2);
    assert_eq!(sum(&seen, "keyward_audit_entries_total{", ""), lines / 2, "each call once");
    assert!(sum(&seen, "keyward_audit_entries_total{", "mount=\"other\"") > lines / 3, "the bucket of all others is visible");
    assert!(sum(&seen, "keyward_audit_unmatched_total{", "kind=\"response\"") > 0);

    for number in 0..files {
        fs::rename(&log, shop.path(&format!("hostile.log.{number}"))).unwrap();
        fs::write(&log, garbage(number, bytes)).unwrap();
        wait_until("a file of garbage to be read", LONG, || {
            (shop.metric("keyward_audit_lag_bytes{node=\"vault-1\"}") == Some(0.0) && rotations(&shop) > number).then_some(())
        });
        // The rotated file is done with; a full disk is another test's matter.
        fs::remove_file(shop.path(&format!("hostile.log.{number}"))).unwrap();
    }
    let seen = page(&shop);
    for reason in ["nul", "not_json", "jsonx", "duplicate_key"] {
        assert!(sum(&seen, "keyward_audit_bad_lines_total{", &format!("reason=\"{reason}\"")) > 0, "{reason}: {seen}");
    }
    let series = seen.lines().filter(|line| line.starts_with("keyward_audit_")).count();
    assert!(series < MOST_SERIES, "{series} series");
    let (_, status) = shop.http("/api/v1/status").unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let places = status.pointer("/audit/vault-1/bad_places").and_then(Value::as_array).unwrap();
    assert_eq!(places.len(), 16, "a bounded sample of places: {places:?}");
    let (most, end) = (memory(&daemon, "VmHWM:"), memory(&daemon, "VmRSS:"));
    assert!(most < MOST_KIB, "{most} KiB resident at the most ({half} at half, {whole} after all lines, {end} after the garbage)");
    assert!(whole < half + GROWTH_KIB, "memory grows with the names: {half} KiB at half, {whole} KiB after all");
}

fn rotations(shop: &Shop<'_>) -> u64 {
    sum(&page(shop), "keyward_audit_file_rotations_total{", "")
}

#[test]
fn a_line_of_32_mib_is_one_call_and_its_memory_is_given_back() {
    let shop =
        Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
    let log = shop.path("long.log");
    edit(&shop, "name = \"vault-1\"", &format!("name = \"vault-1\"\naudit_log = \"{}\"", log.display()));
    write_lines(&log, 0..2);
    let daemon = shop.serve().unwrap();
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    wait_for_lines(&shop, 2);
    let key = format!(",\"hmac-sha256:{:064}\"", 0);
    let mut file = BufWriter::new(File::options().append(true).open(&log).unwrap());
    let auth = r#""auth":{"display_name":"token-ci","policies":["default"],"token_type":"service"}"#;
    let request = r#""request":{"id":"long","mount_point":"long/","mount_type":"kv","operation":"list","path":"long/metadata/"}"#;
    write!(file, r#"{{{auth},{request},"response":{{"data":{{"keys":["first""#).unwrap();
    (0..(32 << 20) / key.len()).for_each(|_| file.write_all(key.as_bytes()).unwrap());
    writeln!(file, r#"]}}}},"time":"2026-11-24T09:00:00Z","type":"response"}}"#).unwrap();
    file.flush().unwrap();
    wait_for_lines(&shop, 3);
    write_lines(&log, 2..4);
    wait_for_lines(&shop, 5);
    let seen = page(&shop);
    assert_eq!(sum(&seen, "keyward_audit_entries_total{", "operation=\"list\""), 1);
    assert_eq!(sum(&seen, "keyward_audit_bad_lines_total{", ""), 0);
    let (most, end) = (memory(&daemon, "VmHWM:"), memory(&daemon, "VmRSS:"));
    assert!(most < 3 * MOST_KIB && end < MOST_KIB, "{most} KiB resident at the most, {end} after it");
}
