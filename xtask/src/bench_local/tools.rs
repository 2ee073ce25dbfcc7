//! The tools, and how each is asked to do a step.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;
use crate::Result;
use crate::bench;
use crate::bench::tree;
use crate::run::exists;

/// A step of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    First,
    Unchanged,
    Changed,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::First, Phase::Unchanged, Phase::Changed];

    pub fn name(self) -> &'static str {
        match self {
            Phase::First => "first sync, empty target",
            Phase::Unchanged => "nothing changed",
            Phase::Changed => "2.2 % changed",
        }
    }

    /// The most that wl may take, as a share of rsync's time.
    pub fn goal(self) -> f64 {
        match self {
            Phase::First => 1.0,
            Phase::Unchanged => 0.8,
            Phase::Changed => 0.9,
        }
    }
}

/// A tool that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Wl,
    Cp,
    Rsync,
    Rclone,
    Bisync,
    Unison,
}

impl Tool {
    pub const ALL: [Tool; 6] = [
        Tool::Wl,
        Tool::Cp,
        Tool::Rsync,
        Tool::Rclone,
        Tool::Bisync,
        Tool::Unison,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Wl => "wl",
            Tool::Cp => "cp",
            Tool::Rsync => "rsync",
            Tool::Rclone => "rclone",
            Tool::Bisync => "bisync",
            Tool::Unison => "unison",
        }
    }

    /// The head of the tool's column.
    pub fn title(self) -> &'static str {
        match self {
            Tool::Wl => "wl sync",
            Tool::Cp => "cp -a",
            Tool::Rsync => "rsync -a --delete",
            Tool::Rclone => "rclone sync",
            Tool::Bisync => "rclone bisync",
            Tool::Unison => "unison -batch",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Tool::Bisync => "rclone",
            other => other.name(),
        }
    }

    pub fn is_installed(self) -> bool {
        self == Tool::Wl || exists(self.program())
    }

    /// The first line of what the tool says about itself.
    pub fn version(self, options: &Options) -> String {
        let program = match (self, &options.wl) {
            (Tool::Wl, Some(wl)) => wl.as_path(),
            _ => Path::new(self.program()),
        };
        let flag = match self {
            Tool::Rclone | Tool::Bisync => "version",
            Tool::Unison => "-version",
            _ => "--version",
        };
        bench::version(program, flag)
    }

    /// cp knows nothing of a second time.
    pub fn does(self, phase: Phase) -> bool {
        self != Tool::Cp || phase == Phase::First
    }
}

/// A tool's own folders.
pub struct Lane {
    pub tool: Tool,
    /// Holds the other two, and the tool's state.
    pub home: PathBuf,
    pub source: PathBuf,
    pub target: PathBuf,
}

impl Lane {
    pub fn new(tool: Tool, home: PathBuf) -> Self {
        let (source, target) = (home.join("source"), home.join("target"));
        Self {
            tool,
            home,
            source,
            target,
        }
    }

    /// The command that does a step; `None` if the tool does not.
    pub fn command(&self, phase: Phase, options: &Options) -> Option<Command> {
        if !self.tool.does(phase) {
            return None;
        }
        let program = match (self.tool, &options.wl) {
            (Tool::Wl, Some(wl)) => Command::new(wl),
            (tool, _) => Command::new(tool.program()),
        };
        let mut command = program;
        // State, caches and temporary files lie beside the trees, on the same RAM-backed folder.
        command.env("HOME", &self.home).env("TMPDIR", &self.home);
        command
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME");
        let (source, target) = (&self.source, &self.target);
        match self.tool {
            Tool::Wl => command
                .arg("-b")
                .arg(self.home.join("base"))
                .arg("sync")
                .arg(source)
                .arg(target),
            Tool::Cp => command.arg("-a").arg(source.join(".")).arg(target),
            // The empty last part makes the slash that means "what is in it".
            Tool::Rsync => command
                .args(["-a", "--delete"])
                .arg(source.join(""))
                .arg(target.join("")),
            Tool::Rclone => command.arg("sync").arg(source).arg(target),
            Tool::Bisync => {
                command.arg("bisync").arg(source).arg(target);
                command.arg("--workdir").arg(self.home.join("bisync"));
                command.args((phase == Phase::First).then_some("--resync"))
            }
            Tool::Unison => {
                command.env("UNISON", self.home.join("unison"));
                command
                    .arg(source)
                    .arg(target)
                    .args(["-batch", "-silent", "-times", "-perms", "-1"])
            }
        };
        Some(command)
    }

    /// Whether the target holds what the source holds.
    pub fn is_equal(&self) -> Result<bool> {
        Ok(tree::fingerprint(&self.source)? == tree::fingerprint(&self.target)?)
    }
}
