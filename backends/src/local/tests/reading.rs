//! Reading: links, pipes and changes while it goes on.

use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tokio_util::sync::CancellationToken;
use wl_core::storage::{ErrorKind, ReadRequest, StorageBackend};

use super::kit::{Lab, kind, p};

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
        let soon = Duration::from_secs(20);
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
