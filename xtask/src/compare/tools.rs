//! The tools, how each is run, and what each says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::options::Options;
use super::remote::Target;
use crate::bench;
use crate::run::exists;

/// A tool and the way it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Wl,
    WlDaemon,
    Unison,
    UnisonWatch,
    Bisync,
    Syncthing,
    WlMirror,
    Rsync,
    RcloneSync,
    Lsyncd,
}

impl Tool {
    pub const ALL: [Tool; 10] = [
        Tool::Wl,
        Tool::WlDaemon,
        Tool::Unison,
        Tool::UnisonWatch,
        Tool::Bisync,
        Tool::Syncthing,
        Tool::WlMirror,
        Tool::Rsync,
        Tool::RcloneSync,
        Tool::Lsyncd,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Wl => "wl",
            Tool::WlDaemon => "wl-daemon",
            Tool::Unison => "unison",
            Tool::UnisonWatch => "unison-watch",
            Tool::Bisync => "bisync",
            Tool::Syncthing => "syncthing",
            Tool::WlMirror => "wl-mirror",
            Tool::Rsync => "rsync",
            Tool::RcloneSync => "rclone-sync",
            Tool::Lsyncd => "lsyncd",
        }
    }

    /// It makes the second side like the first: people edit the first side only.
    pub fn is_one_way(self) -> bool {
        use Tool::{Lsyncd, RcloneSync, Rsync, WlMirror};
        matches!(self, WlMirror | Rsync | RcloneSync | Lsyncd)
    }

    /// It runs on and on.
    pub fn is_continuous(self) -> bool {
        use Tool::{Lsyncd, Syncthing, UnisonWatch, WlDaemon};
        matches!(self, WlDaemon | UnisonWatch | Syncthing | Lsyncd)
    }

    pub fn is_wl(self) -> bool {
        matches!(self, Tool::Wl | Tool::WlDaemon | Tool::WlMirror)
    }

    /// What is missing on this machine.
    pub fn lacks(self, options: &Options) -> Option<&'static str> {
        if options.target != Target::Local && !self.is_wl() {
            return Some("--target local");
        }
        let is_there = match self {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => true,
            Tool::Rsync => exists("rsync"),
            Tool::Lsyncd => exists("lsyncd"),
            Tool::Unison => exists("unison"),
            Tool::UnisonWatch => exists("unison") && exists("unison-fsmonitor"),
            Tool::RcloneSync => options.rclone.is_file() || exists("rclone"),
            Tool::Bisync => is_new_enough(&self.version(options)),
            Tool::Syncthing => exists("syncthing"),
        };
        let needed = match self {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => "wl",
            Tool::Rsync => "rsync (Debian: apt-get install rsync)",
            Tool::Lsyncd => "lsyncd (Debian: apt-get install lsyncd)",
            Tool::Unison => "unison (Debian: apt-get install unison)",
            Tool::UnisonWatch => "unison and unison-fsmonitor, in PATH",
            Tool::RcloneSync => "rclone (Debian: apt-get install rclone)",
            Tool::Bisync => {
                "rclone 1.66 or newer (cargo xtask services install, and --rclone FILE)"
            }
            Tool::Syncthing => "syncthing (Debian: apt-get install syncthing)",
        };
        (!is_there).then_some(needed)
    }

    /// The first line of what it says about itself.
    pub fn version(self, options: &Options) -> String {
        match self {
            Tool::Rsync => bench::version(Path::new("rsync"), "--version"),
            Tool::Lsyncd => bench::version(Path::new("lsyncd"), "--version"),
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => bench::version(
                options.wl.as_deref().unwrap_or(Path::new("wl")),
                "--version",
            ),
            Tool::Unison | Tool::UnisonWatch => bench::version(Path::new("unison"), "-version"),
            Tool::Bisync | Tool::RcloneSync => bench::version(&options.rclone, "--version"),
            Tool::Syncthing => bench::version(Path::new("syncthing"), "--version"),
        }
    }

    /// How it was run, for the report.
    pub fn settings(self) -> &'static str {
        match self {
            Tool::Wl => {
                "`wl sync A B`, nothing else set; for a server where it is and how to log in, with `--target-option`"
            }
            Tool::WlMirror => "`wl sync A B --mirror`, nothing else set",
            Tool::Rsync => "`rsync --archive --delete --itemize-changes A/ B`",
            Tool::RcloneSync => "`rclone sync A B --create-empty-src-dirs`",
            Tool::Lsyncd => "`lsyncd -nodaemon -delay 1 -rsync A B`",
            Tool::WlDaemon => {
                "a continuous job of the daemon, nothing else set; a bucket is looked at each second (`watcher-interval`)"
            }
            Tool::Unison => {
                "`unison A B -batch -times -fastcheck false` (the default compares times to the second; this is its documented safe way)"
            }
            Tool::UnisonWatch => "the same with `-repeat watch` and unison-fsmonitor",
            Tool::Bisync => {
                "`rclone bisync A B --resilient --recover --max-lock 2m --compare size,modtime,checksum --create-empty-src-dirs`; a lock that a killed run left is removed at once instead of waiting two minutes"
            }
            Tool::Syncthing => {
                "two processes over the loopback, `fsWatcherDelayS=1`, everything else as it comes; asked for a scan before it is looked at"
            }
        }
    }

    /// What one run of it is; `again` is how a person makes it forget what it remembers.
    pub fn command(
        self,
        options: &Options,
        private: &Path,
        roots: &[PathBuf; 2],
        again: bool,
    ) -> Command {
        let mut command = match self {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => {
                let mut command = Command::new(options.wl.as_deref().unwrap_or(Path::new("wl")));
                command.arg("--base-dir").arg(private);
                command.args(["sync", "--output", "json"]);
                if self == Tool::WlMirror {
                    command.arg("--mirror");
                }
                command
            }
            Tool::Rsync | Tool::RcloneSync | Tool::Lsyncd => return self.one_way(options, roots),
            Tool::Unison | Tool::UnisonWatch => {
                let mut command = Command::new("unison");
                command.args(["-batch", "-times", "-fastcheck", "false", "-ui", "text"]);
                if self == Tool::UnisonWatch {
                    command.args(["-repeat", "watch"]);
                }
                command.env("UNISON", private);
                command
            }
            Tool::Bisync => {
                let mut command = Command::new(&options.rclone);
                command.args(["bisync", "--resilient", "--recover", "--max-lock", "2m"]);
                command.args([
                    "--compare",
                    "size,modtime,checksum",
                    "--create-empty-src-dirs",
                ]);
                command.args(["--color", "NEVER", "--config", "/dev/null", "--workdir"]);
                command.arg(private);
                if again {
                    command.arg("--resync");
                }
                command
            }
            Tool::Syncthing => Command::new("syncthing"),
        };
        match &options.remote {
            Some(remote) => command.arg(&roots[0]).args(remote.arguments(&roots[1])),
            None => command.args(roots),
        };
        command
    }

    /// A run of one of the others that go one way.
    fn one_way(self, options: &Options, roots: &[PathBuf; 2]) -> Command {
        let mut command;
        match self {
            Tool::Rsync => {
                command = Command::new("rsync");
                // What is in the first folder, not the folder.
                command.args(["--archive", "--delete", "--itemize-changes"]);
                command.arg(roots[0].join(""));
            }
            Tool::Lsyncd => {
                command = Command::new("lsyncd");
                command.args(["-nodaemon", "-delay", "1", "-rsync"]);
                command.arg(&roots[0]);
            }
            _ => {
                command = Command::new(&options.rclone);
                command.args(["sync", "--create-empty-src-dirs"]);
                command.args(["--config", "/dev/null"]).arg(&roots[0]);
            }
        }
        command.arg(&roots[1]);
        command
    }

    /// Whether a file in its private folder is what it remembers of the last run.
    pub fn remembers_in(self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => {
                path.starts_with("state/") && name.contains(".db")
            }
            Tool::Rsync | Tool::RcloneSync | Tool::Lsyncd => false,
            Tool::Unison | Tool::UnisonWatch => name.starts_with("ar") || name.starts_with("fp"),
            Tool::Bisync => name.contains(".lst"),
            Tool::Syncthing => path.starts_with("0/index"),
        }
    }

    /// Whether a path of a side is the tool's own and not for people.
    pub fn owns(self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => path.starts_with(".wl/"),
            // `.NAME.XXXXXX`, and the folder of what is to be deleted.
            Tool::Rsync | Tool::Lsyncd => name.starts_with('.'),
            Tool::Unison | Tool::UnisonWatch => name.starts_with(".unison."),
            Tool::Bisync | Tool::RcloneSync => name.ends_with(".partial"),
            Tool::Syncthing => path.starts_with(".st") || name.starts_with(".syncthing."),
        }
    }

    /// Whether a file is a conflict's other version.
    pub fn is_conflict_copy(self, path: &str) -> bool {
        match self {
            Tool::Bisync => path.contains(".conflict"),
            Tool::Syncthing => path.contains(".sync-conflict-"),
            _ => false,
        }
    }
}

