//! Real edits in a real folder, until the watcher has said where: with inotify and, where it is allowed, with fanotify.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use wl_core::model::SyncPath;
use wl_core::storage::{
    Area, Filter, NoFilter, Observation, StorageBackend, StorageWatcher, WatchRequest,
};

use super::fake::NoDots;
use crate::local::LocalBackend;
use crate::local::tests::kit::{Lab, p};
use crate::local::watch::LocalWatcher;
use crate::local::watch::fanotify::Marked;
use crate::local::watch::setup::{How, Place, by_what_suffices};
use crate::local::watch::system::System;
use crate::local::watch::words::{Looked, Why};

pub type Watcher = Box<dyn StorageWatcher>;

/// A failure only; nothing waits for it.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub async fn watch(lab: &Lab) -> Watcher {
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    lab.backend.watcher(request).await.unwrap().unwrap()
}

pub fn place(lab: &Lab, filter: Arc<dyn Filter>, how: How) -> Place {
    Place {
        spot: Arc::clone(&lab.backend.spot),
        filter,
        only: Some(how),
    }
}

/// Whether this folder can be watched so; says so if not.
pub fn can(lab: &Lab, how: How) -> bool {
    if how == How::Inotify {
        return true;
    }
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

async fn watch_with(lab: &Lab, filter: Arc<dyn Filter>, how: How) -> Option<Watcher> {
    if !can(lab, how) {
        return None;
    }
    let watcher = LocalWatcher::by(place(lab, filter, how), by_what_suffices).await;
    assert_eq!(watcher.health().mode, how.name());
    Some(Box::new(watcher))
}

/// Nothing where this folder cannot be watched so.
pub async fn watch_by(lab: &Lab, how: How) -> Option<Watcher> {
    watch_with(lab, Arc::new(NoFilter), how).await
}

pub async fn next(watcher: &mut Watcher) -> Observation {
    let next = tokio::time::timeout(PATIENCE, watcher.next()).await;
    next.expect("nothing was said").unwrap()
}

/// Whether a pass over `area` looks at `path`.
pub fn covers(area: &Area, path: &SyncPath) -> bool {
    match area {
        Area::Everything => true,
        Area::Parts(parts) => {
            parts.paths().contains(path) || parts.subtrees().iter().any(|one| path.is_within(one))
        }
    }
}

/// All that is said until it covers these paths.
pub async fn until(watcher: &mut Watcher, paths: &[&str]) -> Area {
    let mut said = Area::default();
    // As a whole: where something is polled, something is said for ever.
    let all = async {
        while !paths.iter().all(|path| covers(&said, &p(path))) {
            said.add(next(watcher).await.into_area());
        }
    };
    let ended = tokio::time::timeout(PATIENCE, all).await;
    ended.unwrap_or_else(|_| panic!("{paths:?} were not said"));
    said
}

pub fn is_gap(said: &Observation) -> bool {
    let Observation::Gap { area, .. } = said else {
        return false;
    };
    *area == Area::Everything
}

pub async fn until_gap(watcher: &mut Watcher) {
    let gap = async { while !is_gap(&next(watcher).await) {} };
    let ended = tokio::time::timeout(PATIENCE, gap).await;
    ended.expect("no gap of everything was said");
}

/// Each of these by itself, and each way of watching.
macro_rules! each_way {
    ($($scenario:ident),* $(,)?) => {
        mod inotify {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(super::How::Inotify).await;
            })*
        }
        mod fanotify {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(super::How::Fanotify).await;
            })*
        }
    };
}

each_way!(
    an_edit_is_said_by_its_path_alone,
    each_kind_of_change_is_said,
    a_new_folder_is_covered_however_deep,
    a_moved_folder_is_followed_and_so_is_its_own_mode,
    what_is_moved_out_is_said_and_what_is_moved_in_is_covered,
    what_is_left_out_is_neither_watched_nor_said,
    a_root_that_goes_and_comes_again_is_a_gap_each_time,
    a_root_that_is_removed_is_told,
    a_link_to_a_folder_is_not_followed,
    what_happens_while_nobody_asks_is_said_afterwards,
);

async fn an_edit_is_said_by_its_path_alone(how: How) {
    let lab = Lab::new();
    lab.write("d/e/f", b"1");
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    lab.write("d/e/f", b"2");
    let said = until(&mut watcher, &["d/e/f"]).await;
    assert_eq!(said, Area::path(p("d/e/f")));
}

