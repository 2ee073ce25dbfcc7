//! Speaks to the daemon.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::frame::{Frame, Frames, framed};
use crate::{Event, Message, Refusal, Request};

/// The daemon is believed to send no more than this at once: the status of many thousands of jobs.
const MOST_ANSWER: usize = 256 * 1024 * 1024;

/// Why the daemon could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon listens on {0}; start it with `wl start`")]
    NoDaemon(String),
    /// No socket can be there.
    #[error(
        "the socket's path {0} is longer than the system allows (107 bytes); give a shorter one with --socket-path"
    )]
    LongPath(String),
    /// The connection failed.
    #[error(
        "the connection to the daemon failed ({0}); see whether it still runs with `wl status`"
    )]
    Io(#[from] io::Error),
    /// The daemon said what no daemon of this version says.
    #[error(
        "the daemon's answer cannot be understood ({0}); restart it with `wl stop` and `wl start`"
    )]
    Nonsense(String),
    /// The request was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl ClientError {
    /// Whether more wait to be let in than there is room for: the daemon has a lot to do, or does nothing any more.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the other end closed the connection where an answer was due.
    pub fn is_hung_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        matches!(self, Self::Io(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof))
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
    events: VecDeque<Event>,
    last_id: u64,
}

impl Client {
    /// Connects to the socket at `path`.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoDaemon(path.display().to_string())
                }
                io::ErrorKind::InvalidInput => ClientError::LongPath(path.display().to_string()),
                _ => ClientError::Io(error),
            })?;
        Ok(Self {
            stream,
            frames: Frames::of_at_most(MOST_ANSWER),
            events: VecDeque::new(),
            last_id: 0,
        })
    }

    /// Sends a command and waits for its answer. Events that come meanwhile are kept for [`next_event`](Self::next_event); those
    /// before the answer to `subscribe` with `since` are not, as they come again after it.
    pub async fn ask(&mut self, cmd: &str, args: Value) -> Result<Value, ClientError> {
        self.last_id += 1;
        let again = cmd == "subscribe" && !args["since"].is_null();
        let request = Request {
            cmd: cmd.to_owned(),
            args,
            id: self.last_id.into(),
        };
        let text = serde_json::to_string(&request).map_err(io::Error::from)?;
        self.stream.write_all(framed(&text).as_bytes()).await?;
        loop {
            match self.message().await? {
                None => return Err(closed().into()),
                Some(Message::Event { event }) => self.events.push_back(event),
                Some(Message::Result { result, id }) if id == self.last_id => {
                    if again {
                        self.events.clear();
                    }
                    return Ok(result);
                }
                Some(Message::Error { error, id }) if id == self.last_id || id.is_null() => {
                    return Err(error.into());
                }
                // The answer to a question that was given up.
                Some(_) => {}
            }
        }
    }

    /// The next event; `None` once the daemon has ended.
    pub async fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.message().await? {
                None => return Ok(None),
                Some(Message::Event { event }) => return Ok(Some(event)),
                Some(_) => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>, ClientError> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.frames.next() {
                Some(Frame::Message(message)) => {
                    return serde_json::from_slice(&message)
                        .map(Some)
                        .map_err(|error| ClientError::Nonsense(error.to_string()));
                }
                Some(Frame::TooLong) => {
                    return Err(ClientError::Nonsense("it is too long".to_owned()));
                }
                None => {}
            }
            match self.stream.read(&mut bytes).await? {
                0 if self.frames.is_within_message() => return Err(closed().into()),
                0 => return Ok(None),
                count => self.frames.push(&bytes[..count]),
            }
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed")
}