/// Whether an rclone has bisync as it is called here; one before 1.66 ends with its usage. `told`: `rclone v1.60.1-DEV`.
fn is_new_enough(told: &str) -> bool {
    let numbers = told.strip_prefix("rclone v").unwrap_or_default().split('.');
    let mut numbers = numbers.map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (1, 66)
}

/// What a run came to, in the tool's own words.
#[derive(Debug, Default)]
pub struct Ran {
    /// It said that all is in sync.
    pub synced: bool,
    /// It changed something, if it says so.
    pub changed: Option<bool>,
    pub conflicts: BTreeSet<String>,
    /// It does not go on before a person has done this.
    pub human: Option<String>,
    pub failed: Option<String>,
}

impl Ran {
    pub fn of(tool: Tool, code: Option<i32>, out: &str, err: &str) -> Self {
        match tool {
            Tool::Wl | Tool::WlDaemon | Tool::WlMirror => wl(code, out, err),
            Tool::Rsync | Tool::RcloneSync => by_code(code, err),
            Tool::Unison | Tool::UnisonWatch => unison(code, &format!("{out}\n{err}")),
            Tool::Bisync => bisync(code, err),
            Tool::Syncthing | Tool::Lsyncd => Self::default(),
        }
    }
}

/// What says no more than whether it went well.
fn by_code(code: Option<i32>, err: &str) -> Ran {
    let said = err.lines().last().unwrap_or("nothing").to_owned();
    Ran {
        synced: code == Some(0),
        failed: (code != Some(0)).then_some(said),
        ..Ran::default()
    }
}

