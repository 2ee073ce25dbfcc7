//! Servers that fail: now and then, for good, or by being slow.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wl_daemon::StorageSpec;
use wl_daemon::model::{Outcome, RunReport};
use wl_test_servers::faults::{Action, Fault, Refusal, When, Which};
use wl_test_servers::s3::S3Server;
use wl_test_servers::webdav::WebDavServer;
use wl_test_trees::Tree;

use crate::places::Place;
use crate::trees;
use crate::world::{
    BUCKET, World, is_quiet, local, problems, reasons, refused, s3, s3_params, s3_server, set,
    synced,
};

/// A folder with some files, and one that a server is synced into.
pub struct Setting {
    pub world: World,
    pub server: S3Server,
    pub folder: PathBuf,
    pub place: Place,
}

pub const FILES: usize = 12;

impl Setting {
    /// The server was tried out, and holds nothing yet.
    pub fn new() -> Self {
        let (world, server) = (World::new(), s3_server());
        let folder = world.folder("a");
        let place = Place::s3(&server, "p");
        let this = Self {
            world,
            server,
            folder,
            place,
        };
        trees::write_old(&this.folder, "first", "there at once");
        synced(&this.sync());
        this
    }

    /// The files are written, and synced.
    pub fn filled() -> Self {
        let this = Self::new();
        this.fill();
        synced(&this.sync());
        this.server.reset_counts();
        this
    }

    pub fn fill(&self) {
        for file in 0..FILES {
            let name = format!("d{}/f{file}", file % 3);
            trees::write_old(&self.folder, &name, format!("content {file}"));
        }
    }

    pub fn sync(&self) -> RunReport {
        self.world.sync(&local(&self.folder), &self.place.spec)
    }

    pub fn put(&self, path: &str, content: &str) {
        self.server
            .put(BUCKET, &format!("p/{path}"), content.to_owned());
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let object = self.server.get(BUCKET, &format!("p/{path}"))?;
        Some(String::from_utf8(object.content.to_vec()).unwrap())
    }

    pub fn tree(&self) -> Tree {
        trees::read(&self.folder)
    }

    #[track_caller]
    pub fn assert_equal(&self) {
        assert_eq!(self.tree(), self.place.read());
    }

    /// The objects in the trash.
    pub fn trash(&self) -> Vec<String> {
        let mut keys = self.server.keys(BUCKET);
        keys.retain(|key| key.starts_with("p/.wl/trash/"));
        keys
    }

    /// Changes on both sides, of every kind.
    pub fn edit_both(&self) {
        for file in 0..4 {
            let name = format!("d{}/f{file}", file % 3);
            trees::write(&self.folder, &name, format!("edited here {file}"));
        }
        for file in 4..8 {
            self.put(
                &format!("d{}/f{file}", file % 3),
                &format!("edited there {file}"),
            );
        }
        fs::remove_file(self.folder.join("d2/f8")).unwrap();
        assert!(self.server.delete(BUCKET, "p/d0/f9"));
        trees::write(&self.folder, "new/here", "new here");
        self.put("new/there", "new there");
        fs::rename(self.folder.join("d1/f10"), self.folder.join("moved")).unwrap();
    }

    /// What [`Setting::edit_both`] must come to.
    #[track_caller]
    pub fn assert_edited(&self) {
        self.assert_equal();
        let here = |path: &str| fs::read_to_string(self.folder.join(path)).ok();
        for file in 0..4 {
            let text = format!("edited here {file}");
            assert_eq!(here(&format!("d{}/f{file}", file % 3)), Some(text));
        }
        for file in 4..8 {
            let text = format!("edited there {file}");
            assert_eq!(here(&format!("d{}/f{file}", file % 3)), Some(text));
        }
        for gone in ["d2/f8", "d0/f9", "d1/f10"] {
            assert_eq!(here(gone), None);
        }
        assert_eq!(here("moved").as_deref(), Some("content 10"));
        assert_eq!(here("new/here").as_deref(), Some("new here"));
        assert_eq!(here("new/there").as_deref(), Some("new there"));
        assert_eq!(trees::visible(&self.folder).len(), FILES + 1);
    }
}

