//! `cargo xtask bench-live`: how soon wl and its peers carry changes over while they run, and what it costs that they do.
//!
//! One tool after the other has a tree and its copy, is started and comes to rest. The benchmark then changes the source and
//! sees, by inotify on the target's folders, when a change is there. A tool that is fast and wrong is reported as wrong.

mod changes;
mod eye;
mod options;
mod report;
mod tools;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::figures::write_to_docs;
use crate::bench::room::Room;
use crate::bench::{build, target, tree};
use crate::run::run;
use changes::{Burst, Change};
use eye::Eye;
use options::Options;
use report::{Idle, Rename, Report};
use tools::{Running, Tool};

/// A single change that is not there after so long never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// More of them are not waited for.
const MOST_MISSED: u32 = 3;
/// The first look at a large tree may take this long, and so may a burst.
const LONG: Duration = Duration::from_secs(1800);
/// How often it is looked for what inotify cannot tell in one word.
const GLANCE: Duration = Duration::from_micros(200);

pub fn main(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", options::HELP);
        return Ok(());
    }
    let mut options = Options::parse(args)?;
    options.tools.retain(|tool| {
        let there = tool.is_installed();
        if !there {
            eprintln!(
                "skipped: {0} is not installed (Debian: apt-get install {0})",
                tool.name()
            );
        }
        there
    });
    if options.tools.contains(&Tool::Wl) && options.wl.is_none() {
        options.wl = Some(build()?);
    }
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => target()?,
    };
    let burst = options.burst * 6 * 1024;
    let room = Room::new(&dir, (options.shape.bytes() + burst) * 5 / 2)?;
    let mut report = Report::new(&options, &dir);
    for tool in &options.tools {
        let home = room.path().join(tool.name());
        if let Err(error) = measure(*tool, &home, &options, &mut report) {
            report.trouble(*tool, error.to_string());
        }
        fs::remove_dir_all(&home)?;
    }
    drop(room);

    let text = report.markdown();
    println!("{text}");
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.json()))?;
    }
    if options.write {
        let place = match options.shape.files < 500_000 {
            true => "bench-live",
            false => "bench-live-large",
        };
        write_to_docs(place, &text)?;
    }
    report.verdict()
}

fn measure(tool: Tool, home: &Path, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("{}: {} files", tool.name(), options.shape.files);
    fs::create_dir(home)?;
    tree::make(&home.join("source"), &options.shape)?;
    // A copy with its times: no tool has anything to carry over at first.
    run(Command::new("cp")
        .arg("-a")
        .arg(home.join("source"))
        .arg(home.join("target")))?;
    let begin = Instant::now();
    let mut lane = Lane {
        tool,
        source: home.join("source"),
        target: home.join("target"),
        running: Running::start(tool, home, options)?,
        eye: Eye::new()?,
        options,
    };
    lane.settle()?;
    report.settled(tool, begin.elapsed().as_secs_f64());
    for round in 0..options.rounds {
        lane.singles(round, report)?;
        lane.quiet()?;
        lane.disk(&home.join(format!("disk{round}")), report)?;
        lane.burst(report)?;
    }
    report.untold(tool, lane.eye.untold);
    report.idle(tool, lane.idle()?);
    if tree::fingerprint(&lane.source)? != tree::fingerprint(&lane.target)? {
        return Err("source and target differ in the end".into());
    }
    Ok(())
}

/// A tool that runs, and its trees.
struct Lane<'a> {
    tool: Tool,
    source: PathBuf,
    target: PathBuf,
    running: Running,
    eye: Eye,
    options: &'a Options,
}

