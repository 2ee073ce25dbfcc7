//! Reading: links, pipes and changes while it goes on.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tokio_util::sync::CancellationToken;
use wl_core::storage::{ErrorKind, ReadRequest, StorageBackend};

use super::kit::{Lab, kind, p};
use crate::local::sys::{PIECE, hash_at};

/// What takes a file's place, and how.
type Swap = (&'static str, fn(&Lab));

async fn request(lab: &Lab, path: &str) -> ReadRequest {
    ReadRequest {
        path: p(path),
        meta: lab.meta(path).await,
    }
}

async fn small(lab: &Lab, request: &ReadRequest) -> Result<Vec<u8>, ErrorKind> {
    let mut read = lab.backend.read_small(vec![request.clone()]).await;
    match read.pop().unwrap() {
        Ok(read) => Ok(read.content.to_vec()),
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn what_took_the_files_place_is_not_read() {
    let lab = Lab::new();
    lab.write("outside/secret", b"secret");
    let cancel = CancellationToken::new();
    let swaps: [Swap; 3] = [
        ("pipe", |lab| {
            mkfifoat(CWD, lab.at("d/f"), Mode::RUSR | Mode::WUSR).unwrap()
        }),
        ("link", |lab| {
            symlink("../outside/secret", lab.at("d/f")).unwrap()
        }),
        ("folder", |lab| std::fs::create_dir(lab.at("d/f")).unwrap()),
    ];
    for (what, swap) in swaps {
        lab.write("d/f", b"secret");
        let request = request(&lab, "d/f").await;
        std::fs::remove_file(lab.at("d/f")).unwrap();
        assert_eq!(small(&lab, &request).await, Err(ErrorKind::NotFound));
        swap(&lab);
        let soon = Duration::from_secs(120);
        let all = async {
            assert_eq!(small(&lab, &request).await, Err(ErrorKind::Busy), "{what}");
            let opened = lab.backend.read(request.clone()).await;
            assert_eq!(opened.err().map(|e| e.kind()), Some(ErrorKind::Busy));
            let hashed = lab.backend.hash(&p("d/f"), &cancel).await;
            assert_eq!(kind(hashed), ErrorKind::Changed);
        };
        tokio::time::timeout(soon, all)
            .await
            .expect("nothing may block");
        std::fs::remove_dir_all(lab.at("d")).unwrap();
    }
}

#[tokio::test]
async fn a_parent_swapped_for_a_link_leads_nowhere() {
    let lab = Lab::new();
    lab.write("d/f", b"inside");
    lab.write("outside/f", b"inside");
    let request = request(&lab, "d/f").await;
    std::fs::rename(lab.at("d"), lab.at("moved")).unwrap();
    symlink("outside", lab.at("d")).unwrap();
    assert_eq!(small(&lab, &request).await, Err(ErrorKind::NotFound));
    assert!(lab.backend.stat(&p("d/f")).await.unwrap().is_none());
    let hashed = lab.backend.hash(&p("d/f"), &CancellationToken::new()).await;
    assert_eq!(kind(hashed), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_that_grows_or_shrinks_is_busy() {
    let lab = Lab::new();
    for then in [&b"longer than it was"[..], b"s", b"equal"] {
        lab.write("f", b"first");
        let request = request(&lab, "f").await;
        let mut reader = lab.backend.read(request.clone()).await.unwrap();
        reader.next().await.unwrap();
        lab.write("f", then);
        let end = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a changed file was taken for whole"),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(end, ErrorKind::Busy);
        assert_eq!(small(&lab, &request).await, Err(ErrorKind::Busy));
    }
}

#[tokio::test]
async fn a_special_file_has_no_attributes_to_sync() {
    let lab = Lab::new();
    mkfifoat(CWD, lab.at("pipe"), Mode::RUSR).unwrap();
    let stat = lab.backend.stat(&p("pipe")).await;
    assert_eq!(kind(stat), ErrorKind::Unrepresentable);
}

/// Adds a byte at the end, in a way that no clock can hide.
fn grow(lab: &Lab, path: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).open(lab.at(path));
    file.as_mut().unwrap().write_all(b"!").unwrap();
}

/// A large file that somebody writes to all the time: the first piece that was read in vain is the last one.
#[tokio::test]
async fn what_changed_while_it_is_read_is_not_read_on() {
    let lab = Lab::new();
    lab.write("f", &vec![1; 3 * PIECE]);
    let request = request(&lab, "f").await;
    let mut reader = lab.backend.read(request).await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    grow(&lab, "f");
    assert_eq!(kind(reader.next().await), ErrorKind::Busy);

    let root = lab.backend.spot.open().unwrap();
    let pieces = AtomicUsize::new(0);
    let go_on = || {
        if pieces.fetch_add(1, SeqCst) == 1 {
            grow(&lab, "f");
        }
        true
    };
    assert!(hash_at(&root.fd, "f", &go_on).unwrap().is_none());
    assert_eq!(pieces.load(SeqCst), 2);
    assert!(hash_at(&root.fd, "f", &go_on).unwrap().is_some());
}
