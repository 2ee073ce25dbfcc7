//! Runs a tool: to its end, into a kill, or on and on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::bucket::Bucket;
use super::effects::Effects;
use super::options::Options;
use super::tools::{Ran, Tool};
use super::world::{MARK, each_file};
use crate::Result;
use crate::bench::daemon::Daemon;
use crate::bench::processes::Tree;
use crate::bench::syncthing;

/// Far more than a run here takes.
const LONG: Duration = Duration::from_secs(120);
/// How often one that runs on and on is asked whether it rests.
const LOOK: Duration = Duration::from_millis(400);
const SHORT: Duration = Duration::from_millis(20);

/// What happens while the tool runs.
pub enum During<'a> {
    Nothing,
    /// It is killed after so many effects.
    Kill(u32),
    /// This is called after every so many effects, until it says that there is no more to do.
    Act(u32, &'a mut dyn FnMut() -> bool),
}

/// A tool with its private folder.
pub struct Runner<'a> {
    pub tool: Tool,
    options: &'a Options,
    private: PathBuf,
    log: PathBuf,
    roots: [PathBuf; 2],
    pub effects: Effects,
    /// Where the second side is, if it is no folder.
    bucket: Option<Bucket>,
    children: Vec<Child>,
    daemon: Option<Daemon>,
    pages: [u16; 2],
    marks: u32,
    /// Kills that met a running process.
    pub kills: u32,
}

impl<'a> Runner<'a> {
    pub fn new(
        tool: Tool,
        options: &'a Options,
        home: &Path,
        roots: &[PathBuf; 2],
        effects: Effects,
        bucket: Option<Bucket>,
    ) -> Result<Self> {
        let private = home.join("private");
        let mut pages = [0; 2];
        if tool == Tool::Syncthing {
            let homes = ["0", "1"].map(|number| private.join(number));
            pages = syncthing::configure(&homes, roots, true)?;
        }
        Ok(Self {
            tool,
            options,
            private,
            log: home.to_owned(),
            roots: roots.clone(),
            effects,
            bucket,
            children: Vec::new(),
            daemon: None,
            pages,
            marks: 0,
            kills: 0,
        })
    }

    /// The first run, as its documentation says.
    pub fn first(&mut self) -> Result<()> {
        match self.tool.is_continuous() {
            true => {
                self.start()?;
                self.settle(LONG)
            }
            false => {
                let ran = self.once(During::Nothing, true)?;
                match ran.failed {
                    Some(failed) => Err(format!("the first run: {failed}").into()),
                    None => Ok(()),
                }
            }
        }
    }

    fn spawn(&self, mut command: Command, number: usize) -> Result<Child> {
        let log = |name: &str| File::create(self.log.join(format!("{name}{number}")));
        command
            .env("HOME", &self.private)
            .env("TMPDIR", &self.private)
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(log("out")?)
            .stderr(log("err")?);
        Ok(command.spawn()?)
    }