fn wl(code: Option<i32>, out: &str, err: &str) -> Ran {
    let Ok(report) = serde_json::from_str::<Value>(out) else {
        let said = err.lines().last().unwrap_or("nothing").to_owned();
        return Ran {
            failed: Some(format!("exit code {code:?}: {said}")),
            ..Ran::default()
        };
    };
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let counts = ["source", "target"].map(|side| {
        let changes = report["changes"][side].as_object();
        let counts = changes.into_iter().flat_map(|changes| changes.values());
        counts.filter_map(Value::as_u64).sum::<u64>()
    });
    let class = text(&report["error"]["class"]);
    let problems = list("problems");
    let failed = match (class.is_empty(), problems.first()) {
        (false, _) => Some(format!("{class}: {}", text(&report["error"]["desc"]))),
        (true, Some(problem)) => Some(problem.to_string()),
        (true, None) if code == Some(0) || code == Some(3) => None,
        (true, None) => Some(format!("exit code {code:?}")),
    };
    Ran {
        synced: code == Some(0) && report["result"] == "synced",
        changed: Some(counts != [0, 0]),
        conflicts: list("conflicts")
            .iter()
            .map(|open| text(&open["path"]))
            .collect(),
        human: (!class.is_empty()).then_some(class),
        failed,
    }
}

