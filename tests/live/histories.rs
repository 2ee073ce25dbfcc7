//! Random histories while the job runs.

use std::time::{Duration, Instant};

use wl_test_trees::Random;

use crate::editor::Editor;
use crate::world::{Quiet, SIDES, World, assert_same};

const EDITORS: u64 = 2;

struct Game {
    world: World,
    seed: u64,
    editors: Vec<Editor>,
}

impl Game {
    async fn new(seed: u64) -> Self {
        eprintln!("WL_SEED={seed}");
        let world = World::new().await;
        let outside = world.at("outside");
        let mut editors = Vec::new();
        for side in SIDES {
            for number in 0..EDITORS {
                editors.push(Editor::new(
                    &world.roots[side],
                    &outside,
                    side,
                    number,
                    seed,
                ));
            }
        }
        Self {
            world,
            seed,
            editors,
        }
    }

    /// All edit at the same time, each side by several, while the job runs and its daemon is killed so often.
    ///
    /// With kills all names are contested: who edits again what a killed daemon has published and not recorded makes a
    /// conflict, or finds again what was removed, as it should be.
    async fn round(&mut self, edits: u64, kills: u64) -> Quiet {
        let mut editors = std::mem::take(&mut self.editors);
        let mut random = Random::new(self.seed);
        let work = move || {
            std::thread::scope(|scope| {
                for editor in &mut editors {
                    scope.spawn(move || editor.work(edits, kills > 0));
                }
            });
            editors
        };
        self.editors = self.world.during(&mut random, kills, work).await;
        self.world.quiet().await
    }

    #[track_caller]
    fn check(&self, quiet: &Quiet) {
        quiet.agree();
        for (path, version) in self.editors.iter().flat_map(|editor| &editor.last) {
            quiet.holds(path, version);
        }
    }

    /// What only one edits is on both sides as that one left it.
    #[track_caller]
    fn check_own(&self, quiet: &Quiet) {
        for editor in &self.editors {
            for side in SIDES {
                let mut tree = quiet.trees[side].clone();
                tree.retain(|name, _| name.starts_with(&editor.prefix()));
                assert_same(&tree, &editor.tree, &format!("side {side}, found and due"));
            }
        }
        let [one, two] = SIDES.map(|side| {
            let mut modes = self.world.modes(side);
            modes.retain(|path, _| !path.to_string_lossy().starts_with(['c', '0']));
            modes
        });
        assert_eq!(one, two, "permissions");
    }
}

async fn play(seed: u64, rounds: u64, edits: u64, kills: u64) -> usize {
    let mut game = Game::new(seed).await;
    let mut conflicts = 0;
    for round in 0..rounds {
        let quiet = game.round(edits, kills).await;
        game.check(&quiet);
        if kills == 0 {
            game.check_own(&quiet);
        }
        conflicts += quiet.conflicts.len();
        let keep = ["source", "target", "both", "newer"][(seed + round) as usize % 4];
        let quiet = game.world.resolve(&quiet.conflicts, keep).await;
        game.check(&quiet);
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_edited_while_the_job_runs() {
    play(1, 2, 120, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_edited_while_the_daemon_is_killed() {
    play(2, 2, 120, 3).await;
}

/// `WL_ROUNDS` says how many rounds of each seed; `WL_SEED` plays that seed alone; else `WL_SOAK_MINUTES` says how long.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: WL_ROUNDS or WL_SOAK_MINUTES says how long"]
async fn soak_live_histories() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let (seed, rounds) = (number("WL_SEED"), number("WL_ROUNDS"));
    let minutes = Duration::from_secs(60 * number("WL_SOAK_MINUTES").unwrap_or(1));
    let (end, mut conflicts) = (Instant::now() + minutes, 0);
    for seed in seed.unwrap_or(since.as_secs()).. {
        conflicts += play(
            seed,
            rounds.unwrap_or(5),
            150,
            if seed % 2 == 0 { 3 } else { 0 },
        )
        .await;
        let is_done = number("WL_SEED").is_some() || rounds.is_some();
        if is_done || Instant::now() > end {
            break;
        }
    }
    assert!(conflicts > 0, "nobody met anybody");
}
