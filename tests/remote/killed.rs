//! The built `wl` is killed in the middle: while the server works on a request. Nothing is lost, and the next run carries on.

use std::fs;
use std::sync::mpsc;

use wl_test_servers::faults::{Action, When, Which};
use wl_test_servers::record::Logged;

use crate::binary::{Home, SYNC};
use crate::places::Place;
use crate::trees;
use crate::world::BUCKET;

const FILES: usize = 25;
const RUN: &str = "--max-delete 100% --output json";

/// Kills a run when the nth request that fits has come, before or after the work was done.
fn kill_at(home: &Home, which: Which, nth: u64, done: bool) -> bool {
    let (came, coming) = mpsc::channel();
    let told = move || came.send(()).unwrap_or_default();
    let told = std::sync::Mutex::new(told);
    let tell = move |_: &_| told.lock().unwrap()();
    let action = match done {
        true => Action::after(tell),
        false => Action::before(tell),
    };
    let fault = home.server.faults().add(which, When::Nth(nth), action);
    let mut child = home.start(&format!("{SYNC} {RUN}"));
    // The run may end before: then there was no such request.
    let killed = loop {
        if coming.try_recv().is_ok() {
            child.kill().unwrap();
            break true;
        }
        if child.try_wait().unwrap().is_some() {
            break coming.try_recv().is_ok();
        }
        std::thread::yield_now();
    };
    child.wait_with_output().unwrap();
    fault.remove();
    killed
}

/// The parts of large files that were sent, each as often as it was.
fn parts_sent(home: &Home) -> Vec<i32> {
    let requests = home.server.record().requests().into_iter();
    let number = |line: Logged| {
        let number = line.seen.query.strip_prefix("partNumber=")?;
        number.split('&').next()?.parse().ok()
    };
    let mut parts: Vec<i32> = requests.filter_map(number).collect();
    parts.sort_unstable();
    parts
}

#[test]
fn killed_in_a_large_upload_the_next_run_sends_the_rest() {
    let home = Home::new();
    // The server is tried out before.
    assert_eq!(home.json(SYNC).0, 0);
    // Nine parts, no two alike.
    let size: u32 = (66 << 20) / 4;
    let content: Vec<u8> = (0..size).flat_map(u32::to_le_bytes).collect();
    fs::write(home.path("a/large"), &content).unwrap();
    let part = || Which::operation("UploadPart");
    // After four parts the line is dead, until the run is killed.
    let dead = home.server.faults().lose_request(part(), When::From(5));
    assert!(kill_at(&home, part(), 4, true));
    dead.remove();
    assert!(home.server.get(BUCKET, "p/large").is_none());
    let uploads = home.server.uploads(BUCKET);
    let [upload] = &uploads[..] else {
        panic!("{uploads:?}");
    };
    let there: Vec<_> = upload.parts.keys().copied().collect();
    assert_eq!(there.len(), 4, "{there:?}");

    home.server.record().reset();
    let (code, report) = home.json(SYNC);
    assert_eq!(code, 0, "{report:#}");
    let counts = home.server.counts();
    assert_eq!(counts.get("CreateMultipartUpload"), None, "{counts:?}");
    assert_eq!(
        counts.get("CompleteMultipartUpload"),
        Some(&1),
        "{counts:?}"
    );
    let missing: Vec<i32> = (1..=9).filter(|part| !there.contains(part)).collect();
    assert_eq!(parts_sent(&home), missing, "exactly what it did not have");
    assert!(home.server.get(BUCKET, "p/large").unwrap().content == content);
    assert_eq!(home.server.uploads(BUCKET).len(), 0);
    let notes = home.server.keys(BUCKET);
    assert!(
        !notes.iter().any(|key| key.contains(".wl/uploads")),
        "{notes:?}"
    );
}

fn edit(home: &Home, round: usize) {
    let a = home.path("a");
    for file in 0..FILES {
        let name = format!("d{}/f{file}", file % 4);
        match (file + round) % 5 {
            0 => trees::write(&a, &name, format!("here {file} in {round}")),
            1 => drop(home.server.put(
                BUCKET,
                &format!("p/{name}"),
                format!("there {file} in {round}"),
            )),
            2 if round % 2 == 1 => drop(fs::remove_file(a.join(&name))),
            _ => {}
        }
    }
    trees::write(&a, &format!("new/{round}"), format!("new {round}"));
}

#[test]
fn killed_at_any_request_the_next_run_heals() {
    let home = Home::new();
    for file in 0..FILES {
        let name = format!("d{}/f{file}", file % 4);
        trees::write(&home.path("a"), &name, format!("first {file}"));
    }
    let remote = Place::s3(&home.server, "p");
    let mut kills = 0;
    let operations = [
        "PutObject",
        "GetObject",
        "CopyObject",
        "DeleteObject",
        "ListObjectsV2",
    ];
    for round in 0..10 {
        let nth = [1, 3, 6][round % 3];
        let operation = operations[round % operations.len()];
        kills += u32::from(kill_at(
            &home,
            Which::operation(operation),
            nth,
            round % 2 == 0,
        ));
        let (code, report) = home.json(&format!("{SYNC} --max-delete 100%"));
        assert_eq!(code, 0, "{operation} {nth}: {report:#}");
        let here = trees::read(&home.path("a"));
        assert_eq!(here, remote.read(), "{operation} {nth}: {report:#}");
        for made in 0..round {
            let text = fs::read_to_string(home.path(&format!("a/new/{made}"))).unwrap();
            assert_eq!(text, format!("new {made}"));
        }
        assert!(trees::is_tidy(&home.path("a")));
        edit(&home, round);
    }
    assert!(kills >= 6, "{kills}");
    assert_eq!(home.server.uploads(BUCKET).len(), 0);
    nothing_is_lost(&home);
}

/// What was edited here is there, and what was replaced is in the trash.
fn nothing_is_lost(home: &Home) {
    home.json(&format!("{SYNC} --max-delete 100%"));
    let everywhere = trees::contents(&home.path("a"));
    for round in 0..10 {
        for file in (0..FILES).filter(|file| (file + round) % 5 == 0) {
            let text = format!("here {file} in {round}").into_bytes();
            let in_bucket = home.server.keys(BUCKET).into_iter().any(|key| {
                let object = home.server.get(BUCKET, &key).unwrap();
                object.content == text
            });
            assert!(everywhere.contains(&text) || in_bucket, "{file} in {round}");
        }
    }
}
