//! Every command of the manual is broken off, or stands here.

use super::bench::Bench;
use std::fs;
use std::path::Path;

/// Commands that change nothing, as the manual names them.
pub const LOOKING: [&str; 24] = [
    "adopt",
    "audit evidence",
    "audit explain",
    "audit replay",
    "audit verify",
    "backup check",
    "backup list",
    "check",
    "completions",
    "doctor",
    "health",
    "paths",
    "plan",
    "policy",
    "policy audit",
    "policy check",
    "secret get",
    "secret history",
    "secret list",
    "status",
    "tls check",
    "token list",
    "token lookup",
    "backup drill",
];

/// Commands that change something and are broken off elsewhere, or by nothing, and where or why.
pub const ELSEWHERE: [(&str, &str); 10] = [
    ("init", "`vault_is_set_up_whatever_is_broken_off`"),
    ("init postgres", "`a_fence_is_there_or_not_wherever_its_command_is_broken_off`"),
    ("unseal", "`vault_is_set_up_whatever_is_broken_off`"),
    ("restore", "`vault_is_set_up_whatever_is_broken_off`"),
    ("serve", "the daemon: the crash matrix"),
    ("tls issue", "asks nobody; its files are written beside and renamed"),
    ("tls renew", "`a_renewal_that_is_broken_off_puts_the_old_pair_back`"),
    ("alert test", "a notice that was sent is sent"),
    ("audit report", "a file of one's own, which the next run writes anew"),
    ("man", "pages, which the next run writes anew"),
];

/// Every command that the manual has a page of, without those that only hold others.
pub fn commands(bench: &Bench<'_>) -> Vec<String> {
    let folder = bench.dir.join("man");
    let (ended, answer) = bench.run(&["man".to_owned(), folder.display().to_string()], "");
    assert!(ended.code == Some(0) && !answer["written"].as_array().unwrap().is_empty(), "{ended:?}");
    let names: Vec<String> = fs::read_dir(&folder).unwrap().map(|file| name(&file.unwrap().path())).collect();
    let holds_others = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name}-")));
    let own = ["backup", "init", "policy"];
    let mut leaves: Vec<String> =
        names.iter().filter(|name| !name.is_empty() && (!holds_others(name) || own.contains(&name.as_str()))).cloned().collect();
    leaves.sort();
    leaves.into_iter().map(|name| name.replace('-', " ")).collect()
}

fn name(page: &Path) -> String {
    let stem = page.file_stem().unwrap().to_string_lossy().into_owned();
    stem.trim_start_matches("keyward").trim_start_matches('-').to_owned()
}
