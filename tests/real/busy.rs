//! Files that are written to while they are read: nothing is seen on the other side that was never there on this one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kill::Random;
use crate::pair::{Pair, Ran};
use crate::trees::write;

const BLOCK: usize = 4096;

/// Runs `work` while `writer` works on beside it.
fn beside(writer: impl Fn(&AtomicBool) + Send, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let told = &stop;
        scope.spawn(move || writer(told));
        let done = catch_unwind(AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

#[track_caller]
fn only_problems_of(ran: &Ran, name: &str) {
    assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
    assert!(ran.conflicts().is_empty(), "{ran:?}");
    assert!(ran.problems().iter().all(|path| path == name), "{ran:?}");
    assert_eq!(ran.class(), "none", "{ran:?}");
}

/// Writes the number of the round into block after block of the file, round after round.
fn rewrite(path: &Path, blocks: usize, stop: &AtomicBool) {
    let file = File::options().write(true).open(path).unwrap();
    for round in 2_u64.. {
        let block = round.to_le_bytes().repeat(BLOCK / 8);
        for n in 0..blocks {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            file.write_all_at(&block, (n * BLOCK) as u64).unwrap();
        }
    }
}

/// Whether the file was once like this: some blocks of a round, and the others of the round before.
fn was_once(content: &[u8], blocks: usize) -> Result<(), String> {
    let rounds: Vec<u64> = content
        .chunks(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()))
        .collect();
    let steps: Vec<_> = rounds.windows(2).filter(|two| two[0] != two[1]).collect();
    let fine = match &steps[..] {
        [] => true,
        [step] => step[0] == step[1] + 1,
        _ => false,
    };
    if fine && content.len() == blocks * BLOCK {
        return Ok(());
    }
    Err(format!("{} bytes, steps {steps:?}", content.len()))
}

/// A small file, read in one piece with others, and a large one, read in pieces.
#[test]
fn a_file_rewritten_in_place_is_never_seen_torn() {
    for (blocks, runs) in [(12, 12), (700, 8)] {
        let pair = Pair::new();
        write(
            &pair.a,
            "busy",
            1_u64.to_le_bytes().repeat(blocks * BLOCK / 8),
        );
        write(&pair.a, "calm", "calm");
        let busy = pair.a.join("busy");
        beside(
            |stop| rewrite(&busy, blocks, stop),
            || {
                for run in 0..runs {
                    write(&pair.a, "calm", format!("calm {run}"));
                    only_problems_of(&pair.sync("--trash-keep none"), "busy");
                    assert_eq!(
                        fs::read(pair.b.join("calm")).unwrap(),
                        format!("calm {run}").as_bytes()
                    );
                    if let Ok(seen) = fs::read(pair.b.join("busy")) {
                        let torn = was_once(&seen, blocks);
                        assert!(torn.is_ok(), "run {run}: torn: {torn:?}");
                    }
                }
            },
        );
        pair.sync("").synced();
        pair.assert_equal();
    }
}

/// The file grows line by line: every state of it is a beginning of the next.
#[test]
fn a_growing_log_is_seen_as_it_once_was() {
    let pair = Pair::new();
    write(&pair.a, "log", "");
    let log = pair.a.join("log");
    beside(
        |stop| {
            let mut file = File::options().append(true).open(&log).unwrap();
            for line in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                file.write_all(format!("line {line}\n").as_bytes()).unwrap();
            }
        },
        || {
            for _ in 0..10 {
                only_problems_of(&pair.sync(""), "log");
                let seen = fs::read(pair.b.join("log")).unwrap_or_default();
                assert!(fs::read(&log).unwrap().starts_with(&seen));
                assert!(seen.last().is_none_or(|last| *last == b'\n'));
            }
        },
    );
    pair.sync("").synced();
    pair.assert_equal();
}

