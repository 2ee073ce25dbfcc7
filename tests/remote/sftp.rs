//! A real sshd.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::json;
use wl_daemon::StorageSpec;
use wl_test_servers::sftp::SftpServer;

use crate::places::pruned;
use crate::trees;
use crate::world::{World, conflicts, is_quiet, local, s3, s3_server, set, synced};

pub fn sftp(server: &SftpServer, folder: &Path) -> StorageSpec {
    let url = format!(
        "sftp://{}@127.0.0.1:{}{}",
        server.user(),
        server.port(),
        folder.display()
    );
    let config = server.ssh_config();
    StorageSpec::new("sftp", json!({"url": url, "ssh_config": config}))
}

#[test]
fn a_folder_behind_ssh_is_kept_equal() {
    let world = World::new();
    let (a, b) = (world.folder("a"), world.folder("b"));
    let server = SftpServer::start(&b).unwrap();
    let there = sftp(&server, &b);
    trees::write(&a, "d/f", "1");
    trees::write(&a, "run", "2");
    fs::set_permissions(a.join("run"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::create_dir(a.join("empty")).unwrap();
    std::os::unix::fs::symlink("d/f", a.join("link")).unwrap();
    trees::write(&b, "there", "3");
    synced(&world.sync(&local(&a), &there));
    assert_eq!(trees::read(&a), trees::read(&b));
    assert_eq!(fs::metadata(b.join("run")).unwrap().mode() & 0o777, 0o750);
    let report = world.sync(&local(&a), &there);
    synced(&report);
    is_quiet(&report);
    trees::write(&a, "d/f", "edited");
    trees::write(&b, "there", "edited there");
    fs::remove_file(b.join("run")).unwrap();
    fs::rename(a.join("link"), a.join("d/moved")).unwrap();
    synced(&world.sync(&local(&a), &there));
    assert_eq!(trees::read(&a), trees::read(&b));
    assert!(!a.join("run").exists());
    trees::write(&a, "d/f", "ours");
    trees::write(&b, "d/f", "theirs, longer");
    let report = world.sync(&local(&a), &there);
    assert_eq!(conflicts(&report), set(["d/f"]), "{report:#?}");
    assert_eq!(fs::read_to_string(b.join("d/f")).unwrap(), "theirs, longer");
}

#[test]
fn lost_connections_are_made_again() {
    let world = World::new();
    let (a, b) = (world.folder("a"), world.folder("b"));
    let (server, s3_server) = (SftpServer::start(&b).unwrap(), s3_server());
    let (there, remote) = (sftp(&server, &b), s3(&s3_server, "p"));
    for file in 0..40 {
        trees::write(
            &b,
            &format!("d{}/f{file}", file % 4),
            format!("content {file}"),
        );
    }
    // Each time some content has come to S3 the line to the other server breaks.
    let server = std::sync::Arc::new(server);
    let other = std::sync::Arc::clone(&server);
    let fault = s3_server.faults().add(
        wl_test_servers::faults::Which::operation("PutObject").with_path("/p/d"),
        wl_test_servers::faults::When::Every(9),
        wl_test_servers::faults::Action::before(move |_| assert!(other.drop_connections() > 0)),
    );
    synced(&world.sync(&there, &remote));
    assert!(fault.fired() > 2);
    fault.remove();
    synced(&world.sync(&local(&a), &remote));
    assert_eq!(pruned(&trees::read(&a)), pruned(&trees::read(&b)));
}

#[test]
fn a_version_of_the_same_time_and_size_is_seen_by_others() {
    use std::time::{Duration, UNIX_EPOCH};
    let world = World::new();
    let (a, b, c) = (world.folder("a"), world.folder("b"), world.folder("c"));
    let server = SftpServer::start(&b).unwrap();
    let there = sftp(&server, &b);
    // Archives are unpacked with the times in them, which are one and the same in some.
    let put = |name: &str, byte: u8, size: usize| {
        fs::write(a.join(name), vec![byte; size]).unwrap();
        let file = fs::File::options().write(true).open(a.join(name)).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(499_162_500);
        file.set_modified(at).unwrap();
    };
    let sizes = [("small", 10), ("large", 3 << 20)];
    for version in 0..4 {
        for (name, size) in sizes {
            put(name, b'0' + version, size);
        }
        synced(&world.sync(&local(&a), &there));
        // The other machine misses one of them.
        if version != 1 {
            synced(&world.sync(&local(&c), &there));
            for (name, _) in sizes {
                assert_eq!(fs::read(c.join(name)).unwrap()[0], b'0' + version, "{name}");
            }
        }
    }
    let report = world.sync(&local(&a), &there);
    synced(&report);
    is_quiet(&report);
}
