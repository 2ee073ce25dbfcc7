//! The same edits with fanotify. Root alone may; where it is not allowed nothing is tried.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{MountFlags, UnmountFlags};
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{Area, Filter, NoFilter, Observation, StorageWatcher};

use super::fake::NoDots;
use super::real::{PATIENCE, Watcher, covers, next, until};
use crate::local::tests::kit::{Lab, p};
use crate::local::watch::LocalWatcher;
use crate::local::watch::drive::Core;
use crate::local::watch::fanotify::Marked;
use crate::local::watch::machine::{Event, Looked, Why};
use crate::local::watch::setup::{Fresh, How, Place, Walked, by_what_suffices, enough, watch_all};
use crate::local::watch::system::System;

fn place(lab: &Lab, filter: Arc<dyn Filter>) -> Place {
    Place {
        spot: Arc::clone(&lab.backend.spot),
        filter,
        only: Some(How::Fanotify),
    }
}

/// Whether fanotify can be had for this folder; says so if not.
fn can(lab: &Lab) -> bool {
    let marked = Marked::new(Arc::clone(&lab.backend.spot));
    let looked = marked.map(|mut marked| marked.look(&SyncPath::root()));
    match looked {
        Ok(Looked::Folder { .. }) => true,
        other => {
            eprintln!("not tried, no fanotify: {other:?}");
            false
        }
    }
}

async fn watch_with(lab: &Lab, filter: Arc<dyn Filter>) -> Option<Watcher> {
    if !can(lab) {
        return None;
    }
    let watcher = LocalWatcher::by(place(lab, filter), by_what_suffices).await;
    assert_eq!(watcher.health().mode, "fanotify");
    Some(Box::new(watcher))
}

async fn watch(lab: &Lab) -> Option<Watcher> {
    watch_with(lab, Arc::new(NoFilter)).await
}

#[tokio::test]
async fn an_edit_is_said_by_its_path_alone() {
    let lab = Lab::new();
    lab.write("d/e/f", b"1");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    lab.write("d/e/f", b"2");
    let said = until(&mut watcher, &["d/e/f"]).await;
    assert_eq!(said, Area::path(p("d/e/f")));
}

#[tokio::test]
async fn each_kind_of_change_is_said() {
    let lab = Lab::new();
    lab.write("d/a", b"1");
    lab.write("d/e/x", b"1");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    lab.write("d/new", b"1");
    until(&mut watcher, &["d/new"]).await;
    fs::rename(lab.at("d/a"), lab.at("b")).unwrap();
    until(&mut watcher, &["d/a", "b"]).await;
    fs::set_permissions(lab.at("b"), PermissionsExt::from_mode(0o600)).unwrap();
    until(&mut watcher, &["b"]).await;
    fs::remove_file(lab.at("b")).unwrap();
    until(&mut watcher, &["b"]).await;
    std::os::unix::fs::symlink("nowhere", lab.at("l")).unwrap();
    until(&mut watcher, &["l"]).await;
    // Of a folder itself there are events by its own handle alone.
    fs::set_permissions(lab.at("d/e"), PermissionsExt::from_mode(0o700)).unwrap();
    let said = until(&mut watcher, &["d/e"]).await;
    assert_eq!(said, Area::path(p("d/e")));
    let name = OsStr::from_bytes(b"no text \xff");
    fs::write(lab.at("d").join(name), b"1").unwrap();
    let said = until(&mut watcher, &["d"]).await;
    assert!(covers(&said, &p("d/x")), "{said:?}");
    fs::remove_dir_all(lab.at("d")).unwrap();
    until(&mut watcher, &["d"]).await;
}

#[tokio::test]
async fn a_new_folder_is_covered_however_deep() {
    let lab = Lab::new();
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    lab.write("a/b/c/d/f", b"1");
    until(&mut watcher, &["a/b/c/d/f"]).await;
    lab.write("a/b/c/d/g", b"1");
    until(&mut watcher, &["a/b/c/d/g"]).await;
}

#[tokio::test]
async fn a_moved_folder_is_followed_and_so_is_its_own_mode() {
    let lab = Lab::new();
    lab.write("a/b/f", b"1");
    lab.write("over/f", b"1");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    fs::rename(lab.at("a"), lab.at("z")).unwrap();
    until(&mut watcher, &["a", "z"]).await;
    lab.write("z/b/f", b"2");
    let said = until(&mut watcher, &["z/b/f"]).await;
    assert!(!covers(&said, &p("a/b/f")), "{said:?}");
    for folder in ["z", "z/b"] {
        fs::set_permissions(lab.at(folder), PermissionsExt::from_mode(0o700)).unwrap();
        let said = until(&mut watcher, &[folder]).await;
        assert_eq!(said, Area::path(p(folder)));
    }
    // Over an empty one, and both at once.
    fs::remove_file(lab.at("over/f")).unwrap();
    until(&mut watcher, &["over/f"]).await;
    fs::rename(lab.at("z"), lab.at("over")).unwrap();
    until(&mut watcher, &["z", "over/b/f"]).await;
    lab.write("other/f", b"1");
    until(&mut watcher, &["other/f"]).await;
    let (one, two) = (lab.at("over"), lab.at("other"));
    renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
    until(&mut watcher, &["over/f", "other/b/f"]).await;
    lab.write("other/b/f", b"3");
    let said = until(&mut watcher, &["other/b/f"]).await;
    assert!(!covers(&said, &p("over/b/f")), "{said:?}");
}

