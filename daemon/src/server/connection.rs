//! A connection: requests in, answers and events out. A client that is slow, silent or mad holds up nobody but itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wl_control::{Class, Event, EventKind, Frame, Frames, MOST_BYTES, Message, Refusal, framed};

use super::commands::Commands;
use super::requests;
use crate::events::{self, Published, Replay};

/// Connections at one time. Beyond that the one that has been silent the longest is closed.
const MOST_CONNECTIONS: usize = 512;
/// Answers that wait to be read by a client; then its next requests wait.
const QUEUE: usize = 2;
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

    /// Nothing special of this job any more.
    pub(super) fn forget(&mut self, job: &str) {
        self.of_jobs.remove(job);
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

/// What goes out on a connection, apart from events.
enum Outgoing {
    /// An answer.
    Answer(String),
    /// An answer, and the events that a client which came back gets before all others.
    Replay(String, Replay),
}

/// All connections.
pub(super) struct Connections {
    commands: Arc<Commands>,
    tasks: JoinSet<()>,
    open: VecDeque<Open>,
    /// The last one could not be accepted, and that is logged.
    failing: bool,
    /// All work has come to rest: nothing is left to tell.
    ending: CancellationToken,
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
            failing: false,
            ending: CancellationToken::new(),
        }
    }

    /// Serves one more.
    pub(super) async fn add(&mut self, accepted: io::Result<UnixStream>) {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(reason = %error, "connections cannot be accepted");
                }
                // Out of file descriptors, most likely: others have to go first, and asking again at once would only burn time.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        self.failing = false;
        self.commands.counts.connection();
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|open| !open.handle.is_finished());
        if self.open.len() >= MOST_CONNECTIONS {
            tracing::debug!("too many connections: the one that was silent the longest is closed");
            self.close_the_most_silent();
        }
        let heard = Arc::new(Mutex::new(Instant::now()));
        let handle = self.tasks.spawn(serve(
            stream,
            Arc::clone(&self.commands),
            Arc::clone(&heard),
            self.ending.clone(),
        ));
        self.open.push_back(Open { handle, heard });
    }

    fn close_the_most_silent(&mut self) {
        let silent = self.open.iter().enumerate();
        let silent = silent.min_by_key(|(_, open)| *locked(&open.heard));
        if let Some((at, _)) = silent
            && let Some(open) = self.open.remove(at)
        {
            open.handle.abort();
        }
    }

    /// Ends all, after a moment for what is on its way. Until then they stay open: that one is closed tells its client that the
    /// daemon has come to rest.
    pub(super) async fn end(mut self) {
        self.ending.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who does not read in time has read nothing for longer than that.
        let _ = tokio::time::timeout(FAREWELL, all).await;
        self.tasks.abort_all();
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    stream: UnixStream,
    commands: Arc<Commands>,
    heard: Arc<Mutex<Instant>>,
    ending: CancellationToken,
) {
    let live = commands.hub.listen();
    let wishes = Arc::new(Mutex::new(Wishes::default()));
    let (reader, writer) = stream.into_split();
    let (out, outgoing) = mpsc::channel(QUEUE);
    let mut speaking = pin!(speak(writer, outgoing, live, Arc::clone(&wishes)));
    tokio::select! {
        () = hear(reader, &commands, out, &wishes, &heard) => {}
        () = ending.cancelled() => {}
        // There is nobody to speak to.
        _ = &mut speaking => return,
    }
    // A client may close its side and still read the answers that wait. That it is gone is no error.
    let _ = speaking.await;
}

/// Reads requests and has them carried out, one after another.
async fn hear(
    mut reader: OwnedReadHalf,
    commands: &Commands,
    out: mpsc::Sender<Outgoing>,
    wishes: &Mutex<Wishes>,
    heard: &Mutex<Instant>,
) {
    let mut frames = Frames::default();
    let mut bytes = vec![0; 8 * 1024];
    loop {
        for frame in frames.by_ref() {
            *locked(heard) = Instant::now();
            let (outgoing, shutdown) = answer(frame, commands, wishes).await;
            let sent = out.send(outgoing).await;
            if shutdown {
                commands.shutdown.cancel();
            }
            if sent.is_err() {
                return;
            }
        }
        match reader.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => frames.push(&bytes[..count]),
        }
    }
}

/// The answer to a message, and whether the daemon ends with it.
async fn answer(frame: Frame, commands: &Commands, wishes: &Mutex<Wishes>) -> (Outgoing, bool) {
    let read = match frame {
        Frame::Message(message) => requests::read(&message),
        Frame::TooLong => Err((Value::Null, too_long())),
    };
    let request = match read {
        Ok(request) => request,
        Err((id, error)) => {
            log(commands, Some(&error));
            return (Outgoing::Answer(text(Message::Error { error, id })), false);
        }
    };
    let id = request.id.clone();
    let outcome = commands.carry_out(request, wishes).await;
    log(commands, outcome.answer.as_ref().err());
    let text = text(match outcome.answer {
        Ok(result) => Message::Result { result, id },
        Err(error) => Message::Error { error, id },
    });
    let outgoing = match outcome.replay {
        Some(replay) => Outgoing::Replay(text, replay),
        None => Outgoing::Answer(text),
    };
    (outgoing, outcome.shutdown)
}

/// Counts a request. Of one that is refused the class is logged: what is in it may be a secret.
fn log(commands: &Commands, refusal: Option<&Refusal>) {
    commands.counts.request(refusal.is_some());
    if let Some(refusal) = refusal {
        tracing::debug!(class = refusal.class, "a request was refused");
    }
}

fn too_long() -> Refusal {
    Refusal::new(
        Class::Malformed,
        format!("the message is longer than {MOST_BYTES} bytes; send a shorter one"),
    )
}

fn text(message: Message) -> String {
    // Messages are made of texts, numbers and JSON values: they can always be written.
    framed(&serde_json::to_string(&message).unwrap_or_default())
}

/// Writes answers, and the events that are wanted. Answers go first.
async fn speak(
    mut writer: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Outgoing>,
    mut live: broadcast::Receiver<Arc<Published>>,
    wishes: Arc<Mutex<Wishes>>,
) -> io::Result<()> {
    // Events were lost that this client may have wanted.
    let mut gap = false;
    loop {
        tokio::select! {
            biased;
            out = outgoing.recv() => match out {
                None => return Ok(()),
                Some(Outgoing::Answer(text)) => writer.write_all(text.as_bytes()).await?,
                Some(Outgoing::Replay(text, replay)) => {
                    writer.write_all(text.as_bytes()).await?;
                    live = replay.live;
                    gap = replay.missed;
                    for event in &replay.events {
                        tell(&mut writer, &wishes, event, &mut gap).await?;
                    }
                }
            },
            event = live.recv() => match event {
                Ok(event) => tell(&mut writer, &wishes, &event, &mut gap).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => gap = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

async fn tell(
    writer: &mut OwnedWriteHalf,
    wishes: &Mutex<Wishes>,
    published: &Published,
    gap: &mut bool,
) -> io::Result<()> {
    if std::mem::take(gap) {
        let missed = events::missed(published.event.number);
        writer.write_all(missed.as_bytes()).await?;
    }
    let wanted = locked(wishes).want(&published.event);
    if wanted {
        writer.write_all(published.text.as_bytes()).await?;
    }
    Ok(())
}
