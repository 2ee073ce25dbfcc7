//! `cargo xtask compare`: the same histories of edits, kills and faults, played against the real wl and its peers.
//!
//! Each history has real folders of its own. People (here: this program) edit both sides, the tool runs, is killed, loses its
//! memory, finds a side empty or full. In the end, when all is quiet, it is judged what is left: `judge` says by which rules.

mod bucket;
mod effects;
mod history;
mod judge;
mod ledger;
mod options;
mod play;
mod relay;
mod remote;
mod report;
mod runner;
mod tools;
mod world;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::build;
use crate::bench::figures::write_to;
use crate::bench::room::Room;
use history::{Seeds, Step, history, on_the_first_side};
use judge::{Fault, Verdict};
use options::Options;
use remote::{Remote, Target};
use report::{Finding, Report, replay};
use tools::Tool;

pub fn main(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", options::HELP);
        return Ok(());
    }
    let mut options = Options::parse(args)?;
    let asked = std::mem::take(&mut options.tools);
    for tool in asked {
        match tool.lacks(&options) {
            Some(lacks) => eprintln!("skipped: {} needs {lacks}", tool.name()),
            None => options.tools.push(tool),
        }
    }
    if options.tools.iter().any(|tool| tool.is_wl()) && options.wl.is_none() {
        options.wl = Some(build()?);
    }
    let room = Room::new(&options.dir, 200 << 20)?;
    let server = room.path().join("server");
    options.remote = match options.target {
        Target::Local => None,
        Target::Sftp => Some(Remote::sftp(&server, options.delay)?),
        Target::S3 => Some(Remote::s3(&server, options.delay)?),
    };
    let report = compare(&options, room.path());
    drop(options.remote.take());
    drop(room);
    let text = report.markdown(&options);
    println!("{text}");
    if options.write {
        let one_way = options.tools.iter().any(|tool| tool.is_one_way());
        let place = match (options.target, options.plain) {
            _ if one_way => "compare-one-way",
            (Target::Local, true) => "compare-plain",
            (Target::Local, false) => "compare",
            _ => "compare-remote",
        };
        write_to("docs/reliability.md", place, &text)?;
    }
    report.verdict()
}

/// A history to be played with a tool.
type Game = (Tool, Seeds);

fn compare(options: &Options, room: &Path) -> Report {
    let seeds: Vec<Seeds> = match options.one {
        Some(seeds) => vec![seeds],
        None => {
            let all = options.seed..options.seed + options.histories;
            all.map(|seed| Seeds {
                workload: seed,
                schedule: seed,
            })
            .collect()
        }
    };
    // Tool by turns: if it ends early, all have played about as many.
    let games = seeds
        .iter()
        .flat_map(|seeds| options.tools.iter().map(|tool| (*tool, *seeds)));
    let queue: Mutex<VecDeque<Game>> = Mutex::new(games.collect());
    let report = Mutex::new(Report::default());
    let end = options
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    std::thread::scope(|scope| {
        for number in 0..options.jobs {
            let home = room.join(number.to_string());
            let (queue, report) = (&queue, &report);
            scope.spawn(move || {
                while end.is_none_or(|end| Instant::now() < end) {
                    let Some(game) = hold(queue).pop_front() else {
                        return;
                    };
                    one(game, options, &home, report);
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn hold<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The steps with their numbers.
fn chosen(tool: Tool, seeds: Seeds, options: &Options) -> Vec<(usize, Step)> {
    let keep = options.keep.as_deref();
    let mut steps = history(seeds, options.plain);
    if tool.is_one_way() {
        steps = on_the_first_side(steps);
    }
    let all = steps.into_iter().enumerate();
    all.filter(|(number, _)| keep.is_none_or(|keep| keep.contains(number)))
        .collect()
}

fn one(game: Game, options: &Options, home: &Path, report: &Mutex<Report>) {
    let (tool, seeds) = game;
    let steps = chosen(tool, seeds, options);
    if options.show {
        for (number, step) in &steps {
            println!("{number}: {step:?}");
        }
    }
    let begin = Instant::now();
    let verdict = match attempt(tool, options, home, &steps) {
        Ok(verdict) => verdict,
        Err(error) => {
            let line = format!(
                "{error} (`{}`)",
                replay(tool, seeds, options, options.keep.as_deref())
            );
            eprintln!("{}: {line}", tool.name());
            return hold(report).trouble(tool, line);
        }
    };
    let seconds = begin.elapsed().as_secs();
    eprintln!(
        "{} {}/{}: {seconds} s, {} kills, {} conflicts {:?}",
        tool.name(),
        seeds.workload,
        seeds.schedule,
        verdict.kills,
        verdict.conflicts,
        verdict.faults
    );
    hold(report).judged(tool, &verdict);
    for (fault, found) in &verdict.faults {
        if !hold(report).wants(tool, *fault) {
            continue;
        }
        let what: Vec<&str> = found.iter().take(3).map(String::as_str).collect();
        let numbers = shrink(game, options, home, steps.clone(), *fault);
        let finding = Finding {
            fault: *fault,
            what: what.join("; "),
            replay: replay(
                tool,
                seeds,
                options,
                numbers.as_deref().or(options.keep.as_deref()),
            ),
        };
        hold(report).found(tool, finding);
    }
}

/// Plays steps in a new folder.
fn attempt(tool: Tool, options: &Options, home: &Path, steps: &[(usize, Step)]) -> Result<Verdict> {
    let steps: Vec<Step> = steps.iter().map(|(_, step)| step.clone()).collect();
    let verdict = play::play(tool, options, home, &steps);
    fs::remove_dir_all(home)?;
    verdict
}

/// Leaves out steps as long as the same goes wrong. The numbers of those that are needed, if some are not.
fn shrink(
    (tool, _): Game,
    options: &Options,
    home: &Path,
    mut steps: Vec<(usize, Step)>,
    fault: Fault,
) -> Option<Vec<usize>> {
    let all = steps.len();
    let mut tries = options.shrink;
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            if tries == 0 {
                size = 1;
                break;
            }
            tries -= 1;
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match attempt(tool, options, home, &fewer) {
                Ok(verdict) if verdict.count(fault) > 0 => steps = fewer,
                _ => at += size,
            }
        }
        size /= 2;
    }
    (steps.len() < all).then(|| steps.iter().map(|(number, _)| *number).collect())
}