/// Of all requests, one in `n`. Not every nth: a step of three requests that begins again when the last fails would always fail there.
fn one_in(n: u64, of: Which) -> Which {
    let met = AtomicU64::new(0);
    of.and(move |_| {
        let number = met.fetch_add(1, Ordering::SeqCst);
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33).is_multiple_of(n)
    })
}

/// Runs until all is synced. What a run cannot finish is a problem of its path, and is finished by the next.
fn in_the_end(sync: impl Fn() -> RunReport) -> RunReport {
    for _ in 0..8 {
        let report = sync();
        assert_eq!(report.conflicts, [], "{report:#?}");
        assert_eq!(report.error, None, "{report:#?}");
        if report.result == Outcome::Synced {
            return report;
        }
        assert!(!report.problems.is_empty(), "{report:#?}");
    }
    panic!("it never ends");
}

fn despite(fault: impl Fn(&S3Server) -> Fault) {
    let setting = Setting::new();
    let fault = fault(&setting.server);
    setting.fill();
    in_the_end(|| setting.sync());
    setting.assert_equal();
    setting.edit_both();
    in_the_end(|| setting.sync());
    setting.assert_edited();
    assert!(fault.fired() > 2, "{fault:?}");
    // Four were replaced and one removed there; one was moved.
    assert!(setting.trash().len() >= 5, "{:#?}", setting.trash());
    fault.remove();
    let report = setting.sync();
    synced(&report);
    is_quiet(&report);
}

#[test]
fn one_request_in_some_is_refused() {
    for n in [4, 7] {
        let refusal = match n % 2 {
            0 => Refusal::slow_down(),
            _ => Refusal::internal_error(),
        };
        despite(|server| {
            let which = one_in(n, Which::any());
            server.faults().refuse(which, When::Always, refusal.clone())
        });
    }
}

#[test]
fn one_request_in_some_is_lost() {
    for n in [5, 6] {
        despite(|server| {
            let which = one_in(n, Which::any());
            server.faults().lose_request(which, When::Always)
        });
    }
}

#[test]
fn one_reply_in_some_is_lost_after_the_work_was_done() {
    for n in [4, 5] {
        despite(|server| {
            let which = one_in(n, Which::any());
            server.faults().lose_reply(which, When::Always)
        });
    }
}

#[test]
fn every_second_change_is_lost_or_refused() {
    let which = || Which::operations(["PutObject", "CopyObject", "DeleteObject", "GetObject"]);
    let when = When::Every(2);
    despite(|server| server.faults().refuse(which(), when, Refusal::slow_down()));
    despite(|server| server.faults().lose_request(which(), when));
    despite(|server| server.faults().lose_reply(which(), when));
}

#[test]
fn a_lost_reply_makes_no_second_copy() {
    let setting = Setting::filled();
    let trash = setting.trash().len();
    let which = Which::operations(["PutObject", "CopyObject", "DeleteObject"]);
    let fault = setting.server.faults().lose_reply(which, When::Every(2));
    trees::write(&setting.folder, "d0/f0", "edited");
    fs::remove_file(setting.folder.join("d1/f1")).unwrap();
    let report = setting.sync();
    synced(&report);
    setting.assert_equal();
    assert!(fault.fired() > 1, "{fault:?}");
    assert_eq!(setting.trash().len(), trash + 2, "{:?}", setting.trash());
    assert_eq!(report.changes.target.updated, 1);
    assert_eq!(report.changes.target.removed, 1);
}

#[test]
fn bodies_that_are_cut_short_tear_nothing() {
    let setting = Setting::new();
    let text = "a line of a longer file\n".repeat(3000);
    for file in 0..8 {
        setting.put(&format!("long{file}"), &format!("{file} {text}"));
    }
    let which = Which::operation("GetObject");
    let fault = setting
        .server
        .faults()
        .cut_body(which.clone(), When::Every(2));
    synced(&setting.sync());
    setting.assert_equal();
    assert!(fault.fired() > 2, "{fault:?}");
    fault.remove();
    // Always: then it is a problem, and nothing of it is seen.
    let fault = setting
        .server
        .faults()
        .cut_body(which.with_path("hopeless"), When::Always);
    setting.put("hopeless", &text);
    setting.put("fine", "fine");
    let report = setting.sync();
    assert!(fault.fired() > 1, "{fault:?}");
    assert_eq!(problems(&report), set(["hopeless"]), "{report:#?}");
    assert!(!setting.folder.join("hopeless").exists());
    assert!(setting.folder.join("fine").exists());
    fault.remove();
    synced(&setting.sync());
    setting.assert_equal();
}

