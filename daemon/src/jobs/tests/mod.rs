//! Jobs by a clock that only moves when nothing else does: every state, and what leads from one to the other.

mod conflicts;
mod faults;
mod saving;
mod stops;
mod storage;
mod together;

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;
use wl_control::{EventKind, JobStatus, State};

use super::{Jobs, StartRequest};
use crate::events::{Hub, Published};
use storage::Place;

/// Jobs without a socket, and storages for them.
struct World {
    dir: TempDir,
    jobs: Jobs,
    hub: Arc<Hub>,
    events: broadcast::Receiver<Arc<Published>>,
    source: Arc<Place>,
    target: Arc<Place>,
}

fn take_up(dir: &TempDir, hub: &Arc<Hub>) -> Jobs {
    Jobs::take_up(&dir.path().join("base"), Arc::clone(hub))
        .unwrap()
        .0
}

fn request(id: &str, source: Value, target: Value) -> StartRequest {
    let storage = |params: Value| {
        let mut storage = json!({ "type": "place", "watcher-interval": 10 });
        storage
            .as_object_mut()
            .unwrap()
            .extend(params.as_object().unwrap().clone());
        storage
    };
    serde_json::from_value(json!({
        "container-name": "box", "job-id": id, "continuous": true, "unidirectional": false,
        "source": storage(source), "target": storage(target),
    }))
    .unwrap()
}

fn between(id: &str, source: &Place, target: &Place) -> StartRequest {
    request(
        id,
        json!({"name": source.name}),
        json!({"name": target.name}),
    )
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let hub = Arc::new(Hub::starting_at(1));
        Self {
            jobs: take_up(&dir, &hub),
            events: hub.listen(),
            dir,
            hub,
            source: Place::new(),
            target: Place::new(),
        }
    }

    /// A job between source and target that is in sync, with a file.
    async fn synced() -> Self {
        let mut world = Self::new();
        world.source.memory.write_file("a", "1").unwrap();
        world.start("j").await;
        world.comes_to("j", State::Synced).await;
        assert!(world.target.memory.read_file("a").is_some());
        world
    }

    fn request(&self, id: &str) -> StartRequest {
        between(id, &self.source, &self.target)
    }

    async fn start(&self, id: &str) {
        self.jobs.start(self.request(id)).await.unwrap();
    }

    /// The next state that is told of a job.
    async fn next_state(&mut self, id: &str) -> (State, String) {
        loop {
            let published = self.events.recv().await.unwrap();
            let event = &published.event;
            if event.kind == EventKind::State && event.job_id.as_deref() == Some(id) {
                return serde_json::from_value(event.fields["state"].clone()).unwrap();
            }
        }
    }

    /// Returns when the job has come to this state, with all that were told, this one included.
    async fn comes_to(&mut self, id: &str, wanted: State) -> Vec<(State, String)> {
        let mut passed = Vec::new();
        loop {
            let state = self.next_state(id).await;
            passed.push(state);
            if passed[passed.len() - 1].0 == wanted {
                return passed;
            }
        }
    }

    async fn status(&self, id: &str) -> JobStatus {
        let all = self.jobs.status().await.unwrap();
        let all: Vec<JobStatus> = serde_json::from_value(all).unwrap();
        all.into_iter().find(|job| job.job_id == id).unwrap()
    }

    /// Ends the jobs as the end of the daemon does, and takes them up again.
    async fn restart(&mut self) {
        self.jobs.close().await;
        self.events = self.hub.listen();
        self.jobs = take_up(&self.dir, &self.hub);
    }
}
