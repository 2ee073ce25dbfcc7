//! The daemon as a process that can be killed, and what it says of its jobs. The suite `live` has this file too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use wl_control::{Client, JobStatus, State};

/// Far more than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The daemon's process.
pub struct Running {
    child: Child,
    socket: PathBuf,
}

impl Running {
    /// Starts one; it listens when this returns.
    pub fn start(base: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wl"))
            .args(["daemon", "--announce", "--base-dir"])
            .arg(base)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        let socket = wl_daemon::socket_path(base);
        Self { child, socket }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves none behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn job(id: &str, source: &Path, target: &Path) -> Value {
    let local = |path: &Path| json!({ "type": "local", "location": path, "watcher-interval": 1 });
    json!({
        "container-name": "box", "job-id": id, "continuous": true, "unidirectional": false,
        "source": local(source), "target": local(target),
        "options": { "max-delete": "100%" },
    })
}

pub async fn status(client: &mut Client) -> Vec<JobStatus> {
    serde_json::from_value(client.ask("status", json!({})).await.unwrap()).unwrap()
}

/// Whether a job has looked at everything and has nothing left to do by itself.
pub fn is_settled(job: &JobStatus) -> bool {
    let only_conflicts = job.state.0 == State::Running
        && job.error_count == 0
        && job.conflict_count > 0
        && job.state.1.ends_with(" left");
    job.done.looks > 0 && (job.state.0 == State::Synced || only_conflicts)
}

/// Waits, by the daemon's events, until `done` says so of all jobs.
pub async fn all(client: &mut Client, done: impl Fn(&JobStatus) -> bool) -> Vec<JobStatus> {
    let waiting = async {
        loop {
            let jobs = status(client).await;
            if jobs.iter().all(&done) {
                return jobs;
            }
            client.next_event().await.unwrap().expect("it ended");
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(jobs) => jobs,
        Err(_) => panic!("not done: {:#?}", status(client).await),
    }
}
