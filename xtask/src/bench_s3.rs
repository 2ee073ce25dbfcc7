//! `cargo xtask bench-s3`: wl and its peers against an object store on this machine.
//!
//! The store is a SeaweedFS on the loopback with its data on a RAM-backed folder. In every round each tool gets its own folder
//! and its own prefix. A step of the work is done by one tool after the other before the next step begins, in an order that
//! moves on with each round, so that a busy moment of the machine hits all alike; only the large object is each tool's
//! alone, with a server of its own, for want of room. After each step folder and bucket are compared without any of the
//! tools: one that is fast and wrong is reported as wrong.

pub mod objects;
mod options;
pub mod programs;
mod report;
mod requests;
pub mod server;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::bench::figures::{Sample, write_to_docs};
use crate::bench::measure::Meter;
use crate::bench::room::Room;
use crate::bench::tree::{self, Files};
use crate::bench::{build, settle};
use objects::Objects;
use options::Options;
use programs::Programs;
use report::Report;
use requests::Proxy;
use server::Server;
use tools::{Lane, Phase, Tool};

pub fn main(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", options::HELP);
        return Ok(());
    }
    let options = Options::parse(args)?;
    let programs = Programs::new();
    let weed = programs.find("weed");
    let weed = weed.ok_or("SeaweedFS is missing: cargo xtask services install")?;
    let tools = present(&options, &programs)?;
    let room = Room::new(&options.dir, options.needed())?;
    let large = room.path().join("large.dat");
    if let Some(mib) = options.large {
        tree::large(&large, mib)?;
    }
    let bench = Bench {
        meter: Meter::find()?,
        room: room.path(),
        options: &options,
        weed,
        tools,
        large,
    };
    let mut report = bench.report();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        bench.small(round, &mut report)?;
        if options.large.is_some() {
            bench.large(round, &mut report)?;
        }
    }
    if options.requests {
        bench.requests(&mut report)?;
    }
    drop(room);

    let text = report.markdown();
    println!("{text}");
    if options.write {
        write_to_docs("bench-s3", &text)?;
    }
    report.verdict()
}

/// The tools that are installed; the others are said.
fn present(options: &Options, programs: &Programs) -> Result<Vec<(Tool, PathBuf)>> {
    let mut present = Vec::new();
    for tool in &options.tools {
        let program = match (tool, &options.wl) {
            (Tool::Wl, Some(wl)) => Ok(wl.clone()),
            (Tool::Wl, None) => Ok(build()?),
            _ => tool.locate(programs),
        };
        match program {
            Ok(program) => present.push((*tool, program)),
            Err(reason) => eprintln!("skipped: {}: {reason}", tool.title()),
        }
    }
    match present.is_empty() {
        true => Err("none of the tools is installed".into()),
        false => Ok(present),
    }
}

struct Bench<'a> {
    meter: Meter,
    room: &'a Path,
    options: &'a Options,
    weed: PathBuf,
    tools: Vec<(Tool, PathBuf)>,
    /// The large object's content, of which each tool gets a hard link.
    large: PathBuf,
}

