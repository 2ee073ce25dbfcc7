//! What a run asks of a server: as little as possible.

use std::collections::BTreeMap;

use wl_daemon::sync::SyncOptions;

use wl_test_servers::faults::{When, Which};
use wl_test_servers::s3::S3Server;

use crate::trees;
use crate::trouble::Setting;
use crate::world::{BUCKET, World, is_quiet, local, s3, s3_server, synced};

const LIST: &str = "ListObjectsV2";

fn only_lists(counts: &BTreeMap<String, u64>, most: u64) {
    let names: Vec<_> = counts.keys().map(String::as_str).collect();
    assert_eq!(names, [LIST], "{counts:?}");
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
    let others = lines
        .iter()
        .filter(|line| line.starts_with("HEAD") && !line.contains("d0/f0"));
    assert_eq!(others.count(), 0, "{lines:#?}");
    setting.server.reset_counts();
    trees::write(&setting.folder, "new", "new");
    synced(&setting.sync());
    let counts = setting.server.counts();
    assert_eq!(counts.get("PutObject"), Some(&1), "{counts:?}");
    assert_eq!(counts.get("GetObject"), None, "{counts:?}");
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
    let delay = std::time::Duration::from_millis(20);
    let slow = |name: &str| {
        let which = Which::operation(name);
        server.faults().delay(which, When::Always, delay)
    };
    let (put, get) = (slow("PutObject"), slow("GetObject"));
    synced(&world.sync(&local(&source), &s3(&server, "p")));
    let up = server.record().most_at_once();
    server.record().reset();
    synced(&world.sync(&s3(&server, "p"), &local(&target)));
    let down = server.record().most_at_once();
    assert!(put.fired() >= 600 && get.fired() >= 600);
    assert!(up >= 24 && down >= 24, "{up} up, {down} down");
}
