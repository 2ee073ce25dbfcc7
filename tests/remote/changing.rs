//! Somebody else writes to the server at the worst moment.

use std::fs;

use wl_daemon::model::Outcome;
use wl_test_servers::faults::{Action, Fault, When, Which};

use crate::trees;
use crate::trouble::Setting;
use crate::world::{BUCKET, conflicts, set, synced};

const PATH: &str = "d0/f0";

/// Before the nth request that fits, an editor writes `content` to the path (or removes it).
fn meanwhile(setting: &Setting, which: Which, content: Option<&'static str>) -> Fault {
    let store = setting.server.store();
    let action = Action::before(move |_| match content {
        Some(content) => drop(store.put(BUCKET, &format!("p/{PATH}"), content)),
        None => assert!(store.delete(BUCKET, &format!("p/{PATH}"))),
    });
    setting.server.faults().add(which, When::Nth(1), action)
}

fn to_path(operation: &str) -> Which {
    Which::operation(operation).with_path("/p/d0/f0")
}

fn here(setting: &Setting) -> Option<String> {
    fs::read_to_string(setting.folder.join(PATH)).ok()
}

#[test]
fn changed_between_listing_and_reading() {
    let setting = Setting::filled();
    setting.put(PATH, "listed");
    let fault = meanwhile(
        &setting,
        to_path("GetObject"),
        Some("written while we read"),
    );
    let report = setting.sync();
    assert_eq!(fault.fired(), 1, "{report:#?}");
    let now = here(&setting).unwrap();
    assert!(
        now == "content 0" || now == "written while we read",
        "{now}: {report:#?}"
    );
    synced(&setting.sync());
    assert_eq!(here(&setting).as_deref(), Some("written while we read"));
    setting.assert_equal();
}

#[test]
fn removed_between_listing_and_reading() {
    let setting = Setting::filled();
    setting.put("new", "listed");
    let store = setting.server.store();
    let action = Action::before(move |_| assert!(store.delete(BUCKET, "p/new")));
    let which = Which::operation("GetObject").with_path("/p/new");
    let fault = setting.server.faults().add(which, When::Nth(1), action);
    let report = setting.sync();
    assert_eq!(fault.fired(), 1, "{report:#?}");
    assert!(!setting.folder.join("new").exists());
    synced(&setting.sync());
    setting.assert_equal();
}

#[test]
fn changed_before_our_version_is_written() {
    for (content, both) in [(Some("theirs"), true), (None, false)] {
        let setting = Setting::filled();
        trees::write(&setting.folder, PATH, "ours");
        let fault = meanwhile(&setting, to_path("PutObject"), content);
        let report = setting.sync();
        assert_eq!(fault.fired(), 1, "{report:#?}");
        assert_eq!(here(&setting).as_deref(), Some("ours"));
        if both {
            assert_eq!(setting.get(PATH).as_deref(), Some("theirs"), "{report:#?}");
        }
        let report = setting.sync();
        if both {
            assert_eq!(conflicts(&report), set([PATH]), "{report:#?}");
            assert_eq!(report.result, Outcome::Conflicts);
            assert_eq!(setting.get(PATH).as_deref(), Some("theirs"));
        } else {
            synced(&report);
            setting.assert_equal();
        }
        assert_eq!(here(&setting).as_deref(), Some("ours"));
    }
}

#[test]
fn made_before_our_new_file_is_written() {
    let setting = Setting::filled();
    trees::write(&setting.folder, "both", "ours");
    let store = setting.server.store();
    let action = Action::before(move |_| drop(store.put(BUCKET, "p/both", "theirs")));
    let which = Which::operation("PutObject").with_path("/p/both");
    let fault = setting.server.faults().add(which, When::Nth(1), action);
    let report = setting.sync();
    assert_eq!(fault.fired(), 1, "{report:#?}");
    assert_eq!(setting.get("both").as_deref(), Some("theirs"));
    let report = setting.sync();
    assert_eq!(conflicts(&report), set(["both"]), "{report:#?}");
    assert_eq!(setting.get("both").as_deref(), Some("theirs"));
}

#[test]
fn changed_before_it_is_removed() {
    let setting = Setting::filled();
    fs::remove_file(setting.folder.join(PATH)).unwrap();
    let fault = meanwhile(&setting, to_path("DeleteObject"), Some("theirs"));
    let report = setting.sync();
    assert_eq!(fault.fired(), 1, "{report:#?}");
    assert_eq!(setting.get(PATH).as_deref(), Some("theirs"), "{report:#?}");
    synced(&setting.sync());
    assert_eq!(here(&setting).as_deref(), Some("theirs"));
    setting.assert_equal();
}

/// A move on the server is a copy and a removal: both are of the version that is meant.
#[test]
fn changed_before_it_is_moved() {
    for operation in ["CopyObject", "DeleteObject"] {
        let setting = Setting::filled();
        fs::rename(setting.folder.join(PATH), setting.folder.join("moved")).unwrap();
        let which = match operation {
            "CopyObject" => Which::operation(operation),
            _ => to_path(operation),
        };
        let fault = meanwhile(&setting, which, Some("theirs"));
        let report = setting.sync();
        assert_eq!(fault.fired(), 1, "{operation}: {report:#?}");
        assert_eq!(setting.get(PATH).as_deref(), Some("theirs"), "{report:#?}");
        synced(&setting.sync());
        assert_eq!(here(&setting).as_deref(), Some("theirs"));
        let moved = fs::read_to_string(setting.folder.join("moved")).unwrap();
        assert_eq!(moved, "content 0");
        setting.assert_equal();
    }
}

/// Our own folder is written to while the server answers.
#[test]
fn changed_here_while_theirs_is_on_its_way() {
    let setting = Setting::filled();
    setting.put(PATH, "theirs");
    let at = setting.folder.join(PATH);
    let action = Action::after(move |_| fs::write(&at, "ours, at the last moment").unwrap());
    let fault = setting
        .server
        .faults()
        .add(to_path("GetObject"), When::Nth(1), action);
    let report = setting.sync();
    assert_eq!(fault.fired(), 1, "{report:#?}");
    assert_eq!(here(&setting).as_deref(), Some("ours, at the last moment"));
    let report = setting.sync();
    assert_eq!(conflicts(&report), set([PATH]), "{report:#?}");
    assert_eq!(setting.get(PATH).as_deref(), Some("theirs"));
    assert_eq!(here(&setting).as_deref(), Some("ours, at the last moment"));
}
