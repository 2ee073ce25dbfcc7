//! Two folders, the daemon with a job that keeps them equal, and the quiet moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use wl_control::Client;
use wl_test_trees::folders::{contents, read};
use wl_test_trees::{Node, Random, Tree, take};

use crate::running::{PATIENCE, Running, all, is_settled, job, status};

/// How changes are noticed if `WL_LIVE` does not say: `watch` is what a user has, `poll` is every second.
const LIVE: &str = "watch";

/// What the names of marks begin with.
const MARK: &str = "0mark-";

/// Which side, as a number.
pub const SIDES: [usize; 2] = [0, 1];

fn is_watching() -> bool {
    let live = std::env::var("WL_LIVE");
    match live.as_deref().unwrap_or(LIVE) {
        "watch" => true,
        "poll" => false,
        other => panic!("WL_LIVE is watch or poll, not {other}"),
    }
}

pub struct World {
    dir: TempDir,
    pub roots: [PathBuf; 2],
    daemon: Option<Running>,
    marks: u64,
}

/// What the quiet moment showed.
pub struct Quiet {
    pub trees: [Tree; 2],
    pub conflicts: BTreeSet<String>,
    /// Every content of files on either side, those that wl keeps included.
    pub everywhere: BTreeSet<Vec<u8>>,
}

impl World {
    /// Both sides empty but for a file that keeps them from ever being empty, and a job that runs.
    pub async fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let dir = match shm.is_dir() {
            true => TempDir::new_in(shm),
            false => TempDir::new(),
        };
        let dir = dir.unwrap();
        let top = dir.path().canonicalize().unwrap();
        let roots = ["a", "b"].map(|side| top.join(side));
        for root in &roots {
            fs::create_dir(root).unwrap();
            fs::write(root.join("always"), "there").unwrap();
        }
        let mut world = Self {
            dir,
            roots,
            daemon: None,
            marks: 0,
        };
        let daemon = Running::start(&world.at("base"));
        let mut args = job("live", &world.roots[0], &world.roots[1]);
        if is_watching() {
            for side in ["source", "target"] {
                let storage = args[side].as_object_mut().unwrap();
                storage.remove("watcher-interval").unwrap();
            }
        }
        daemon.client().await.ask("start", args).await.unwrap();
        world.daemon = Some(daemon);
        world.quiet().await;
        world
    }

    /// A path beside the sides, on the same file system.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    async fn client(&self) -> Client {
        self.daemon.as_ref().unwrap().client().await
    }

    /// kill -9, and starts it again.
    pub fn kill(&mut self) {
        self.kill_and(|| ());
    }

    /// The same; in between nobody looks.
    pub fn kill_and(&mut self, act: impl FnOnce()) {
        self.daemon.take().unwrap().kill();
        act();
        self.daemon = Some(Running::start(&self.at("base")));
    }

    /// Does something in a thread of its own while the job runs; kills the daemon so many times meanwhile.
    pub async fn during<T: Send + 'static>(
        &mut self,
        kills: &mut Random,
        times: u64,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let acting = tokio::task::spawn_blocking(act);
        for _ in 0..times {
            // Not to wait for anything: to be killed at another moment each time.
            let moment = Duration::from_micros(kills.below(700_000));
            tokio::time::sleep(moment).await;
            self.kill();
        }
        acting
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Waits until the job has seen all that was done so far and has nothing left to do, without looking at a clock.
    ///
    /// A mark is made on each side after everything else. Events keep their order, so what was done before the marks is known
    /// when they come over; and the look that they came over with has ended when marks come over that are made after that.
    /// (A job with conflicts is not heard of again when it carries something over, so events alone would not do.)
    pub async fn quiet(&mut self) -> Quiet {
        self.marked().await;
        self.marked().await;
        let mut client = self.client().await;
        all(&mut client, is_settled).await;
        let conflicts = self.conflicts(&mut client).await;
        let mut everywhere = BTreeSet::new();
        for root in &self.roots {
            everywhere.extend(contents(root));
        }
        let trees = self.trees();
        Quiet {
            trees,
            conflicts,
            everywhere,
        }
    }

    /// Makes a mark on each side and waits, by inotify, until both have come over.
    async fn marked(&mut self) {
        // Each has a name of its own: that it is there has to mean that it came over now.
        self.marks += 1;
        let mut created = created_in(&self.roots);
        for side in SIDES {
            fs::write(self.mark(side, side), "mark").unwrap();
        }
        let arrived = || SIDES.iter().all(|side| self.mark(1 - side, *side).exists());
        let waiting = async {
            while !arrived() {
                created.recv().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let mut client = self.client().await;
            panic!("no mark arrived: {:#?}", status(&mut client).await);
        }
    }

    fn mark(&self, on: usize, of: usize) -> PathBuf {
        self.roots[on].join(format!("{MARK}{of}-{}", self.marks))
    }

    /// Both sides without the marks.
    pub fn trees(&self) -> [Tree; 2] {
        self.roots.each_ref().map(|root| without_marks(read(root)))
    }

    async fn conflicts(&self, client: &mut Client) -> BTreeSet<String> {
        let mut paths = BTreeSet::<String>::new();
        loop {
            let mut args = json!({ "job-id": "live" });
            if let Some(last) = paths.last() {
                args["start-after"] = json!(last);
            }
            let page = client.ask("conflicts", args).await.unwrap();
            let open = page["conflicts"].as_array().unwrap().iter();
            paths.extend(open.map(|conflict| conflict["path"].as_str().unwrap().to_owned()));
            if page["more"] == json!(false) {
                return paths;
            }
        }
    }

    /// Ends the conflicts, and finds both sides equal.
    pub async fn resolve(&mut self, conflicts: &BTreeSet<String>, keep: &str) -> Quiet {
        let mut client = self.client().await;
        let mut left: Vec<String> = conflicts.iter().cloned().collect();
        // Of two versions of the same moment none is newer.
        for keep in [keep, "source"] {
            if left.is_empty() {
                break;
            }
            // So many go into one request.
            for paths in std::mem::take(&mut left).chunks(1000) {
                let args = json!({ "job-id": "live", "paths": paths, "keep": keep });
                let done: Value = client.ask("resolve", args).await.unwrap();
                assert_eq!(done["error"], Value::Null, "{done}");
                let open = done["problems"].as_array().unwrap().iter();
                left.extend(open.map(|problem| problem["path"].as_str().unwrap().to_owned()));
            }
            assert!(left.is_empty() || keep == "newer", "{left:?}");
        }
        let quiet = self.quiet().await;
        assert_eq!(
            quiet.conflicts,
            BTreeSet::new(),
            "after resolve --keep {keep}"
        );
        quiet.agree();
        quiet
    }

    /// The permission bits of everything on a side.
    pub fn modes(&self, side: usize) -> BTreeMap<PathBuf, u32> {
        let mut modes = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.roots[side].join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = folder.join(entry.file_name());
                let meta = entry.path().symlink_metadata().unwrap();
                if path.starts_with(".wl") || meta.is_symlink() {
                    continue;
                }
                modes.insert(path.clone(), meta.permissions().mode() & 0o777);
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
        modes
    }
}

