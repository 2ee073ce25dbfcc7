//! Servers that do not do what they say: conditions that are ignored, listings from the past, listings that end early.

use std::fs;

use wl_daemon::known_grade;
use wl_daemon::model::Outcome;
use wl_daemon::storage::CasGrade;
use wl_daemon::sync::SyncOptions;
use wl_test_servers::faults::{Action, When, Which};
use wl_test_servers::s3::{Conditional, S3Server};

use crate::trees;
use crate::trouble::{FILES, Setting};
use crate::world::{
    World, conflicts, is_quiet, local, problems, reasons, refused, s3, s3_server, synced,
};

/// What folders have: S3 has to be as good.
fn strict() -> SyncOptions {
    SyncOptions {
        require_cas: CasGrade::Recoverable,
        ..World::options()
    }
}

#[test]
fn ignored_conditions_are_found_out() {
    let (world, server) = (World::new(), s3_server());
    let fault = server.faults().ignore_all_conditions();
    let (source, target) = (world.folder("a"), s3(&server, "p"));
    trees::write(&source, "f", "1");
    let source = local(&source);
    for _ in 0..2 {
        let report = world.run(&source, &target, strict());
        let desc = refused(&report, "weak-cas");
        assert!(desc.contains("checked"), "{desc}");
        assert_eq!(server.keys("bucket"), Vec::<String>::new());
    }
    assert!(fault.fired() > 0);
    synced(&world.sync(&source, &target));
    let grade = known_grade(&world.base(), &target).map(|known| known.cas);
    assert_eq!(grade, Some(CasGrade::Checked));
    // Without races all goes as ever.
    trees::write(&world.at("a"), "f", "2");
    server.put("bucket", "p/g", "3");
    synced(&world.sync(&source, &target));
    assert_eq!(server.get("bucket", "p/f").unwrap().content, "2");
    assert!(world.at("a/g").exists());
}

#[test]
fn conditions_that_hold_are_believed() {
    let (world, server) = (World::new(), s3_server());
    let (source, target) = (world.folder("a"), s3(&server, "p"));
    trees::write(&source, "f", "1");
    synced(&world.run(&local(&source), &target, strict()));
    let grade = known_grade(&world.base(), &target).map(|known| known.cas);
    assert_eq!(grade, Some(CasGrade::Atomic));
}

#[test]
fn refused_conditions_are_done_without() {
    use wl_test_servers::s3::Conditional::{Complete, DeleteMatch, PutAbsent, PutMatch};
    without(&[Complete, DeleteMatch, PutAbsent, PutMatch]);
}

#[test]
#[ignore = "opendal names the version of every copy; where that is refused nothing can be kept in the trash, and nothing is replaced"]
fn refused_conditions_of_copies_are_done_without() {
    without(&wl_test_servers::s3::Conditional::WRITES);
}

fn without(kinds: &[wl_test_servers::s3::Conditional]) {
    let (world, server) = (World::new(), s3_server());
    let refuse = |kind: &_| server.faults().refuse_conditions(*kind);
    let faults: Vec<_> = kinds.iter().map(refuse).collect();
    let (source, target) = (world.folder("a"), s3(&server, "p"));
    for file in 0..FILES {
        trees::write(&source, &format!("f{file}"), "1");
    }
    synced(&world.sync(&local(&source), &target));
    assert!(faults.iter().any(|fault| fault.fired() > 0));
    let grade = known_grade(&world.base(), &target).map(|known| known.cas);
    assert_eq!(grade, Some(CasGrade::Checked));
    trees::write(&source, "f0", "2");
    fs::remove_file(source.join("f1")).unwrap();
    synced(&world.sync(&local(&source), &target));
}

/// Somebody writes to an object before the first request that fits.
fn meanwhile(server: &S3Server, which: Which, key: &'static str) {
    let store = server.store();
    let write = move |_: &_| drop(store.put("bucket", key, "theirs"));
    let action = Action::before(write);
    server.faults().add(which, When::Nth(1), action);
}

#[test]
fn conditions_that_are_ignored_for_large_files_are_found_out() {
    let (world, server) = (World::new(), s3_server());
    server.faults().ignore_conditions(Conditional::Complete);
    let (source, target) = (world.folder("a"), s3(&server, "p"));
    trees::write(&source, "small", "1");
    synced(&world.sync(&local(&source), &target));
    let grade = known_grade(&world.base(), &target).map(|known| known.cas);
    assert_eq!(grade, Some(CasGrade::Checked));
    // While a large file is on its way another comes there.
    let large = vec![b'x'; 12 << 20];
    let part = || Which::operation("UploadPart");
    for name in ["new", "small"] {
        fs::write(source.join(name), &large).unwrap();
    }
    meanwhile(&server, part().with_path("/p/new"), "p/new");
    meanwhile(&server, part().with_path("/p/small"), "p/small");
    let report = world.sync(&local(&source), &target);
    for key in ["p/new", "p/small"] {
        let there = server.get("bucket", key).unwrap().content;
        assert_eq!(there, "theirs", "{key}: {report:#?}");
    }
}