fn unison(code: Option<i32>, said: &str) -> Ran {
    let lines = said.split(['\n', '\r']).map(str::trim);
    // In its summary, which names the reason behind the path.
    let skipped = lines.clone().filter_map(|line| {
        let (path, _) = line.strip_prefix("skipped: ")?.rsplit_once(" (")?;
        Some(path)
    });
    let has = |words: &str| said.contains(words);
    let human = match () {
        () if has("archives are locked") => Some("removal of its lock files"),
        () if has("DANGER.README") => Some("removal of DANGER.README"),
        () if has("inconsistent state") || has("loading archive") => {
            Some("removal of its archives")
        }
        () => None,
    };
    let failed = lines.clone().find(|line| {
        line.starts_with("Fatal error") || line.starts_with("Error") || line.starts_with("failed:")
    });
    Ran {
        synced: code == Some(0),
        changed: None,
        conflicts: skipped.map(str::to_owned).collect(),
        human: human.map(str::to_owned),
        failed: failed.map(str::to_owned),
    }
}

fn bisync(code: Option<i32>, err: &str) -> Ran {
    // Without its listings it says that it can be tried again, which never helps.
    let wants = [
        "Must run --resync",
        "cannot find prior Path1 or Path2 listings",
    ];
    let human = wants
        .iter()
        .any(|words| err.contains(words))
        .then(|| "--resync".to_owned());
    let said = err.lines().rev().find(|line| line.contains("ERROR"));
    let failed = said.unwrap_or("nothing").to_owned();
    Ran {
        synced: code == Some(0),
        changed: None,
        conflicts: BTreeSet::new(),
        human,
        failed: (code != Some(0)).then_some(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unison_skips_and_asks_for_is_understood() {
        let said = "\rSynchronization incomplete\n  skipped: d/f3 (conflicting updates)\n";
        let ran = Ran::of(Tool::Unison, Some(1), said, "");
        assert_eq!(ran.conflicts.into_iter().collect::<Vec<_>>(), ["d/f3"]);
        assert!(!ran.synced && ran.human.is_none());
        let said = "Fatal error: Warning: the archives are locked.";
        let ran = Ran::of(Tool::Unison, Some(3), "", said);
        assert!(ran.human.is_some() && ran.failed.is_some());
    }

    #[test]
    fn what_wl_reports_is_understood() {
        let out = r#"{"result":"conflicts","changes":{"source":{"created":0},"target":{"created":2}},
            "conflicts":[{"path":"a"}],"problems":[]}"#;
        let ran = Ran::of(Tool::Wl, Some(3), out, "");
        assert_eq!((ran.synced, ran.changed), (false, Some(true)));
        assert!(ran.conflicts.contains("a") && ran.failed.is_none());
        let refused = r#"{"error":{"class":"root-emptied","desc":"x"}}"#;
        let ran = Ran::of(Tool::Wl, Some(1), refused, "");
        assert_eq!(ran.human.as_deref(), Some("root-emptied"));
        assert!(Ran::of(Tool::Wl, None, "", "").failed.is_some());
    }

    #[test]
    fn an_old_rclone_is_told_from_a_new_one() {
        assert!(is_new_enough("rclone v1.75.2") && is_new_enough("rclone v2.0.0"));
        for told in ["rclone v1.60.1-DEV", "rclone v1.65.2", "version unknown"] {
            assert!(!is_new_enough(told), "{told}");
        }
    }

    #[test]
    fn bisync_asks_for_a_resync() {
        for err in [
            "ERROR : Bisync aborted. Must run --resync to recover.",
            "ERROR : Bisync critical error: cannot find prior Path1 or Path2 listings, likely due to",
        ] {
            assert!(Ran::of(Tool::Bisync, Some(7), "", err).human.is_some());
        }
        assert!(Ran::of(Tool::Bisync, Some(0), "", "").synced);
    }
}