/// Tells when something came to be in the folders.
fn created_in(folders: &[PathBuf]) -> mpsc::UnboundedReceiver<()> {
    let inotify = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    for folder in folders {
        let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, folder, flags).unwrap();
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    // It ends with the first event that nobody waits for any more; that a folder went away is one.
    std::thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while reader.next().is_ok() && sender.send(()).is_ok() {}
    });
    receiver
}

pub fn without_marks(mut tree: Tree) -> Tree {
    tree.retain(|name, _| !name.starts_with(MARK) && name != "always");
    tree
}

impl Quiet {
    /// Both sides are equal but for what is in a listed conflict.
    #[track_caller]
    pub fn agree(&self) {
        let mut trees = self.trees.clone();
        for path in &self.conflicts {
            let path: Vec<&str> = path.split('/').collect();
            for tree in &mut trees {
                take(tree, &path);
            }
        }
        let what = format!(
            "source against target, but for conflicts {:?}",
            self.conflicts
        );
        assert_same(&trees[0], &trees[1], &what);
    }

    /// The version is somewhere; if not, it is said what is there of it.
    #[track_caller]
    pub fn holds(&self, path: &str, version: &[u8]) {
        if self.everywhere.contains(version) {
            return;
        }
        let short = |content: &[u8]| {
            let ends = [
                &content[..content.len().min(60)],
                &content[content.len().saturating_sub(40)..],
            ];
            let [head, tail] = ends.map(String::from_utf8_lossy);
            format!("{head:?} .. {tail:?}, {} bytes", content.len())
        };
        let line = version
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .unwrap();
        let alike = self
            .everywhere
            .iter()
            .filter(|content| content.starts_with(line));
        let alike: Vec<String> = alike.map(|content| short(content)).collect();
        let conflicts = &self.conflicts;
        panic!(
            "lost: {path}: {}; alike: {alike:#?}; conflicts: {conflicts:?}",
            short(version)
        );
    }
}

/// Two trees are equal, or it is said where they are not.
#[track_caller]
pub fn assert_same(one: &Tree, two: &Tree, what: &str) {
    let mut apart = Vec::new();
    differ(one, two, "", &mut apart);
    let shown = &apart[..apart.len().min(20)];
    assert!(apart.is_empty(), "{what}, {}: {shown:#?}", apart.len());
}

fn differ(one: &Tree, two: &Tree, within: &str, apart: &mut Vec<String>) {
    let names: BTreeSet<_> = one.keys().chain(two.keys()).collect();
    for name in names {
        let path = format!("{within}/{name}");
        match (one.get(name), two.get(name)) {
            (Some(Node::Folder(one)), Some(Node::Folder(two))) => differ(one, two, &path, apart),
            (one, two) if one != two => {
                let short = |node: Option<&Node>| format!("{node:?}").chars().take(200).collect();
                let [one, two]: [String; 2] = [one, two].map(short);
                apart.push(format!("{path}: {one} against {two}"));
            }
            _ => {}
        }
    }
}
