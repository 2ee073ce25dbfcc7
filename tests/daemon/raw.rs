//! A client of bytes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use wl_control::{Frame, Frames};

use crate::schemas;
use crate::world::World;

/// Far more than an answer takes on a busy machine: who is held up by others for good waits longer.
pub const LATE: Duration = Duration::from_secs(120);

/// A connection, spoken to in bytes.
pub struct Raw {
    pub stream: UnixStream,
    frames: Frames,
}

impl Raw {
    pub async fn connect(world: &World) -> Self {
        Self {
            stream: UnixStream::connect(world.socket()).await.unwrap(),
            frames: Frames::of_at_most(1 << 26),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next message, checked against the schemas; `None` at the end.
    pub async fn message(&mut self) -> Option<Value> {
        let mut bytes = [0; 8192];
        loop {
            if let Some(frame) = self.frames.next() {
                let Frame::Message(message) = frame else {
                    panic!("too long");
                };
                let message: Value = serde_json::from_slice(&message).unwrap();
                assert_eq!(schemas::faults(&message, None), [""; 0]);
                return Some(message);
            }
            let read = timeout(LATE, self.stream.read(&mut bytes)).await;
            match read.expect("the daemon says nothing") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.push(&bytes[..count]),
            }
        }
    }

    /// The next answer; events are passed over.
    pub async fn answer(&mut self) -> Value {
        loop {
            let message = self.message().await.expect("the daemon hung up");
            if message.get("event").is_none() {
                return message;
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        loop {
            let mut message = self.message().await.expect("the daemon hung up");
            if message.get("event").is_some() {
                return message["event"].take();
            }
        }
    }

    /// Sends a request and returns its answer.
    pub async fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n\n")).await;
        let answer = self.answer().await;
        assert_eq!(schemas::faults(&answer, request["cmd"].as_str()), [""; 0]);
        answer
    }

    /// Sends bytes that are no request, and checks that they are refused and that the connection lives on.
    pub async fn is_refused(&mut self, bytes: impl AsRef<[u8]>, class: &str) -> Value {
        self.send(bytes).await;
        let answer = self.answer().await;
        assert_eq!(answer["error"]["class"], class, "{answer}");
        let version = self.ask(&json!({ "cmd": "version", "id": "alive" })).await;
        assert_eq!(version["id"], "alive", "{version}");
        answer
    }
}

impl World {
    /// Fails unless the daemon answers a new client.
    pub async fn is_up(&self) {
        let answered = timeout(LATE, async {
            let mut other = Raw::connect(self).await;
            other.ask(&json!({ "cmd": "jobs", "id": 1 })).await
        });
        let answer = answered.await.expect("the daemon does not answer");
        assert!(answer["result"].is_object(), "{answer}");
    }
}
