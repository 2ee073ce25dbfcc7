//! Things that are mounted and unmounted while the watcher runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags};
use wl_core::storage::{NoFilter, StorageBackend, WatchRequest};

use super::namespace::{inside_namespaces, is_inside};
use super::real::{Watcher, until, until_gap, watch};
use crate::local::sys::Renames;
use crate::local::tests::kit::{Lab, open};

fn mount(at: &Path) {
    let flags = MountFlags::empty();
    rustix::mount::mount("wl-test", at, "tmpfs", flags, None).unwrap();
}

fn unmount(at: &Path) {
    rustix::mount::unmount(at, UnmountFlags::empty()).unwrap();
}

#[test]
fn mounts_come_and_go() {
    inside_namespaces("-Urm", "true", "mounts::inside_below_the_root");
    inside_namespaces("-Urm", "true", "mounts::inside_at_the_root");
}

/// Run by the test above.
#[tokio::test]
async fn inside_below_the_root() {
    if !is_inside() {
        return;
    }
    let lab = Lab::new();
    lab.write("a/m/below", b"1");
    let mut watcher = watch(&lab).await;
    let at = lab.at("a/m");
    mount(&at);
    until(&mut watcher, &["a/m/below"]).await;
    lab.write("a/m/f", b"1");
    until(&mut watcher, &["a/m/f"]).await;
    lab.write("a/m/d/f", b"1");
    until(&mut watcher, &["a/m/d/f"]).await;
    unmount(&at);
    until(&mut watcher, &["a/m/below"]).await;
    lab.write("a/m/below", b"2");
    until(&mut watcher, &["a/m/below"]).await;
    replaced_at_once(&lab, &mut watcher).await;
}

/// The new one gets the number of the old one, and what was shown stays reachable elsewhere: the system tells no watch.
async fn replaced_at_once(lab: &Lab, watcher: &mut Watcher) {
    let (disk, at) = (Lab::new(), lab.at("a/m"));
    disk.write("one/f", b"1");
    disk.write("two/f", b"1");
    let bind = |what: &str| rustix::mount::mount_bind(disk.at(what), &at).unwrap();
    bind("one");
    until(watcher, &["a/m/f"]).await;
    // Nobody sees it unmounted.
    unmount(&at);
    bind("two");
    // More than what may still be said of the first one.
    for name in ["f", "g", "h", "i"] {
        disk.write(&format!("two/{name}"), b"2");
        until(watcher, &[&format!("a/m/{name}")]).await;
    }
    unmount(&at);
    until(watcher, &["a/m/below"]).await;
}

/// Run by the test above. Each part begins with a root of its own.
#[tokio::test]
async fn inside_at_the_root() {
    if !is_inside() {
        return;
    }
    covered_and_uncovered().await;
    unmounted_and_mounted_again().await;
    unmounted_for_good().await;
}

async fn watch_folder(at: &Path) -> Watcher {
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    let root = open(at, Renames::ALL);
    root.watcher(request).await.unwrap().unwrap()
}

/// Says that all may have changed, and polls with the reason.
async fn until_polled(watcher: &mut Watcher) -> String {
    until_gap(watcher).await;
    let mode = watcher.health().mode;
    assert!(mode.starts_with("poll every 10 s ("), "{mode}");
    mode
}

/// Says that all may have changed, and watches.
async fn until_watched(watcher: &mut Watcher, at: &Path) {
    until_gap(watcher).await;
    assert_eq!(watcher.health().mode, "inotify");
    fs::write(at.join("g"), b"1").unwrap();
    until(watcher, &["g"]).await;
}

async fn covered_and_uncovered() {
    let lab = Lab::new();
    lab.write("root/f", b"1");
    let at = lab.at("root");
    let mut watcher = watch_folder(&at).await;
    mount(&at);
    let mode = until_polled(&mut watcher).await;
    assert!(
        mode.contains("another folder was put in its place"),
        "{mode}"
    );
    unmount(&at);
    until_watched(&mut watcher, &at).await;
}

/// The mounted folder stays reachable elsewhere: the system tells no watch that it was unmounted.
async fn unmounted_and_mounted_again() {
    let lab = Lab::new();
    let (disk, at) = (lab.at("disk"), lab.at("root"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&at).unwrap();
    mount(&disk);
    let bind = || rustix::mount::mount_bind(&disk, &at).unwrap();
    bind();
    let mut watcher = watch_folder(&at).await;
    unmount(&at);
    let mode = until_polled(&mut watcher).await;
    assert!(
        mode.contains("another folder was put in its place"),
        "{mode}"
    );
    // Another one in between is not taken for it.
    mount(&at);
    unmount(&at);
    bind();
    until_watched(&mut watcher, &at).await;
}

async fn unmounted_for_good() {
    let lab = Lab::new();
    let at = lab.at("root");
    fs::create_dir(&at).unwrap();
    mount(&at);
    let mut watcher = watch_folder(&at).await;
    unmount(&at);
    until_polled(&mut watcher).await;
}
