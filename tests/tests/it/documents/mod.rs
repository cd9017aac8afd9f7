//! The commands of the README, of the page on backups, and of the runbooks, typed into a shell as they stand there, against real servers.
//!
//! One Vault, one life: it is set up as the README says, and then one trouble after the other befalls it.

mod backup;
pub mod page;
mod place;
mod readme;
mod runbooks;

use place::Place;

#[test]
fn the_pages_do_what_they_say() {
    let mut place = Place::new();
    if !place.is_vault() {
        // OpenBao's own tool is called otherwise, and takes its audit devices from a file.
        return;
    }
    let shop = readme::follow(&place);
    runbooks::storage_migration(&mut place);
    runbooks::sealed(&place);
    runbooks::rotation_stuck(&place, &shop);
    runbooks::audit_device_gone(&place);
    runbooks::lost_shares(&mut place);
    runbooks::corruption(&mut place, &shop);
    backup::follow(&place, &shop);
    runbooks::lost_root_token(&mut place);
}

/// A page that nobody plays proves nothing.
#[test]
fn every_runbook_is_played() {
    let source = place::read(&page::root().join("tests/tests/it/documents/runbooks.rs"));
    let index = place::read(&page::root().join("docs/runbooks/README.md"));
    let mut pages = 0;
    for file in std::fs::read_dir(page::root().join("docs/runbooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name != "README.md" {
            assert!(source.contains(&format!("\"docs/runbooks/{name}\"")), "{name} is played by no test");
            assert!(index.contains(&format!("({name})")), "{name} is not in the list of runbooks");
            pages += 1;
        }
    }
    assert!(pages >= 7, "{pages} runbooks");
}
