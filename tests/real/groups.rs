//! A repository that is worked in, and a database that is written to, while `wl sync --watch` runs: what is seen on the other side can be
//! used at any moment.
//!
//! What a copy made at any moment can be promised: a repository's HEAD, read before the objects, names a commit of which all is
//! there; a database and its log, if neither was replaced while they were copied, hold what was once committed.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pair::Pair;
use crate::skip::skipped;
use crate::trees;

/// How long somebody works.
const WORK: Duration = Duration::from_secs(8);
/// After so long something must have come, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `wl sync --watch` over the pair.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(pair: &Pair) -> Self {
        let mut child = pair.start("--watch");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on until both folders are equal; whatever is done is told.
    fn until_equal(&mut self, equal: impl Fn() -> bool) {
        while !equal() {
            self.lines.next().expect("it ended").unwrap();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::INT);
        let _ = self.child.wait();
    }
}

fn is_there(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output();
    let there = there.is_ok_and(|out| out.status.success());
    if !there {
        skipped(&format!("there is no {tool} here"));
    }
    there
}

fn git(at: &Path, line: &str) -> (bool, String) {
    let out = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "gc.auto=0",
        ])
        .args(line.split(' '))
        .current_dir(at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", at)
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    (
        out.status.success(),
        String::from_utf8_lossy(&said).trim().to_owned(),
    )
}

#[track_caller]
fn git_well(at: &Path, line: &str) -> String {
    let (well, said) = git(at, line);
    assert!(well, "git {line}: {said}");
    said
}

/// How the two folders are kept equal while somebody works.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Watched,
    /// By one run after the other, which wait for nobody.
    AgainAndAgain,
}

impl How {
    /// Thinks about what to do next: for about as long as makes the others begin to look.
    fn think(self, round: u32) {
        let (least, more) = match self {
            Self::Watched => (180, 60),
            Self::AgainAndAgain => (0, 50),
        };
        let ms = least + u64::from(round * 37 % more);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn begin(self, pair: &Pair) -> Option<Watch> {
        (self == Self::Watched).then(|| Watch::start(pair))
    }

    /// Runs until it is told to stop, if that is how.
    fn run(self, pair: &Pair, stop: &AtomicBool) {
        while self == Self::AgainAndAgain && !stop.load(Ordering::Relaxed) {
            let ran = pair.sync("--trash-keep none");
            assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
            assert!(ran.conflicts().is_empty(), "{ran:?}");
        }
    }

    fn end(pair: &Pair, watch: Option<Watch>, equal: impl Fn() -> bool) {
        match watch {
            Some(mut watch) => watch.until_equal(equal),
            None => pair.sync("").synced(),
        }
    }
}

/// Commits on two branches and goes back and forth between them.
fn work_in(repo: &Path, other: &Path, how: How, stop: &AtomicBool) {
    for round in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let branch = ["one", "two"][round as usize % 2];
        git_well(repo, &format!("checkout -q {branch}"));
        for n in 0..5 {
            fs::write(repo.join(format!("f{n}")), format!("{branch} {round} {n}")).unwrap();
        }
        git_well(repo, "add -A");
        git_well(repo, &format!("commit -q -m {round}"));
        how.think(round);
        let log = |at: &Path| fs::read(at.join(".git/logs/HEAD")).ok();
        // People go home now and then.
        while round % 8 == 7 && log(repo) != log(other) && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .output()
        .unwrap();
    drop(done);
}

/// Copies a repository that is published at the same time, in the order in which git itself reads it.
fn copy_repository(from: &Path, to: &Path) -> bool {
    fs::create_dir_all(to).unwrap();
    for name in ["HEAD", "refs", "packed-refs", "config", "objects"] {
        copy(&from.join(name), &to.join(name));
    }
    to.join("HEAD").exists() && to.join("config").exists()
}

/// Tells the others to stop, whatever happens.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` beside, for a while and until `look` has seen enough, which it does again and again meanwhile.
fn while_somebody_works(
    how: How,
    pair: &Pair,
    work: impl Fn(&AtomicBool) + Send,
    mut look: impl FnMut() -> bool,
) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (told, began) = (&stop, Instant::now());
        let guard = Stop(told);
        let worker = scope.spawn(move || work(told));
        let runs = scope.spawn(move || how.run(pair, told));
        let mut seen = false;
        while (began.elapsed() < WORK || !seen) && !worker.is_finished() {
            seen = look();
            assert!(
                began.elapsed() < PATIENCE,
                "nothing came while somebody worked"
            );
        }
        drop(guard);
        worker.join().unwrap();
        runs.join().unwrap();
    });
}

