//! Stands between a client and the daemon, and checks what the daemon says against the schemas.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use wl_control::{Frame, Frames};

use crate::schemas;

/// What was wrong with messages.
pub type Faults = Arc<Mutex<Vec<String>>>;

type Commands = Arc<Mutex<HashMap<String, String>>>;

/// Listens at `path` for one client of the daemon at `socket`.
pub async fn start(path: &Path, socket: &Path, faults: Faults) {
    let listener = UnixListener::bind(path).unwrap();
    let daemon = UnixStream::connect(socket).await.unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_daemon, to_daemon) = daemon.into_split();
        let commands = Commands::default();
        tokio::spawn(up(from_client, to_daemon, Arc::clone(&commands)));
        down(from_daemon, to_client, &commands, &faults).await;
    });
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, commands: Commands) {
    let (mut frames, mut bytes) = (Frames::default(), vec![0; 8192]);
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        frames.push(&bytes[..count]);
        while let Some(Frame::Message(message)) = frames.next() {
            let request: Value = serde_json::from_slice(&message).unwrap_or_default();
            let command = request["cmd"].as_str().unwrap_or_default().to_owned();
            commands
                .lock()
                .unwrap()
                .insert(request["id"].to_string(), command);
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    commands: &Commands,
    faults: &Faults,
) {
    let (mut frames, mut bytes) = (Frames::of_at_most(1 << 26), vec![0; 8192]);
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        frames.push(&bytes[..count]);
        for frame in frames.by_ref() {
            let Frame::Message(message) = frame else {
                panic!("a message of more than 64 MiB");
            };
            let found = match serde_json::from_slice::<Value>(&message) {
                Ok(message) => {
                    let commands = commands.lock().unwrap();
                    let command = commands.get(&message["id"].to_string());
                    schemas::faults(&message, command.map(String::as_str))
                }
                Err(error) => vec![error.to_string()],
            };
            faults.lock().unwrap().extend(found);
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
