//! The running binary is killed at any moment, again and again. No torn content is ever seen, no version is lost, and the next
//! run carries on by itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wl_test_trees::Tree;
use wl_test_trees::oracle::{Expected, expect};

use crate::pair::{Pair, Ran};
use crate::trees::{self, contents, write};
use wl_daemon::model::Direction;

pub use wl_test_trees::Random;

type Versions = BTreeSet<Vec<u8>>;

/// When the long tests end.
pub fn soak_end() -> Instant {
    let minutes = std::env::var("WL_SOAK_MINUTES");
    let minutes = minutes.ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    Instant::now() + Duration::from_secs(60 * minutes)
}

/// Content that is like no other, of a length that differs: a beginning or an end of it is none of the versions.
fn version(random: &mut Random, number: u64) -> Vec<u8> {
    let line = format!("version {number}\n");
    let times = match random.below(8) {
        0 => 1 + random.below(20_000),
        _ => 1 + random.below(200),
    };
    let mut text = line.repeat(times as usize).into_bytes();
    text.extend(format!("end of {number}").bytes());
    text
}

/// How the kills went.
#[derive(Debug, Default)]
struct Score {
    kills: u32,
    finished: u32,
    /// Kills that left something in staging, and kills after which the trees were neither as before nor as they should become.
    staged: u32,
    halfway: u32,
}

struct Game {
    pair: Pair,
    random: Random,
    versions: u64,
    base: Tree,
    /// What nobody gave up: it must be somewhere.
    kept: Versions,
    /// About how long a run takes, in microseconds.
    span: u64,
    score: Score,
}

impl Game {
    fn new(seed: u64) -> Self {
        Self {
            pair: Pair::new(),
            random: Random::new(seed),
            versions: 0,
            base: Tree::new(),
            kept: Versions::new(),
            span: 30_000,
            score: Score::default(),
        }
    }

    fn path(&mut self) -> String {
        let random = &mut self.random;
        match random.below(3) {
            0 => format!("f{}", random.below(30)),
            1 => format!("d{}/f{}", random.below(5), random.below(20)),
            _ => format!(
                "d{}/e{}/f{}",
                random.below(5),
                random.below(3),
                random.below(20)
            ),
        }
    }

    /// Edits a side: new versions, removals, moves, and now and then a whole folder.
    fn edit(&mut self, root: &Path, edits: u64) {
        for _ in 0..edits {
            let (path, other) = (self.path(), self.path());
            let at = root.join(&path);
            match self.random.below(10) {
                0 => drop(fs::remove_file(at)),
                1 => {
                    fs::create_dir_all(root.join(&other).parent().unwrap()).unwrap();
                    drop(fs::rename(at, root.join(&other)));
                }
                2 if self.random.below(10) == 0 => drop(fs::remove_dir_all(
                    at.parent()
                        .unwrap()
                        .ancestors()
                        .find(|above| above.parent() == Some(root))
                        .unwrap_or(&at),
                )),
                3 if self.random.below(10) == 0 && at.is_file() => {
                    fs::remove_file(&at).unwrap();
                    write(&at, "inside", format!("inside {}", self.versions));
                    self.versions += 1;
                }
                _ if at.is_dir() => {}
                _ => {
                    self.versions += 1;
                    let content = version(&mut self.random, self.versions);
                    write(root, &path, content);
                }
            }
        }
    }

    fn everywhere(&self) -> Versions {
        let mut all = contents(&self.pair.a);
        all.extend(contents(&self.pair.b));
        all
    }

    fn visible(&self) -> Versions {
        let mut all = trees::visible(&self.pair.a);
        all.extend(trees::visible(&self.pair.b));
        all
    }

    #[track_caller]
    fn nothing_is_lost_or_torn(&self, when: &str) {
        let everywhere = self.everywhere();
        for version in &self.kept {
            assert!(
                everywhere.contains(version),
                "{when}: lost: {}",
                head(version)
            );
        }
        for version in self.visible() {
            assert!(
                self.kept.contains(&version),
                "{when}: torn: {}",
                head(&version)
            );
        }
    }