#[tokio::test]
async fn what_is_moved_out_is_said_and_what_is_moved_in_is_covered() {
    let (lab, outside) = (Lab::new(), Lab::new());
    lab.write("a/b/f", b"1");
    lab.write("f", b"1");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    fs::rename(lab.at("f"), outside.at("f")).unwrap();
    fs::rename(lab.at("a"), outside.at("a")).unwrap();
    until(&mut watcher, &["a", "f"]).await;
    // What becomes of it there is nobody's business here, though the mark covers it.
    outside.write("a/b/f", b"2");
    lab.write("g", b"1");
    assert_eq!(until(&mut watcher, &["g"]).await, Area::path(p("g")));
    fs::rename(outside.at("a"), lab.at("z")).unwrap();
    until(&mut watcher, &["z/b/f"]).await;
    lab.write("z/b/f", b"3");
    until(&mut watcher, &["z/b/f"]).await;
}

#[tokio::test]
async fn what_is_left_out_is_not_said() {
    let lab = Lab::new();
    lab.write("no/f", b"1");
    lab.write("d/no/f", b"1");
    lab.write(".wl/f", b"1");
    let Some(mut watcher) = watch_with(&lab, Arc::new(NoDots)).await else {
        return;
    };
    lab.write("no/f", b"2");
    lab.write("d/no/x/f", b"2");
    lab.write(".wl/g", b"2");
    lab.write("last", b"2");
    assert_eq!(until(&mut watcher, &["last"]).await, Area::path(p("last")));
}

fn is_gap(said: &Observation) -> bool {
    let Observation::Gap { area, .. } = said else {
        return false;
    };
    *area == Area::Everything
}

async fn until_gap(watcher: &mut Watcher) {
    let gap = async { while !is_gap(&next(watcher).await) {} };
    let ended = tokio::time::timeout(PATIENCE, gap).await;
    ended.expect("no gap of everything was said");
}

#[tokio::test]
async fn a_root_that_goes_and_comes_again_is_a_gap_each_time() {
    let lab = Lab::new();
    let at = lab.at("");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    let away = at.with_extension("away");
    fs::rename(&at, &away).unwrap();
    assert!(is_gap(&next(&mut watcher).await));
    let mode = watcher.health().mode;
    assert!(mode.contains("moved away"), "{mode}");
    fs::rename(&away, &at).unwrap();
    until_gap(&mut watcher).await;
    assert_eq!(watcher.health().mode, "fanotify");
    lab.write("f", b"2");
    until(&mut watcher, &["f"]).await;
}

#[tokio::test]
async fn a_root_that_is_removed_is_told() {
    let lab = Lab::new();
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    fs::remove_dir(lab.at("")).unwrap();
    until_gap(&mut watcher).await;
    assert!(watcher.polls());
}

fn mount(at: &Path) {
    let flags = MountFlags::empty();
    rustix::mount::mount("wl-test", at, "tmpfs", flags, None).unwrap();
}

/// Unmounts also when a test fails.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn what_is_mounted_below_and_unmounted_and_mounted_again_is_watched() {
    let lab = Lab::new();
    lab.write("a/m/below", b"1");
    let Some(mut watcher) = watch(&lab).await else {
        return;
    };
    let at = lab.at("a/m");
    let _mounted = Mounted(&at);
    mount(&at);
    until(&mut watcher, &["a/m/below"]).await;
    lab.write("a/m/d/f", b"1");
    until(&mut watcher, &["a/m/d/f"]).await;
    rustix::mount::unmount(&at, UnmountFlags::empty()).unwrap();
    until(&mut watcher, &["a/m/below"]).await;
    lab.write("a/m/below", b"2");
    until(&mut watcher, &["a/m/below"]).await;
    // At once, so that nobody sees it unmounted: its mark is gone all the same.
    mount(&at);
    until(&mut watcher, &["a/m/below"]).await;
    rustix::mount::unmount(&at, UnmountFlags::empty()).unwrap();
    mount(&at);
    until(&mut watcher, &["a/m/below"]).await;
    lab.write("a/m/e/f", b"1");
    until(&mut watcher, &["a/m/e/f"]).await;
    lab.write("a/m/e/f", b"2");
    until(&mut watcher, &["a/m/e/f"]).await;
}

