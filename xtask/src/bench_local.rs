//! `cargo xtask bench-local`: wl and its peers on a RAM-backed folder.
//!
//! In every round each tool gets its own source and target. A step of the work is done by one tool after the other before the
//! next step begins, in an order that moves on with each round, so that a busy moment of the machine hits all alike. After each
//! step source and target are compared: a tool that is fast and wrong is reported as wrong.

mod options;
mod report;
mod tools;

use std::fs;
use std::path::Path;

use crate::Result;
use crate::bench::figures::{Sample, write_to_docs};
use crate::bench::measure::{self, Meter};
use crate::bench::room::Room;
use crate::bench::tree::{self, Change, Shape};
use crate::bench::{build, settle};
use options::Options;
use report::Report;
use tools::{Lane, Phase, Tool};

pub fn main(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", options::HELP);
        return Ok(());
    }
    let mut options = Options::parse(args)?;
    options.tools = present(&options.tools)?;
    if options.tools.contains(&Tool::Wl) && options.wl.is_none() {
        options.wl = Some(build()?);
    }
    let room = Room::new(&options.dir, needed(&options))?;
    let bench = Bench {
        meter: Meter::find()?,
        room: room.path(),
        options: &options,
    };
    let mut report = Report::new(&options);
    report.note(bench.meter.note());
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        bench.round(round, &mut report)?;
    }
    if options.syscalls {
        bench.syscalls(&mut report)?;
    }
    if let Some(files) = options.scale {
        bench.scale(files, &mut report)?;
    }
    drop(room);

    let text = report.markdown();
    println!("{text}");
    if options.write {
        write_to_docs("bench-local", &text)?;
    }
    report.verdict()
}

/// The tools that are installed; the others are said.
fn present(tools: &[Tool]) -> Result<Vec<Tool>> {
    let (present, missing): (Vec<Tool>, Vec<Tool>) =
        tools.iter().partition(|tool| tool.is_installed());
    for tool in missing {
        eprintln!("skipped: {} is not installed", tool.name());
    }
    if present.is_empty() {
        return Err("none of the tools is installed".into());
    }
    Ok(present)
}

/// Bytes of the RAM-backed folder that will be in use at once, generously.
fn needed(options: &Options) -> u64 {
    let lanes = options.tools.len() as u64;
    let rounds = options.shape.bytes() * 2 * lanes;
    let scale = options
        .scale
        .map_or(0, |files| Shape::scale(files).bytes() * 2);
    rounds.max(scale) / 10 * 11
}

struct Bench<'a> {
    meter: Meter,
    room: &'a Path,
    options: &'a Options,
}

impl Bench<'_> {
    fn round(&self, round: usize, report: &mut Report) -> Result<()> {
        let mut lanes = Vec::new();
        for tool in &self.options.tools {
            lanes.push(self.lane(*tool, "round", &self.options.shape)?);
        }
        let first = round % lanes.len();
        lanes.rotate_left(first);
        for phase in Phase::ALL {
            settle();
            for lane in &lanes {
                self.prepare(lane, phase, &self.options.shape, round)?;
            }
            for lane in &lanes {
                self.step(lane, phase, report);
            }
            for lane in lanes.iter().filter(|lane| lane.tool.does(phase)) {
                report.compared(lane.tool, phase, lane.is_equal()?);
            }
        }
        for lane in lanes {
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    /// System calls of one run each; slower by far, so in lanes of their own.
    fn syscalls(&self, report: &mut Report) -> Result<()> {
        if !crate::run::exists("strace") {
            eprintln!("skipped: strace is not installed");
            return Ok(());
        }
        let counted = [Tool::Wl, Tool::Rsync];
        for tool in self
            .options
            .tools
            .iter()
            .filter(|tool| counted.contains(tool))
        {
            eprintln!("counting system calls: {}", tool.name());
            let lane = self.lane(*tool, "strace", &self.options.shape)?;
            for phase in Phase::ALL {
                settle();
                self.prepare(&lane, phase, &self.options.shape, 0)?;
                let command = lane.command(phase, self.options);
                if let Some(command) = command {
                    report.syscalls(*tool, phase, measure::syscalls(&lane.home, command)?);
                }
            }
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    /// Peak memory with many files: one tool after the other, once.
    fn scale(&self, files: u64, report: &mut Report) -> Result<()> {
        let shape = Shape::scale(files);
        for tool in self.options.tools.iter().filter(|tool| **tool != Tool::Cp) {
            eprintln!("{files} files: {}", tool.name());
            let lane = self.lane(*tool, "scale", &shape)?;
            for phase in Phase::ALL {
                settle();
                self.prepare(&lane, phase, &shape, 0)?;
                let Some(command) = lane.command(phase, self.options) else {
                    continue;
                };
                match self.meter.run(&lane.home, command) {
                    Ok(sample) => report.scaled(*tool, phase, sample),
                    Err(error) => report.failed(*tool, phase, &error.to_string()),
                }
                report.compared(*tool, phase, lane.is_equal()?);
            }
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    fn lane(&self, tool: Tool, purpose: &str, shape: &Shape) -> Result<Lane> {
        let lane = Lane::new(tool, self.room.join(format!("{purpose}-{}", tool.name())));
        fs::create_dir(&lane.home)?;
        fs::create_dir(&lane.target)?;
        tree::make(&lane.source, shape)?;
        Ok(lane)
    }

    fn prepare(&self, lane: &Lane, phase: Phase, shape: &Shape, round: usize) -> Result<()> {
        if phase == Phase::Changed {
            tree::change(&lane.source, shape, &Change::LOCAL, round as u64)?;
        }
        Ok(())
    }

    fn step(&self, lane: &Lane, phase: Phase, report: &mut Report) {
        let Some(command) = lane.command(phase, self.options) else {
            return;
        };
        match self.meter.run(&lane.home, command) {
            Ok(sample) => {
                let Sample { seconds, peak_kib } = sample;
                let mib = peak_kib / 1024;
                eprintln!(
                    "  {:8} {:28} {seconds:7.3} s {mib:5} MiB",
                    lane.tool.name(),
                    phase.name()
                );
                report.measured(lane.tool, phase, sample);
            }
            Err(error) => report.failed(lane.tool, phase, &error.to_string()),
        }
    }
}
