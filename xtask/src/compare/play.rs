//! Plays a history with a tool, brings it to rest and judges what is left.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use super::effects::Effects;
use super::history::{Edit, Step};
use super::judge::{Fault, Files, Verdict, differ, judge, visible};
use super::options::Options;
use super::remote::Remote;
use super::runner::{During, Runner};
use super::tools::{Ran, Tool};
use super::world::World;
use crate::Result;

/// Runs until a tool that ends by itself must have come to rest.
const RUNS: u32 = 6;
/// A tool that runs on and on is waited for so long in the middle of a history, and so long in the end: some try again after a
/// minute only.
const MIDDLE: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(80);
/// Looks at one that does not come to rest.
const LOOKS: u32 = 2;
/// Nothing happens for so long: a tool that runs on and on waits for something.
const PAUSE: Duration = Duration::from_millis(1500);

struct Game<'a> {
    world: World,
    runner: Runner<'a>,
    verdict: Verdict,
    forgot: bool,
}

/// Plays the steps in a folder of their own.
pub fn play(tool: Tool, options: &Options, home: &Path, steps: &[Step]) -> Result<Verdict> {
    fs::create_dir_all(home)?;
    DirBuilder::new().mode(0o700).create(home.join("private"))?;
    let can_fill = rustix::process::geteuid().is_root();
    let bucket = options.remote.as_ref().and_then(Remote::bucket);
    let is_bucket = bucket.is_some();
    let world = World::new(home, can_fill && steps.contains(&Step::Full), bucket)?;
    let mut places = world.roots.clone();
    if let Some(bucket) = &world.bucket {
        places[1] = bucket.prefix.clone().into();
    }
    let effects = Effects::of(&places, &home.join("private"), &world.ledger)?;
    let runner = Runner::new(tool, options, home, &places, effects, world.bucket.clone())?;
    let mut game = Game {
        world,
        runner,
        verdict: Verdict::default(),
        forgot: false,
    };
    game.begin()?;
    for step in steps {
        // A bucket is neither full nor a mount point.
        let can = match step {
            Step::Full => can_fill && !is_bucket,
            Step::Outage(side) => *side == 0 || !is_bucket,
            _ => true,
        };
        if can {
            game.step(step)?;
        }
    }
    let last = game.rest()?;
    game.runner.kill()?;
    game.world.fetch();
    if let Some(broken) = &game.world.broken {
        return Err(broken.clone().into());
    }
    judge(tool, &game.world, &last, game.forgot, &mut game.verdict);
    game.verdict.kills = game.runner.kills;
    Ok(game.verdict)
}

