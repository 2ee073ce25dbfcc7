//! The tools, and how each is asked to do a step.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::objects::Objects;
use super::programs::Programs;
use super::server::{ACCESS_KEY, BUCKET, SECRET_KEY};
use crate::Result;
use crate::bench;
use crate::bench::tree::{self, Change, Files, Shape};

/// A step of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Up,
    Unchanged,
    Changed,
    Down,
    LargeUp,
    LargeDown,
}

impl Phase {
    pub const ALL: [Phase; 6] = [
        Phase::Up,
        Phase::Unchanged,
        Phase::Changed,
        Phase::Down,
        Phase::LargeUp,
        Phase::LargeDown,
    ];
    pub const SMALL: &[Phase] = Phase::ALL.split_at(4).0;
    pub const LARGE: &[Phase] = Phase::ALL.split_at(4).1;

    pub fn name(self) -> &'static str {
        match self {
            Phase::Up => "up into nothing",
            Phase::Unchanged => "nothing changed",
            Phase::Changed => "2 % changed, up",
            Phase::Down => "down into an empty folder",
            Phase::LargeUp => "one large object up",
            Phase::LargeDown => "one large object down",
        }
    }

    fn is_down(self) -> bool {
        matches!(self, Phase::Down | Phase::LargeDown)
    }

    /// The step at which the tree came into being that both sides hold after this one.
    fn source(self) -> Phase {
        if self.is_large() {
            Phase::LargeUp
        } else {
            Phase::Up
        }
    }

    fn is_large(self) -> bool {
        matches!(self, Phase::LargeUp | Phase::LargeDown)
    }
}

/// A tool that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Wl,
    Rclone,
    Bisync,
    S5cmd,
    Juicefs,
}

/// The oldest rclone that is a fair peer.
const RCLONE: (u64, u64) = (1, 70);

/// Without these rclone asks for each object's time in a request of its own and looks at each object after its upload.
const RCLONE_COMMON: [&str; 8] = [
    "--transfers",
    "32",
    "--checkers",
    "32",
    "--fast-list",
    "--s3-no-check-bucket",
    "--s3-no-head",
    "--s3-upload-concurrency=8",
];

impl Tool {
    pub const ALL: [Tool; 5] = [
        Tool::Wl,
        Tool::Rclone,
        Tool::Bisync,
        Tool::S5cmd,
        Tool::Juicefs,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Wl => "wl",
            Tool::Rclone => "rclone",
            Tool::Bisync => "bisync",
            Tool::S5cmd => "s5cmd",
            Tool::Juicefs => "juicefs",
        }
    }

    /// The head of the tool's column.
    pub fn title(self) -> &'static str {
        match self {
            Tool::Wl => "wl sync",
            Tool::Rclone => "rclone sync",
            Tool::Bisync => "rclone bisync",
            Tool::S5cmd => "s5cmd sync",
            Tool::Juicefs => "juicefs sync",
        }
    }

    pub fn program(self) -> &'static str {
        match self {
            Tool::Bisync => "rclone",
            other => other.name(),
        }
    }

    pub fn version(self, program: &Path) -> String {
        let flag = match self {
            Tool::Wl | Tool::Juicefs => "--version",
            _ => "version",
        };
        bench::version(program, flag)
    }

    /// The tool's program, or why it cannot be measured.
    pub fn locate(self, programs: &Programs) -> Result<PathBuf> {
        let name = self.program();
        let program = programs.find(name);
        let program = program.ok_or_else(|| format!("{name} is not installed"))?;
        if name == "rclone" {
            let version = self.version(&program);
            if is_older(&version, RCLONE) {
                let (major, minor) = RCLONE;
                return Err(format!("{version} is older than {major}.{minor}").into());
            }
        }
        Ok(program)
    }

    /// The settings that make a peer as good as it can be here: from its documentation, and tried.
    fn settings(self) -> Vec<&'static str> {
        let with = |more: &[&'static str]| [&RCLONE_COMMON, more].concat();
        match self {
            Tool::Wl => vec![],
            Tool::Rclone => with(&["--update", "--use-server-modtime"]),
            Tool::Bisync => with(&["--checksum", "--compare", "size,checksum"]),
            Tool::S5cmd => vec!["--delete"],
            Tool::Juicefs => vec![
                "--threads",
                "32",
                "--list-threads",
                "4",
                "--update",
                "--delete-dst",
            ],
        }
    }

    /// What a reader of the figures must know.
    pub fn note(self) -> Option<String> {
        let settings = self.settings().join(" ");
        let more = match self {
            Tool::S5cmd => " and its 256 workers",
            _ => "",
        };
        (!settings.is_empty()).then(|| format!("{} with `{settings}`{more}.", self.title()))
    }
}