#[test]
fn listings_that_are_cut_short_are_asked_for_again() {
    let setting = Setting::filled();
    let faults = setting.server.faults();
    faults.page_size(3);
    let which = Which::operation("ListObjectsV2");
    let fault = faults.cut_body(which, When::Every(3));
    setting.edit_both();
    synced(&setting.sync());
    setting.assert_edited();
    assert!(fault.fired() > 1, "{fault:?}");
}

#[test]
fn a_listing_that_fails_in_the_middle_removes_nothing() {
    let setting = Setting::filled();
    let before = setting.tree();
    let faults = setting.server.faults();
    faults.page_size(3);
    let fault = faults.refuse(
        Which::operation("ListObjectsV2").and(|seen| seen.query.contains("continuation-token")),
        When::Always,
        Refusal::access_denied(),
    );
    let report = setting.sync();
    assert!(fault.fired() > 0);
    assert_eq!(report.result, Outcome::Failed, "{report:#?}");
    is_quiet(&report);
    assert_eq!(setting.tree(), before);
    assert_eq!(setting.place.read(), before);
    fault.remove();
    setting.edit_both();
    synced(&setting.sync());
    setting.assert_edited();
}

#[test]
fn a_run_that_is_stopped_at_a_slow_server_ends_at_once() {
    let setting = Setting::new();
    for file in 0..60 {
        trees::write(
            &setting.folder,
            &format!("many/f{file}"),
            format!("content {file}"),
        );
    }
    let cancel = CancellationToken::new();
    let (which, stop) = (Which::operation("PutObject"), cancel.clone());
    let faults = setting.server.faults();
    let stopped = faults.add(
        which.clone(),
        When::Nth(20),
        Action::before(move |_| stop.cancel()),
    );
    let slow = faults.delay(which, When::From(20), Duration::from_secs(600));
    let began = Instant::now();
    let (source, target) = (local(&setting.folder), setting.place.spec.clone());
    let report = setting
        .world
        .run_until(&source, &target, World::options(), cancel);
    assert!(began.elapsed() < Duration::from_secs(300), "{report:#?}");
    assert!(stopped.fired() == 1 && slow.fired() > 0);
    refused(&report, "cancelled");
    slow.remove();
    let before = setting.tree();
    synced(&setting.sync());
    assert_eq!(setting.tree(), before);
    setting.assert_equal();
}

#[test]
fn some_keys_are_forbidden_and_the_rest_goes_on() {
    let setting = Setting::filled();
    let which = Which::any()
        .with_path("forbidden")
        .and(|seen| seen.method != "GET" || seen.query.is_empty());
    let fault = setting
        .server
        .faults()
        .refuse(which, When::Always, Refusal::access_denied());
    setting.put("forbidden/there", "x");
    trees::write(&setting.folder, "forbidden/here", "y");
    setting.edit_both();
    for _ in 0..2 {
        let report = setting.sync();
        let both = set(["forbidden/here", "forbidden/there"]);
        assert_eq!(problems(&report), both, "{report:#?}");
        assert!(reasons(&report).contains("give these credentials"));
    }
    assert!(fault.fired() > 2);
    fault.remove();
    synced(&setting.sync());
    setting.assert_equal();
}

/// What the report says when the server refuses everything, and that nothing was done.
fn refused_wholly(setting: &Setting, spec: &StorageSpec) -> (String, String) {
    let before = (setting.tree(), setting.place.read());
    let report = setting.world.sync(&local(&setting.folder), spec);
    assert_eq!(report.result, Outcome::Failed, "{report:#?}");
    is_quiet(&report);
    assert_eq!((setting.tree(), setting.place.read()), before);
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains(setting.server.secret_key()), "{text}");
    let class = report.error.as_ref().map(|error| error.class.clone());
    (class.unwrap_or_default(), reasons(&report))
}

