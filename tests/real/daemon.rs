//! The running daemon is killed at any moment, again and again, while its jobs run and both sides are edited. When it was started for
//! the last time, all sides come to what the oracle says, and nobody has to say a word.
//!
//! `WL_ROUNDS=100 cargo test -p wl --test real -- --ignored --nocapture soak_daemon` is the long one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wl_control::{JobStatus, State};
use wl_daemon::model::Direction;
use wl_test_trees::oracle::{Expected, expect};
use wl_test_trees::{Hand, Node, Tree, edit, put, take};

use crate::kill::{Random, soak_end};
use crate::running::{PATIENCE, Running, all, is_settled, job, status};
use crate::trees;

/// The job that has a large file.
const LARGE: usize = 0;
/// Names at a root, and in how many bursts a round's edits of them may come.
const NAMES: u64 = 40;
const BURSTS: u64 = 5;
const LARGE_BYTES: usize = 24 * 1024 * 1024;

/// Edits a real folder.
struct Folder<'a>(&'a Path);

impl Hand for Folder<'_> {
    fn write(&self, path: &str, content: &str) {
        // A new file takes the place of the old one, as most editors save.
        let spare = self.0.with_extension("spare");
        fs::write(&spare, content).unwrap();
        fs::rename(spare, self.0.join(path)).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.0.join(path)).unwrap();
    }

    fn make_folder(&self, path: &str) {
        fs::create_dir(self.0.join(path)).unwrap();
    }

    fn remove(&self, path: &str, node: &Node) {
        match node {
            Node::Folder(_) => fs::remove_dir(self.0.join(path)).unwrap(),
            _ => fs::remove_file(self.0.join(path)).unwrap(),
        }
    }
}

/// Two folders that a job keeps equal, and what they hold if nothing were synced.
struct Pair {
    roots: [PathBuf; 2],
    base: Tree,
    hands: [Tree; 2],
}

impl Pair {
    fn expected(&self) -> Expected {
        expect(
            Direction::TwoWay,
            &self.base,
            &self.hands[0],
            &self.hands[1],
        )
    }

    /// Makes a side hold what is wanted, behind wl's back.
    fn edit(&mut self, side: usize, mut wanted: Tree) {
        // A side that is emptied would pause its job.
        wanted.insert("always".to_owned(), Node::File("there".to_owned()));
        edit(&Folder(&self.roots[side]), &self.hands[side], &wanted);
        self.hands[side] = wanted;
    }
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Score {
    kills: u32,
    staged: u32,
    halfway: u32,
    conflicts: u32,
}

struct Game {
    dir: TempDir,
    random: Random,
    versions: u64,
    /// The names of each burst of edits to come, one side after the other.
    bursts: Vec<Vec<u64>>,
    pairs: Vec<Pair>,
    score: Score,
}

impl Game {
    fn new(seed: u64, jobs: usize) -> Self {
        eprintln!("seed {seed}");
        let dir = crate::pair::folder();
        let at = |name: String| dir.path().canonicalize().unwrap().join(name);
        let pairs = (0..jobs).map(|number| {
            let roots = ["a", "b"].map(|side| at(format!("{side}{number}")));
            for root in &roots {
                fs::create_dir(root).unwrap();
            }
            Pair {
                roots,
                base: Tree::new(),
                hands: Default::default(),
            }
        });
        Self {
            pairs: pairs.collect(),
            dir,
            random: Random::new(seed),
            versions: 0,
            bursts: Vec::new(),
            score: Score::default(),
        }
    }

    fn base(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("base")
    }

    /// Content that is like no other; a large one in the job that has one.
    fn content(&mut self, pair: usize) -> String {
        self.versions += 1;
        let line = format!("version {}\n", self.versions);
        let times = match self.random.below(12) {
            0 if pair == LARGE => LARGE_BYTES / line.len(),
            0..3 => 1 + self.random.below(20_000) as usize,
            _ => 1 + self.random.below(100) as usize,
        };
        line.repeat(times) + "end"
    }

    /// Another tree of a side, a few edits of these names away.
    fn edited(&mut self, pair: usize, side: usize, names: &[u64]) -> Tree {
        let mut tree = self.pairs[pair].hands[side].clone();
        if names.is_empty() {
            return tree;
        }
        for _ in 0..[1, 4, 15][self.random.below(3) as usize] {
            let name = names[self.random.below(names.len() as u64) as usize];
            let path = self.path(name);
            let path: Vec<&str> = path.split('/').collect();
            match self.random.below(10) {
                0 | 1 => drop(take(&mut tree, &path)),
                2 => drop(take(&mut tree, &path[..1])),
                3 => put(&mut tree, &path, Node::Folder(Tree::new())),
                4 => put(&mut tree, &path, Node::Link(format!("to{}", self.versions))),
                5 => {
                    // A move within the name.
                    if let Some(node) = take(&mut tree, &path) {
                        put(&mut tree, &[path[0], "moved"], node);
                    }
                }
                _ => {
                    let content = self.content(pair);
                    put(&mut tree, &path, Node::File(content));
                }
            }
        }
        tree
    }