    fn said(&self, name: &str) -> String {
        let said = fs::read(self.log.join(format!("{name}0"))).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// One run of a tool that ends by itself; `again` as a person would make it begin anew.
    pub fn once(&mut self, during: During<'_>, again: bool) -> Result<Ran> {
        let command = self
            .tool
            .command(self.options, &self.private, &self.roots, again);
        self.effects.forget();
        let mut child = self.spawn(command, 0)?;
        let status = self.attend(&mut child, during)?;
        Ok(Ran::of(
            self.tool,
            status.code(),
            &self.said("out"),
            &self.said("err"),
        ))
    }

    fn attend(&mut self, child: &mut Child, mut during: During<'_>) -> Result<ExitStatus> {
        let (begin, mut effects) = (Instant::now(), 0_u32);
        loop {
            if let Some(status) = child.try_wait()? {
                if let During::Act(_, act) = during {
                    while act() {}
                }
                return Ok(status);
            }
            if begin.elapsed() > LONG {
                end(child)?;
                return Err(format!("it did not end in {} seconds", LONG.as_secs()).into());
            }
            if !self.effects.next(SHORT) {
                continue;
            }
            effects += 1;
            let is_done = match &mut during {
                During::Kill(at) if effects >= *at => {
                    self.kills += 1;
                    return Ok(end(child)?);
                }
                During::Act(every, act) if effects.is_multiple_of(*every) => !act(),
                _ => false,
            };
            if is_done {
                during = During::Nothing;
            }
        }
    }

    /// Starts a tool that runs on and on.
    pub fn start(&mut self) -> Result<()> {
        match self.tool {
            Tool::WlDaemon => {
                let wl = self.options.wl.as_ref().ok_or("there is no wl")?;
                let mut daemon = Daemon::start(wl, &self.private)?;
                let jobs = daemon.ask("status", json!({}))?;
                if jobs.as_array().is_none_or(Vec::is_empty) {
                    let local = |path: &Path| json!({ "type": "local", "location": path });
                    let target = match &self.options.remote {
                        Some(remote) => remote.params(&self.roots[1]),
                        None => local(&self.roots[1]),
                    };
                    let args = json!({
                        "container-name": "compare", "job-id": "j", "continuous": true, "unidirectional": false,
                        "source": local(&self.roots[0]), "target": target,
                    });
                    daemon.ask("start", args)?;
                }
                self.daemon = Some(daemon);
            }
            Tool::Syncthing => {
                for number in [0, 1] {
                    let home = self.private.join(number.to_string());
                    let child = self.spawn(syncthing::serve(&home), number)?;
                    self.children.push(child);
                }
            }
            _ => {
                let command = self
                    .tool
                    .command(self.options, &self.private, &self.roots, false);
                let child = self.spawn(command, 0)?;
                self.children.push(child);
            }
        }
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon = None;
        for mut child in self.children.drain(..) {
            end(&mut child)?;
        }
        Ok(())
    }

    /// Starts it again if it has ended by itself, as its service manager would. Why it ended.
    pub fn revive(&mut self) -> Result<Option<Ran>> {
        let mut ended = None;
        for child in &mut self.children {
            ended = ended.or(child.try_wait()?);
        }
        let Some(status) = ended else { return Ok(None) };
        let mut ran = Ran::of(
            self.tool,
            status.code(),
            &self.said("out"),
            &self.said("err"),
        );
        if ran.human.is_none() && ran.failed.is_none() {
            ran.failed = Some(format!("it ended, {status}{}", self.trouble()));
        }
        self.kill()?;
        self.tidy(&ran)?;
        self.start()?;
        Ok(Some(ran))
    }

    /// What a person does before it can go on.
    pub fn tidy(&self, ran: &Ran) -> Result<()> {
        let Some(wanted) = &ran.human else {
            return Ok(());
        };
        let obstacle = |name: &str| match self.tool {
            Tool::Unison | Tool::UnisonWatch if wanted.contains("archives") => {
                name.starts_with("ar") || name.starts_with("fp") || name.starts_with("lk")
            }
            Tool::Unison | Tool::UnisonWatch => {
                name.starts_with("lk") || name.starts_with("DANGER")
            }
            _ => false,
        };
        self.remove(obstacle)
    }

    /// A lock file that expires by itself is removed instead of waited for.
    pub fn expire(&self) -> Result<()> {
        self.remove(|name| self.tool == Tool::Bisync && name.ends_with(".lck"))
    }

    fn remove(&self, is_meant: impl Fn(&str) -> bool) -> Result<()> {
        for entry in fs::read_dir(&self.private)? {
            let entry = entry?;
            if is_meant(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what it remembers, or cuts the largest file of that in half.
    pub fn spoil(&self, cut: bool) -> Result<()> {
        let mut files = Vec::new();
        each_file(&self.private, &mut |path, content| {
            if self.tool.remembers_in(path) {
                files.push((content.len(), self.private.join(path)));
            }
        });
        files.sort();
        if let (true, Some((length, path))) = (cut, files.last()) {
            return Ok(File::options()
                .write(true)
                .open(path)?
                .set_len(*length as u64 / 2)?);
        }
        for (_, path) in files {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Waits until a tool that runs on and on has seen all that was done so far, and rests.
    pub fn settle(&mut self, patience: Duration) -> Result<()> {
        self.marks += 1;
        let marks = self.marks;
        let mark = |number: usize| format!("{MARK}{marks}-{number}");
        let marked: &[usize] = match self.tool.is_one_way() {
            true => &[0],
            false => &[0, 1],
        };
        for &number in marked {
            match (&self.bucket, number) {
                (Some(bucket), 1) => drop(bucket.put(&mark(1), b"mark", None)?),
                _ => fs::write(self.roots[number].join(mark(number)), "mark")?,
            }
        }
        let end = Instant::now() + patience;
        let back = |runner: &Self| match runner.tool.is_one_way() {
            true => Ok(true),
            false => runner.has_come(0, &mark(1)),
        };
        while !back(self)? || !self.has_come(1, &mark(0))? || !self.is_idle()? {
            if Instant::now() > end {
                return Err(format!("it did not come to rest{}", self.trouble()).into());
            }
            self.effects.next(LOOK);
            self.effects.forget();
        }
        let pause = match self.tool {
            Tool::WlDaemon => 800,
            _ => 1500,
        };
        self.effects.quiet(Duration::from_millis(pause), patience);
        Ok(())
    }

    fn has_come(&self, side: usize, mark: &str) -> Result<bool> {
        match (&self.bucket, side) {
            (Some(bucket), 1) => bucket.has(mark),
            _ => Ok(self.roots[side].join(mark).exists()),
        }
    }

    /// Whether it says that it has nothing to do, if it can say that.
    fn is_idle(&mut self) -> Result<bool> {
        match self.tool {
            Tool::Syncthing => {
                for page in self.pages {
                    // Not yet listening, or its folder is not there.
                    if syncthing::scan(page).is_err() || !syncthing::is_idle(page).unwrap_or(false)
                    {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Tool::WlDaemon => {
                let job = self.job()?;
                let text = job["state"][1].as_str().unwrap_or_default();
                // A problem is tried again: it does not rest yet.
                let waits = text.ends_with(" left") && !text.contains("problem");
                Ok(job["state"][0] == 3 || (job["state"][0] == 2 && waits))
            }
            _ => Ok(true),
        }
    }

    /// What wl's daemon says of its job.
    fn job(&mut self) -> Result<Value> {
        let daemon = self.daemon.as_mut().ok_or("the daemon does not run")?;
        Ok(daemon.ask("status", json!({}))?[0].clone())
    }

    fn trouble(&mut self) -> String {
        match self.tool {
            Tool::WlDaemon => match self.job() {
                Ok(job) => format!("; it says {}, errors {}", job["state"], job["errors"]),
                Err(error) => format!("; it says nothing: {error}"),
            },
            _ => {
                let said = format!("{}\n{}", self.said("out"), self.said("err"));
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                format!("; the last that it said: {}", last.unwrap_or("nothing"))
            }
        }
    }

    /// What a tool that runs on and on says now.
    pub fn report(&mut self) -> Result<Ran> {
        if self.tool != Tool::WlDaemon {
            return Ok(Ran::of(
                self.tool,
                None,
                &self.said("out"),
                &self.said("err"),
            ));
        }
        let synced = self.job()?["state"][0] == 3;
        let daemon = self.daemon.as_mut().ok_or("the daemon does not run")?;
        let open = daemon.ask("conflicts", json!({ "job-id": "j" }))?;
        let open = open["conflicts"].as_array().cloned().unwrap_or_default();
        let paths = open.iter().filter_map(|open| open["path"].as_str());
        Ok(Ran {
            synced,
            conflicts: paths.map(str::to_owned).collect(),
            ..Ran::default()
        })
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        // All that we started and that still runs.
        let _ = self.kill();
    }
}

/// kill -9 for a process and those that it started.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pids = Tree::of(vec![child.id()]).pids();
    for pid in &pids {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
    let status = child.wait()?;
    // Those that it started may hold locks until they are gone too.
    let begin = Instant::now();
    let is_there = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
    while pids.iter().any(is_there) && begin.elapsed() < LONG {
        std::thread::sleep(SHORT);
    }
    Ok(status)
}