#[test]
fn a_server_that_refuses_everything_says_why() {
    for (refusal, words) in [
        (Refusal::access_denied(), "right"),
        (Refusal::time_too_skewed(), "clock"),
        (Refusal::no_such_bucket(), "bucket"),
    ] {
        let setting = Setting::filled();
        let case = format!("{refusal:?}");
        let fault = setting
            .server
            .faults()
            .refuse(Which::any(), When::Always, refusal);
        let (class, reason) = refused_wholly(&setting, &setting.place.spec);
        assert!(fault.fired() > 0);
        assert!(reason.contains(words), "{case}: {class}: {reason}");
        fault.remove();
        synced(&setting.sync());
    }
}

#[test]
fn a_wrong_secret_is_named_and_not_told() {
    let setting = Setting::filled();
    let mut params = s3_params(&setting.server, "p");
    params["credentials"]["secret_key"] = json!("quite-another-secret");
    let (class, reason) = refused_wholly(&setting, &StorageSpec::new("s3", params));
    assert!(!reason.contains("quite-another-secret"), "{reason}");
    assert!(reason.contains("credentials"), "{class}: {reason}");
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let setting = Setting::filled();
    let mut params = s3_params(&setting.server, "p");
    params["s3_url"] = json!("s3://nowhere/p");
    let (class, reason) = refused_wholly(&setting, &StorageSpec::new("s3", params));
    assert_eq!(class, "root-unavailable", "{reason}");
    assert!(reason.contains("nowhere"), "{reason}");
}

#[test]
fn a_bucket_that_was_emptied_behind_our_back_is_refused() {
    let setting = Setting::filled();
    let before = setting.tree();
    for key in setting.server.keys(BUCKET) {
        setting.server.delete(BUCKET, &key);
    }
    let report = setting.sync();
    refused(&report, "root-emptied");
    assert_eq!(setting.tree(), before);
    setting.server.delete_bucket(BUCKET);
    let report = setting.sync();
    refused(&report, "root-unavailable");
    assert_eq!(setting.tree(), before);
    // Meant to be: both are empty then.
    setting.server.create_bucket(BUCKET);
    let (source, target) = (local(&setting.folder), s3(&setting.server, "p"));
    synced(&setting.world.run(&source, &target, World::daring()));
    assert_eq!(trees::visible(&setting.folder).len(), 0);
    assert!(
        trees::contents(&setting.folder).len() > FILES,
        "in the trash"
    );
}

#[test]
fn a_webdav_server_that_fails_now_and_then() {
    for n in [4, 5] {
        let (world, server) = (World::new(), WebDavServer::start_blocking());
        let (here, there) = (
            Place::local(&world.folder("a")),
            Place::webdav(&server, "p"),
        );
        for file in 0..FILES {
            let name = format!("d{}/f{file}", file % 3);
            trees::write(&world.at("a"), &name, format!("content {file}"));
        }
        synced(&world.sync(&here.spec, &there.spec));
        let faults = server.faults();
        // A lock that is not given back keeps everybody out for two minutes: no run waits for that.
        let unlocked = Which::any().and(|seen| !seen.method.ends_with("LOCK"));
        let which = one_in(n, unlocked);
        let fault = match n % 2 {
            0 => faults.refuse(which, When::Always, Refusal::internal_error()),
            _ => faults.lose_reply(which, When::Always),
        };
        trees::write(&world.at("a"), "d0/f0", "edited");
        fs::remove_file(world.at("a/d1/f1")).unwrap();
        server.put("p/d2/f2", "edited there");
        server.delete("p/d0/f3");
        in_the_end(|| world.sync(&here.spec, &there.spec));
        assert!(fault.fired() > 2, "{fault:?}");
        assert_eq!(here.read(), there.read(), "{n}");
        assert_eq!(trees::visible(&world.at("a")).len(), FILES - 2);
    }
}
