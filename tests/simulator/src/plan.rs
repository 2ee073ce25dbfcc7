//! What happens in a history, as data: it can be printed, cut down and played again.

use std::fmt;
use std::str::FromStr;

use wl_core::model::Direction;
use wl_core::storage::CasGrade;
use wl_core::sync::Keep;
use wl_core::testing::{Operation, When};

use crate::faults::Fault;

/// Where a history comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// Of the workload: what happens.
    pub work: u64,
    /// Of the schedule: how long calls take, and their order.
    pub schedule: u64,
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.work, self.schedule)
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no pair of seeds; write WORK:SCHEDULE, as in 17:3");
        let (work, schedule) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            work: work.parse().map_err(|_| wrong())?,
            schedule: schedule.parse().map_err(|_| wrong())?,
        })
    }
}

/// A history before it is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the storages are like.
    pub sites: Vec<SitePlan>,
    /// What is synced.
    pub jobs: Vec<Job>,
    /// How.
    pub mode: Mode,
    /// Which way changes travel.
    pub direction: Direction,
    /// Calls take their time, and the requests of one call are done one by one in any order.
    pub dawdles: bool,
    /// What happens.
    pub steps: Vec<Step>,
    /// What few histories have.
    pub extras: Extras,
}

/// What is asked of jobs in a few histories only. The default asks nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Storages copy from each other.
    pub server_copy: bool,
    /// What lies in the trash, and nobody claims, expires with the next run.
    pub expires: bool,
    /// Files of more bytes are left out.
    pub max_size: Option<u64>,
}

impl Plan {
    /// One-shot runs in both directions between two storages of the best kind.
    pub fn of_two(steps: Vec<Step>) -> Self {
        Self {
            sites: vec![SitePlan::default(); 2],
            jobs: vec![Job {
                source: 0,
                target: 1,
            }],
            mode: Mode::OneShot,
            direction: Direction::TwoWay,
            dawdles: false,
            steps,
            extras: Extras::default(),
        }
    }

    /// Nothing but edits happens, on storages that keep every promise: then even removals are followed exactly.
    pub fn is_calm(&self) -> bool {
        let sound = |site: &SitePlan| {
            !site.stale && site.does >= CasGrade::Recoverable && site.empty_folders
        };
        self.sites.iter().all(sound)
            && self.steps.iter().all(|step| {
                matches!(
                    step.what,
                    What::Edit(..)
                        | What::Run
                        | What::Rest
                        | What::Pause
                        | What::Clock(_)
                        | What::Sleep(_)
                )
            })
    }
}

/// A job between two storages, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its source.
    pub source: usize,
    /// Its target.
    pub target: usize,
}

/// How jobs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One run for each [`What::Run`].
    OneShot,
    /// Until they are stopped, polling every minute.
    Poll,
    /// Until they are stopped, polling as storages without events are polled.
    Adaptive,
    /// Until they are stopped, with watchers that delay, double, reorder and lose events.
    Watch,
}

/// What a storage is like. The default can do everything and keeps every promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePlan {
    /// It keeps folders that hold nothing.
    pub empty_folders: bool,
    /// It keeps permission bits.
    pub modes: bool,
    /// Its listings may be stale.
    pub stale: bool,
    /// So many changes share one token, if they come in the same second.
    pub changes_per_token: u64,
    /// What it says of its compare-and-swap.
    pub claims: CasGrade,
    /// How strong that is.
    pub does: CasGrade,
    /// Listings come in pages of so many rows, each of another moment; `None`: all rows are of one moment.
    pub page: Option<usize>,
}

impl Default for SitePlan {
    fn default() -> Self {
        Self {
            empty_folders: true,
            modes: true,
            stale: false,
            changes_per_token: 1,
            claims: CasGrade::Atomic,
            does: CasGrade::Atomic,
            page: None,
        }
    }
}

/// Something that happens, so many moments after what happened before it. Each request to a storage has two moments: before it is done
/// and after. Where nothing runs, what is next happens at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The moments.
    pub after: u32,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody edits the storage of this number.
    Edit(usize, Edit),
    /// The storage of this number will fail; the fault strikes at the request that it waits for.
    Fault(usize, Fault),
    /// All of this happens together with a request: with the next one that is meant.
    Strike(Aim, Vec<What>),
    /// The process dies.
    Kill,
    /// The run is told to stop.
    Cancel,
    /// Waits until nothing goes on, then a run begins. Continuous jobs just come to rest.
    Run,
    /// Waits until nothing goes on: what comes next does not strike at a run.
    Rest,
    /// The same; continuous jobs are given half a second only.
    Pause,
    /// Waits until nothing goes on, then somebody ends the conflict at the path, if there is one.
    Resolve(String, Keep),
    /// The wall clock jumps by so many seconds.
    Clock(i64),
    /// The machine sleeps for so many seconds.
    Sleep(u32),
    /// The baselines are lost, while nothing goes on.
    Forget,
    /// While nothing goes on the storage of this number is taken away; where it was is another file system, with nothing on it. Only where
    /// a run has seen the right one: nobody could tell otherwise.
    Unmount(usize),
    /// While nothing goes on it is put back.
    Mount(usize),
    /// While nothing goes on somebody asks what a run would do.
    DryRun,
    /// From now on jobs leave out what has one of these names, and what is in it.
    Exclude(Vec<String>),
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// To the storage of this number.
    pub site: usize,
    /// What is asked.
    pub operation: Operation,
    /// Just before it is done, or just after.
    pub when: When,
}