async fn each_kind_of_change_is_said(how: How) {
    let lab = Lab::new();
    lab.write("d/a", b"1");
    lab.write("d/e/x", b"1");
    let Some(mut watcher) = watch_by(&lab, how).await else {
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

async fn a_new_folder_is_covered_however_deep(how: How) {
    let lab = Lab::new();
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    lab.write("a/b/c/d/f", b"1");
    until(&mut watcher, &["a/b/c/d/f"]).await;
    lab.write("a/b/c/d/g", b"1");
    until(&mut watcher, &["a/b/c/d/g"]).await;
}

async fn a_moved_folder_is_followed_and_so_is_its_own_mode(how: How) {
    let lab = Lab::new();
    lab.write("a/b/f", b"1");
    lab.write("over/f", b"1");
    let Some(mut watcher) = watch_by(&lab, how).await else {
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

async fn what_is_moved_out_is_said_and_what_is_moved_in_is_covered(how: How) {
    let (lab, outside) = (Lab::new(), Lab::new());
    lab.write("a/b/f", b"1");
    lab.write("f", b"1");
    let Some(mut watcher) = watch_by(&lab, how).await else {
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

async fn what_is_left_out_is_neither_watched_nor_said(how: How) {
    let lab = Lab::new();
    lab.write("no/f", b"1");
    lab.write("d/no/f", b"1");
    lab.write(".wl/f", b"1");
    let Some(mut watcher) = watch_with(&lab, Arc::new(NoDots), how).await else {
        return;
    };
    lab.write("no/f", b"2");
    lab.write("d/no/x/f", b"2");
    lab.write(".wl/g", b"2");
    lab.write("last", b"2");
    assert_eq!(until(&mut watcher, &["last"]).await, Area::path(p("last")));
}

async fn a_root_that_goes_and_comes_again_is_a_gap_each_time(how: How) {
    let lab = Lab::new();
    let at = lab.at("");
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    let away = at.with_extension("away");
    fs::rename(&at, &away).unwrap();
    assert!(is_gap(&next(&mut watcher).await));
    let mode = watcher.health().mode;
    assert!(mode.contains("moved away"), "{mode}");
    fs::rename(&away, &at).unwrap();
    until_gap(&mut watcher).await;
    assert_eq!(watcher.health().mode, how.name());
    lab.write("f", b"2");
    until(&mut watcher, &["f"]).await;
}

async fn a_root_that_is_removed_is_told(how: How) {
    let lab = Lab::new();
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    fs::remove_dir(lab.at("")).unwrap();
    until_gap(&mut watcher).await;
    assert!(watcher.polls());
}

async fn a_link_to_a_folder_is_not_followed(how: How) {
    let lab = Lab::new();
    lab.write("d/f", b"1");
    std::os::unix::fs::symlink("d", lab.at("l")).unwrap();
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    std::os::unix::fs::symlink("d", lab.at("m")).unwrap();
    until(&mut watcher, &["m"]).await;
    lab.write("d/f", b"2");
    let said = until(&mut watcher, &["d/f"]).await;
    assert!(
        !covers(&said, &p("l/f")) && !covers(&said, &p("m/f")),
        "{said:?}"
    );
}

async fn what_happens_while_nobody_asks_is_said_afterwards(how: How) {
    let lab = Lab::new();
    let Some(mut watcher) = watch_by(&lab, how).await else {
        return;
    };
    // A thread of its own: the driver works meanwhile.
    let at = lab.at("");
    let edits = tokio::task::spawn_blocking(move || {
        for number in 0..1000 {
            fs::write(at.join(number.to_string()), b"1").unwrap();
        }
    });
    edits.await.unwrap();
    let all: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    until(&mut watcher, &all).await;
}

/// On this runtime nobody takes events while the test does not wait: the queue of the system runs over.
#[tokio::test]
async fn dropped_events_are_a_gap_and_the_watches_are_set_anew() {
    let lab = Lab::new();
    lab.write("a", b"1");
    lab.write("old/f", b"1");
    let mut watcher = watch(&lab).await;
    for number in 0..20_000 {
        fs::write(lab.at("ab".get(number % 2..number % 2 + 1).unwrap()), b"2").unwrap();
    }
    fs::create_dir(lab.at("late")).unwrap();
    fs::rename(lab.at("old"), lab.at("moved")).unwrap();
    let (area, reason) = loop {
        if let Observation::Gap { area, reason } = next(&mut watcher).await {
            break (area, reason);
        }
    };
    assert_eq!(area, Area::Everything);
    assert!(reason.contains("max_queued_events"), "{reason}");
    lab.write("late/f", b"1");
    lab.write("moved/f", b"2");
    until(&mut watcher, &["late/f", "moved/f"]).await;
}

/// A folder `root`, by a link above it that leads to `one`.
fn linked(lab: &Lab) -> LocalBackend {
    for folder in ["one/root", "two/root"] {
        fs::create_dir_all(lab.at(folder)).unwrap();
    }
    lead(lab, "one");
    LocalBackend::open(lab.at("link/root").to_str().unwrap()).unwrap()
}

fn lead(lab: &Lab, to: &str) {
    let _ = fs::remove_file(lab.at("link"));
    std::os::unix::fs::symlink(lab.at(to), lab.at("link")).unwrap();
}

async fn says_that_it_leads_elsewhere(watcher: &mut Watcher) {
    let said = next(watcher).await;
    let Observation::Gap { area, reason } = &said else {
        panic!("{said:?}");
    };
    assert!(*area == Area::Everything && reason.contains("link/root"));
}

/// No event tells it: the folder that is watched stays as it is.
#[tokio::test]
async fn a_link_above_the_root_that_leads_elsewhere_is_said() {
    let lab = Lab::new();
    let backend = linked(&lab);
    let filter: Arc<dyn Filter> = Arc::new(NoFilter);
    let watcher = backend.watcher(WatchRequest { filter }).await;
    let mut watcher = watcher.unwrap().unwrap();
    assert_eq!(watcher.health().mode, "inotify");
    lead(&lab, "two");
    says_that_it_leads_elsewhere(&mut watcher).await;
}

/// Where nothing can be watched, and a look takes so long that there are few.
#[tokio::test(start_paused = true)]
async fn a_link_above_a_polled_root_that_leads_elsewhere_is_said_between_two_looks() {
    let lab = Lab::new();
    let backend = linked(&lab);
    let filter: Arc<dyn Filter> = Arc::new(NoFilter);
    let mut watcher = LocalWatcher::new(Arc::clone(&backend.spot), WatchRequest { filter }).await;
    watcher.poll_for(Why::Refused("for the test".to_owned()));
    let hour = Duration::from_secs(3600);
    watcher.retry.at += hour;
    let mut watcher: Watcher = Box::new(watcher);
    for _ in 0..2 {
        assert!(matches!(next(&mut watcher).await, Observation::Look { .. }));
        watcher.looking();
        watcher.looked(&Area::Everything, hour, false);
    }
    lead(&lab, "two");
    says_that_it_leads_elsewhere(&mut watcher).await;
}