    /// Runs and kills at a random moment. The finished run, if it was faster.
    fn kill(&mut self) -> Option<Ran> {
        let options = "--max-delete 100% --allow-empty";
        let mut child = self.pair.start(options);
        // Not to wait for anything: to be killed at another moment each time.
        std::thread::sleep(Duration::from_micros(self.random.below(self.span)));
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        if out.status.signal() == Some(9) {
            self.score.kills += 1;
            // Fast up and fast down: how long a run takes depends on what else the machine does.
            self.span += self.span / 10;
            self.score.staged +=
                u32::from(!(trees::is_tidy(&self.pair.a) && trees::is_tidy(&self.pair.b)));
            return None;
        }
        self.score.finished += 1;
        self.span = (self.span - self.span / 4).max(4000);
        Some(crate::pair::ended(out))
    }

    /// Both sides are edited, runs are killed, and the next one heals.
    fn round(&mut self, forget: bool) {
        let edits = [1, 5, 30, 120][self.random.below(4) as usize];
        let (a, b) = (self.pair.a.clone(), self.pair.b.clone());
        self.edit(&a, edits);
        self.edit(&b, edits);
        self.kept = self.everywhere();
        let before = self.pair.trees();
        let mut expected = expect(Direction::TwoWay, &self.base, &before.0, &before.1);
        let mut last = None;
        for _ in 0..3 {
            last = self.kill();
            self.nothing_is_lost_or_torn("killed");
            let now = self.pair.trees();
            let after = (expected.source.clone(), expected.target.clone());
            self.score.halfway += u32::from(now != before && now != after);
            if last.is_some() {
                break;
            }
            if forget && self.random.below(2) == 0 {
                self.pair.forget();
                expected = expect(Direction::TwoWay, &Tree::new(), &now.0, &now.1);
            }
        }
        let ran = last.unwrap_or_else(|| self.pair.sync("--max-delete 100% --allow-empty"));
        self.healed(&ran, &expected);
        self.base = expected.base;
        self.equalise();
    }

    #[track_caller]
    fn healed(&self, ran: &Ran, expected: &Expected) {
        assert_eq!(ran.problems(), Vec::<String>::new(), "{ran:?}");
        let conflicts: BTreeSet<_> = ran.conflicts().into_iter().collect();
        assert_eq!(conflicts, expected.conflicts);
        assert_eq!(
            ran.code,
            if conflicts.is_empty() { 0 } else { 3 },
            "{ran:?}"
        );
        let now = self.pair.trees();
        assert!(
            now.0 == expected.source,
            "source: {}",
            differs(&now.0, &expected.source)
        );
        assert!(
            now.1 == expected.target,
            "target: {}",
            differs(&now.1, &expected.target)
        );
        for root in [&self.pair.a, &self.pair.b] {
            assert!(trees::is_tidy(root), "staging is left");
        }
        self.nothing_is_lost_or_torn("healed");
    }

    /// Ends the conflicts, so that the next round begins equal.
    fn equalise(&mut self) {
        let ran = self.pair.sync("--mirror --max-delete 100% --allow-empty");
        ran.synced();
        self.pair.assert_equal();
        self.base = self.pair.trees().0;
    }
}

fn head(version: &[u8]) -> String {
    let start = String::from_utf8_lossy(&version[..version.len().min(40)]).into_owned();
    format!("{start:?}, {} bytes", version.len())
}

/// The paths in which two trees differ.
fn differs(one: &Tree, two: &Tree) -> String {
    let names: BTreeSet<_> = one.keys().chain(two.keys()).collect();
    let names = names
        .into_iter()
        .filter(|name| one.get(*name) != two.get(*name));
    let mut text = String::new();
    for name in names {
        let short = |tree: &Tree| {
            let node = tree.get(name).map(|node| format!("{node:?}"));
            node.map(|node| node.chars().take(300).collect::<String>())
        };
        text += &format!("\n{name}: {:?}, due {:?}", short(one), short(two));
    }
    text
}

fn kills(seed: u64, wanted: u32, forget: bool) -> Score {
    kills_until(seed, wanted, forget, |_| true)
}