impl Lane<'_> {
    /// Waits until it follows changes and then rests.
    fn settle(&mut self) -> Result<()> {
        let name = "canary";
        fs::write(self.source.join(name), name)?;
        let canary = self.target.join(name);
        self.until(LONG, Duration::from_millis(50), "the first change", || {
            fs::read(&canary).is_ok_and(|found| found == name.as_bytes())
        })?;
        self.quiet()?;
        fs::remove_file(self.source.join(name))?;
        self.until(LONG, Duration::from_millis(50), "the first removal", || {
            !canary.exists()
        })?;
        self.quiet()
    }

    /// Waits until it does next to nothing, or seems never to rest.
    fn quiet(&self) -> Result<()> {
        let tree = self.running.tree();
        for _ in 0..60 {
            let before = tree.cpu()?;
            sleep(Duration::from_secs(2));
            if tree.cpu()? - before < 0.03 {
                return Ok(());
            }
        }
        eprintln!("  {} does not come to rest", self.tool.name());
        Ok(())
    }

    /// Looks for something again and again. When it was first there.
    fn until(
        &mut self,
        patience: Duration,
        pause: Duration,
        what: &str,
        mut there: impl FnMut() -> bool,
    ) -> Result<Instant> {
        let end = Instant::now() + patience;
        loop {
            if there() {
                return Ok(Instant::now());
            }
            self.running.tree().all_run()?;
            let slice = Instant::now() + Duration::from_secs(5);
            while Instant::now() < slice {
                sleep(pause);
                if there() {
                    return Ok(Instant::now());
                }
            }
            if Instant::now() > end {
                return Err(format!("{what} did not arrive{}", self.running.says()).into());
            }
        }
    }

    fn singles(&mut self, round: u64, report: &mut Report) -> Result<()> {
        let mut missed = 0;
        for number in 0..self.options.changes {
            let change = Change::new(round * self.options.changes + number, &self.options.shape);
            self.eye.look_at(&[&change.folder(&self.target)])?;
            self.pause(number);
            change.carry_out(&self.source)?;
            let done = Instant::now();
            match self.eye.see(PATIENCE, || change.is_in(&self.target)) {
                Some(seen) => {
                    let taken = seen.saturating_duration_since(done);
                    report.single(self.tool, change.kind, taken.as_secs_f64() * 1000.0);
                }
                None => {
                    missed += 1;
                    let name = change.kind.name();
                    report.trouble(
                        self.tool,
                        format!(
                            "a single change ({name}) did not arrive{}",
                            self.running.says()
                        ),
                    );
                }
            }
            if missed == MOST_MISSED {
                return Err("too many single changes did not arrive".into());
            }
        }
        Ok(())
    }

    /// Before a single change; not in step with anything that the tool does at regular times.
    fn pause(&self, number: u64) {
        let gap = self.options.gap * 1000;
        let micros = gap / 2 + number * 7919 * 13 % gap.max(1);
        sleep(Duration::from_micros(micros));
    }

    /// What the disk alone takes for a new file that is safe before anybody sees it: no tool that promises that is faster.
    fn disk(&self, folder: &Path, report: &mut Report) -> Result<()> {
        fs::create_dir(folder)?;
        let content = vec![b'x'; self.options.shape.size as usize];
        for number in 0..self.options.changes {
            self.pause(number);
            let (hidden, seen) = (folder.join("hidden"), folder.join(number.to_string()));
            let begin = Instant::now();
            let mut file = fs::File::create_new(&hidden)?;
            file.write_all(&content)?;
            file.sync_all()?;
            fs::rename(&hidden, &seen)?;
            report.disk(self.tool, begin.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    /// New files in new folders, the rename of their folder, and its removal.
    fn burst(&mut self, report: &mut Report) -> Result<()> {
        let burst = Burst::new(self.options.burst);
        let [here, there] = [&self.source, &self.target].map(|root| root.join("burst"));
        let [new_here, new_there] = [&self.source, &self.target].map(|root| root.join("renamed"));
        self.quiet()?;
        burst.make(&here)?;
        let written = Instant::now();
        let whole = |root: PathBuf| {
            let (all, mut from) = (burst.len(), 0);
            move |burst: &Burst| {
                from = burst.there(&root, from);
                from == all
            }
        };
        let mut is_there = whole(there.clone());
        let seen = self.until(LONG, GLANCE, "the burst", || is_there(&burst))?;
        report.burst(
            self.tool,
            seen.saturating_duration_since(written).as_secs_f64(),
        );
        if !burst.is_right(&there) {
            report.trouble(
                self.tool,
                "a file of the burst was there with wrong content".to_owned(),
            );
        }
        self.quiet()?;

        let (inodes, before) = (burst.inodes(&there), self.running.tree().bytes()?);
        fs::rename(&here, &new_here)?;
        let renamed = Instant::now();
        let mut is_there = whole(new_there.clone());
        let seen = self.until(LONG, GLANCE, "the rename", || {
            is_there(&burst) && !there.exists()
        })?;
        self.quiet()?;
        let after = self.running.tree().bytes()?;
        report.rename(
            self.tool,
            Rename {
                seconds: seen.saturating_duration_since(renamed).as_secs_f64(),
                read: after.read - before.read,
                written: after.written - before.written,
                same_inodes: burst.inodes(&new_there) == inodes,
            },
        );
        fs::remove_dir_all(&new_here)?;
        self.until(
            LONG,
            Duration::from_millis(50),
            "the removal of the burst",
            || !new_there.exists(),
        )?;
        self.quiet()
    }

    fn idle(&mut self) -> Result<Idle> {
        self.quiet()?;
        let tree = self.running.tree();
        let (cpu, mut before, mut wakeups) = (tree.cpu()?, tree.wakeups()?, 0);
        for _ in 0..self.options.idle {
            sleep(Duration::from_secs(1));
            // Of a thread that was not there a second ago all of it counts; one that came and went in between is not seen.
            let now = tree.wakeups()?;
            let woken = now
                .iter()
                .map(|(thread, now)| now.saturating_sub(*before.get(thread).unwrap_or(&0)));
            wakeups += woken.sum::<u64>();
            before = now;
        }
        let cpu = tree.cpu()? - cpu;
        let memory = tree.memory()?;
        Ok(Idle {
            cpu,
            wakeups,
            memory,
        })
    }
}
