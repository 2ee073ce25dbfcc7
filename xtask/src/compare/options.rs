//! Options of `compare`.

use std::path::PathBuf;
use std::time::Duration;

use super::history::Seeds;
use super::remote::{Remote, Target};
use super::tools::Tool;
use crate::Result;
use crate::bench::{number, tools};

pub const HELP: &str = "\
Usage: cargo xtask compare [OPTIONS]

  --histories N    Histories for each tool [default: 100]
  --tools LIST     Of wl,wl-daemon,unison,unison-watch,bisync,syncthing [default: all of these], or of
                   wl-mirror,rsync,rclone-sync,lsyncd (one way: all edits are made on the first side)
  --seed S         The first history's seed; the next ones follow [default: 1]
  --target T       What the second side is, for wl: local, s3 or sftp [default: local]
  --delay MS       The server hears all, and is heard, so much later [default: 0]
  --plain          No file becomes a folder and no folder a file
  --workload W     Play one history: the seed of the edits
  --schedule S     Play one history: the seed of syncs, kills and faults
  --keep LIST      Of that history these steps only, counted from 0 (\"none\": no step)
  --show           Print the steps that are played
  --shrink N       Play a history that went wrong so often again to make it shorter [default: 12]
  --jobs N         Histories at the same time [default: 2]
  --minutes M      Begin no history after so long
  --dir DIR        Where the folders are made [default: /dev/shm]
  --wl FILE        Use this wl instead of building one
  --rclone FILE    Use this rclone [default: rclone]
  --write          Put the table into docs/reliability.md
";

/// What to play, and where.
#[derive(Debug)]
pub struct Options {
    pub histories: u64,
    pub tools: Vec<Tool>,
    pub seed: u64,
    pub plain: bool,
    pub target: Target,
    pub delay: Duration,
    /// The target's server, while it runs.
    pub remote: Option<Remote>,
    /// The one history that is played again.
    pub one: Option<Seeds>,
    pub keep: Option<Vec<usize>>,
    pub show: bool,
    pub shrink: u64,
    pub jobs: u64,
    pub minutes: Option<u64>,
    pub dir: PathBuf,
    pub wl: Option<PathBuf>,
    pub rclone: PathBuf,
    pub write: bool,
    /// The arguments as given, for the report.
    pub command: String,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            histories: 100,
            tools: two_way(),
            seed: 1,
            plain: false,
            target: Target::Local,
            delay: Duration::ZERO,
            remote: None,
            one: None,
            keep: None,
            show: false,
            shrink: 12,
            jobs: 2,
            minutes: None,
            dir: "/dev/shm".into(),
            wl: None,
            rclone: "rclone".into(),
            write: false,
            command: format!("cargo xtask compare {}", args.join(" "))
                .trim()
                .to_owned(),
        };
        let (mut workload, mut schedule) = (None, None);
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--histories" => options.histories = number(flag, value()?)?,
                "--tools" => options.tools = tools(value()?, &Tool::ALL, Tool::name, HELP)?,
                "--seed" => options.seed = number(flag, value()?)?,
                "--plain" => options.plain = true,
                "--target" => options.target = target(value()?)?,
                "--delay" => options.delay = Duration::from_millis(number(flag, value()?)?),
                "--workload" => workload = Some(number(flag, value()?)?),
                "--schedule" => schedule = Some(number(flag, value()?)?),
                "--keep" => options.keep = Some(steps(value()?)?),
                "--show" => options.show = true,
                "--shrink" => options.shrink = value()?.parse()?,
                "--jobs" => options.jobs = number(flag, value()?)?,
                "--minutes" => options.minutes = Some(number(flag, value()?)?),
                "--dir" => options.dir = std::path::absolute(value()?)?,
                "--wl" => options.wl = Some(std::path::absolute(value()?)?),
                "--rclone" => options.rclone = value()?.into(),
                "--write" => options.write = true,
                other => return Err(format!("there is no option {other}\n\n{HELP}").into()),
            }
        }
        options.one = match (workload, schedule) {
            (Some(workload), Some(schedule)) => Some(Seeds { workload, schedule }),
            (None, None) => None,
            _ => return Err("--workload and --schedule belong together".into()),
        };
        options.check()?;
        Ok(options)
    }

    /// Refuses what does not go together.
    fn check(&self) -> Result<()> {
        let one_way = self.tools.iter().filter(|tool| tool.is_one_way()).count();
        if ![0, self.tools.len()].contains(&one_way) {
            return Err(
                "tools that go one way play other histories: compare them by themselves".into(),
            );
        }
        if self.keep.is_some() && self.one.is_none() {
            return Err("--keep needs --workload and --schedule".into());
        }
        if self.target == Target::Local && !self.delay.is_zero() {
            return Err("--delay needs a --target with a line to it".into());
        }
        Ok(())
    }
}

/// The tools whose histories are the same: those that go both ways.
fn two_way() -> Vec<Tool> {
    let all = Tool::ALL.into_iter();
    all.filter(|tool| !tool.is_one_way()).collect()
}

fn target(name: &str) -> Result<Target> {
    let found = Target::ALL.into_iter().find(|found| found.name() == name);
    found.ok_or_else(|| format!("there is no target {name:?}\n\n{HELP}").into())
}

fn steps(list: &str) -> Result<Vec<usize>> {
    if list == "none" {
        return Ok(Vec::new());
    }
    let step = |word: &str| {
        let number = word.parse();
        number.map_err(|_| format!("--keep needs numbers, not {word:?}").into())
    };
    list.split(',').map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn options_are_read() {
        let options =
            parse("--tools wl,syncthing --workload 7 --schedule 8 --keep 0,2,5 --shrink 0")
                .unwrap();
        assert_eq!(options.tools, [Tool::Wl, Tool::Syncthing]);
        let seeds = Seeds {
            workload: 7,
            schedule: 8,
        };
        assert_eq!(options.one, Some(seeds));
        assert_eq!((options.keep, options.shrink), (Some(vec![0, 2, 5]), 0));
    }

    #[test]
    fn a_slow_server_can_be_asked_for() {
        let options = parse("--target sftp --delay 20").unwrap();
        assert_eq!(options.target, Target::Sftp);
        assert_eq!(options.delay, Duration::from_millis(20));
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--histories",
            "--histories 0",
            "--tools tar",
            "--workload 7",
            "--keep 1",
            "--workload 7 --schedule 8 --keep x",
            "--fast",
            "--target ftp",
            "--delay 20",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
