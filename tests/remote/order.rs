//! A server that lists folder by folder, `a/b` before `a-b`, and keeps folders that emptied, as SeaweedFS does.

use std::fs;
use std::path::Path;

use wl_test_servers::faults::{Refusal, When, Which};
use wl_test_servers::s3::S3Server;

use crate::trees;
use crate::world::{BUCKET, World, is_quiet, local, s3, synced};

/// Names that come in another order there. `a` and `a.b` are files beside a folder that begins like them.
const NAMES: [&str; 12] = [
    "a", "a-b", "a!", "a.b/c", "a.b-", "c/b", "c-b", "c/d/e", "c/d-e", "c/d.e/f", "c.d/e", "c0",
];

fn server() -> S3Server {
    let server = S3Server::builder().bucket(BUCKET).folders_first();
    server.start_blocking()
}

fn content(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok()
}

#[track_caller]
fn both_have(server: &S3Server, folder: &Path, names: &[&str], text: &str) {
    for name in names {
        let there = server.get(BUCKET, &format!("p/{name}"));
        let there = there.map(|object| object.content);
        assert_eq!(there.as_deref(), Some(text.as_bytes()), "{name}");
        assert_eq!(content(folder, name).as_deref(), Some(text), "{name}");
    }
}

/// Runs both ways with changes on both sides, wherever pages end and whichever of them fail.
#[test]
fn whole_runs_where_folders_come_first() {
    for page in [1, 2, 5, 1000] {
        let (world, server) = (World::new(), server());
        let folder = world.folder("a");
        server.faults().page_size(page);
        let (half, other) = NAMES.split_at(NAMES.len() / 2);
        for name in half {
            trees::write(&folder, name, "1");
        }
        for name in other {
            server.put(BUCKET, &format!("p/{name}"), "1");
        }
        let sync = || world.run(&local(&folder), &s3(&server, "p"), World::daring());
        synced(&sync());
        both_have(&server, &folder, &NAMES, "1");
        is_quiet(&sync());

        let listings = Which::operation("ListObjectsV2");
        let slow = server
            .faults()
            .refuse(listings, When::Every(3), Refusal::slow_down());
        for name in ["a-b", "c/d/e"] {
            trees::write(&folder, name, "2");
        }
        for name in ["a", "c/d-e", "c/d.e/g"] {
            server.put(BUCKET, &format!("p/{name}"), "2");
        }
        fs::remove_file(folder.join("c-b")).unwrap();
        assert!(server.delete(BUCKET, "p/a.b/c"));
        synced(&sync());
        both_have(
            &server,
            &folder,
            &["a", "a-b", "c/d/e", "c/d-e", "c/d.e/g"],
            "2",
        );
        both_have(
            &server,
            &folder,
            &["a!", "a.b-", "c/b", "c/d.e/f", "c.d/e", "c0"],
            "1",
        );
        for gone in ["c-b", "a.b/c"] {
            assert_eq!(server.get(BUCKET, &format!("p/{gone}")).map(|_| ()), None);
            assert_eq!(content(&folder, gone), None);
        }
        assert!(page > 5 || slow.fired() > 0, "{page}");
        world.forget();
        is_quiet(&sync());
    }
}

/// What an older `wl`, or another server at the same address, was believed to be.
#[test]
fn a_server_that_is_not_what_it_was_is_no_danger() {
    let world = World::new();
    let folder = world.folder("a");
    let server = server();
    for name in NAMES {
        server.put(BUCKET, &format!("p/{name}"), "1");
    }
    let sync = || world.run(&local(&folder), &s3(&server, "p"), World::daring());
    synced(&sync());
    let file = world.base().join("state/servers.json");
    let told = fs::read_to_string(&file).unwrap();
    assert!(told.contains(r#""order": "folders""#), "{told}");
    let lie = told.replace(r#""order": "folders""#, r#""order": "bytes""#);
    fs::write(&file, lie).unwrap();
    is_quiet(&sync());
    both_have(&server, &folder, &NAMES, "1");
    let told = fs::read_to_string(&file).unwrap();
    assert!(told.contains(r#""order": "unknown""#), "{told}");
    is_quiet(&sync());
}

/// New, large and moved files take the place of folders that the server still has, in the run that removes what was in them.
#[test]
fn a_file_takes_the_place_of_a_folder_that_has_emptied() {
    let world = World::new();
    let server = S3Server::builder().bucket(BUCKET);
    let server = server.folders_first().keeps_emptied_folders();
    let server = server.start_blocking();
    let folder = world.folder("a");
    let sync = || world.run(&local(&folder), &s3(&server, "p"), World::daring());
    for name in ["new/x", "large/r/s", "moved/x", "moves", "kept/x"] {
        trees::write(&folder, name, name);
    }
    synced(&sync());
    for name in ["new", "large", "moved"] {
        fs::remove_dir_all(folder.join(name)).unwrap();
    }
    let large = "0123456789".repeat(700_000);
    trees::write(&folder, "new", "a file now");
    trees::write(&folder, "large", &large);
    fs::rename(folder.join("moves"), folder.join("moved")).unwrap();
    synced(&sync());
    let there = |name: &str| server.get(BUCKET, &format!("p/{name}"));
    for (name, text) in [("new", "a file now"), ("large", &large), ("moved", "moves")] {
        let object = there(name).unwrap();
        assert!(object.content == text.as_bytes(), "{name}");
    }
    assert!(there("moves").is_none() && there("kept/x").is_some());
    is_quiet(&sync());
}