impl Game<'_> {
    /// Some files that both sides have.
    fn begin(&mut self) -> Result<()> {
        for path in [
            "ant",
            "bee",
            "one/ant",
            "one/bee",
            "one/two/cat",
            "two/dog",
            "two/six/elk",
            "six/fox",
        ] {
            self.world.edit(0, &Edit::Save(path.to_owned(), 100));
        }
        self.runner.first()
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let continuous = self.runner.tool.is_continuous();
        match step {
            Step::Edit(side, edit) => self.world.edit(*side, edit),
            Step::Sync => drop(self.sync(MIDDLE)?),
            Step::SyncDuring(every, edits) if continuous => self.edit_on(*every, edits),
            Step::SyncDuring(every, edits) => {
                let (mut edits, world) = (edits.iter(), &mut self.world);
                let mut act = || match edits.next() {
                    Some((side, edit)) => {
                        world.edit(*side, edit);
                        true
                    }
                    None => false,
                };
                self.runner.expire()?;
                let ran = self.runner.once(During::Act(*every, &mut act), false)?;
                self.help(&ran)?;
            }
            Step::Kill(at) => self.kill(*at)?,
            Step::Outage(side) => {
                self.pause()?;
                self.world.away(*side)?;
                self.try_it()?;
                self.world.back(*side)?;
                self.resume()?;
            }
            Step::Full => {
                self.world.fill(true)?;
                self.world
                    .edit(0, &Edit::Save("two/ant".to_owned(), 300_000));
                self.try_it()?;
                self.world.fill(false)?;
            }
            Step::Spoil { cut } => {
                self.forgot = true;
                self.pause()?;
                self.runner.spoil(*cut)?;
                self.resume()?;
            }
        }
        Ok(())
    }

    /// Edits at the pace of the tool's effects.
    fn edit_on(&mut self, every: u32, edits: &[(usize, Edit)]) {
        for (side, edit) in edits {
            self.world.edit(*side, edit);
            for _ in 0..every {
                self.runner.effects.next(Duration::from_millis(300));
            }
        }
    }

    fn kill(&mut self, at: u32) -> Result<()> {
        if !self.runner.tool.is_continuous() {
            self.runner.expire()?;
            let ran = self.runner.once(During::Kill(at), false)?;
            return self.help(&ran);
        }
        for _ in 0..at {
            if !self.runner.effects.next(PAUSE) {
                break;
            }
        }
        self.runner.kills += 1;
        self.runner.kill()?;
        self.runner.start()
    }

    fn pause(&mut self) -> Result<()> {
        match self.runner.tool.is_continuous() {
            true => self.runner.kill(),
            false => Ok(()),
        }
    }

    fn resume(&mut self) -> Result<()> {
        match self.runner.tool.is_continuous() {
            true => {
                self.runner.kill()?;
                self.runner.start()
            }
            false => Ok(()),
        }
    }

    /// Runs where it cannot be expected to do well.
    fn try_it(&mut self) -> Result<()> {
        if !self.runner.tool.is_continuous() {
            self.runner.expire()?;
            return self.runner.once(During::Nothing, false).map(drop);
        }
        // It may refuse to start.
        if let Err(error) = self.resume() {
            eprintln!("  {}: {error}", self.runner.tool.name());
        }
        self.runner.effects.quiet(PAUSE, Duration::from_secs(10));
        Ok(())
    }

    /// A plain run, or rest.
    fn sync(&mut self, patience: Duration) -> Result<Ran> {
        if !self.runner.tool.is_continuous() {
            self.runner.expire()?;
            let ran = self.runner.once(During::Nothing, false)?;
            self.help(&ran)?;
            if ran.synced {
                self.is_true("said that all is in sync");
            }
            return Ok(ran);
        }
        self.look_after()?;
        let settled = self.runner.settle(patience);
        self.look_after()?;
        let mut ran = self.runner.report()?;
        ran.failed = settled.err().map(|error| error.to_string());
        if ran.synced && ran.failed.is_none() {
            self.is_true("says that all is in sync");
        }
        Ok(ran)
    }

    /// What people see on both sides.
    fn sides(&mut self) -> [Files; 2] {
        self.world.fetch();
        let tool = self.runner.tool;
        self.world.roots.each_ref().map(|root| visible(tool, root))
    }

    /// Nobody edits now: what it says must be so.
    fn is_true(&mut self, said: &str) {
        let sides = self.sides();
        for path in differ(&sides, &Default::default()) {
            self.verdict.add(Fault::Lied, format!("{path}: it {said}"));
        }
    }

    /// Does what a run asks a person to do.
    fn help(&mut self, ran: &Ran) -> Result<()> {
        let Some(wanted) = &ran.human else {
            return Ok(());
        };
        self.verdict.add(Fault::Human, wanted);
        self.runner.tidy(ran)?;
        if self.runner.tool == Tool::Bisync {
            self.runner.once(During::Nothing, true)?;
        }
        Ok(())
    }

    /// A tool that should run on and on, and has ended.
    fn look_after(&mut self) -> Result<()> {
        if let Some(ran) = self.runner.revive()? {
            let why = ran.human.or(ran.failed);
            let why = why.unwrap_or_else(|| "it ended".to_owned());
            self.verdict.add(Fault::Human, format!("restart ({why})"));
        }
        Ok(())
    }

    /// Brings it to rest: another run, or another look, changes nothing any more.
    fn rest(&mut self) -> Result<Ran> {
        let tool = self.runner.tool;
        let (mut why, mut failures) = (String::new(), 0);
        let mut ran = Ran::default();
        for _ in 0..RUNS {
            let before = self.sides();
            ran = self.sync(END)?;
            let after = self.sides();
            why = match &ran.failed {
                Some(failed) => {
                    failures += 1;
                    if tool.is_continuous() && failures == LOOKS {
                        why = failed.clone();
                        break;
                    }
                    failed.clone()
                }
                None if before != after || ran.changed == Some(true) => {
                    "each run changes something".to_owned()
                }
                None => return Ok(ran),
            };
        }
        self.verdict.add(Fault::Restless, why);
        Ok(ran)
    }
}
