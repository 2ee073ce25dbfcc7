//! Several threads change a tree at random. Somebody who looks only where the watcher says so ends up knowing all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use wl_core::model::SyncPath;
use wl_core::storage::Area;

use super::real::{PATIENCE, Watcher, next, watch};
use crate::local::tests::kit::{Lab, p};

const THREADS: u64 = 4;
const EDITS: u32 = 1500;

/// What is known of a tree: folders as `None`, files with their content.
#[derive(Default, PartialEq, Eq, Debug)]
struct Known(BTreeMap<SyncPath, Option<Vec<u8>>>);

impl Known {
    /// Looks where a pass would.
    fn look(&mut self, root: &Path, area: &Area) {
        let Area::Parts(parts) = area else {
            return self.walk(root, &SyncPath::root());
        };
        for subtree in parts.subtrees() {
            if !self.is_new_above(root, subtree) {
                self.walk(root, subtree);
            }
        }
        for path in parts.paths() {
            if self.is_new_above(root, path) {
                continue;
            }
            let was_folder = self.0.get(path) == Some(&None);
            match root.join(path.as_str()).is_dir() && was_folder {
                true => {}
                false => self.walk(root, path),
            }
        }
    }

    /// A folder above that came or went means all that is in it.
    fn is_new_above(&mut self, root: &Path, path: &SyncPath) -> bool {
        let above = path.ancestors().filter(|above| !above.is_root());
        let mut above: Vec<SyncPath> = above.filter(|above| above != path).collect();
        above.sort();
        for folder in above {
            let is_folder = root.join(folder.as_str()).is_dir();
            if is_folder != (self.0.get(&folder) == Some(&None)) {
                self.walk(root, &folder);
                return true;
            }
        }
        false
    }

    fn walk(&mut self, root: &Path, at: &SyncPath) {
        self.0.retain(|path, _| !path.is_within(at));
        let real = root.join(at.as_str());
        if let Ok(names) = fs::read_dir(&real) {
            if !at.is_root() {
                self.0.insert(at.clone(), None);
            }
            for name in names.flatten() {
                let name = name.file_name();
                self.walk(root, &at.join(name.to_str().unwrap()).unwrap());
            }
        } else if let Ok(content) = fs::read(&real) {
            self.0.insert(at.clone(), Some(content));
        }
    }
}

#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// One to four levels of few names, so that the threads meet.
    fn path(&mut self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        for _ in 0..=self.roll(4) {
            path.push(format!("{}", self.roll(4)));
        }
        path
    }
}

/// One change; most of those that cannot be made now are tried in vain, which is fine.
fn edit(dice: &mut Dice, root: &Path, number: u32) -> std::io::Result<()> {
    let (one, two) = (dice.path(root), dice.path(root));
    match dice.roll(10) {
        0..3 => fs::create_dir_all(one),
        3..5 => fs::write(one, number.to_string()),
        5..8 => fs::rename(one, two),
        8 => Ok(renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE)?),
        _ if one.is_dir() => fs::remove_dir_all(one),
        _ => fs::remove_file(one),
    }
}

async fn storm(seed: u64) {
    let lab = Lab::new();
    let watcher = watch(&lab).await;
    storm_of(&lab, watcher, seed).await;
}

pub async fn storm_of(lab: &Lab, mut watcher: Watcher, seed: u64) {
    let mut known = Known::default();
    let looked = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (1..=THREADS)
        .map(|thread| {
            let (root, looked) = (lab.at(""), Arc::clone(&looked));
            std::thread::spawn(move || {
                let mut dice = Dice::new(seed * 1000 + thread);
                // However slow the one who looks is, it does so in the middle of this.
                let goes_on = |number: &u32| *number < EDITS || !looked.load(Relaxed);
                for number in (0..).take_while(goes_on) {
                    let _ = edit(&mut dice, &root, number);
                }
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        // There may be nothing to say while the last of them ends.
        lab.write("running", b"");
        let said = next(&mut watcher).await;
        known.look(&lab.at(""), &said.into_area());
        looked.store(true, Relaxed);
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut real = Known::default();
    real.walk(&lab.at(""), &SyncPath::root());
    let settled = async {
        while known != real {
            let said = watcher.next().await.unwrap();
            known.look(&lab.at(""), &said.into_area());
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    assert!(
        settled.is_ok(),
        "seed {seed}: {known:?}\ninstead of\n{real:?}"
    );
    // And what is there is watched.
    let folders: Vec<_> = real.0.iter().filter(|(_, file)| file.is_none()).collect();
    for (folder, _) in folders {
        lab.write(&format!("{folder}/last"), b"1");
        super::real::until(&mut watcher, &[&format!("{folder}/last")]).await;
    }
    assert!(known.0.contains_key(&p("running")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_where_the_watcher_says_knows_the_whole_tree() {
    for seed in 1..=5 {
        storm(seed).await;
    }
}

/// With the watcher on the thread of who asks it is behind, and the queue of the system may run over.
#[tokio::test]
async fn the_same_with_a_watcher_that_is_always_late() {
    for seed in 6..=8 {
        storm(seed).await;
    }
}
