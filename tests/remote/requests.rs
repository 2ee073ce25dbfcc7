//! What a run asks of a server: as little as possible.

use std::collections::BTreeMap;
use std::fs;

use wl_daemon::sync::SyncOptions;

use wl_test_servers::faults::{Action, Gate, When, Which};
use wl_test_servers::s3::S3Server;

use crate::trees;
use crate::trouble::Setting;
use crate::world::{BUCKET, World, is_quiet, local, s3, s3_server, synced};

const LIST: &str = "ListObjectsV2";

/// What a run asks first: whether there is a `.wlignore`.
const RULES: &str = "HeadObject";

fn only_lists(counts: &BTreeMap<String, u64>, most: u64) {
    let names: Vec<_> = counts.keys().map(String::as_str).collect();
    assert_eq!(names, [RULES, LIST], "{counts:?}");
    assert_eq!(counts[RULES], 1, "{counts:?}");
    assert!(counts[LIST] <= most, "{counts:?}");
}

#[test]
fn nothing_changed_is_a_listing_and_no_more() {
    let setting = Setting::filled();
    let report = setting.sync();
    synced(&report);
    is_quiet(&report);
    // One page, and one look for claimed versions in the trash.
    only_lists(&setting.server.counts(), 2);
    assert_eq!(report.bytes.read, 0, "{report:#?}");
    // In pages: each is asked for once.
    setting.server.faults().page_size(5);
    setting.server.reset_counts();
    synced(&setting.sync());
    let pages = (setting.server.keys(BUCKET).len() as u64).div_ceil(5);
    only_lists(&setting.server.counts(), pages + 1);
}

