//! Times and permission bits on their way through storages that do not keep them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::trees;
use crate::world::{BUCKET, World, is_quiet, local, s3, s3_server, synced};

fn set_time(path: &Path, at: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(at).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn times_and_modes_come_through_s3() {
    let (world, server) = (World::new(), s3_server());
    let (a, b, remote) = (world.folder("a"), world.folder("b"), s3(&server, "p"));
    let at = UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    for (name, bits) in [("plain", 0o644), ("private", 0o600), ("run", 0o755)] {
        trees::write(&a, name, name);
        set_mode(&a.join(name), bits);
        set_time(&a.join(name), at);
    }
    synced(&world.sync(&local(&a), &remote));
    let object = server.get(BUCKET, "p/plain").unwrap();
    let noted: f64 = object.metadata["mtime"].parse().unwrap();
    assert!(
        (noted - 1_234_567_890.123_456_7).abs() < 0.001,
        "{object:?}"
    );
    synced(&world.sync(&local(&b), &remote));
    for (name, bits) in [("plain", 0o644), ("private", 0o600), ("run", 0o755)] {
        let path = b.join(name);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), at);
        assert_eq!(mode(&path), bits, "{name}");
    }
    for folder in [&a, &b] {
        let report = world.sync(&local(folder), &remote);
        synced(&report);
        is_quiet(&report);
    }
}

#[test]
fn permission_bits_of_a_file_survive_an_edit_from_s3() {
    let (world, server) = (World::new(), s3_server());
    let (a, remote) = (world.folder("a"), s3(&server, "p"));
    for (name, bits) in [("private", 0o600), ("run", 0o755)] {
        trees::write(&a, name, name);
        set_mode(&a.join(name), bits);
    }
    synced(&world.sync(&local(&a), &remote));
    // By a program that knows of no modes, and by one that notes another.
    server.put(BUCKET, "p/private", "edited");
    server.put_with(
        BUCKET,
        "p/run",
        "edited",
        &[("mtime", "1000000000.5"), ("mode", "100777")],
    );
    synced(&world.sync(&local(&a), &remote));
    for (name, bits) in [("private", 0o600), ("run", 0o755)] {
        assert_eq!(fs::read_to_string(a.join(name)).unwrap(), "edited");
        assert_eq!(mode(&a.join(name)), bits, "{name}");
    }
    let at = fs::metadata(a.join("run")).unwrap().modified().unwrap();
    assert_eq!(at, UNIX_EPOCH + Duration::from_millis(1_000_000_000_500));
    // A change of the bits alone stays here: there is nobody to keep them.
    set_mode(&a.join("private"), 0o640);
    for _ in 0..2 {
        let report = world.sync(&local(&a), &remote);
        synced(&report);
        assert_eq!(mode(&a.join("private")), 0o640);
    }
}

#[test]
fn files_of_others_come_with_ordinary_bits() {
    let (world, server) = (World::new(), s3_server());
    let (a, remote) = (world.folder("a"), s3(&server, "p"));
    server.put(BUCKET, "p/plain", "x");
    server.put(BUCKET, "p/d/e/deep", "x");
    synced(&world.sync(&local(&a), &remote));
    trees::write(&a, "own", "x");
    assert_eq!(mode(&a.join("plain")), mode(&a.join("own")));
    assert_eq!(mode(&a.join("d/e/deep")), mode(&a.join("own")));
    fs::create_dir(a.join("folder")).unwrap();
    assert_eq!(mode(&a.join("d/e")), mode(&a.join("folder")));
}

#[test]
fn an_empty_folder_stays_where_it_is() {
    let (world, server) = (World::new(), s3_server());
    let (a, b, remote) = (world.folder("a"), world.folder("b"), s3(&server, "p"));
    fs::create_dir_all(a.join("empty/deep")).unwrap();
    trees::write(&a, "d/f", "x");
    for _ in 0..2 {
        synced(&world.sync(&local(&a), &remote));
        assert!(a.join("empty/deep").is_dir());
    }
    synced(&world.sync(&local(&b), &remote));
    assert!(!b.join("empty").exists() || b.join("empty/deep").is_dir());
    // A marker that another program made is a folder here.
    server.put(BUCKET, "p/marked/", "");
    for _ in 0..2 {
        synced(&world.sync(&local(&a), &remote));
        assert!(a.join("marked").is_dir());
    }
    // The last file of a folder goes there: it goes here too, and no more than it.
    assert!(server.delete(BUCKET, "p/d/f"));
    for _ in 0..2 {
        synced(&world.sync(&local(&a), &remote));
        assert!(!a.join("d/f").exists());
        assert!(a.join("empty/deep").is_dir());
    }
}