#[test]
fn a_copy_that_ignores_what_it_replaces_is_not_used() {
    let (world, server) = (World::new(), s3_server());
    server.faults().ignore_copy_match();
    let (source, target) = (s3(&server, "p"), s3(&server, "q"));
    server.put("bucket", "p/f", "1");
    synced(&world.sync(&source, &target));
    server.put("bucket", "p/f", "edited");
    // Between the version that is kept and the write somebody else writes.
    let store = server.store();
    let over = Which::operations(["CopyObject", "PutObject"]);
    let over =
        over.and(|seen| seen.headers.contains_key("if-match") && seen.path.ends_with("/q/f"));
    let action = Action::before(move |_| drop(store.put("bucket", "q/f", "theirs")));
    let fault = server.faults().add(over, When::Nth(1), action);
    let report = world.sync(&source, &target);
    assert_eq!(fault.fired(), 1, "{report:#?}");
    assert_eq!(server.get("bucket", "q/f").unwrap().content, "theirs");
    assert_eq!(conflicts(&world.sync(&source, &target)).len(), 1);
}

#[test]
fn a_listing_from_the_past_removes_nothing() {
    let setting = Setting::new();
    let stale = setting.server.faults().stale_listings(When::Always);
    setting.fill();
    synced(&setting.sync());
    let before = setting.tree();
    // The listing knows nothing of what was written since.
    for _ in 0..2 {
        let report = setting.sync();
        assert_eq!(report.result, Outcome::Failed, "{report:#?}");
        is_quiet(&report);
        assert_eq!(setting.tree(), before);
        assert_eq!(setting.place.read(), before);
        assert!(reasons(&report).contains("listing"), "{report:#?}");
    }
    assert!(stale.fired() > 1);
    stale.remove();
    let report = setting.sync();
    synced(&report);
    is_quiet(&report);
    assert_eq!(setting.tree(), before);
}

#[test]
fn an_old_version_in_a_listing_takes_nobodys_place() {
    let setting = Setting::filled();
    let stale = setting.server.faults().stale_listings(When::Always);
    trees::write(&setting.folder, "d0/f0", "second version");
    fs::remove_file(setting.folder.join("d1/f1")).unwrap();
    synced(&setting.sync());
    assert_eq!(setting.get("d0/f0").as_deref(), Some("second version"));
    assert_eq!(setting.get("d1/f1"), None);
    let before = setting.tree();
    // The listing shows the first version, and the file that was removed.
    let report = setting.sync();
    assert_eq!(setting.tree(), before, "{report:#?}");
    assert_eq!(setting.place.read(), before, "{report:#?}");
    is_quiet(&report);
    // An edit meanwhile: both versions exist whatever is believed.
    trees::write(&setting.folder, "d0/f0", "third version");
    let report = setting.sync();
    let third = fs::read_to_string(setting.folder.join("d0/f0")).unwrap();
    assert_eq!(third, "third version", "{report:#?}");
    assert!(stale.fired() > 2);
    stale.remove();
    let report = setting.sync();
    synced(&report);
    setting.assert_equal();
    assert_eq!(setting.get("d0/f0").as_deref(), Some("third version"));
    assert_eq!(setting.get("d1/f1"), None);
}

#[test]
fn a_listing_that_ends_early_removes_nothing() {
    for size in [3, 8] {
        let setting = Setting::filled();
        let before = setting.tree();
        let faults = setting.server.faults();
        let pages = faults.page_size(size);
        let early = faults.end_listings_early(When::Always);
        let report = setting.sync();
        assert!(early.fired() > 0);
        assert_eq!(report.result, Outcome::Failed, "{report:#?}");
        is_quiet(&report);
        assert!(!problems(&report).is_empty());
        assert_eq!(setting.tree(), before);
        assert_eq!(setting.place.read(), before);
        assert!(pages.fired() > 0);
        early.remove();
        let report = setting.sync();
        synced(&report);
        is_quiet(&report);
    }
}

#[test]
fn a_listing_that_ends_early_in_a_first_run_overwrites_nothing() {
    let setting = Setting::new();
    setting.fill();
    // The same paths, other content, and one that is equal.
    for file in 0..FILES {
        setting.put(&format!("d{}/f{file}", file % 3), &format!("theirs {file}"));
    }
    setting.put("d2/f11", "content 11");
    let faults = setting.server.faults();
    faults.page_size(2);
    let early = faults.end_listings_early(When::Always);
    let (here, there) = (setting.tree(), setting.place.read());
    let report = setting.sync();
    assert!(early.fired() > 0);
    assert_eq!(setting.tree(), here, "{report:#?}");
    assert_eq!(setting.place.read(), there, "{report:#?}");
    early.remove();
    let report = setting.sync();
    assert_eq!(report.result, Outcome::Conflicts, "{report:#?}");
    assert_eq!(conflicts(&report).len(), FILES - 1);
    assert_eq!(setting.tree(), here);
    assert_eq!(setting.place.read(), there);
}

#[test]
fn a_server_that_finds_nothing_for_a_moment_removes_nothing() {
    let setting = Setting::filled();
    let before = setting.tree();
    let faults = setting.server.faults();
    let pages = faults.page_size(4);
    let early = faults.end_listings_early(When::Always);
    // Also the look at each path fails.
    let refusal = wl_test_servers::faults::Refusal::access_denied();
    let blind = faults.refuse(
        Which::operation("HeadObject").and(|seen| !seen.path.contains(".wlignore")),
        When::Always,
        refusal,
    );
    let report = setting.sync();
    assert!(early.fired() > 0 && blind.fired() > 0 && pages.fired() > 0);
    assert_eq!(report.result, Outcome::Failed, "{report:#?}");
    assert_eq!(setting.tree(), before);
    early.remove();
    blind.remove();
    synced(&setting.sync());
    assert_eq!(setting.tree(), before);
}