/// Whether a version such as `rclone v1.60.1-DEV` is below another.
fn is_older(version: &str, than: (u64, u64)) -> bool {
    let numbers = version.rsplit('v').next().unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse().ok());
    let found = (numbers.next(), numbers.next());
    matches!(found, (Some(major), Some(minor)) if (major, minor) < than)
}

/// A tool's own folders, and its own part of the bucket.
pub struct Lane {
    pub tool: Tool,
    program: PathBuf,
    /// Holds the others, and the tool's state.
    pub home: PathBuf,
    /// Where the tool finds the server: `127.0.0.1:PORT`.
    address: String,
}

impl Lane {
    pub fn new(tool: Tool, program: &Path, home: PathBuf, address: &str) -> Result<Self> {
        fs::create_dir(&home)?;
        Ok(Self {
            tool,
            program: program.to_path_buf(),
            home,
            address: address.to_owned(),
        })
    }

    fn folder(&self, phase: Phase) -> PathBuf {
        self.home.join(match phase {
            Phase::Up | Phase::Unchanged | Phase::Changed => "source",
            Phase::Down => "target",
            Phase::LargeUp => "large-source",
            Phase::LargeDown => "large-target",
        })
    }

    fn prefix(&self, phase: Phase) -> String {
        let what = if phase.is_large() { "large" } else { "small" };
        format!("{}/{what}/", self.tool.name())
    }

    /// Makes the step's local folder what it has to be before the step.
    pub fn prepare(&self, phase: Phase, shape: &Shape, large: &Path, round: usize) -> Result<()> {
        let folder = self.folder(phase);
        match phase {
            Phase::Up => tree::make(&folder, shape)?,
            Phase::Unchanged => {}
            Phase::Changed => tree::change(&folder, shape, &Change::OBJECTS, round as u64)?,
            Phase::Down | Phase::LargeDown => fs::create_dir(folder)?,
            Phase::LargeUp => {
                fs::create_dir(&folder)?;
                fs::hard_link(large, folder.join("large.dat"))?;
            }
        }
        Ok(())
    }

    /// The command that does a step.
    pub fn command(&self, phase: Phase) -> Command {
        let mut command = Command::new(&self.program);
        // State, caches and temporary files lie beside the trees, on the same RAM-backed folder.
        command.env("HOME", &self.home).env("TMPDIR", &self.home);
        for name in [
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
        ] {
            command.env_remove(name);
        }
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1");
        match self.tool {
            Tool::Wl => self.wl(&mut command, phase),
            Tool::Rclone | Tool::Bisync => self.rclone(&mut command, phase),
            Tool::S5cmd => self.s5cmd(&mut command, phase),
            Tool::Juicefs => self.juicefs(&mut command, phase),
        }
        command
    }

    fn wl(&self, command: &mut Command, phase: Phase) {
        // Up and down are two jobs.
        let base = format!("base-{}", phase.is_down());
        let option = if phase.is_down() {
            "--source-option"
        } else {
            "--target-option"
        };
        command.arg("-b").arg(self.home.join(base)).arg("sync");
        let remote = format!("s3://{BUCKET}/{}", self.prefix(phase));
        self.between(command, phase, remote.trim_end_matches('/'), "");
        command
            .arg(option)
            .arg(format!("endpoint_url=http://{}", self.address));
    }

    fn rclone(&self, command: &mut Command, phase: Phase) {
        command
            .env("RCLONE_CONFIG", self.home.join("rclone.conf"))
            .env("RCLONE_CONFIG_HERE_TYPE", "s3")
            .env("RCLONE_CONFIG_HERE_PROVIDER", "SeaweedFS")
            .env("RCLONE_CONFIG_HERE_ENV_AUTH", "true")
            .env(
                "RCLONE_CONFIG_HERE_ENDPOINT",
                format!("http://{}", self.address),
            );
        let is_bisync = self.tool == Tool::Bisync;
        command.arg(if is_bisync { "bisync" } else { "sync" });
        command.args(self.tool.settings());
        if is_bisync {
            command.arg("--workdir").arg(self.home.join("bisync"));
            command
                .args((!matches!(phase, Phase::Unchanged | Phase::Changed)).then_some("--resync"));
        }
        self.between(
            command,
            phase,
            &format!("here:{BUCKET}/{}", self.prefix(phase)),
            "",
        );
    }

    fn s5cmd(&self, command: &mut Command, phase: Phase) {
        command
            .arg("--endpoint-url")
            .arg(format!("http://{}", self.address));
        command
            .args(["--log", "error", "sync"])
            .args(self.tool.settings());
        let all = if phase.is_down() { "*" } else { "" };
        self.between(
            command,
            phase,
            &format!("s3://{BUCKET}/{}", self.prefix(phase)),
            all,
        );
    }