    fn path(&mut self, top: u64) -> String {
        let random = &mut self.random;
        match random.below(3) {
            0 => format!("t{top}"),
            1 => format!("t{top}/f{}", random.below(6)),
            _ => format!("t{top}/d{}/f{}", random.below(2), random.below(4)),
        }
    }

    /// Kills the daemon: at any moment, or shortly after one of its jobs has found work.
    async fn kill(&mut self, daemon: Running) {
        if self.random.below(2) == 0 {
            let mut client = daemon.client().await;
            let working = async {
                loop {
                    let jobs = status(&mut client).await;
                    let works = |job: &JobStatus| job.state.1 == "carrying out changes";
                    if jobs.iter().any(works) || jobs.iter().all(is_settled) {
                        return;
                    }
                    client.next_event().await.unwrap().expect("it ended");
                }
            };
            tokio::time::timeout(PATIENCE, working).await.unwrap();
        }
        // Not to wait for anything: to be killed at another moment each time.
        let span = [500, 5000, 60_000][self.random.below(3) as usize];
        std::thread::sleep(Duration::from_micros(self.random.below(span)));
        daemon.kill();
        self.score.kills += 1;
        let roots = || self.pairs.iter().flat_map(|pair| &pair.roots);
        self.score.staged += u32::from(!roots().all(|root| trees::is_tidy(root)));
        let halfway = |pair: &Pair| {
            let now = [0, 1].map(|side| trees::read(&pair.roots[side]));
            let after = pair.expected();
            now != pair.hands && now != [after.source, after.target]
        };
        self.score.halfway += u32::from(self.pairs.iter().any(halfway));
    }

    /// Both sides are edited while nobody looks, conflicts and all.
    fn edit_at_rest(&mut self) {
        let names: Vec<u64> = (0..NAMES / 3).collect();
        for pair in 0..self.pairs.len() {
            for side in 0..2 {
                let wanted = self.edited(pair, side, &names);
                self.pairs[pair].edit(side, wanted);
            }
        }
    }

    /// Who edits what in the next bursts: every name is edited by one side in one burst, so it does not matter for the outcome
    /// what was synced meanwhile. (Who edits again what a killed run has published and not recorded makes a conflict; that is
    /// as it should be.)
    fn deal(&mut self) {
        let mut hands = vec![Vec::new(); 2 * BURSTS as usize];
        for name in 0..NAMES {
            hands[self.random.below(2 * BURSTS) as usize].push(name);
        }
        self.bursts = hands;
    }

    /// Both sides are edited while the jobs run.
    fn edit_at_work(&mut self) {
        for side in 0..2 {
            let names = self.bursts.pop().unwrap_or_default();
            for pair in 0..self.pairs.len() {
                let wanted = self.edited(pair, side, &names);
                self.pairs[pair].edit(side, wanted);
            }
        }
    }

    async fn round(&mut self, mut daemon: Running) -> Running {
        let kills = 1 + self.random.below(3);
        if self.random.below(3) == 0 {
            daemon.kill();
            self.edit_at_rest();
            for _ in 0..kills {
                let started = Running::start(&self.base());
                self.kill(started).await;
            }
        } else {
            self.deal();
            for _ in 0..kills {
                self.edit_at_work();
                self.kill(daemon).await;
                // Now and then nobody looks meanwhile.
                if self.random.below(2) == 0 {
                    self.edit_at_work();
                }
                daemon = Running::start(&self.base());
                if self.random.below(2) == 0 {
                    self.edit_at_work();
                }
            }
            daemon.kill();
        }
        // A job is settled only after a look that began after the start, so it has seen all edits.
        let daemon = Running::start(&self.base());
        self.settled(&daemon).await;
        // Conflicts are taken away by hand while nobody looks: of what is on the way from a file to a folder the job would make the folder.
        daemon.kill();
        for pair in &mut self.pairs {
            let same = pair.hands[0].clone();
            pair.edit(1, same);
        }
        let daemon = Running::start(&self.base());
        // What was in conflict is equal on both sides now: that is taken as agreed.
        all(&mut daemon.client().await, |job| {
            job.state.0 == State::Synced
        })
        .await;
        for pair in &mut self.pairs {
            pair.base = pair.hands[0].clone();
        }
        daemon
    }

