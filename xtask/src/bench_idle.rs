//! `cargo xtask bench-idle`: what a daemon costs whose jobs have nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::bench::daemon::Daemon;
use crate::bench::figures::write_to_docs;
use crate::bench::processes::Memory;
use crate::bench::room::Room;
use crate::bench::{build, number};

const HELP: &str = "\
Usage: cargo xtask bench-idle [--jobs N] [--files N] [--seconds N] [--wl FILE] [--write]

Measures the daemon with continuous jobs that have nothing to do: 20 jobs, 100 files each, looked at every 10 seconds, for 60
seconds. --write puts the figures into docs/performance.md.
";

/// The goals.
const MOST_CPU_PERCENT: f64 = 1.0;
const MOST_MIB: f64 = 64.0;

struct Options {
    jobs: u64,
    files: u64,
    seconds: u64,
    wl: Option<PathBuf>,
    write: bool,
}

pub fn main(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let options = Options::parse(args)?;
    let wl = match &options.wl {
        Some(wl) => wl.clone(),
        None => build()?,
    };
    let room = Room::new(Path::new("/dev/shm"), 256 << 20)?;
    let mut daemon = Daemon::start(&wl, &room.path().join("base"))?;
    for job in 0..options.jobs {
        daemon.add(job, room.path(), options.files)?;
    }
    daemon.all_synced(options.jobs)?;
    let (before, looks, began) = (daemon.tree().cpu()?, daemon.looks()?, Instant::now());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let (cpu, seconds) = (daemon.tree().cpu()? - before, began.elapsed().as_secs_f64());
    let looks = daemon.looks()? - looks;
    let memory = daemon.tree().memory()?;
    drop(daemon);

    let percent = 100.0 * cpu / seconds;
    let text = report(&options, percent, looks, &memory);
    println!("{text}");
    if options.write {
        write_to_docs("bench-idle", &text)?;
    }
    match percent < MOST_CPU_PERCENT && memory.resident < MOST_MIB {
        true => Ok(()),
        false => Err("a goal was missed".into()),
    }
}

fn report(options: &Options, percent: f64, looks: u64, memory: &Memory) -> String {
    let Options {
        jobs,
        files,
        seconds,
        ..
    } = options;
    let met = |met: bool| if met { "met" } else { "MISSED" };
    format!(
        "`cargo xtask bench-idle`: {jobs} jobs of {files} files a side, looked at every 10 s, for {seconds} s ({looks} looks), release build.\n\n\
         | | measured | goal |\n|---|---:|---|\n\
         | CPU, % of one core | {percent:.2} | under {MOST_CPU_PERCENT}: {} |\n\
         | memory (RSS), MiB | {:.1} | under {MOST_MIB}: {} |\n\
         | of that its own share (PSS), MiB | {:.1} | |\n\
         | of that not backed by a file, MiB | {:.1} | |\n",
        met(percent < MOST_CPU_PERCENT),
        memory.resident,
        met(memory.resident < MOST_MIB),
        memory.share,
        memory.anonymous,
    )
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            jobs: 20,
            files: 100,
            seconds: 60,
            wl: None,
            write: false,
        };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            if flag == "--write" {
                options.write = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--jobs" => options.jobs = number(flag, value)?,
                "--files" => options.files = number(flag, value)?,
                "--seconds" => options.seconds = number(flag, value)?,
                "--wl" => options.wl = Some(value.into()),
                _ => return Err(format!("there is no option {flag}\n\n{HELP}").into()),
            }
        }
        Ok(options)
    }
}

/// What this benchmark asks of a daemon.
impl Daemon {
    /// Makes two folders and starts a job between them.
    fn add(&mut self, job: u64, room: &Path, files: u64) -> Result<()> {
        let sides = ["source", "target"].map(|side| room.join(format!("{side}{job}")));
        for side in &sides {
            fs::create_dir(side)?;
        }
        for file in 0..files {
            let folder = sides[0].join(format!("d{}", file % 10));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("f{file}")), format!("{job} {file}\n"))?;
        }
        let local =
            |path: &Path| json!({ "type": "local", "location": path, "watcher-interval": 10 });
        let args = json!({
            "container-name": "bench", "job-id": format!("j{job}"), "continuous": true, "unidirectional": false,
            "source": local(&sides[0]), "target": local(&sides[1]),
        });
        self.ask("start", args).map(drop)
    }

    /// Waits until every job is in sync and has then looked once more, so that nothing is left to do.
    fn all_synced(&mut self, jobs: u64) -> Result<()> {
        loop {
            let status = self.ask("status", json!({}))?;
            let idle =
                |job: &&Value| job["state"][0] == 3 && job["done"]["looks"].as_u64() > Some(2);
            let all = status.as_array().ok_or("the status is no list")?;
            if all.iter().filter(idle).count() as u64 == jobs {
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Looks of all jobs so far.
    fn looks(&mut self) -> Result<u64> {
        let status = self.ask("status", json!({}))?;
        let looks = status.as_array().into_iter().flatten();
        Ok(looks.filter_map(|job| job["done"]["looks"].as_u64()).sum())
    }
}
