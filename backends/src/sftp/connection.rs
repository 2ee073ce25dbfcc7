//! One connection: many requests on their way at once, each answered by its number.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::packet::{self, Body, Packet, Taker};

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The server refused.
    Refused { code: u32, message: String },
    /// The connection broke: nobody knows whether it was done.
    Broken(String),
    /// There was no connection to begin with: nothing was sent.
    NotConnected(Arc<super::dial::Failure>),
}

pub(super) type Answered<T> = Result<T, Trouble>;

impl Trouble {
    /// Whether the server refused with this code.
    pub(super) fn is(&self, wanted: u32) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

/// The two ends of a server, and the program that leads there.
pub(super) struct Ends {
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    /// What the program says about itself when it fails.
    pub(super) complaints: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Killed when the connection is dropped.
    pub(super) child: Option<Child>,
    /// How long the server may be silent.
    pub(super) silence: Silence,
}

/// How long a server may answer nothing while it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub(super) usual: Duration,
    /// While it copies a large file or makes one durable, which is one request.
    pub(super) long: Duration,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            usual: Duration::from_secs(60),
            long: Duration::from_secs(15 * 60),
        }
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

/// Extensions and limits of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    pub(super) hardlink: bool,
    pub(super) posix_rename: bool,
    pub(super) fsync: bool,
    pub(super) copy_data: bool,
    pub(super) statvfs: bool,
    limits: bool,
    /// Bytes that one read may ask for.
    pub(super) read: u32,
    /// Bytes that one write may carry.
    pub(super) write: u32,
}

impl Offers {
    /// What a server offers at best: OpenSSH's.
    pub(super) const fn all() -> Self {
        Self {
            hardlink: true,
            posix_rename: true,
            fsync: true,
            copy_data: true,
            statvfs: true,
            limits: true,
            read: PIECE,
            write: PIECE,
        }
    }
}

/// What every server of version 3 takes.
const PIECE: u32 = 32 * 1024;
/// More than this in one request wins nothing.
const LARGE_PIECE: u64 = 128 * 1024;