    fn juicefs(&self, command: &mut Command, phase: Phase) {
        command
            .args(["sync", "--quiet", "--no-https"])
            .args(self.tool.settings());
        let remote = format!("minio://{}/{BUCKET}/{}", self.address, self.prefix(phase));
        self.between(command, phase, &remote, "");
    }

    /// From where, and to where. The empty last part makes the slash that means "what is in it".
    fn between(&self, command: &mut Command, phase: Phase, remote: &str, all: &str) {
        let folder = self.folder(phase).join("");
        match phase.is_down() {
            true => command.arg(format!("{remote}{all}")).arg(folder),
            false => command.arg(folder).arg(remote),
        };
    }

    /// What both sides must hold after a step: the tree at whose beginning it was.
    pub fn expected(&self, phase: Phase) -> Result<Files> {
        Ok(tree::files(&self.folder(phase.source()))?)
    }

    /// Where something else is than expected, and how much of it.
    pub fn difference(
        &self,
        phase: Phase,
        expected: &Files,
        objects: &Objects,
    ) -> Result<Option<String>> {
        let source = tree::files(&self.folder(phase.source()))?;
        let mut places = vec![("its source", source)];
        places.push(("the bucket", objects.below(&self.prefix(phase))?));
        if phase.is_down() {
            places.push(("its target", tree::files(&self.folder(phase))?));
        }
        let mut differing = places.iter().filter_map(|(place, files)| {
            difference(expected, files).map(|difference| format!("{place} has {difference}"))
        });
        Ok(differing.next())
    }
}

fn difference(expected: &Files, found: &Files) -> Option<String> {
    let missing = expected.keys().filter(|path| !found.contains_key(*path));
    let extra = found.keys().filter(|path| !expected.contains_key(*path));
    let changed = |(path, digest)| found.get(path).is_some_and(|found| found != digest);
    let changed = expected.iter().filter(|file| changed(*file));
    let (missing, extra, changed) = (missing.count(), extra.count(), changed.count());
    (missing + extra + changed > 0)
        .then(|| format!("{missing} too few, {extra} too many, {changed} with other content"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        assert!(is_older("rclone v1.60.1-DEV", (1, 70)));
        assert!(is_older("rclone v0.99", (1, 70)));
        assert!(!is_older("rclone v1.75.2", (1, 70)));
        assert!(!is_older("rclone v2.0.0", (1, 70)));
        assert!(!is_older("version unknown", (1, 70)));
    }

    #[test]
    fn differences_are_counted() {
        let files = |files: &[(&str, u64)]| -> Files {
            files
                .iter()
                .map(|(path, digest)| ((*path).to_owned(), *digest))
                .collect()
        };
        let expected = files(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(difference(&expected, &expected), None);
        let found = difference(&expected, &files(&[("b", 2), ("c", 4), ("d", 1), ("e", 1)]));
        let text = "1 too few, 2 too many, 1 with other content";
        assert_eq!(found.as_deref(), Some(text));
    }

    #[test]
    fn a_step_goes_up_or_down_and_keeps_to_the_lane() {
        let home = std::env::temp_dir().join(format!("wl-lane-{}", std::process::id()));
        let lane = |tool| Lane {
            tool,
            program: "tool".into(),
            home: home.clone(),
            address: "127.0.0.1:1".to_owned(),
        };
        let last = |tool, phase| -> Vec<String> {
            let command = lane(tool).command(phase);
            let args = command
                .get_args()
                .map(|arg| arg.to_string_lossy().into_owned());
            let args: Vec<String> = args.collect();
            args[args.len() - 2..].to_vec()
        };
        let (source, target) = (home.join("source/"), home.join("large-target/"));
        let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
        assert_eq!(
            last(Tool::S5cmd, Phase::Up),
            [source, "s3://bench/s5cmd/small/"]
        );
        assert_eq!(
            last(Tool::S5cmd, Phase::LargeDown),
            ["s3://bench/s5cmd/large/*", target]
        );
        assert_eq!(
            last(Tool::Juicefs, Phase::Changed),
            [source, "minio://127.0.0.1:1/bench/juicefs/small/"]
        );
        assert_eq!(
            last(Tool::Rclone, Phase::LargeDown),
            ["here:bench/rclone/large/", target]
        );
        assert_eq!(
            last(Tool::Wl, Phase::Up),
            ["--target-option", "endpoint_url=http://127.0.0.1:1"]
        );
        assert_eq!(
            last(Tool::Wl, Phase::Down),
            ["--source-option", "endpoint_url=http://127.0.0.1:1"]
        );
    }
}