impl What {
    /// Whether it has to wait until nothing goes on.
    pub(crate) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Run | Self::Rest | Self::Pause | Self::Resolve(..)
        ) || self.is_of_a_stop()
    }

    /// Whether no job may be running when it happens, not even one that rests.
    pub(crate) fn is_of_a_stop(&self) -> bool {
        matches!(
            self,
            Self::Forget
                | Self::Unmount(_)
                | Self::Mount(_)
                | Self::Resolve(..)
                | Self::DryRun
                | Self::Exclude(_)
        )
    }
}

/// What an editor does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new file takes the path, as most editors save; folders above it are made.
    Write(String, Content),
    /// The file at the path is written to where it is.
    WriteInPlace(String, Content),
    /// A program opens the file at the path, and keeps it open.
    Open(String),
    /// The program writes to the file that it has open, wherever that is by now.
    WriteOpen(Content),
    /// What is at the path is removed, with all below it.
    Remove(String),
    /// What is at the first path moves to the second, if nothing is there.
    Rename(String, String),
    /// A folder is made, and those above it.
    MakeFolder(String),
    /// A link takes the path.
    Link(String, String),
    /// A file's time changes, not its content.
    Touch(String),
    /// Nobody may read the file at the path, or see what is in the folder there.
    Lock(String),
    /// They may again.
    Unlock(String),
    /// Somebody sets the permission bits.
    Chmod(String, u32),
    /// The storage's rules of what is left out are these names from now on.
    Ignore(Vec<String>),
    /// A program writes to its database ([`DATABASE`]): all of it, and the log beside it, if one stays.
    Transact(Content, Option<Content>),
    /// Somebody commits to the repository ([`REPOSITORY`]): an object, and the reference that names it.
    Commit(Content),
}

/// Where [`Edit::Transact`] has its database.
pub const DATABASE: &str = "db";
/// Where [`Edit::Commit`] has its repository.
pub const REPOSITORY: &str = "r/.git";
/// The rules of a storage.
pub(crate) const IGNORE: &str = ".wlignore";

/// What lies beside the database.
pub(crate) fn log() -> String {
    format!("{DATABASE}-wal")
}

/// What names the last object of the repository.
pub(crate) fn reference() -> String {
    format!("{REPOSITORY}/refs/heads/m")
}

/// The place of an object.
pub(crate) fn object(content: Content) -> String {
    format!("{REPOSITORY}/objects/aa/{:04}", content.number)
}

impl Edit {
    /// Whether it changes what is there, not only who may read it.
    pub(crate) fn is_of_content(&self) -> bool {
        !matches!(self, Self::Lock(_) | Self::Unlock(_) | Self::Chmod(..))
    }

    /// The files that it writes in turn, as editors save; and what it takes away. `None`: it is another kind of edit.
    pub fn files(&self) -> Option<Vec<(String, Option<Vec<u8>>)>> {
        let bytes = |content: &Content| Some(content.bytes());
        match self {
            Self::Ignore(names) => Some(vec![(
                IGNORE.to_owned(),
                Some(format!("{}\n", names.join("\n")).into_bytes()),
            )]),
            Self::Transact(database, rest) => Some(vec![
                (DATABASE.to_owned(), bytes(database)),
                (log(), rest.as_ref().and_then(bytes)),
            ]),
            Self::Commit(content) => Some(vec![
                (object(*content), bytes(content)),
                (reference(), bytes(content)),
            ]),
            _ => None,
        }
    }

    /// The contents that it writes.
    pub fn contents(&self) -> Vec<Content> {
        match self {
            Self::Write(_, content)
            | Self::WriteInPlace(_, content)
            | Self::WriteOpen(content)
            | Self::Commit(content)
            | Self::Transact(content, None) => vec![*content],
            Self::Transact(content, Some(log)) => vec![*content, *log],
            _ => Vec::new(),
        }
    }

    /// The paths that it names.
    pub fn paths(&self) -> Vec<String> {
        if let Some(files) = self.files() {
            return files.into_iter().map(|(path, _)| path).collect();
        }
        self.path_names().into_iter().map(str::to_owned).collect()
    }

    fn path_names(&self) -> Vec<&str> {
        match self {
            Self::WriteOpen(_) | Self::Ignore(_) | Self::Transact(..) | Self::Commit(_) => {
                Vec::new()
            }
            Self::Rename(from, to) => vec![from, to],
            Self::Write(path, _)
            | Self::WriteInPlace(path, _)
            | Self::Open(path)
            | Self::Remove(path)
            | Self::MakeFolder(path)
            | Self::Link(path, _)
            | Self::Touch(path)
            | Self::Lock(path)
            | Self::Chmod(path, _)
            | Self::Unlock(path) => vec![path],
        }
    }
}

/// What is in a file: contents of different numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its number.
    pub number: u32,
    /// So many bytes, at least as many as the number needs.
    pub size: u32,
}

impl Content {
    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        // All of it says which version it is: a mix of two is none.
        let name = format!("v{:04}", self.number).into_bytes();
        let size = name.len().max(self.size as usize);
        name.into_iter().cycle().take(size).collect()
    }
}
