//! Time and peak memory of a command.
//!
//! The peak is the kernel's own (`ru_maxrss` of the finished child), not a value that was looked at now and then.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::figures::Sample;
use crate::Result;
use crate::run::exists;

/// The little program that starts the command and asks the kernel about it.
#[derive(Debug)]
pub enum Meter {
    Time,
    Python,
}

const TIME: &str = "/usr/bin/time";

/// Writes the peak in KiB to the file named first, after running the rest.
const PYTHON: &str = "
import os, sys
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], 'w').write('%d\\n' % usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
";

impl Meter {
    pub fn find() -> Result<Self> {
        if Path::new(TIME).is_file() {
            Ok(Meter::Time)
        } else if exists("python3") {
            Ok(Meter::Python)
        } else {
            Err("peak memory needs /usr/bin/time (Debian: time) or python3".into())
        }
    }

    /// What a reader of the figures must know.
    pub fn note(&self) -> &'static str {
        match self {
            Meter::Time => "Times hold about 1 ms for starting `/usr/bin/time`.",
            Meter::Python => {
                "Peaks below that of Python (about 10 MiB) cannot be seen, and times hold about 20 ms for starting it: \
                 install the package `time`."
            }
        }
    }

    /// Runs a command to its end. `folder` takes the figures and what the command says.
    pub fn run(&self, folder: &Path, command: Command) -> Result<Sample> {
        let (figures, log) = (folder.join("figures"), folder.join("log"));
        let mut measured = match self {
            Meter::Time => {
                let mut time = Command::new(TIME);
                time.args(["-f", "%M", "-o"]).arg(&figures).arg("--");
                time
            }
            Meter::Python => {
                let mut python = Command::new("python3");
                python.args(["-c", PYTHON]).arg(&figures);
                python
            }
        };
        add(&mut measured, &command);
        let file = fs::File::create(&log)?;
        measured
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let start = Instant::now();
        let status = measured.status()?;
        let seconds = start.elapsed().as_secs_f64();
        if !status.success() {
            return Err(format!("{status}: {}", last_line(&fs::read(&log)?)).into());
        }
        let peak = last_line(&fs::read(&figures)?).parse();
        Ok(Sample {
            seconds,
            peak_kib: peak.map_err(|_| "the peak memory was not told")?,
        })
    }
}

/// How many system calls a command makes, its threads and children too.
pub fn syscalls(folder: &Path, command: Command) -> Result<u64> {
    let counts = folder.join("syscalls");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&counts);
    add(&mut strace, &command);
    let status = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("under strace: {status}").into());
    }
    total(&fs::read_to_string(&counts)?).ok_or_else(|| "strace told no total".into())
}

fn total(counts: &str) -> Option<u64> {
    let mut words = counts.lines().rev().map(|line| line.split_whitespace());
    let mut total = words.find_map(|mut words| (words.next() == Some("total")).then_some(words))?;
    total.next()?.parse().ok()
}

/// Puts a command behind another.
fn add(to: &mut Command, command: &Command) {
    to.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => to.env::<&OsStr, &OsStr>(name, value),
            None => to.env_remove(name),
        };
    }
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_strace_is_read() {
        let counts = "syscall calls\n------- -----\nread 12\nwrite 3\n------- -----\ntotal 15\n";
        assert_eq!(total(counts), Some(15));
        assert_eq!(total("syscall calls\n"), None);
    }

    /// Both where both are there: a machine may have only one.
    #[test]
    fn each_meter_tells_time_and_memory_and_passes_failures_on() {
        let folder = std::env::temp_dir().join(format!("wl-measure-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let time = Path::new(TIME).is_file().then_some(Meter::Time);
        let python = exists("python3").then_some(Meter::Python);
        for meter in time.into_iter().chain(python) {
            let shell = |script: &str| {
                let mut command = Command::new("sh");
                command.env("WORD", "heard").args(["-c", script]);
                meter.run(&folder, command)
            };
            let sample = shell("sleep 0.05").unwrap();
            assert!(
                sample.seconds > 0.04 && sample.peak_kib > 100,
                "{meter:?}: {sample:?}"
            );
            let error = shell("echo $WORD >&2; exit 3").unwrap_err().to_string();
            assert!(error.ends_with("3: heard"), "{meter:?}: {error}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