impl Bench<'_> {
    fn report(&self) -> Report {
        let version = |(tool, program): &(Tool, PathBuf)| {
            format!("{} ({})", tool.title(), tool.version(program))
        };
        let mut versions: Vec<String> = self.tools.iter().map(version).collect();
        let server = crate::bench::version(&self.weed, "version");
        versions.push(format!("server SeaweedFS ({server})"));
        let tools: Vec<Tool> = self.tools.iter().map(|(tool, _)| *tool).collect();
        let mut report = Report::new(self.options, &tools, &versions);
        for tool in tools {
            if let Some(note) = tool.note() {
                report.note(note);
            }
        }
        report.note(self.meter.note());
        report
    }

    /// Many small objects, the tools in turn at each step.
    fn small(&self, round: usize, report: &mut Report) -> Result<()> {
        let server = self.server()?;
        let mut lanes = Vec::new();
        for (tool, program) in &self.tools {
            let home = self.room.join(tool.name());
            lanes.push(Lane::new(*tool, program, home, &server.address)?);
        }
        let first = round % lanes.len();
        lanes.rotate_left(first);
        for phase in Phase::SMALL {
            settle();
            for lane in &lanes {
                lane.prepare(*phase, &self.options.shape, &self.large, round)?;
            }
            let expected = lanes.iter().map(|lane| lane.expected(*phase));
            let expected: Vec<Files> = expected.collect::<Result<_>>()?;
            let steps = lanes.iter().map(|lane| self.step(lane, *phase, report));
            let done: Vec<bool> = steps.collect();
            for ((lane, expected), done) in lanes.iter().zip(&expected).zip(done) {
                if done {
                    check(lane, *phase, expected, &server.objects(), report)?;
                }
            }
        }
        for lane in lanes {
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    /// One large object, the tools one after the other.
    fn large(&self, round: usize, report: &mut Report) -> Result<()> {
        let mut tools: Vec<_> = self.tools.iter().collect();
        let first = round % tools.len();
        tools.rotate_left(first);
        for (tool, program) in tools {
            let server = self.server()?;
            let home = self.room.join(tool.name());
            let lane = Lane::new(*tool, program, home, &server.address)?;
            for phase in Phase::LARGE {
                lane.prepare(*phase, &self.options.shape, &self.large, round)?;
                let expected = lane.expected(*phase)?;
                settle();
                if self.step(&lane, *phase, report) {
                    check(&lane, *phase, &expected, &server.objects(), report)?;
                }
            }
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    /// All steps once more, through a proxy that counts.
    fn requests(&self, report: &mut Report) -> Result<()> {
        for (tool, program) in &self.tools {
            eprintln!("counting requests: {}", tool.name());
            let server = self.server()?;
            let proxy = Proxy::start(&server.address)?;
            let home = self.room.join(tool.name());
            let lane = Lane::new(*tool, program, home, &proxy.address)?;
            let large = self.options.large.map_or(&[][..], |_| Phase::LARGE);
            for phase in Phase::SMALL.iter().chain(large) {
                lane.prepare(*phase, &self.options.shape, &self.large, 0)?;
                settle();
                let expected = lane.expected(*phase)?;
                match self.meter.run(&lane.home, lane.command(*phase)) {
                    Ok(_) => {
                        report.requests(*tool, *phase, proxy.take());
                        check(&lane, *phase, &expected, &server.objects(), report)?;
                    }
                    Err(error) => report.wrong(*tool, *phase, &error.to_string()),
                }
            }
            fs::remove_dir_all(&lane.home)?;
        }
        Ok(())
    }

    fn server(&self) -> Result<Server> {
        Server::start(&self.weed, self.room.join("server"))
    }

    /// A step and its figures; whether there is a result to look at.
    fn step(&self, lane: &Lane, phase: Phase, report: &mut Report) -> bool {
        match self.meter.run(&lane.home, lane.command(phase)) {
            Ok(sample) => {
                let Sample { seconds, .. } = sample;
                let (mib, name) = (sample.peak_mib(), lane.tool.name());
                let step = phase.name();
                eprintln!("  {name:8} {step:28} {seconds:7.3} s {mib:5.0} MiB");
                report.measured(lane.tool, phase, sample);
                true
            }
            Err(error) => {
                report.wrong(lane.tool, phase, &error.to_string());
                false
            }
        }
    }
}

/// Compares both sides with what they must hold.
fn check(
    lane: &Lane,
    phase: Phase,
    expected: &Files,
    objects: &Objects,
    report: &mut Report,
) -> Result<()> {
    if let Some(difference) = lane.difference(phase, expected, objects)? {
        report.wrong(lane.tool, phase, &difference);
    }
    Ok(())
}