#[test]
fn a_repository_that_is_worked_in_can_be_used_on_the_other_side_at_any_moment() {
    if is_there("git") {
        [How::Watched, How::AgainAndAgain]
            .into_iter()
            .for_each(repository);
    }
}

fn repository(how: How) {
    let pair = Pair::new();
    let (repo, other) = (pair.a.join("repo"), pair.b.join("repo"));
    fs::create_dir(&repo).unwrap();
    git_well(&repo, "init -q -b one");
    fs::write(repo.join("f0"), "first").unwrap();
    git_well(&repo, "add -A");
    git_well(&repo, "commit -q -m first");
    git_well(&repo, "branch two");
    let watch = how.begin(&pair);
    let (mut copies, mut heads) = (0, std::collections::HashSet::new());
    while_somebody_works(
        how,
        &pair,
        |stop| work_in(&repo, &other, how, stop),
        || {
            copies += 1;
            let at = pair.at(&format!("copy{copies}"));
            if copy_repository(&other.join(".git"), &at) {
                let (well, head) = git(&at, "--git-dir=. rev-parse HEAD");
                assert!(well, "{head}");
                git_well(&at, "--git-dir=. rev-list --objects --quiet --all");
                git_well(
                    &at,
                    "--git-dir=. fsck --connectivity-only --no-dangling --no-reflogs",
                );
                git_well(&repo, &format!("cat-file -e {head}"));
                heads.insert(head);
            }
            fs::remove_dir_all(at).unwrap();
            heads.len() > 1
        },
    );
    eprintln!("{how:?}: {copies} copies, {} different heads", heads.len());
    How::end(&pair, watch, || {
        trees::read(&pair.a) == trees::read(&pair.b)
    });
    git_well(&other, "fsck --connectivity-only");
    assert_eq!(git_well(&other, "status --porcelain"), "");
    assert_eq!(
        git_well(&other, "rev-parse HEAD"),
        git_well(&repo, "rev-parse HEAD")
    );
    pair.sync("").synced();
}

/// Commits the same number into two tables, with a log that is soon carried over into the database.
const WRITER: &str = r"
import os, sqlite3, sys, time
path, other, stop, least = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def content(path):
    # On the other side it may go at any moment.
    try: return open(path, 'rb').read()
    except FileNotFoundError: return None
def read(path):
    return [content(path + end) for end in ('', '-wal')]
db = sqlite3.connect(path, isolation_level=None)
db.execute('pragma journal_mode=wal')
db.execute('pragma wal_autocheckpoint=20')
db.execute('create table if not exists a (n integer, t text)')
db.execute('create table if not exists b (n integer, t text)')
n = 0
while not os.path.exists(stop):
    n += 1
    db.execute('begin')
    for table in 'ab':
        db.execute('insert into %s values (?, ?)' % table, (n, 'x' * (n % 1500)))
    db.execute('commit')
    if n % 5 == 0: time.sleep((least + n * 37 % 60) / 1000)
    while n % 100 == 0 and read(path) != read(other) and not os.path.exists(stop): time.sleep(0.005)
    if n % 40 == 0:
        db.close()
        db = sqlite3.connect(path, isolation_level=None)
        db.execute('pragma wal_autocheckpoint=20')
";

const READER: &str = r"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute('pragma integrity_check').fetchall() == [('ok',)], 'broken'
names = [row[0] for row in db.execute('select name from sqlite_master order by name')]
tables = [db.execute('select count(*), max(n) from ' + name).fetchone() for name in names]
if len(tables) == 2:
    assert tables[0] == tables[1], tables
    assert tables[0][0] == (tables[0][1] or 0), tables
