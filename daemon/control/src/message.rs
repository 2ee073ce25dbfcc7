//! What the messages say.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The commands and what they take, as JSON Schema: `schemas/sync-commands.json`.
pub const COMMANDS: &str = include_str!("../../../schemas/sync-commands.json");

/// The protocol's version. Another one cannot be spoken to.
pub const PROTOCOL: u32 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The command.
    pub cmd: String,
    /// What it takes; `null` stands for nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// Comes back with the answer: a whole number, a text or `null`.
    #[serde(default)]
    pub id: Value,
}

/// What the daemon sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// The request was carried out.
    Result {
        /// What came of it.
        result: Value,
        /// The request's.
        id: Value,
    },
    /// It was not.
    Error {
        /// Why.
        error: Refusal,
        /// The request's; `null` if it could not be read.
        id: Value,
    },
    /// Something happened.
    Event {
        /// What.
        event: Event,
    },
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{desc}")]
pub struct Refusal {
    /// For programs: see [`Class`] and the classes of runs.
    pub class: String,
    /// For people, ending in what to do.
    pub desc: String,
}

/// The classes of refusals that are the protocol's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The message is no request: not UTF-8, not JSON, not of a request's form, or too long.
    Malformed,
    /// There is no such command.
    UnknownCommand,
    /// The command does not take these arguments.
    Usage,
    /// There is no such job.
    UnknownJob,
    /// There is such a job already.
    JobExists,
    /// The daemon is ending, or cannot do it for another reason.
    Failed,
}

impl Class {
    /// As it is written in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Malformed => "malformed",
            Class::UnknownCommand => "unknown-command",
            Class::Usage => "usage",
            Class::UnknownJob => "unknown-job",
            Class::JobExists => "job-exists",
            Class::Failed => "failed",
        }
    }
}

impl Refusal {
    /// A refusal of `class`.
    pub fn new(class: Class, desc: impl Into<String>) -> Self {
        Self {
            class: class.as_str().to_owned(),
            desc: desc.into(),
        }
    }
}

/// An event. Events of all jobs have one row of numbers, which grows over restarts of the daemon too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `state`, `progress`, `conflict` or `error`; or `missed`.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The job; none in `missed`.
    #[serde(rename = "job-id", default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Its place in the row of events.
    pub number: u64,
    /// When it happened, in seconds since 1970.
    pub time: f64,
    /// What belongs to the type.
    #[serde(flatten)]
    pub fields: serde_json::Map<String, Value>,
}

/// The types of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A job's state changed: `state`, as in `job-state`.
    State,
    /// A job went on: `progress`, as in `status`. At most one a second for each job.
    Progress,
    /// A conflict was found that was not open before: `conflict`.
    Conflict,
    /// A path or a whole run failed that did not fail before: `problem`.
    Error,
    /// Events before this one were not delivered, as the receiver was too slow or too long away.
    Missed,
}

/// The states of a job, with the numbers that they have on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum State {
    /// It does not run; conflicts may be left.
    Stopped = 1,
    /// It works, or conflicts, problems or changes are left.
    Running = 2,
    /// Both sides were equal at the last look, and nothing is known to have changed.
    Synced = 3,
    /// It runs once.
    OneShot = 4,
    /// It failed.
    Error = 5,
    /// It waits: for a storage, or to be resumed.
    Paused = 6,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] = [
        State::Stopped,
        State::Running,
        State::Synced,
        State::OneShot,
        State::Error,
        State::Paused,
    ];

    /// The name, for people.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "STOPPED",
            State::Running => "RUNNING",
            State::Synced => "SYNCED",
            State::OneShot => "ONE_SHOT",
            State::Error => "ERROR",
            State::Paused => "PAUSED",
        }
    }
}

impl From<State> for u8 {
    fn from(state: State) -> u8 {
        state as u8
    }
}

impl TryFrom<u8> for State {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| *state as u8 == number);
        known.ok_or_else(|| format!("there is no state {number}"))
    }
}

/// What `version` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The program's version.
    pub version: String,
    /// The protocol's version.
    pub protocol: u32,
    /// The daemon's process.
    pub pid: u32,
}
