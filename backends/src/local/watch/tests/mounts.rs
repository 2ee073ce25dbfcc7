//! Things that are mounted and unmounted while the watcher runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags};
use wl_core::storage::{Area, NoFilter, Observation, StorageBackend, WatchRequest};

use super::namespace::{inside_namespaces, is_inside};
use super::real::{Watcher, next, until, watch};
use crate::local::sys::Renames;
use crate::local::tests::kit::{Lab, open};

fn mount(at: &Path) {
    let flags = MountFlags::empty();
    rustix::mount::mount("wl-test", at, "tmpfs", flags, None).unwrap();
}

fn unmount(at: &Path) {
    rustix::mount::unmount(at, UnmountFlags::empty()).unwrap();
}

async fn until_gap(watcher: &mut Watcher) {
    let everything = Area::Everything;
    while !matches!(next(watcher).await, Observation::Gap { area, .. } if area == everything) {}
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
}

/// Run by the test above.
#[tokio::test]
async fn inside_at_the_root() {
    if !is_inside() {
        return;
    }
    let lab = Lab::new();
    lab.write("root/f", b"1");
    let at = lab.at("root");
    mount(&at);
    let root = open(&at, Renames::ALL);
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    let mut watcher = root.watcher(request).await.unwrap().unwrap();
    // Unmounted; then something else is mounted there.
    unmount(&at);
    until_gap(&mut watcher).await;
    until_gap(&mut watcher).await;
    assert_eq!(watcher.health().mode, "inotify");
    mount(&at);
    until_gap(&mut watcher).await;
    until_gap(&mut watcher).await;
    fs::write(at.join("g"), b"1").unwrap();
    until(&mut watcher, &["g"]).await;
}
