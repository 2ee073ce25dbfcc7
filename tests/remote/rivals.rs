//! Two machines, each with its own base directory, sync with one storage at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wl_daemon::StorageSpec;
use wl_test_servers::sftp::SftpServer;

use crate::places::Place;
use crate::sftp::sftp;
use crate::trees;
use crate::world::{World, local, s3_server};

const PATHS: usize = 24;
const ROUNDS: usize = 8;

/// All lines of all files below a folder, what is in the trash too.
fn lines_below(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => lines_below(&path, lines),
            false => lines.extend(text(&path).lines().map(str::to_owned)),
        }
    }
}

fn text(path: &Path) -> String {
    fs::read(path).map_or_else(|_| String::new(), |read| String::from_utf8(read).unwrap())
}

/// One of the machines: it adds lines to files, and syncs after that.
fn machine(name: &str, folder: PathBuf, world: &World, there: &StorageSpec) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    for round in 0..ROUNDS {
        for file in (round % 3..PATHS).step_by(3) {
            let path = format!("d{}/f{file}", file % 4);
            let line = format!("{name} {round} {file}");
            let text = format!("{}{line}\n", text(&folder.join(&path)));
            trees::write(&folder, &path, text);
            written.insert(line);
        }
        world.sync(&local(&folder), there);
    }
    written
}

/// What is in the storage is told by `there_lines`.
fn nothing_is_lost(there: &StorageSpec, there_lines: impl Fn() -> BTreeSet<String>) {
    let worlds = [World::new(), World::new()];
    let folders = [worlds[0].folder("a"), worlds[1].folder("a")];
    let written = std::thread::scope(|scope| {
        let threads = ["one", "two"].into_iter().zip(&worlds).zip(&folders);
        let threads = threads.map(|((name, world), folder)| {
            scope.spawn(move || machine(name, folder.clone(), world, there))
        });
        let threads: Vec<_> = threads.collect();
        let written = threads.into_iter().map(|thread| thread.join().unwrap());
        written.flatten().collect::<BTreeSet<_>>()
    });
    let mut found = there_lines();
    for folder in &folders {
        lines_below(folder, &mut found);
    }
    let lost: Vec<_> = written.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "of {} lines are lost: {lost:?}",
        written.len()
    );
}

#[test]
fn two_machines_lose_nothing_in_a_bucket() {
    let server = s3_server();
    let there = Place::s3(&server, "p").spec;
    nothing_is_lost(&there, || {
        let keys = server.keys("bucket").into_iter();
        let contents = keys.filter(|key| !key.contains("/.wl/"));
        let contents = contents.map(|key| server.get("bucket", &key).unwrap().content);
        let lines = contents.map(|content| String::from_utf8_lossy(&content).into_owned());
        lines
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    });
}

#[test]
fn two_machines_lose_nothing_behind_ssh() {
    let world = World::new();
    let folder = world.folder("there");
    let server = SftpServer::start(&folder).unwrap();
    nothing_is_lost(&sftp(&server, &folder), || {
        let mut lines = BTreeSet::new();
        lines_below(&folder, &mut lines);
        lines
    });
}