/// Goes on until enough runs were killed, and at the moments that count: on a busy machine they come seldom.
fn kills_until(seed: u64, wanted: u32, forget: bool, enough: fn(&Score) -> bool) -> Score {
    eprintln!("seed {seed}");
    let mut game = Game::new(seed);
    let mut rounds = 0;
    while game.score.kills < wanted || !enough(&game.score) {
        rounds += 1;
        assert!(
            rounds < 100 + wanted * 10,
            "hardly a run was killed, or all too early or too late: {:?}",
            game.score
        );
        game.round(forget);
    }
    eprintln!("seed {seed}: {rounds} rounds, {:?}", game.score);
    game.score
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_the_next_run_heals() {
    kills_until(1, 60, false, |score| score.staged > 0 && score.halfway > 0);
}

#[test]
fn killed_and_without_its_baseline_it_carries_on() {
    kills(2, 25, true);
}

/// A first run over many files is killed until it comes through: it begins again where it was, and what is there is adopted.
#[test]
fn a_first_run_comes_through_in_the_end() {
    let mut game = Game::new(3);
    for file in 0..1500 {
        write(
            &game.pair.a,
            &format!("d{}/f{file}", file % 40),
            format!("content {file}\n"),
        );
    }
    for file in 0..200 {
        write(
            &game.pair.b,
            &format!("d{}/f{file}", file % 40),
            format!("content {file}\n"),
        );
    }
    game.kept = game.everywhere();
    for kill in 1..=12_u64 {
        game.span = kill * 12_000;
        if game.kill().is_some() {
            break;
        }
        game.nothing_is_lost_or_torn("killed");
    }
    game.pair.sync("").synced();
    game.pair.assert_equal();
    game.nothing_is_lost_or_torn("healed");
    assert!(game.score.kills > 3, "{:?}", game.score);
}

/// Saves one file after another on a side until it is told to stop; tells every version before it writes it.
fn editor(
    root: &Path,
    spare: &Path,
    told: &Mutex<Versions>,
    last: &Mutex<Vec<Vec<u8>>>,
    stop: &AtomicBool,
) {
    let mut random = Random::new(7);
    for number in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let file = random.below(8) as usize;
        let text = format!("edit {number}\n").repeat(1 + random.below(3000) as usize) + "end";
        told.lock().unwrap().insert(text.clone().into_bytes());
        fs::write(spare, &text).unwrap();
        fs::rename(spare, root.join(format!("edited{file}"))).unwrap();
        last.lock().unwrap()[file] = text.into_bytes();
    }
}

#[test]
fn killed_while_somebody_edits() {
    let mut game = Game::new(5);
    let stop = AtomicBool::new(false);
    let told = Mutex::new(Versions::new());
    let last = Mutex::new(vec![Vec::new(); 8]);
    let (b, spare) = (game.pair.b.clone(), game.pair.at("spare"));
    for file in 0..8 {
        write(
            &game.pair.a,
            &format!("edited{file}"),
            format!("first {file}"),
        );
        told.lock()
            .unwrap()
            .insert(format!("first {file}").into_bytes());
    }
    for file in 0..200 {
        write(
            &game.pair.a,
            &format!("d/f{file}"),
            format!("content {file}"),
        );
    }
    game.pair.sync("").synced();
    game.kept = game.everywhere();
    std::thread::scope(|scope| {
        scope.spawn(|| editor(&b, &spare, &told, &last, &stop));
        // The editor must end even if something is wrong here.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while game.score.kills < 20 {
                game.kill();
                let visible = game.visible();
                let told = told.lock().unwrap();
                for version in visible.difference(&game.kept) {
                    assert!(told.contains(version), "torn: {}", head(version));
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let heal = |game: &Game| game.pair.sync("");
    let ran = heal(&game);
    assert!(ran.code == 0 || ran.code == 3, "{ran:?}");
    let everywhere = game.everywhere();
    for version in last
        .lock()
        .unwrap()
        .iter()
        .filter(|version| !version.is_empty())
    {
        assert!(everywhere.contains(version), "lost: {}", head(version));
    }
    for version in game.kept.iter() {
        assert!(everywhere.contains(version), "lost: {}", head(version));
    }
    for root in [&game.pair.a, &game.pair.b] {
        assert!(trees::is_tidy(root), "staging is left");
    }
}

#[test]
#[ignore = "long: WL_SOAK_MINUTES says how long"]
fn soak_kills() {
    let (end, since) = (soak_end(), std::time::SystemTime::UNIX_EPOCH.elapsed());
    let first = since.unwrap().as_secs();
    for seed in first.. {
        if Instant::now() > end {
            return;
        }
        kills(seed, 40, seed % 3 == 0);
    }
}
