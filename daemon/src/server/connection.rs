//! A connection: requests in, answers and events out. A client that is slow, silent or mad holds up nobody but itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use wl_control::{Class, Event, EventKind, Frame, Frames, MOST_BYTES, Message, Refusal, framed};

use super::commands::Commands;
use super::requests;
use crate::events::{self, Published, Replay};

/// Connections at one time. Beyond that the one that has been silent the longest is closed.
const MOST_CONNECTIONS: usize = 512;
/// Answers that wait to be read by a client; then its next requests wait.
const QUEUE: usize = 16;
/// How long answers have to get out when the daemon ends.
const FAREWELL: Duration = Duration::from_millis(200);

/// Which events a connection wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// Of this job only.
    job: Option<String>,
    /// Of these types only, where nothing else is said; empty: all.
    types: Vec<EventKind>,
    /// Of these types only, for single jobs; empty: all.
    of_jobs: BTreeMap<String, Vec<EventKind>>,
}

impl Wishes {
    /// Only these types, of one job or of all; an empty list means all types.
    pub(super) fn narrow(&mut self, job: Option<String>, types: &[EventKind]) {
        match job {
            // A client cannot make the daemon remember without end.
            Some(_) if self.of_jobs.len() >= 10_000 => {}
            Some(job) => {
                self.of_jobs.insert(job, types.to_vec());
            }
            None => self.types = types.to_vec(),
        }
    }

    /// Only this job.
    pub(super) fn only(&mut self, job: String) {
        self.job = Some(job);
    }

    fn want(&self, event: &Event) -> bool {
        let of = event.job_id.as_deref().unwrap_or_default();
        if self.job.as_deref().is_some_and(|job| job != of) {
            return false;
        }
        let types = self.of_jobs.get(of).unwrap_or(&self.types);
        types.is_empty() || types.contains(&event.kind)
    }
}

/// What goes out on a connection.
enum Outgoing {
    Answer(String),
    /// An answer, these wishes from now on, and the events that a client which came back gets first.
    Wishes(String, Wishes, Option<Replay>),
}

/// All connections.
pub(super) struct Connections {
    commands: Arc<Commands>,
    tasks: JoinSet<()>,
    open: VecDeque<Open>,
}

struct Open {
    handle: AbortHandle,
    heard: Arc<Mutex<Instant>>,
}

impl Connections {
    pub(super) fn new(commands: Arc<Commands>) -> Self {
        Self {
            commands,
            tasks: JoinSet::new(),
            open: VecDeque::new(),
        }
    }

    /// Serves one more.
    pub(super) async fn add(&mut self, accepted: io::Result<UnixStream>) {
        let Ok(stream) = accepted else {
            // Out of file descriptors, most likely: others have to go first, and asking again at once would only burn time.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return;
        };
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|open| !open.handle.is_finished());
        if self.open.len() >= MOST_CONNECTIONS {
            self.close_the_most_silent();
        }
        let heard = Arc::new(Mutex::new(Instant::now()));
        let handle = self
            .tasks
            .spawn(serve(stream, Arc::clone(&self.commands), Arc::clone(&heard)));
        self.open.push_back(Open { handle, heard });
    }

    fn close_the_most_silent(&mut self) {
        let silent = self.open.iter().enumerate();
        let silent = silent.min_by_key(|(_, open)| *lock(&open.heard));
        if let Some((at, _)) = silent
            && let Some(open) = self.open.remove(at)
        {
            open.handle.abort();
        }
    }

    /// Ends all, after a moment for what is on its way.
    pub(super) async fn end(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who does not read in time has read nothing for longer than that.
        let _ = tokio::time::timeout(FAREWELL, all).await;
        self.tasks.abort_all();
    }
}

fn lock(heard: &Mutex<Instant>) -> std::sync::MutexGuard<'_, Instant> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: UnixStream, commands: Arc<Commands>, heard: Arc<Mutex<Instant>>) {
    let live = commands.hub.listen();
    let (reader, writer) = stream.into_split();
    let (out, outgoing) = mpsc::channel(QUEUE);
    // Whichever ends first ends the other: nobody to speak to, or nobody to listen to.
    tokio::select! {
        () = hear(reader, &commands, out, &heard) => {}
        _ = speak(writer, outgoing, live) => {}
    }
}

/// Reads requests and has them carried out, one after another.
async fn hear(
    mut reader: OwnedReadHalf,
    commands: &Commands,
    out: mpsc::Sender<Outgoing>,
    heard: &Mutex<Instant>,
) {
    let mut frames = Frames::default();
    let mut wishes = Wishes::default();
    let mut bytes = vec![0; 8 * 1024];
    loop {
        while let Some(frame) = frames.next() {
            *lock(heard) = Instant::now();
            let (outgoing, shutdown) = answer(frame, commands, &mut wishes).await;
            let sent = out.send(outgoing).await;
            if shutdown {
                commands.shutdown.cancel();
            }
            if sent.is_err() {
                return;
            }
        }
        tokio::select! {
            read = reader.read(&mut bytes) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => frames.push(&bytes[..count]),
            },
            () = commands.shutdown.cancelled() => break,
        }
    }
    // The answers that wait are still written; a client may close its side and read on.
    let closed = out.clone();
    drop(out);
    closed.closed_after_flush().await;
}