    /// All sides come to what the oracle says.
    async fn settled(&mut self, daemon: &Running) {
        let mut client = daemon.client().await;
        let jobs = all(&mut client, is_settled).await;
        for (number, job) in jobs.iter().enumerate() {
            let expected = self.pairs[number].expected();
            let args = json!({ "job-id": job.job_id });
            let open = client.ask("conflicts", args).await.unwrap();
            let open = open["conflicts"].as_array().unwrap();
            let open: BTreeSet<String> = open
                .iter()
                .map(|conflict| conflict["path"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(open, expected.conflicts, "{job:#?}");
            assert_eq!(job.state.0 == State::Synced, open.is_empty());
            self.score.conflicts += open.len() as u32;
            let pair = &mut self.pairs[number];
            let (now, due) = (
                pair.roots.each_ref().map(|root| trees::read(root)),
                [expected.source, expected.target],
            );
            for side in 0..2 {
                assert!(
                    now[side] == due[side],
                    "{}",
                    differs(&now[side], &due[side])
                );
                // The daemon keeps its own open for a moment.
                let root = &pair.roots[side];
                assert!(trees::nothing_is_forsaken(root), "staging is left");
            }
            pair.hands = now;
            pair.base = expected.base;
        }
    }

    /// Nothing of the daemon's own is left half done.
    fn is_tidy(&self) {
        let state = fs::read_dir(self.base().join("state")).unwrap();
        let names: Vec<_> = state.map(|entry| entry.unwrap().file_name()).collect();
        let known = [
            "json",
            "new",
            "db",
            "lock",
            "db-wal",
            "db-shm",
            "db-announced",
        ];
        for name in &names {
            let end = Path::new(name).extension().and_then(|end| end.to_str());
            assert!(end.is_some_and(|end| known.contains(&end)), "{names:?}");
        }
    }
}

/// The names at which two trees differ, shortly.
fn differs(one: &Tree, two: &Tree) -> String {
    let names: BTreeSet<_> = one.keys().chain(two.keys()).collect();
    let short = |tree: &Tree, name: &String| {
        let node = tree.get(name).map(|node| format!("{node:?}"));
        node.map(|node| node.chars().take(300).collect::<String>())
    };
    let lines = names
        .into_iter()
        .filter(|name| one.get(*name) != two.get(*name));
    let lines = lines.map(|name| {
        format!(
            "\n{name}: {:?}, due {:?}",
            short(one, name),
            short(two, name)
        )
    });
    lines.collect()
}

async fn play(seed: u64, rounds: u64, jobs: usize) -> Score {
    let mut game = Game::new(seed, jobs);
    let mut daemon = Running::start(&game.base());
    let mut client = daemon.client().await;
    for (number, pair) in game.pairs.iter().enumerate() {
        let args = job(&format!("j{number}"), &pair.roots[0], &pair.roots[1]);
        client.ask("start", args).await.unwrap();
    }
    for _ in 0..rounds {
        daemon = game.round(daemon).await;
        game.is_tidy();
    }
    let mut client = daemon.client().await;
    client.ask("stop-all", json!({})).await.unwrap();
    for root in game.pairs.iter().flat_map(|pair| &pair.roots) {
        assert!(trees::is_tidy(root), "staging is left");
    }
    eprintln!("seed {seed}: {rounds} rounds, {:?}", game.score);
    game.score
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_killed_at_any_moment_and_its_jobs_come_through() {
    let score = play(1, 4, 2).await;
    assert!(score.kills >= 4);
}

/// `WL_ROUNDS` says how many rounds; without it `WL_SOAK_MINUTES` how long they go on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: WL_ROUNDS or WL_SOAK_MINUTES says how long"]
async fn soak_daemon_kills() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let first = number("WL_SEED").unwrap_or(since.as_secs());
    let (rounds, end) = (number("WL_ROUNDS"), soak_end());
    for seed in first.. {
        let score = play(seed, rounds.unwrap_or(20), 4).await;
        assert!(
            rounds.is_some_and(|rounds| rounds < 20)
                || (score.staged > 0 && score.halfway > 0 && score.conflicts > 0),
            "all kills came too early or too late: {score:?}"
        );
        if rounds.is_some() || std::time::Instant::now() > end {
            return;
        }
    }
}

/// A job that was acknowledged is there after any crash.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let mut game = Game::new(3, 4);
    for number in 0..game.pairs.len() {
        let daemon = Running::start(&game.base());
        let mut client = daemon.client().await;
        let [source, target] = &game.pairs[number].roots;
        let args = job(&format!("j{number}"), source, target);
        client.ask("start", args).await.unwrap();
        daemon.kill();
    }
    let daemon = Running::start(&game.base());
    let mut client = daemon.client().await;
    client.ask("stop", json!({ "job-id": "j3" })).await.unwrap();
    client
        .ask("pause", json!({ "job-id": "j2" }))
        .await
        .unwrap();
    daemon.kill();
    game.edit_at_rest();
    let daemon = Running::start(&game.base());
    let mut client = daemon.client().await;
    let jobs = all(&mut client, |job| job.job_id == "j2" || is_settled(job)).await;
    let ids: Vec<_> = jobs.iter().map(|job| &*job.job_id).collect();
    assert_eq!(ids, ["j0", "j1", "j2"]);
    assert_eq!(jobs[2].state.0, State::Paused);
    for (pair, works) in [(0, true), (1, true), (2, false), (3, false)] {
        let pair = &game.pairs[pair];
        let due = match works {
            true => pair.expected().source,
            false => pair.hands[0].clone(),
        };
        assert!(trees::read(&pair.roots[0]) == due);
    }
}
