//! What each command does.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wl_control::{Class, EventKind, PROTOCOL, Refusal, Request, Version};
use wl_core::model::SyncPath;
use wl_core::sync::Keep;

use super::connection::{Wishes, locked};
use crate::LOCAL;
use crate::events::{Hub, Replay};
use crate::jobs::{Jobs, StartRequest, StorageRequest};
use crate::metrics::Counts;

/// What commands work on.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) jobs: Jobs,
    pub(super) hub: Arc<Hub>,
    pub(super) counts: Arc<Counts>,
    pub(super) version: String,
    /// Ends the daemon.
    pub(super) shutdown: CancellationToken,
}

/// What came of a command.
pub(super) struct Outcome {
    pub(super) answer: Result<Value, Refusal>,
    /// Events that the connection is to get before all others.
    pub(super) replay: Option<Replay>,
    /// The daemon ends once the answer is on its way.
    pub(super) shutdown: bool,
}

impl From<Result<Value, Refusal>> for Outcome {
    fn from(answer: Result<Value, Refusal>) -> Self {
        Self {
            answer,
            replay: None,
            shutdown: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OneJob {
    job_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ActiveEvents {
    job_id: String,
    active_events: Vec<EventKind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Subscribe {
    since: Option<u64>,
    job_id: Option<String>,
    active_events: Option<Vec<EventKind>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Conflicts {
    job_id: String,
    start_after: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Resolve {
    job_id: String,
    paths: Vec<String>,
    keep: Keep,
}

impl Commands {
    /// Carries out a request that fits the schema. `wishes` are those of the connection that it came from.
    pub(super) async fn carry_out(&self, request: Request, wishes: &Mutex<Wishes>) -> Outcome {
        match &*request.cmd {
            "subscribe" => self.subscribe(request.args, wishes),
            "shutdown" => Outcome {
                shutdown: true,
                ..Outcome::from(Ok(json!("the daemon ends")))
            },
            _ => self.answer(request, wishes).await.into(),
        }
    }

    async fn answer(&self, request: Request, wishes: &Mutex<Wishes>) -> Result<Value, Refusal> {
        let Request { cmd, args, .. } = request;
        let job = || args_of::<OneJob>(args.clone()).map(|args| args.job_id);
        match &*cmd {
            "start" => self.start(args_of(args)?, wishes).await,
            "stop" => self.jobs.stop(&job()?).await,
            "stop-all" => self.jobs.stop_all().await,
            "status" => self.jobs.status().await,
            "jobs" => self.jobs.jobs().await,
            "job-state" => self.jobs.job_state(&job()?).await,
            "pause" => self.jobs.pause(&job()?).await,
            "resume" => self.jobs.resume(&job()?).await,
            "active-events" => self.active_events(args_of(args)?, wishes).await,
            "conflicts" => {
                let args: Conflicts = args_of(args)?;
                self.jobs.conflicts(&args.job_id, args.start_after).await
            }
            "resolve" => {
                let args: Resolve = args_of(args)?;
                let paths = args.paths.iter().map(|path| SyncPath::new(&**path));
                let paths: Result<Vec<_>, _> = paths.collect();
                let paths = paths.map_err(|error| usage(error.to_string()))?;
                if let Some(ours) = paths.iter().find(|path| path.is_reserved()) {
                    return Err(usage(format!(
                        "`{ours}` belongs to wl and is never in conflict; name a path that is synced"
                    )));
                }
                self.jobs.resolve(&args.job_id, paths, args.keep).await
            }
            "version" => Ok(json!(Version {
                version: self.version.clone(),
                protocol: PROTOCOL,
                pid: std::process::id(),
            })),
            other => Err(Refusal::new(
                Class::UnknownCommand,
                format!(
                    "`{other}` is in the schema, and this daemon does not do it; please report that"
                ),
            )),
        }
    }

    async fn start(&self, request: StartRequest, wishes: &Mutex<Wishes>) -> Result<Value, Refusal> {
        for storage in [&request.source, &request.target] {
            check_place(storage)?;
        }
        let (id, events) = (request.job_id.clone(), request.active_events.clone());
        let is_new = self.jobs.job_state(&id).await?.is_null();
        // Said before it starts: none of its events comes too early.
        if let Some(events) = events.filter(|_| is_new) {
            locked(wishes).narrow(Some(id.clone()), &events);
        }
        let answer = self.jobs.start(request).await;
        if answer.is_err() && is_new {
            locked(wishes).forget(&id);
        }
        answer
    }

    async fn active_events(
        &self,
        args: ActiveEvents,
        wishes: &Mutex<Wishes>,
    ) -> Result<Value, Refusal> {
        if self.jobs.job_state(&args.job_id).await?.is_null() {
            return Err(Refusal::new(
                Class::UnknownJob,
                format!(
                    "there is no job `{}`; `wl status` shows which there are",
                    args.job_id
                ),
            ));
        }
        locked(wishes).narrow(Some(args.job_id), &args.active_events);
        Ok(json!("done"))
    }

    fn subscribe(&self, args: Value, wishes: &Mutex<Wishes>) -> Outcome {
        let args: Subscribe = match args_of(args) {
            Ok(args) => args,
            Err(refusal) => return Err(refusal).into(),
        };
        if let Some(job) = args.job_id {
            locked(wishes).only(job);
        }
        if let Some(events) = args.active_events {
            locked(wishes).narrow(None, &events);
        }
        let replay = self.hub.replay(args.since.unwrap_or(u64::MAX));
        let answer = match args.since {
            Some(_) => json!({ "next": replay.next, "missed": replay.missed }),
            None => json!({ "next": replay.next, "missed": false }),
        };
        Outcome {
            answer: Ok(answer),
            replay: args.since.map(|_| replay),
            shutdown: false,
        }
    }
}

/// The arguments as the command takes them. The schema was checked before; what it cannot say is told here.
fn args_of<T: DeserializeOwned>(args: Value) -> Result<T, Refusal> {
    serde_json::from_value(args).map_err(|error| usage(format!("{error}; correct the arguments")))
}

fn usage(desc: String) -> Refusal {
    Refusal::new(Class::Usage, desc)
}

/// The daemon is nowhere that a relative path could begin.
fn check_place(storage: &StorageRequest) -> Result<(), Refusal> {
    let location = storage.params.get("location").and_then(Value::as_str);
    match location.filter(|_| storage.type_name == LOCAL) {
        Some(relative) if !Path::new(relative).is_absolute() => Err(usage(format!(
            "the location `{relative}` is relative, and the daemon cannot know to what; give an absolute path"
        ))),
        _ => Ok(()),
    }
}
