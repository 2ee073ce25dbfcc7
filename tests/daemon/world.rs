//! A daemon, its folders, and clients.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_control::{Client, ClientError, Event, EventKind, Refusal, State};
use wl_daemon::{Daemon, DaemonOptions, socket_path};

use crate::relay::{self, Faults};

pub struct World {
    pub dir: TempDir,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    clients: AtomicUsize,
    faults: Faults,
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let faults = self.faults.lock().unwrap();
            assert!(faults.is_empty(), "against the schemas: {faults:#?}");
        }
    }
}

impl World {
    /// A daemon on a new base directory.
    pub async fn new() -> Self {
        let mut world = Self {
            dir: TempDir::new().unwrap(),
            stop: CancellationToken::new(),
            task: None,
            clients: AtomicUsize::new(0),
            faults: Faults::default(),
        };
        for side in ["source", "target"] {
            std::fs::create_dir(world.path(side)).unwrap();
        }
        world.start().await;
        world
    }

    /// Starts the daemon again, after it was ended.
    pub async fn start(&mut self) {
        let daemon = Daemon::start(DaemonOptions {
            base_dir: self.base(),
            socket: None,
            version: "1.2.3".to_owned(),
        });
        let daemon = daemon.await.unwrap();
        self.stop = CancellationToken::new();
        self.task = Some(tokio::spawn(daemon.serve(self.stop.clone())));
    }

    /// Ends the daemon as a signal does.
    pub async fn end(&mut self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Returns when the daemon has ended by itself.
    pub async fn ended(&mut self) {
        self.task.take().unwrap().await.unwrap();
    }

    pub fn base(&self) -> PathBuf {
        self.path("base")
    }

    pub fn socket(&self) -> PathBuf {
        socket_path(&self.base())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As a whole: a job that looks at the wrong moment would else carry over an empty file.
    pub fn write(&self, name: &str, text: &str) {
        let whole = self.path("being-written");
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(whole, self.path(name)).unwrap();
    }

    pub fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    /// A client; all that the daemon says to it is checked against the schemas.
    pub async fn client(&self) -> Client {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&format!("client-{number}"));
        relay::start(&path, &self.socket(), Faults::clone(&self.faults)).await;
        Client::connect(&path).await.unwrap()
    }

    /// The arguments of a job between the two folders.
    pub fn job(&self, id: &str, continuous: bool) -> Value {
        json!({
            "container-name": "box", "job-id": id, "continuous": continuous, "unidirectional": false,
            "source": local(&self.path("source")), "target": local(&self.path("target")),
        })
    }
}

/// A local storage that is looked at every second.
pub fn local(path: &Path) -> Value {
    json!({ "type": "local", "location": path, "watcher-interval": 1 })
}

/// Why a request was refused.
pub fn refused(answer: Result<Value, ClientError>) -> Refusal {
    match answer {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The next event of a type of a job.
pub async fn event(client: &mut Client, id: &str, kind: EventKind) -> Event {
    loop {
        let event = client
            .next_event()
            .await
            .unwrap()
            .expect("the daemon ended");
        if event.kind == kind && event.job_id.as_deref() == Some(id) {
            return event;
        }
    }
}

/// Returns when the job has come into this state, with the state's text.
pub async fn state(client: &mut Client, id: &str, wanted: State) -> String {
    loop {
        let event = event(client, id, EventKind::State).await;
        let (state, text): (State, String) =
            serde_json::from_value(event.fields["state"].clone()).unwrap();
        if state == wanted {
            return text;
        }
    }
}