#[test]
fn one_change_asks_for_that_path_only() {
    let setting = Setting::filled();
    setting.put("d0/f0", "edited there");
    synced(&setting.sync());
    let counts = setting.server.counts();
    assert_eq!(counts.get("GetObject"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("PutObject"), None, "{counts:?}");
    let lines = setting.server.record().lines();
    let others = lines.iter().filter(|line| {
        line.starts_with("HEAD") && !line.contains("d0/f0") && !line.contains(".wlignore")
    });
    assert_eq!(others.count(), 0, "{lines:#?}");
    setting.server.reset_counts();
    trees::write(&setting.folder, "new", "new");
    synced(&setting.sync());
    let counts = setting.server.counts();
    assert_eq!(counts.get("PutObject"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("GetObject"), None, "{counts:?}");
}

/// The requests of a run, without those that try a server out.
fn counted(setting: &Setting, change: impl FnOnce(&Setting)) -> Vec<(String, u64)> {
    change(setting);
    setting.server.reset_counts();
    synced(&setting.sync());
    setting.assert_equal();
    setting.server.counts().into_iter().collect()
}

#[track_caller]
fn asks(counts: &[(String, u64)], wanted: &[(&str, u64)]) {
    let counts: Vec<_> = counts.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(counts, wanted);
}

/// A run with changes lists three times (all pages, what is left over and too old, what is claimed); then a change is a request, and one
/// more where a version is displaced: its copy in the trash.
#[test]
fn each_change_has_its_requests_and_no_more() {
    let setting = Setting::filled();
    let replaced = [("CopyObject", 1), (RULES, 1), (LIST, 3), ("PutObject", 1)];
    let edit = |setting: &Setting| trees::write(&setting.folder, "d0/f0", "edited");
    asks(&counted(&setting, edit), &replaced);
    let again = |setting: &Setting| trees::write(&setting.folder, "d0/f0", "edited again");
    asks(&counted(&setting, again), &replaced);
    let create = |setting: &Setting| trees::write(&setting.folder, "d1/new", "new");
    asks(
        &counted(&setting, create),
        &[(RULES, 1), (LIST, 3), ("PutObject", 1)],
    );
    let remove = |setting: &Setting| fs::remove_file(setting.folder.join("d2/f2")).unwrap();
    // Before anything is removed the rules are asked for once more.
    let removed = [
        ("CopyObject", 1),
        ("DeleteObject", 1),
        (RULES, 2),
        (LIST, 3),
    ];
    asks(&counted(&setting, remove), &removed);
    // Nothing was listed of a new folder: a file may have its name by now.
    let deep = |setting: &Setting| {
        for name in ["x/1", "x/2", "x/y/3"] {
            trees::write(&setting.folder, name, name);
        }
    };
    asks(
        &counted(&setting, deep),
        &[(RULES, 1), (LIST, 4), ("PutObject", 3)],
    );
    let all = |setting: &Setting| {
        edit(setting);
        remove_and_create(setting);
    };
    let both = [
        ("CopyObject", 3),
        ("DeleteObject", 2),
        (RULES, 2),
        (LIST, 3),
        ("PutObject", 6),
    ];
    asks(&counted(&setting, all), &both);
}

/// Removes two files and makes five in folders that are there.
fn remove_and_create(setting: &Setting) {
    for name in ["d0/f3", "d1/f1"] {
        fs::remove_file(setting.folder.join(name)).unwrap();
    }
    for number in 0..5 {
        let name = format!("d{}/made{number}", number % 3);
        trees::write(&setting.folder, &name, name.clone());
    }
}

/// More than a page of files, in four folders.
fn crowded() -> Setting {
    let setting = Setting::new();
    for file in 0..1500 {
        let name = format!("d{}/f{file}", file % 4);
        trees::write(&setting.folder, &name, file.to_string());
    }
    synced(&setting.sync());
    setting.server.reset_counts();
    setting
}

/// In a bucket that holds more than a page, where nobody can know all names.
#[test]
fn a_new_file_in_a_folder_that_was_listed_is_one_request() {
    let setting = crowded();
    let create = |setting: &Setting| {
        for folder in 0..4 {
            trees::write(&setting.folder, &format!("d{folder}/new"), "new");
        }
    };
    // Two pages.
    asks(
        &counted(&setting, create),
        &[(RULES, 1), (LIST, 2 + 2), ("PutObject", 4)],
    );
}

/// A file that takes a new folder's name after the listing keeps the folder out.
#[test]
fn a_file_in_the_place_of_a_new_folder_is_noticed() {
    let setting = Setting::filled();
    trees::write(&setting.folder, "x/new", "here");
    let store = setting.server.store();
    let takes = Action::after(move |_| drop(store.put(BUCKET, "p/x", "there")));
    let faults = setting.server.faults();
    faults.add(Which::operation(LIST), When::Nth(1), takes);
    let report = setting.sync();
    assert_eq!(setting.get("x"), Some("there".to_owned()), "{report:#?}");
    assert_eq!(setting.get("x/new"), None, "{report:#?}");
    assert!(setting.folder.join("x/new").exists());
}

/// What the first pages show is sent while the next ones are waited for. Rows come some hundred at once.
#[test]
fn changes_are_sent_while_the_listing_goes_on() {
    let setting = crowded();
    trees::write(&setting.folder, "d0/f0", "edited");
    let faults = setting.server.faults();
    faults.page_size(100);
    let sent = Gate::new();
    let open = sent.clone();
    let put = Action::after(move |_| open.open());
    faults.add(Which::operation("PutObject"), When::Always, put);
    // If nothing was sent by then, this page would not come before it is asked for again.
    let page = faults.add(Which::operation(LIST), When::Nth(15), Action::Hold(sent));
    synced(&setting.sync());
    setting.assert_equal();
    assert_eq!(page.fired(), 1);
    let lines = setting.server.record().lines();
    let at = |what: &str| lines.iter().position(|line| line.contains(what));
    assert!(
        at("PUT /bucket/p/d0/f0") < at("prefix=p/.wl/"),
        "{lines:#?}"
    );
    let asked = setting.server.counts()[LIST];
    assert_eq!(asked, 16 + 2, "a page was asked for twice: {lines:#?}");
}

#[test]
fn a_dry_run_writes_nothing_and_tries_nothing_out() {
    let (world, server) = (World::new(), s3_server());
    let (source, target) = (world.folder("a"), s3(&server, "p"));
    trees::write(&source, "f", "1");
    let dry = SyncOptions {
        dry_run: true,
        ..World::options()
    };
    let report = world.run(&local(&source), &target, dry.clone());
    synced(&report);
    assert_eq!(report.changes.target.created, 1, "{report:#?}");
    for name in server.counts().keys() {
        assert!(
            name.starts_with("List") || name.starts_with("Head"),
            "{name}"
        );
    }
    assert_eq!(server.keys(BUCKET), Vec::<String>::new());
    // What it does not know it does not remember: the first real run tries the server out, once.
    synced(&world.sync(&local(&source), &target));
    let tried = |server: &S3Server| {
        let lines = server.record().lines();
        lines
            .iter()
            .filter(|line| line.contains(".wl/probe"))
            .count()
    };
    assert!(tried(&server) > 5);
    server.reset_counts();
    trees::write(&source, "g", "2");
    synced(&world.sync(&local(&source), &target));
    let leftovers = tried(&server);
    assert!(leftovers <= 1, "{:#?}", server.record().lines());
    // Another prefix of the same bucket is the same server.
    server.reset_counts();
    synced(&world.sync(&local(&source), &s3(&server, "q")));
    assert!(tried(&server) <= 1, "{:#?}", server.record().lines());
}

#[test]
fn nothing_is_left_of_trying_a_server_out() {
    let setting = Setting::new();
    let mut keys = setting.server.keys(BUCKET);
    keys.retain(|key| key.contains("/.wl/"));
    assert_eq!(keys, Vec::<String>::new());
    assert_eq!(setting.server.uploads(BUCKET).len(), 0);
}

#[test]
fn a_lost_baseline_costs_reading_and_moves_nothing() {
    let setting = Setting::filled();
    setting.world.forget();
    let report = setting.sync();
    synced(&report);
    is_quiet(&report);
    let counts = setting.server.counts();
    for name in ["PutObject", "DeleteObject", "CopyObject"] {
        assert_eq!(counts.get(name), None, "{counts:?}");
    }
    setting.server.reset_counts();
    synced(&setting.sync());
    only_lists(&setting.server.counts(), 2);
}

/// The requests for content of files, and for parts of it.
fn content_passed(server: &S3Server) -> Vec<String> {
    let requests = server.record().requests().into_iter();
    let passes = ["GetObject", "PutObject", "UploadPart"];
    let passed = requests.filter(|line| {
        passes.contains(&&*line.seen.operation) && !line.seen.path.contains("/.wl/")
    });
    passed
        .map(|line| format!("{} {}", line.seen.operation, line.seen.path))
        .collect()
}

#[test]
fn storages_of_one_server_copy_from_each_other() {
    let (world, server) = (World::new(), s3_server());
    let (source, target) = (s3(&server, "p"), s3(&server, "q"));
    let key = |side: &str, file: usize| format!("{side}/d{}/f {file}", file % 4);
    for file in 0..20 {
        server.put(BUCKET, &key("p", file), format!("content {file}"));
    }
    let report = world.sync(&source, &target);
    synced(&report);
    assert_eq!(report.syncer, "server-copy");
    assert_eq!(report.changes.target.created, 20, "{report:#?}");
    assert!(server.counts()["CopyObject"] >= 20);
    // Both ways: edits, removals, and what is new.
    server.put(BUCKET, &key("p", 0), "edited");
    server.put(BUCKET, &key("q", 1), "edited there");
    server.delete(BUCKET, &key("p", 2));
    server.delete(BUCKET, &key("q", 3));
    server.put(BUCKET, "q/new", "new");
    let report = world.sync(&source, &target);
    synced(&report);
    assert_eq!(content_passed(&server), Vec::<String>::new());
    assert_eq!(report.bytes.read, 0, "{report:#?}");
    let text = |key: &str| server.get(BUCKET, key).map(|object| object.content);
    for side in ["p", "q"] {
        assert_eq!(text(&key(side, 0)).unwrap(), "edited");
        assert_eq!(text(&key(side, 1)).unwrap(), "edited there");
        assert_eq!(text(&key(side, 2)), None);
        assert_eq!(text(&key(side, 3)), None);
        assert_eq!(text(&key(side, 4)).unwrap(), "content 4");
        assert_eq!(text(&format!("{side}/new")).unwrap(), "new");
    }
    let report = world.sync(&source, &target);
    synced(&report);
    is_quiet(&report);
    assert_eq!(content_passed(&server), Vec::<String>::new());
}

/// Latency is waited for once, not for every file: many requests are on their way at the same time, up and down.
#[test]
fn many_requests_are_on_their_way_at_once() {
    let (world, server) = (World::new(), s3_server());
    let (source, target) = (world.folder("a"), world.folder("b"));
    for file in 0..600 {
        trees::write(
            &source,
            &format!("d{}/f{file}", file % 10),
            file.to_string(),
        );
    }
    // None is answered before so many have come: whoever sends one after the other never ends.
    let together = |name: &str| {
        let (faults, gate) = (server.faults(), Gate::new());
        let opening = gate.clone();
        let open = Action::before(move |_| opening.open());
        let files = Which::operation(name).with_path("/p/d");
        faults.add(files.clone(), When::Nth(24), open);
        faults.add(files, When::Always, Action::Hold(gate))
    };
    let (put, get) = (together("PutObject"), together("GetObject"));
    synced(&world.sync(&local(&source), &s3(&server, "p")));
    let up = server.record().most_at_once();
    server.record().reset();
    synced(&world.sync(&s3(&server, "p"), &local(&target)));
    let down = server.record().most_at_once();
    assert!(put.fired() >= 600 && get.fired() >= 600);
    assert!(up >= 24 && down >= 24, "{up} up, {down} down");
}