print(tables[0][0] if tables else 0)
";

fn python(script: &str, words: &[&Path]) -> (bool, String) {
    let out = Command::new("python3")
        .arg("-c")
        .arg(script)
        .args(words)
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    (
        out.status.success(),
        String::from_utf8_lossy(&said).trim().to_owned(),
    )
}

/// Which files a database is made of.
fn versions(db: &Path) -> Vec<Option<(u64, u64, i64, i64)>> {
    let version = |end: &str| {
        let meta = fs::metadata(PathBuf::from(format!("{}{end}", db.display()))).ok()?;
        Some((meta.ino(), meta.len(), meta.mtime(), meta.ctime_nsec()))
    };
    ["", "-wal"].map(version).to_vec()
}

#[test]
fn a_database_that_is_written_to_is_whole_on_the_other_side_at_any_moment() {
    if is_there("python3") {
        [How::Watched, How::AgainAndAgain]
            .into_iter()
            .for_each(database);
    }
}

fn database(how: How) {
    let pair = Pair::new();
    let (db, other) = (pair.a.join("x.db"), pair.b.join("x.db"));
    let stop_file = pair.at("stop");
    let watch = how.begin(&pair);
    let (mut before, mut copies, mut counts) = (Vec::new(), 0, std::collections::BTreeSet::new());
    let least = PathBuf::from(if how == How::Watched { "180" } else { "0" });
    while_somebody_works(
        how,
        &pair,
        |stop| {
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| python(WRITER, &[&db, &other, &stop_file, &least]));
                while !stop.load(Ordering::Relaxed) && !writer.is_finished() {
                    std::thread::yield_now();
                    std::thread::sleep(Duration::from_millis(20));
                }
                fs::write(&stop_file, "").unwrap();
                let (well, said) = writer.join().unwrap();
                assert!(well, "{said}");
            });
        },
        || {
            let now = versions(&other);
            if now == before || now[0].is_none() {
                std::thread::sleep(Duration::from_millis(1));
                return counts.len() > 1;
            }
            let at = pair.at("copy");
            let _ = fs::remove_dir_all(&at);
            fs::create_dir(&at).unwrap();
            for end in ["", "-wal"] {
                copy(Path::new(&format!("{}{end}", other.display())), &at);
            }
            if versions(&other) == now {
                let (well, said) = python(READER, &[&at.join("x.db")]);
                assert!(well, "{now:?}: {said}");
                counts.insert(said.parse::<u64>().unwrap());
                copies += 1;
                before = now;
            }
            counts.len() > 1
        },
    );
    eprintln!("{how:?}: {copies} copies, with {counts:?} rows");
    let equal = || {
        let read = |at: &Path| ["x.db", "x.db-wal"].map(|name| fs::read(at.join(name)).ok());
        read(&pair.a) == read(&pair.b)
    };
    How::end(&pair, watch, equal);
    let (well, last) = python(READER, &[&db]);
    assert!(well, "{last}");
    assert_eq!(python(READER, &[&other]), (true, last));
    pair.sync("").synced();
}

/// A lock that nobody takes away is told, with what to do.
#[test]
fn a_lock_that_stays_is_told() {
    let pair = Pair::new();
    trees::write(&pair.a, "r/.git/HEAD", "h");
    trees::write(&pair.a, "r/.git/index.lock", "");
    trees::write(&pair.a, "r/x", "x");
    let ran = pair.sync("");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.problems(), ["r/.git"]);
    assert!(
        ran.reasons()
            .contains("r/.git/index.lock is there; remove it"),
        "{ran:?}"
    );
    assert!(pair.b.join("r/x").exists() && !pair.b.join("r/.git/HEAD").exists());
    fs::remove_file(pair.a.join("r/.git/index.lock")).unwrap();
    pair.sync("").synced();
    pair.assert_equal();
    // What both sides change is one conflict, and ends by one command.
    trees::write(&pair.a, "r/.git/HEAD", "a");
    trees::write(&pair.b, "r/.git/refs", "b");
    let ran = pair.sync("");
    assert_eq!((ran.code, ran.conflicts()), (3, vec!["r/.git".to_owned()]));
}
