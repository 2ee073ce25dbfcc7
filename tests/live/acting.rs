//! Somebody works on one side while the job runs, undisturbed or while the daemon is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wl_test_trees::Random;
use wl_test_trees::folders::{contents, read};

use crate::world::{World, assert_same, without_marks};

/// What a program does to a folder of the tree; the other path is a folder outside.
pub type Act = fn(&Path, &Path);

/// The program works on the source, then on the target; the other side ends equal, and nothing is in conflict.
pub async fn alone(act: Act) {
    let mut world = World::new().await;
    for side in [0, 1] {
        let folder = world.roots[side].join(format!("work{side}"));
        fs::create_dir(&folder).unwrap();
        let outside = world.at(&format!("outside{side}"));
        fs::create_dir(&outside).unwrap();
        let mut random = Random::new(1);
        world
            .during(&mut random, 0, move || act(&folder, &outside))
            .await;
        let left = without_marks(read(&world.roots[side]));
        let quiet = world.quiet().await;
        assert!(quiet.conflicts.is_empty(), "{:?}", quiet.conflicts);
        assert_same(&quiet.trees[side], &left, "wl changed what nobody else has");
        quiet.agree();
    }
}

/// The same, and the daemon is killed in the middle of it: nothing that the program left is lost, and both sides come to
/// agree. What a killed daemon has published and not recorded may come back if the program removed it; the paths of what is in conflict
/// are returned.
pub async fn killed(seed: u64, act: Act) -> BTreeSet<String> {
    eprintln!("seed {seed}");
    let mut world = World::new().await;
    let folder = world.roots[0].join("work");
    fs::create_dir(&folder).unwrap();
    let outside = world.at("outside");
    fs::create_dir(&outside).unwrap();
    let left = world
        .during(&mut Random::new(seed), 3, {
            let folder = folder.clone();
            move || {
                // What comes back may be in the program's way; it then stops there.
                let done = std::panic::catch_unwind(|| act(&folder, &outside));
                if done.is_err() {
                    eprintln!("the program stopped early");
                }
                contents(&folder)
            }
        })
        .await;
    let quiet = world.quiet().await;
    quiet.agree();
    for version in &left {
        quiet.holds("work", version);
    }
    let conflicts = quiet.conflicts;
    eprintln!("{} conflicts", conflicts.len());
    let quiet = world.resolve(&conflicts, "source").await;
    for version in &left {
        quiet.holds("work", version);
    }
    conflicts
}