fn look(marked: &mut Marked, path: &str) -> i32 {
    match marked.look(&p(path)) {
        Looked::Folder { wd, .. } => wd,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn a_number_stays_with_its_folder_and_is_not_given_again() {
    let lab = Lab::new();
    lab.write("a/b/f", b"1");
    if !can(&lab) {
        return;
    }
    let mut marked = Marked::new(Arc::clone(&lab.backend.spot)).unwrap();
    let root = look(&mut marked, "");
    let (a, b) = (look(&mut marked, "a"), look(&mut marked, "a/b"));
    assert!(root != a && a != b && b != root);
    fs::rename(lab.at("a"), lab.at("z")).unwrap();
    marked.rest();
    assert_eq!(look(&mut marked, "z/b"), b);
    assert_eq!(look(&mut marked, "z"), a);
    // Another folder by its old name, and the same one after it was forgotten.
    fs::create_dir(lab.at("a")).unwrap();
    let new = look(&mut marked, "a");
    marked.forget(b);
    let again = look(&mut marked, "z/b");
    fs::remove_dir(lab.at("a")).unwrap();
    fs::create_dir(lab.at("a")).unwrap();
    let other = look(&mut marked, "a");
    let mut all = vec![root, a, b, new, again, other];
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
}

#[test]
fn what_does_not_parse_and_a_full_queue_are_an_overflow() {
    let lab = Lab::new();
    if !can(&lab) {
        return;
    }
    let mut marked = Marked::new(Arc::clone(&lab.backend.spot)).unwrap();
    let full = crate::local::watch::fanotify::queue_is_full();
    for bytes in [&full[..], &[1; 40], &full[..20]] {
        let mut events = Vec::new();
        marked.take(bytes, &mut events);
        assert_eq!(events.len(), 1);
        let overflow = rustix::fs::inotify::ReadFlags::QUEUE_OVERFLOW;
        assert_eq!(events[0].mask, overflow);
    }
}

/// Inotify with only so many watches.
#[derive(Debug)]
struct Few {
    system: Box<dyn System>,
    left: BTreeMap<i32, ()>,
    most: usize,
}

impl System for Few {
    fn look(&mut self, path: &SyncPath) -> Looked {
        match self.system.look(path) {
            Looked::Folder { wd, folders } => {
                if self.left.len() >= self.most && !self.left.contains_key(&wd) {
                    self.system.forget(wd);
                    let why = Why::Limit;
                    return Looked::Unwatched { why, folders };
                }
                self.left.insert(wd, ());
                Looked::Folder { wd, folders }
            }
            other => other,
        }
    }

    fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>> {
        self.system.folders(path)
    }

    fn forget(&mut self, wd: i32) {
        self.left.remove(&wd);
        self.system.forget(wd);
    }

    fn events(&mut self, most: usize) -> Vec<Event> {
        self.system.events(most)
    }
}

/// Nothing watched so far, and only so many watches.
fn few(place: &Place, most: usize) -> Fresh {
    let fresh = Fresh::new(How::Inotify, Arc::clone(&place.spot)).unwrap();
    let system = Box::new(Few {
        system: fresh.system,
        left: BTreeMap::new(),
        most,
    });
    Fresh { system, ..fresh }
}

fn with_few(lab: &Lab, most: usize) -> Result<Walked, Why> {
    let place = place(lab, Arc::new(NoFilter));
    enough(&place, &CancellationToken::new(), few(&place, most))
}

fn unwatched(core: &Core) -> u64 {
    core.unwatched().folders
}

#[test]
fn where_the_limit_is_reached_and_it_is_allowed_all_is_watched_by_fanotify() {
    let lab = Lab::new();
    for number in 0..20 {
        lab.write(&format!("{}/{number}/f", number % 3), b"1");
    }
    if !can(&lab) {
        return;
    }
    for most in [0, 1, 10] {
        let walked = with_few(&lab, most).unwrap();
        assert_eq!(walked.how, How::Fanotify, "{most}");
        assert_eq!(unwatched(&walked.core), 0);
        assert_eq!(walked.core.watches.places().len(), 24);
    }
    let walked = with_few(&lab, 24).unwrap();
    assert_eq!(walked.how, How::Inotify, "there are enough");
}

fn with_four(place: &Place, stop: &CancellationToken) -> Result<Walked, Why> {
    watch_all(place, stop, few(place, 4))
}

#[tokio::test]
async fn where_the_limit_is_reached_later_all_is_watched_by_fanotify_then() {
    let lab = Lab::new();
    lab.write("a/f", b"1");
    if !can(&lab) {
        return;
    }
    let place = Place {
        only: None,
        ..place(&lab, Arc::new(NoFilter))
    };
    let mut watcher: Watcher = Box::new(LocalWatcher::by(place, with_four).await);
    assert_eq!(watcher.health().mode, "inotify");
    for number in 0..10 {
        lab.write(&format!("{number}/f"), b"1");
    }
    until_gap(&mut watcher).await;
    assert_eq!(watcher.health().mode, "fanotify");
    lab.write("9/f", b"2");
    let said = until(&mut watcher, &["9/f"]).await;
    assert_eq!(said, Area::path(p("9/f")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_where_the_watcher_says_knows_the_whole_tree() {
    for seed in 11..=13 {
        let lab = Lab::new();
        let Some(watcher) = watch(&lab).await else {
            return;
        };
        super::storm::storm_of(&lab, watcher, seed).await;
    }
}
