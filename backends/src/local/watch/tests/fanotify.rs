//! What is so with fanotify alone. Root alone may; where it is not allowed nothing is tried.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags};
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{Area, NoFilter};

use super::real::{Watcher, can, place, until, until_gap, watch_by};
use crate::local::tests::kit::{Lab, p};
use crate::local::watch::LocalWatcher;
use crate::local::watch::drive::Core;
use crate::local::watch::fanotify::Marked;
use crate::local::watch::setup::{Fresh, How, Place, Walked, enough, watch_all};
use crate::local::watch::system::System;
use crate::local::watch::words::{Event, Looked, Why};

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
    let Some(mut watcher) = watch_by(&lab, How::Fanotify).await else {
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
    if !can(&lab, How::Fanotify) {
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
    if !can(&lab, How::Fanotify) {
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
    let place = place(lab, Arc::new(NoFilter), How::Fanotify);
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
    if !can(&lab, How::Fanotify) {
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
    if !can(&lab, How::Fanotify) {
        return;
    }
    let place = Place {
        only: None,
        ..place(&lab, Arc::new(NoFilter), How::Fanotify)
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
        let Some(watcher) = watch_by(&lab, How::Fanotify).await else {
            return;
        };
        super::storm::storm_of(&lab, watcher, seed).await;
    }
}
