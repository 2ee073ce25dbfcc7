//! The tools, and how each is made to run on and on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::options::Options;
use crate::Result;
use crate::bench;
use crate::bench::daemon::Daemon;
use crate::bench::processes::Tree;
use crate::bench::syncthing;
use crate::run::exists;

/// A tool that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Wl,
    Lsyncd,
    Unison,
    Syncthing,
}

impl Tool {
    pub const ALL: [Tool; 4] = [Tool::Wl, Tool::Lsyncd, Tool::Unison, Tool::Syncthing];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Wl => "wl",
            Tool::Lsyncd => "lsyncd",
            Tool::Unison => "unison",
            Tool::Syncthing => "syncthing",
        }
    }

    pub fn is_installed(self) -> bool {
        self == Tool::Wl || exists(self.name())
    }

    /// The first line of what the tool says about itself.
    pub fn version(self, options: &Options) -> String {
        let program = match (self, &options.wl) {
            (Tool::Wl, Some(wl)) => wl.as_path(),
            _ => Path::new(self.name()),
        };
        let flag = match self {
            Tool::Unison | Tool::Lsyncd => "-version",
            _ => "--version",
        };
        bench::version(program, flag)
    }

    /// What a reader must know about the way it ran.
    pub fn note(self, options: &Options) -> Option<String> {
        match (self, options.poll) {
            (Tool::Wl, Some(seconds)) => Some(format!("wl polled every {seconds} s.")),
            (Tool::Wl, None) => None,
            (Tool::Lsyncd, _) => Some("lsyncd with `default.rsync` and `delay = 1`, the least that gathers changes; one way. (With `default.direct`, which moves by itself, it takes a process for every new file.)".into()),
            (Tool::Unison, _) if has_fsmonitor() => {
                Some("unison with `-repeat watch` and unison-fsmonitor.".into())
            }
            (Tool::Unison, _) => Some(
                "unison with `-repeat 1`: unison-fsmonitor, which Debian does not package, was not found."
                    .into(),
            ),
            (Tool::Syncthing, _) => Some(
                "syncthing is two of them that talk over the loopback, with `fsWatcherDelayS=\"1\"`, the least that it takes; the figures are of both.".into(),
            ),
        }
    }
}

fn has_fsmonitor() -> bool {
    exists("unison-fsmonitor")
}

/// A tool that runs. Dropping it ends all its processes.
pub struct Running {
    children: Vec<Child>,
    /// It knows how to end itself.
    daemon: Option<Daemon>,
}

impl Running {
    /// Starts it between `source` and `target` in `home`.
    pub fn start(tool: Tool, home: &Path, options: &Options) -> Result<Self> {
        let mut running = Self {
            children: Vec::new(),
            daemon: None,
        };
        let sides = ["source", "target"].map(|side| home.join(side));
        match tool {
            Tool::Wl => running.daemon = Some(wl(home, &sides, options)?),
            Tool::Lsyncd => running.add(home, lsyncd(home, &sides)?)?,
            Tool::Unison => running.add(home, unison(home, &sides))?,
            Tool::Syncthing => {
                let homes = [0, 1].map(|number| home.join(format!("syncthing{number}")));
                syncthing::configure(&homes, &sides, false)?;
                for home_of_one in &homes {
                    running.add(home, syncthing::serve(home_of_one))?;
                }
            }
        }
        Ok(running)
    }

    fn add(&mut self, home: &Path, mut command: Command) -> Result<()> {
        let log = File::create(home.join(format!("log{}", self.children.len())))?;
        command
            .env("HOME", home)
            .env("TMPDIR", home)
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.children.push(command.spawn()?);
        Ok(())
    }

    pub fn tree(&self) -> Tree {
        match &self.daemon {
            Some(daemon) => daemon.tree(),
            None => Tree::of(self.children.iter().map(Child::id).collect()),
        }
    }

    /// What wl says about its job, for a failure's text.
    pub fn says(&mut self) -> String {
        let said = self
            .daemon
            .as_mut()
            .map(|daemon| daemon.ask("status", json!({})));
        match said {
            Some(Ok(status)) => format!(
                "; it says {}, conflicts {}, errors {}",
                status[0]["state"], status[0]["conflicts"], status[0]["errors"]
            ),
            Some(Err(error)) => format!("; it says nothing: {error}"),
            None => String::new(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        // All are ours: what we started, and what that has started.
        for pid in self.tree().pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// The daemon with one job, as a container of two folders has it.
fn wl(home: &Path, sides: &[PathBuf; 2], options: &Options) -> Result<Daemon> {
    let wl = options.wl.as_ref().ok_or("there is no wl")?;
    let mut daemon = Daemon::start(wl, &home.join("base"))?;
    let local = |path: &Path| {
        let mut storage = json!({ "type": "local", "location": path });
        if let Some(seconds) = options.poll {
            storage["watcher-interval"] = Value::from(seconds);
        }
        storage
    };
    let args = json!({
        "container-name": "bench", "job-id": "j", "continuous": true, "unidirectional": false,
        "source": local(&sides[0]), "target": local(&sides[1]),
    });
    daemon.ask("start", args)?;
    Ok(daemon)
}

fn lsyncd(home: &Path, [source, target]: &[PathBuf; 2]) -> Result<Command> {
    let config = home.join("lsyncd.lua");
    let text = format!(
        "settings {{ nodaemon = true, insist = true, logfile = {log:?}, statusFile = {status:?} }}\n\
         sync {{ default.rsync, source = {source:?}, target = {target:?}, delay = 1 }}\n",
        log = home.join("lsyncd.log"),
        status = home.join("lsyncd.status"),
    );
    fs::write(&config, text)?;
    let mut command = Command::new("lsyncd");
    command.arg(config);
    Ok(command)
}

fn unison(home: &Path, sides: &[PathBuf; 2]) -> Command {
    let mut command = Command::new("unison");
    command
        .env("UNISON", home.join("unison"))
        .args(sides)
        .args(["-batch", "-times", "-perms", "-1", "-repeat"])
        .arg(if has_fsmonitor() { "watch" } else { "1" });
    command
}
