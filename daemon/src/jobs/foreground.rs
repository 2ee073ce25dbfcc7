//! One continuous job without a daemon: for as long as whoever started it attends to it, and remembered by nobody.

use std::sync::Arc;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use wl_control::{Event, EventKind, JobStatus, Refusal};
use wl_core::model::{Direction, RunError};
use wl_core::sync::{SyncError, SyncErrorClass};

use super::owner::Owner;
use super::{Jobs, Options, QUEUE, StartRequest, StorageRequest};
use crate::JobSpec;
use crate::events::{Hub, Published, now};
use crate::job::{self, Ties};

/// The name of the job, which is alone.
const NAME: &str = "sync";

/// Keeps two storages equal until `stop`, and hands over what happens. Returns how the job stood then, or at once why it cannot
/// begin; `None` if it was stopped before it began.
pub async fn attend(
    spec: &JobSpec,
    stop: CancellationToken,
    mut hear: impl FnMut(&Event),
) -> Result<Option<JobStatus>, SyncError> {
    // What is wrong from the start is wrong use, or a storage that was never there: nobody waits for that to change.
    let ties = Ties {
        cancel: stop.clone(),
        ..Ties::default()
    };
    match job::prepare(spec, ties).await {
        Ok(prepared) => prepared.keep_target()?,
        Err(error) if error.class == SyncErrorClass::Cancelled => return Ok(None),
        Err(error) => return Err(error),
    }
    let hub = Arc::new(Hub::starting_now());
    let mut live = hub.listen();
    let (asks, questions) = mpsc::channel(QUEUE);
    tokio::spawn(Owner::new(spec.base_dir.clone(), None, hub).work(questions));
    let jobs = Jobs { asks };
    jobs.start(request(spec)).await.map_err(refused)?;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = live.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => {
                    hear(&missed());
                    continue;
                }
                Err(RecvError::Closed) => break,
            },
        };
        if let Some(error) = hopeless(&event.event) {
            jobs.close().await;
            return Err(error);
        }
        hear(&event.event);
    }
    let status = jobs.status().await.map_err(refused)?;
    drain(&mut live, &mut hear);
    jobs.close().await;
    let mut all: Vec<JobStatus> = serde_json::from_value(status)
        .map_err(|error| SyncError::new(SyncErrorClass::State, error.to_string()))?;
    Ok(all.pop())
}

/// What no waiting and no trying again mends, while somebody sits there and looks on.
fn hopeless(event: &Event) -> Option<SyncError> {
    let problem = event.fields.get("problem")?;
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let error = RunError {
        class: text("class"),
        desc: text("reason"),
    };
    // Problems of single paths have no class.
    let hopeless = matches!(&*error.class, "usage" | "nested" | "weak-cas");
    hopeless.then(|| error.into())
}

/// Hands over what happened until now.
fn drain(live: &mut broadcast::Receiver<Arc<Published>>, hear: &mut impl FnMut(&Event)) {
    loop {
        match live.try_recv() {
            Ok(event) => hear(&event.event),
            Err(TryRecvError::Lagged(_)) => hear(&missed()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn missed() -> Event {
    Event {
        kind: EventKind::Missed,
        job_id: None,
        number: 0,
        time: now(),
        fields: serde_json::Map::new(),
    }
}

fn refused(refusal: Refusal) -> SyncError {
    let Refusal { class, desc } = refusal;
    RunError { class, desc }.into()
}

fn request(spec: &JobSpec) -> StartRequest {
    let storages = spec.storages.as_ref();
    let storages = storages.map(|storage| StorageRequest::new(storage, None));
    StartRequest {
        container_name: NAME.to_owned(),
        job_id: NAME.to_owned(),
        source: storages.source,
        target: storages.target,
        continuous: true,
        unidirectional: spec.options.direction == Direction::OneWay,
        active_events: None,
        options: Options::of(&spec.options, spec.limits),
    }
}