#[derive(Debug)]
struct Waiting {
    next: u32,
    answers: HashMap<u32, Awaited>,
    /// When an answer came last, or when there was something to answer after all was answered.
    quiet: Instant,
    broken: Option<String>,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Awaited {
    answer: oneshot::Sender<Reply>,
    /// How long the server may be silent for it.
    silence: Duration,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    to: mpsc::UnboundedSender<Bytes>,
    /// The last of what the program complained about.
    complaints: Mutex<Vec<u8>>,
}

/// What a request was answered with.
#[derive(Debug)]
enum Reply {
    Handle(Handle),
    Other(Body),
}

/// A file or folder that is open on the server; closed when it is dropped.
#[derive(Debug)]
pub(super) struct Handle {
    name: Bytes,
    shared: Option<Arc<Shared>>,
}

/// A request on its way. Nothing is held up if it is dropped: the server carries it out all the same.
#[derive(Debug)]
pub(super) struct Answer {
    reply: Option<oneshot::Receiver<Reply>>,
    shared: Arc<Shared>,
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    offers: Offers,
    silence: Silence,
    tasks: Vec<JoinHandle<()>>,
    child: Option<Child>,
}

impl Connection {
    /// Greets the server and learns what it offers.
    pub(super) async fn open(mut ends: Ends) -> Result<Self, (String, Vec<u8>)> {
        let (to, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                next: 0,
                answers: HashMap::new(),
                quiet: Instant::now(),
                broken: None,
            }),
            to,
            complaints: Mutex::default(),
        });
        let mut this = Self {
            offers: Offers::none(),
            silence: ends.silence,
            tasks: Vec::new(),
            child: ends.child.take(),
            shared: Arc::clone(&shared),
        };
        let heard = ends.complaints.take().map(|from| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { listen(from, &shared).await })
        });
        match greet(&mut ends).await {
            Ok(offers) => this.offers = offers,
            Err(error) => {
                // What the program says comes last, and it is the better explanation; a program that hangs is killed first.
                if let Some(child) = &mut this.child {
                    drop(ends);
                    let _ = tokio::time::timeout(super::PATIENCE, child.wait()).await;
                }
                if let Some(heard) = heard {
                    let _ = tokio::time::timeout(super::PATIENCE, heard).await;
                }
                return Err((error.to_string(), shared.complaints()));
            }
        }
        this.tasks.extend(heard);
        let Ends { to, from, .. } = ends;
        this.tasks
            .push(tokio::spawn(send(to, queue, Arc::clone(&shared))));
        this.tasks
            .push(tokio::spawn(watch(Arc::clone(&shared), this.silence.usual)));
        this.tasks.push(tokio::spawn(receive(from, shared)));
        if this.offers.limits {
            this.learn_limits().await;
        }
        Ok(this)
    }

    /// What the server offers.
    pub(super) fn offers(&self) -> Offers {
        self.offers
    }

    /// Whether it has broken.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.lock().broken.is_some()
    }

    /// Sends a request.
    pub(super) fn ask(&self, kind: u8, fill: impl FnOnce(Packet) -> Packet) -> Answer {
        self.ask_within(self.silence.usual, kind, fill)
    }

    fn ask_within(
        &self,
        silence: Duration,
        kind: u8,
        fill: impl FnOnce(Packet) -> Packet,
    ) -> Answer {
        let (answer, reply) = oneshot::channel();
        let mut waiting = self.shared.lock();
        let id = waiting.next;
        waiting.next = waiting.next.wrapping_add(1);
        if waiting.broken.is_none() {
            if waiting.answers.is_empty() {
                waiting.quiet = Instant::now();
            }
            let awaited = Awaited { answer, silence };
            waiting.answers.insert(id, awaited);
            // In the same order as the numbers; the queue takes what it is given without waiting.
            let _ = self.shared.to.send(fill(Packet::new(kind, id)).finish());
        }
        Answer {
            reply: Some(reply),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Sends a request of an extension.
    pub(super) fn ask_extended(&self, name: &str, fill: impl FnOnce(Packet) -> Packet) -> Answer {
        let silence = match name {
            "copy-data" | "fsync@openssh.com" => self.silence.long,
            _ => self.silence.usual,
        };
        self.ask_within(silence, packet::EXTENDED, |packet| {
            fill(packet.string(name.as_bytes()))
        })
    }

    async fn learn_limits(&mut self) {
        let answer = self.ask_extended("limits@openssh.com", |packet| packet);
        if let Ok(Body::Extended(bytes)) = answer.body().await {
            let mut taker = Taker(bytes);
            let limits = (taker.u64(), taker.u64(), taker.u64());
            if let (Some(_), Some(read), Some(write)) = limits {
                self.offers.read = piece(read);
                self.offers.write = piece(write);
            }
        }
    }
}

/// As much as the server allows, within reason; 0 means that it does not say.
fn piece(allowed: u64) -> u32 {
    match allowed {
        0 => PIECE,
        allowed => u32::try_from(allowed.min(LARGE_PIECE)).unwrap_or(PIECE),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.fail("the connection was given up");
        for task in &self.tasks {
            task.abort();
        }
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
    }
}

impl Offers {
    fn none() -> Self {
        Self {
            hardlink: false,
            posix_rename: false,
            fsync: false,
            copy_data: false,
            statvfs: false,
            limits: false,
            read: PIECE,
            write: PIECE,
        }
    }

    fn learn(&mut self, name: &[u8]) {
        match name {
            b"hardlink@openssh.com" => self.hardlink = true,
            b"posix-rename@openssh.com" => self.posix_rename = true,
            b"fsync@openssh.com" => self.fsync = true,
            b"copy-data" => self.copy_data = true,
            b"statvfs@openssh.com" => self.statvfs = true,
            b"limits@openssh.com" => self.limits = true,
            _ => {}
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complaints(&self) -> Vec<u8> {
        let complaints = self.complaints.lock();
        complaints.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All who wait learn that there will be no answer.
    fn fail(&self, reason: &str) {
        let mut waiting = self.lock();
        waiting.broken.get_or_insert_with(|| reason.to_owned());
        waiting.answers.clear();
    }

    fn why(&self) -> String {
        let reason = self.lock().broken.clone();
        let reason = reason.unwrap_or_else(|| "the connection broke".to_owned());
        match super::dial::last_lines(&self.complaints()) {
            lines if lines.is_empty() => reason,
            lines => format!("{reason} ({lines})"),
        }
    }
}

impl Answer {
    async fn reply(&mut self) -> Answered<Reply> {
        let reply = match &mut self.reply {
            Some(reply) => reply.await.ok(),
            None => None,
        };
        self.reply = None;
        reply.ok_or_else(|| Trouble::Broken(self.shared.why()))
    }

    /// The answer, if it is no refusal.
    pub(super) async fn body(mut self) -> Answered<Body> {
        match self.reply().await? {
            Reply::Other(Body::Status { code, message }) if code != packet::OK => {
                Err(Trouble::Refused { code, message })
            }
            Reply::Other(body) => Ok(body),
            Reply::Handle(_) => Err(strange()),
        }
    }

    /// That it was done. May be called again if the future is dropped.
    pub(super) async fn done(&mut self) -> Answered<()> {
        match self.reply().await? {
            Reply::Other(Body::Status {
                code: packet::OK, ..
            }) => Ok(()),
            Reply::Other(Body::Status { code, message }) => Err(Trouble::Refused { code, message }),
            _ => Err(strange()),
        }
    }

    /// What was opened.
    pub(super) async fn handle(mut self) -> Answered<Handle> {
        match self.reply().await? {
            Reply::Handle(handle) => Ok(handle),
            Reply::Other(Body::Status { code, message }) => Err(Trouble::Refused { code, message }),
            Reply::Other(_) => Err(strange()),
        }
    }
}

/// An answer that does not fit the request.
pub(super) fn strange() -> Trouble {
    Trouble::Refused {
        code: u32::MAX,
        message: "the server's answer does not fit the request".to_owned(),
    }
}

impl Handle {
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Closes it and tells whether all was well.
    pub(super) async fn close(mut self, connection: &Connection) -> Answered<()> {
        self.shared = None;
        let mut answer = connection.ask(packet::CLOSE, |packet| packet.string(&self.name));
        answer.done().await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            // Nobody waits for the answer.
            let id = {
                let mut waiting = shared.lock();
                waiting.next = waiting.next.wrapping_add(1);
                waiting.next.wrapping_sub(1)
            };
            let packet = Packet::new(packet::CLOSE, id).string(&self.name).finish();
            let _ = shared.to.send(packet);
        }
    }
}

/// The first words: versions and extensions.
async fn greet(ends: &mut Ends) -> io::Result<Offers> {
    let hello = [0, 0, 0, 5, packet::HELLO, 0, 0, 0, 3];
    // If this fails the program has ended; what it sent before tells more than that.
    let _ = ends.to.write_all(&hello).await;
    let _ = ends.to.flush().await;
    let mut taker = Taker(one_packet(&mut ends.from).await?);
    if (taker.u8(), taker.u32()) != (Some(packet::VERSION), Some(3)) {
        return Err(io::Error::other("the server does not speak SFTP version 3"));
    }
    let mut offers = Offers::none();
    while let (Some(name), Some(_)) = (taker.string(), taker.string()) {
        offers.learn(&name);
    }
    Ok(offers)
}

async fn one_packet(from: &mut (dyn AsyncRead + Send + Unpin)) -> io::Result<Bytes> {
    let mut head = [0; 4];
    if let Err(error) = from.read_exact(&mut head).await {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("the server closed the connection"),
            _ => error,
        });
    }
    let length = u32::from_be_bytes(head) as usize;
    if length > packet::LONGEST {
        // A greeting from the shell's start-up files is read as a length here.
        return Err(io::Error::other(
            "what the server sends is no SFTP; a start-up file of the login shell (.bashrc) must print nothing",
        ));
    }
    let mut packet = BytesMut::zeroed(length);
    from.read_exact(&mut packet).await?;
    Ok(packet.freeze())
}

async fn send(
    mut to: Box<dyn AsyncWrite + Send + Unpin>,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
) {
    while let Some(packet) = queue.recv().await {
        let mut sent = to.write_all(&packet).await;
        if queue.is_empty() && sent.is_ok() {
            sent = to.flush().await;
        }
        if let Err(error) = sent {
            return shared.fail(&format!("the connection broke: {error}"));
        }
    }
}

async fn receive(from: Box<dyn AsyncRead + Send + Unpin>, shared: Arc<Shared>) {
    let mut from = tokio::io::BufReader::with_capacity(64 * 1024, from);
    loop {
        let packet = match one_packet(&mut from).await {
            Ok(packet) => packet,
            Err(error) => return shared.fail(&format!("the connection broke: {error}")),
        };
        let Some((id, body)) = packet::answer(packet) else {
            return shared.fail("the connection was given up: the server sent what is no SFTP");
        };
        let waiting = {
            let mut waiting = shared.lock();
            waiting.quiet = Instant::now();
            waiting.answers.remove(&id)
        };
        let reply = match body {
            Body::Handle(name) => Reply::Handle(Handle {
                name,
                shared: Some(Arc::clone(&shared)),
            }),
            body => Reply::Other(body),
        };
        if let Some(waiting) = waiting {
            // If nobody waits any more the reply is dropped, and a handle in it closed.
            let _ = waiting.answer.send(reply);
        }
    }
}

impl Waiting {
    /// When to look again whether the server is silent for too long; `None`: it is. That is soon also while a long request runs: what is
    /// left when it is done, or comes meanwhile, waits as long as usual only.
    fn look_again(&self, now: Instant, usual: Duration) -> Option<Instant> {
        let longest = self.answers.values().map(|one| one.silence).max();
        let due = longest.map_or(now + usual, |longest| self.quiet + longest);
        (longest.is_none() || due > now).then(|| due.min(now + usual))
    }
}

/// Gives the connection up when the server is silent for too long: `ssh` may live on over a line, or before a server, that does not.
async fn watch(shared: Arc<Shared>, usual: Duration) {
    loop {
        let again = shared.lock().look_again(Instant::now(), usual);
        match again {
            Some(again) => tokio::time::sleep_until(again).await,
            None => {
                return shared
                    .fail("the connection was given up: the server does not answer any more");
            }
        }
    }
}

async fn listen(mut from: Box<dyn AsyncRead + Send + Unpin>, shared: &Shared) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let complaints = shared.complaints.lock();
        let mut complaints = complaints.unwrap_or_else(PoisonError::into_inner);
        complaints.extend_from_slice(&piece[..length]);
        let spare = complaints.len().saturating_sub(4096);
        complaints.drain(..spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(quiet: Instant, silences: &[Duration]) -> Waiting {
        let answer = |silence: &Duration| Awaited {
            answer: oneshot::channel().0,
            silence: *silence,
        };
        Waiting {
            next: 0,
            answers: (0..).zip(silences.iter().map(answer)).collect(),
            quiet,
            broken: None,
        }
    }

    #[test]
    fn a_silent_server_is_given_up_after_a_minute_and_one_that_copies_later() {
        let Silence { usual, long } = Silence::default();
        assert_eq!((usual.as_secs(), long.as_secs()), (60, 900));
        let quiet = Instant::now();
        let at = |seconds| quiet + Duration::from_secs(seconds);
        let look = |silences: &[Duration], now| waiting(quiet, silences).look_again(now, usual);
        assert_eq!(look(&[usual], at(1)), Some(at(60)));
        assert_eq!(look(&[usual], at(60)), None);
        // Nobody asks: it may be silent for ever.
        assert_eq!(look(&[], at(5000)), Some(at(5060)));
        // What is asked beside a long request waits for it, but the watch looks again as soon as without it.
        for asked in [&[long][..], &[usual, long]] {
            assert_eq!(look(asked, at(1)), Some(at(61)));
            assert_eq!(look(asked, at(870)), Some(at(900)));
            assert_eq!(look(asked, at(900)), None);
        }
    }
}