/// Both sides save the same few files whole, all the time, while runs go on: the last version of each side is somewhere.
#[test]
fn saves_on_both_sides_lose_no_last_version() {
    let pair = Pair::new();
    for file in 0..6 {
        write(&pair.a, &format!("f{file}"), "first");
    }
    pair.sync("").synced();
    let saver = |side: &'static str| {
        let (root, spare) = (pair.at(side), pair.at(&format!("spare-{side}")));
        move |stop: &AtomicBool| {
            for n in 0_u64.. {
                let file = root.join(format!("f{}", n % 6));
                let text = format!("{side} {n}\n").repeat(1 + (n % 700) as usize);
                fs::write(&spare, text + "end").unwrap();
                fs::rename(&spare, file).unwrap();
                // A version of every file is the last before the end is looked for.
                if n % 6 == 5 && stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    };
    let mut last = Vec::new();
    beside(saver("a"), || {
        beside(saver("b"), || {
            for _ in 0..12 {
                let ran = pair.sync("");
                assert!(
                    [0, 1, 3].contains(&ran.code) && ran.class() == "none",
                    "{ran:?}"
                );
            }
        });
    });
    for root in [&pair.a, &pair.b] {
        for content in crate::trees::visible(root) {
            assert!(content.ends_with(b"\nend") || content == b"first");
            last.push(content);
        }
    }
    let ran = pair.sync("");
    assert!(ran.code == 0 || ran.code == 3, "{ran:?}");
    let mut everywhere = crate::trees::contents(&pair.a);
    everywhere.extend(crate::trees::contents(&pair.b));
    assert!(last.iter().all(|version| everywhere.contains(version)));
    assert!(crate::trees::is_tidy(&pair.a) && crate::trees::is_tidy(&pair.b));
}

/// Opens files and adds lines to them for a while, whatever becomes of the files meanwhile; tells each line.
fn add_lines(root: &Path, written: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut random = Random::new(17);
    while !stop.load(Ordering::Relaxed) {
        let path = root.join(format!("f{}", random.below(4)));
        let mut open = File::options().append(true).open(path).unwrap();
        for _ in 0..3 {
            // The pace of a program, not to wait for anything.
            std::thread::sleep(Duration::from_micros(random.below(9000)));
            let line = format!("added {}", random.below(1 << 40));
            writeln!(open, "{line}").unwrap();
            written.lock().unwrap().push(line);
        }
    }
}

/// Saves new versions that have a line more.
fn save_versions(root: &Path, spare: &Path, stop: &AtomicBool) {
    let mut random = Random::new(19);
    for n in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = root.join(format!("f{}", random.below(4)));
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        let seen = fs::read_to_string(&path).unwrap();
        fs::write(spare, format!("{seen}saved {n}\n")).unwrap();
        fs::rename(spare, path).unwrap();
    }
}

/// A program keeps files open and adds lines now and then, while the other side saves new versions of them. Wherever its files
/// have gone meanwhile: every line is somewhere.
#[test]
fn a_program_that_keeps_files_open_loses_no_line() {
    let pair = Pair::new();
    for file in 0..4 {
        write(&pair.a, &format!("f{file}"), format!("begin {file}\n"));
    }
    pair.sync("").synced();
    let written = Mutex::new(Vec::new());
    let spare = pair.at("spare");
    let names = ["f0", "f1", "f2", "f3"];
    let adder = |stop: &AtomicBool| add_lines(&pair.a, &written, stop);
    let saver = |stop: &AtomicBool| save_versions(&pair.b, &spare, stop);
    beside(adder, || {
        beside(saver, || {
            for _ in 0..12 {
                let ran = pair.sync("");
                assert_eq!(ran.class(), "none", "{ran:?}");
                // What is open ends, so that versions go on travelling.
                let words = ["resolve", "a", "b", "--keep", "target", "--output", "json"];
                pair.ran(words.into_iter().chain(names));
            }
        });
    });
    let mut lines = HashSet::new();
    for root in [&pair.a, &pair.b] {
        for content in crate::trees::contents(root) {
            let text = String::from_utf8_lossy(&content).into_owned();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    for line in written.lock().unwrap().iter() {
        assert!(lines.contains(line), "lost: {line}");
    }
    let trash = pair.ran(["trash", "list", "a", "--output", "json"]);
    let kept = trash.report["trash"].as_array().unwrap().len();
    assert!(kept > 0, "nothing was ever replaced under the program");
}
